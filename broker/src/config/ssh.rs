//! Where do clients ask that come by SSH, and who may?

use std::path::PathBuf;

use super::raw::RawConfig;

/// The socket that x2gobroker-ssh asks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshConfig {
    /// `[ssh] enable`.
    pub enabled: bool,
    /// `[ssh] socket`: its file.
    pub socket: PathBuf,
    /// Whether the file was chosen by the operator: then it must be possible.
    pub is_chosen: bool,
    /// `[ssh] group`: whose members may ask.
    pub group: String,
}

impl SshConfig {
    pub(super) fn build(raw: &mut RawConfig<'_>) -> Self {
        let socket = raw.text("ssh", "socket");
        let enabled = raw.entry("ssh", "enable").is_some();
        Self {
            is_chosen: socket.is_some() || enabled,
            enabled: raw.flag("ssh", "enable", true),
            socket: socket.unwrap_or(SSH_SOCKET).into(),
            group: raw.text("ssh", "group").unwrap_or(SSH_GROUP).to_owned(),
        }
    }
}

/// Where x2gobroker-ssh looks for the daemon.
pub const SSH_SOCKET: &str = "/run/x2gobroker-ssh/socket";

/// As the package of the original has it.
const SSH_GROUP: &str = "x2gobroker-users";

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use crate::config::{Config, Sources};

    #[test]
    fn the_socket_is_the_usual_one_unless_another_is_chosen() {
        let ssh = |config: &str| {
            let parsed = Config::parse(&Sources {
                config_file: "conf",
                config,
                defaults_file: "defaults.conf",
                defaults: "",
                environment: &BTreeMap::new(),
                bind: None,
                host_name: "broker1",
            });
            parsed.unwrap().0.ssh
        };
        let usual = ssh("");
        assert!(usual.enabled && !usual.is_chosen);
        assert_eq!(usual.socket, Path::new("/run/x2gobroker-ssh/socket"));
        assert_eq!(usual.group, "x2gobroker-users");
        let other = ssh("[ssh]\nsocket = /run/other\ngroup = people\n");
        assert!(other.enabled && other.is_chosen);
        assert_eq!(other.socket, Path::new("/run/other"));
        assert_eq!(other.group, "people");
        assert!(!ssh("[ssh]\nenable = no\n").enabled);
    }
}
