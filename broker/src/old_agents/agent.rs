//! Which old agent is to be asked for a host of a profile?

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use proto::{HostNames, NodeId};
use tokio::time::Instant;

use crate::config::OldAgentsConfig;
use crate::names::{HostIndex, Resolved, ServerAddress, address_for_client};
use crate::profiles::{AgentQueryMode, HostKey, HostKeyPolicy, ProfileHost, SessionProfile};
use crate::view::FarmView;

/// An agent of x2gobroker 0.0.4.3 and the way to it. Two with another policy or account are
/// two agents, with a connection each.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OldAgent {
    /// Its full path, where it runs.
    pub(super) command: Arc<str>,
    pub(super) way: Way,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Way {
    /// On this very host.
    Local,
    /// On another one.
    Ssh(Arc<SshWay>),
}

/// What is to be known to log in at a server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct SshWay {
    pub(super) server: ServerAddress,
    pub(super) user: String,
    pub(super) policy: HostKeyPolicy,
    /// Where key and `known_hosts` are.
    pub(super) directory: PathBuf,
}

/// A host of a profile for which an old agent speaks.
#[derive(Clone, Debug)]
pub struct OldHost<'p> {
    /// The host.
    pub host: &'p ProfileHost,
    /// Its name, by which it is placed on.
    pub node: NodeId,
    /// Who is asked.
    pub agent: OldAgent,
}

/// The hosts of a profile that old agents speak for: in the modes `LOCAL` and `SSH` those
/// of which the mesh has never heard, once this replica has listened for `warm_up`.
#[must_use]
pub fn old_hosts<'p>(
    profile: &'p SessionProfile,
    mode: AgentQueryMode,
    config: &OldAgentsConfig,
    view: &FarmView,
    warm_up: Duration,
) -> Vec<OldHost<'p>> {
    let way: fn(&SessionProfile, &ProfileHost, &OldAgentsConfig) -> Way = match mode {
        AgentQueryMode::Mesh | AgentQueryMode::None => return Vec::new(),
        AgentQueryMode::Local => |_, _, _| Way::Local,
        AgentQueryMode::Ssh => ssh_way,
    };
    if profile.is_shadow() {
        return Vec::new();
    }
    let mut old: Vec<OldHost<'p>> = Vec::new();
    let now = Instant::now();
    let outside = |host: &&ProfileHost| view.is_outside(host, warm_up, now);
    for host in profile.hosts.iter().filter(outside) {
        let Some(node) = node_of(host) else { continue };
        if old.iter().any(|known| known.node == node) || old.len() >= MAX_HOSTS {
            continue;
        }
        let agent = OldAgent {
            command: config.command.as_str().into(),
            way: way(profile, host, config),
        };
        old.push(OldHost { host, node, agent });
    }
    old
}

fn ssh_way(profile: &SessionProfile, host: &ProfileHost, config: &OldAgentsConfig) -> Way {
    Way::Ssh(Arc::new(SshWay {
        server: address_for_client(host, profile.sshport),
        user: config.user.clone(),
        policy: profile.host_key_policy.unwrap_or(config.host_key_policy),
        directory: config.ssh_directory.clone(),
    }))
}

impl OldAgent {
    /// The agent of this host.
    #[must_use]
    pub fn local(config: &OldAgentsConfig) -> Self {
        Self {
            command: config.command.as_str().into(),
            way: Way::Local,
        }
    }

    /// The agent of a server, with this policy for its host key.
    #[must_use]
    pub fn over_ssh(
        server: ServerAddress,
        policy: HostKeyPolicy,
        config: &OldAgentsConfig,
    ) -> Self {
        Self {
            command: config.command.as_str().into(),
            way: Way::Ssh(Arc::new(SshWay {
                server,
                user: config.user.clone(),
                policy,
                directory: config.ssh_directory.clone(),
            })),
        }
    }
}

impl OldHost<'_> {
    /// Whether a session record or a list of servers means this host by that name: as for
    /// servers of the mesh, a short name and a full one match by their first label.
    #[must_use]
    pub fn is_called(&self, name: &NodeId) -> bool {
        is_called(self.host, name)
    }
}

pub(super) fn is_called(host: &ProfileHost, name: &NodeId) -> bool {
    let no_more = HostNames::default();
    let index = HostIndex::build(std::iter::once((name, &no_more)));
    index.look_up(host) == Resolved::Node(name)
}

impl fmt::Display for OldAgent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.way {
            Way::Local => f.write_str("the agent of this host"),
            Way::Ssh(way) => write!(f, "{}@{}", way.user, way.server),
        }
    }
}

