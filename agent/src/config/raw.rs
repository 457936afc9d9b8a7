//! How does the configuration file look? One field per key; the comments are its manual.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The file `/etc/x2go/x2gobroker-agentd.toml`. Every key may be missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawConfig {
    /// The host name of this X2Go server, as its session records show it. Default: what
    /// `hostname` says. The certificate must be issued for this name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The directory with leaf.crt, leaf.key and roots.pem.
    pub identity: PathBuf,
    /// Where to listen for brokers, operators and other members: `ADDRESS:PORT`.
    pub listen: String,
    /// Where other members reach this one: `ADDRESS:PORT`. Default: the address of
    /// `listen`, or the first address of the host if that is `0.0.0.0` or `[::]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advertise: Option<String>,
    /// The brokers of the farm: `HOST` or `HOST:PORT`; the port is 7465 if it is left out.
    /// All addresses of a DNS name count.
    pub seeds: Vec<String>,
    /// Further names by which session profiles call this server.
    pub names: Vec<String>,
    /// Where to keep what must survive a restart: the generation, the drain
    /// and the temporary keys.
    pub state_directory: PathBuf,
    /// The SQLite session database. Default: `x2go_sessions` in the home of `x2gouser`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_database: Option<PathBuf>,
    /// The setuid program that suspends and terminates sessions, and adds and removes keys,
    /// as their users.
    pub agent_program: PathBuf,
    /// Temporary keys, for brokers that log their users in: `files` puts them into the
    /// users' own files for as long as they last; with `command` sshd asks for them, see
    /// `AuthorizedKeysCommand` in the examples; `off` refuses them.
    pub keys: String,
    /// Where sshd's command asks, with `keys = "command"`.
    pub keys_socket: PathBuf,
    /// Whether a temporary key is good only from the address at which the broker saw the
    /// client (`from=`). Not where a proxy, an SSH proxy or NAT stands before either.
    pub keys_from: bool,
    /// Whether the line of a temporary key says when it ends (`expiry-time=` in UTC): `on`,
    /// `off`, or `auto`: if the sshd of this server is OpenSSH 9.1 or later. An older one
    /// would refuse the whole line. The agent removes the line in any case.
    pub keys_expiry: String,
    /// The speed of one core in MHz, if what the processor says is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity_mhz: Option<u32>,
    /// The pace of the gossip: `lan`, or `local` for tests and demos on one machine.
    pub gossip: String,
}

impl Default for RawConfig {
    fn default() -> Self {
        Self {
            node: None,
            identity: PathBuf::from("/etc/x2go/pki/agent"),
            listen: "0.0.0.0:7464".to_owned(),
            advertise: None,
            seeds: Vec::new(),
            names: Vec::new(),
            state_directory: PathBuf::from("/var/lib/x2gobroker-agent"),
            session_database: None,
            agent_program: PathBuf::from("/usr/lib/x2go/x2gobroker-agent"),
            keys: "files".to_owned(),
            keys_socket: PathBuf::from(KEYS_SOCKET),
            keys_from: false,
            keys_expiry: "auto".to_owned(),
            capacity_mhz: None,
            gossip: "lan".to_owned(),
        }
    }
}

/// In the service's runtime directory.
pub const KEYS_SOCKET: &str = "/run/x2gobroker-agent/keys.sock";
