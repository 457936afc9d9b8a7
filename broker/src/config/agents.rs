//! By which way are agents asked, and how are those called that are not in the mesh?

use std::path::PathBuf;

use super::raw::{Key, RawConfig};
use crate::profiles::{AgentQueryMode, HostKeyPolicy};

/// How agents of x2gobroker 0.0.4.3 are called.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OldAgentsConfig {
    /// What is done about servers whose host key is not known, unless a profile says
    /// otherwise.
    pub host_key_policy: HostKeyPolicy,
    /// As whom the broker logs in: `X2GOBROKER_AGENT_USER`. An account name.
    pub user: String,
    /// The agent's path, here and there: `X2GOBROKER_AGENT_CMD`. No character in it means
    /// anything to a shell.
    pub command: String,
    /// Where the broker's own key (`id_rsa`) and `known_hosts` are.
    pub ssh_directory: PathBuf,
}

impl OldAgentsConfig {
    pub(super) fn build(raw: &mut RawConfig<'_>) -> Self {
        let directory = raw.text("http", "public-keys-directory");
        Self {
            host_key_policy: host_key_policy(raw),
            user: user(raw),
            command: command(raw),
            ssh_directory: directory.unwrap_or(SSH_DIRECTORY).into(),
        }
    }
}

/// The backend's mode, else the default one, else the mesh.
pub(super) fn query_mode(raw: &mut RawConfig<'_>) -> AgentQueryMode {
    let own = raw.entry("broker_inifile", "agent-query-mode");
    let Some(key) = own.or_else(|| raw.entry("global", "default-agent-query-mode")) else {
        return AgentQueryMode::default();
    };
    AgentQueryMode::parse(key.value()).unwrap_or_else(|| {
        raw.error(key, AgentQueryMode::WRONG);
        AgentQueryMode::default()
    })
}

fn host_key_policy(raw: &mut RawConfig<'_>) -> HostKeyPolicy {
    let own = raw.entry("broker_inifile", "agent-hostkey-policy");
    let default = || raw.entry("global", "default-agent-hostkey-policy");
    let Some(key) = own
        .or_else(default)
        .filter(|key: &Key<'_>| !key.value().is_empty())
    else {
        return HostKeyPolicy::default();
    };
    HostKeyPolicy::parse(key.value()).unwrap_or_else(|| {
        raw.error(key, HostKeyPolicy::WRONG);
        HostKeyPolicy::default()
    })
}

fn user(raw: &mut RawConfig<'_>) -> String {
    let Some(setting) = raw.setting("X2GOBROKER_AGENT_USER") else {
        return USER.to_owned();
    };
    if proto::Username::parse(setting.value).is_err() {
        raw.setting_error(setting, "this is not the name of an account");
        return USER.to_owned();
    }
    setting.value.to_owned()
}

/// It stands in a command line that a shell of the other side reads.
fn command(raw: &mut RawConfig<'_>) -> String {
    let Some(setting) = raw.setting("X2GOBROKER_AGENT_CMD") else {
        return COMMAND.to_owned();
    };
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-+".contains(&b);
    if !setting.value.starts_with('/') || !setting.value.bytes().all(is_plain) {
        let text = "this is not a full path of letters, digits and / . _ - +";
        raw.setting_error(setting, text);
        return COMMAND.to_owned();
    }
    setting.value.to_owned()
}

const USER: &str = "x2gobroker";
const COMMAND: &str = "/usr/lib/x2go/x2gobroker-agent";
/// The home directory of the user `x2gobroker` is /var/lib/x2gobroker.
const SSH_DIRECTORY: &str = "/var/lib/x2gobroker/.ssh";
