//! By which way are the agents of a profile's servers asked?

/// By which way agents are asked: `agent-query-mode`, `broker-agent-query-mode`.
///
/// A server that is a member of the mesh is asked through the mesh in each of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AgentQueryMode {
    /// Through the mesh, and no other way.
    #[default]
    Mesh,
    /// Nobody expects agents: clients are shown all hosts of a profile.
    None,
    /// Hosts outside the mesh share one session database, which the agent of
    /// x2gobroker 0.0.4.3 on this very host reads.
    Local,
    /// Hosts outside the mesh have the agent of x2gobroker 0.0.4.3, called over SSH.
    Ssh,
}

/// What is done about an old server whose SSH host key is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum HostKeyPolicy {
    /// It is not spoken to.
    #[default]
    Reject,
    /// It is spoken to, and its key is known from then on.
    AutoAdd,
    /// It is spoken to, with a warning each time.
    Warn,
}

impl AgentQueryMode {
    /// Reads a mode, in any case of letters.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text.to_ascii_uppercase().as_str() {
            "MESH" => Self::Mesh,
            "NONE" => Self::None,
            "LOCAL" => Self::Local,
            "SSH" => Self::Ssh,
            _ => return None,
        })
    }

    /// What to say of a text that is no mode.
    pub(crate) const WRONG: &str = "this is none of NONE, LOCAL, SSH, MESH";
}

impl HostKeyPolicy {
    /// Reads a policy by the name that Paramiko gave it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "RejectPolicy" => Self::Reject,
            "AutoAddPolicy" => Self::AutoAdd,
            "WarningPolicy" => Self::Warn,
            _ => return None,
        })
    }

    /// What to say of a text that is no policy.
    pub(crate) const WRONG: &str = "this is none of RejectPolicy, AutoAddPolicy, WarningPolicy";
}

#[cfg(test)]
mod tests {
    use super::{AgentQueryMode, HostKeyPolicy};

    #[test]
    fn modes_and_policies_have_the_names_of_the_packaged_file() {
        let modes = ["NONE", "local", "Ssh", "MESH", "RPC", ""].map(AgentQueryMode::parse);
        use AgentQueryMode::{Local, Mesh, None as Nobody, Ssh};
        let expected = [Some(Nobody), Some(Local), Some(Ssh), Some(Mesh), None, None];
        assert_eq!(modes, expected);
        let names = [
            "RejectPolicy",
            "AutoAddPolicy",
            "WarningPolicy",
            "rejectpolicy",
        ];
        use HostKeyPolicy::{AutoAdd, Reject, Warn};
        let expected = [Some(Reject), Some(AutoAdd), Some(Warn), None];
        assert_eq!(names.map(HostKeyPolicy::parse), expected);
    }
}