/// The name of a host; a made one where the profile gives an address alone.
fn node_of(host: &ProfileHost) -> Option<NodeId> {
    match host.keys().0 {
        HostKey::Name(node) => Some(node.clone()),
        HostKey::Address(address) => {
            let text = address.to_string().replace(':', "-");
            NodeId::parse(text.trim_matches('-')).ok()
        }
    }
}

/// A round asks all old servers of a profile at once; a farm of more needs the mesh.
pub(super) const MAX_HOSTS: usize = 64;

#[cfg(test)]
pub(super) mod testing {
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    use super::{OldHost, old_hosts};
    use crate::config::OldAgentsConfig;
    use crate::profiles::{AgentQueryMode, HostKeyPolicy, SessionProfile, SessionProfiles};
    use crate::view::FarmView;

    pub(crate) fn config() -> OldAgentsConfig {
        OldAgentsConfig {
            host_key_policy: HostKeyPolicy::Reject,
            user: "x2gobroker".to_owned(),
            command: "/agent".to_owned(),
            ssh_directory: "/ssh".into(),
        }
    }

    pub(crate) fn profile(keys: &str) -> SessionProfile {
        let text = format!("[p]\nname=P\n{keys}\n");
        let (profiles, _) = SessionProfiles::parse("file", &text).unwrap();
        profiles.get("p").unwrap().clone()
    }

    /// An agent that does what the lines of a shell script say, while the folder is there.
    pub(crate) fn program(script: &str) -> (tempfile::TempDir, String) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        (folder, path.to_str().unwrap().to_owned())
    }

    pub(crate) fn old_hosts_of(profile: &SessionProfile, mode: AgentQueryMode) -> Vec<OldHost<'_>> {
        old_hosts(
            profile,
            mode,
            &config(),
            &FarmView::for_tests(),
            Duration::ZERO,
        )
    }
}

#[cfg(test)]
mod tests {
    use proto::NodeId;

    use super::OldHost;
    use super::testing::{old_hosts_of, profile};
    use crate::profiles::AgentQueryMode;

    fn names(found: &[OldHost<'_>]) -> Vec<String> {
        found.iter().map(|old| old.node.to_string()).collect()
    }

    #[test]
    fn each_host_is_asked_once_and_only_in_the_modes_that_ask_old_agents() {
        let profile = profile("host=s1,S1,10.0.0.2,s3 (10.0.0.3:2222),fd77::101");
        let found = |mode| old_hosts_of(&profile, mode);
        assert!(found(AgentQueryMode::Mesh).is_empty());
        assert!(found(AgentQueryMode::None).is_empty());
        let expected = ["s1", "10.0.0.2", "s3", "fd77--101"];
        assert_eq!(names(&found(AgentQueryMode::Ssh)), expected);
        let local = found(AgentQueryMode::Local);
        assert!(local.iter().all(|old| old.agent == local[0].agent));
    }

    #[test]
    fn another_policy_or_port_is_another_agent() {
        let agents = |keys: &str| {
            let profile = profile(keys);
            let found = old_hosts_of(&profile, AgentQueryMode::Ssh);
            found[0].agent.clone()
        };
        let plain = agents("host=s1");
        assert_eq!(plain, agents("host=s1\ncommand=KDE"));
        assert_ne!(plain, agents("host=s1\nsshport=2222"));
        let policy = "host=s1\nbroker-agent-hostkey-policy=AutoAddPolicy";
        assert_ne!(plain, agents(policy));
        let unreadable = "host=s1\nbroker-agent-hostkey-policy=Any";
        assert_eq!(plain, agents(unreadable));
    }

    #[test]
    fn shadow_profiles_ask_nobody() {
        let profile = profile("host=s1\ncommand=SHADOW");
        assert!(old_hosts_of(&profile, AgentQueryMode::Ssh).is_empty());
    }

    #[test]
    fn a_record_means_a_host_by_its_short_or_full_name() {
        let profile = profile("host=s1.lab.test,s2,10.0.0.3");
        let found = old_hosts_of(&profile, AgentQueryMode::Ssh);
        let called = |name: &str| {
            let name = NodeId::parse(name).unwrap();
            let one = found.iter().filter(|old| old.is_called(&name));
            one.map(|old| old.node.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(called("s1"), ["s1.lab.test"]);
        assert_eq!(called("s1.lab.test"), ["s1.lab.test"]);
        assert_eq!(called("s2.elsewhere.test"), ["s2"]);
        // As in the original: a host without a name is not found by one.
        assert!(called("s3").is_empty());
    }
}
