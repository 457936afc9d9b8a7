//! What must the agent be told, and is it right?
//!
//! [`RawConfig`] is the file; [`Config`] is what the parts are built from. All problems of
//! a file are reported together, each with its key.

mod raw;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use gossip::Settings;
use proto::NodeId;

use crate::host;
use crate::keys::KeysMode;
use crate::load::{MAX_MHZ, MIN_MHZ};
pub use raw::{KEYS_SOCKET, RawConfig};

/// A configuration that is right.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// This X2Go server.
    pub node: NodeId,
    /// The directory of the identity.
    pub identity: PathBuf,
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where others reach this member. Port 0 stands for the port listened on.
    pub advertise: SocketAddr,
    /// The brokers, as `HOST:PORT`.
    pub seeds: Vec<String>,
    /// Further names of this server.
    pub names: Vec<NodeId>,
    /// Where to keep what must survive a restart.
    pub state_directory: PathBuf,
    /// x2goserver's session database.
    pub session_database: PathBuf,
    /// The setuid program that acts for users.
    pub agent_program: PathBuf,
    /// Whether temporary keys are installed.
    pub keys: KeysMode,
    /// Where sshd asks for them.
    pub keys_socket: PathBuf,
    /// Whether their lines name the client's address.
    pub keys_from: bool,
    /// Whether their lines say when they end.
    pub keys_expiry: Expiry,
    /// The speed of one core, if the administrator knows better.
    pub capacity_mhz: Option<u32>,
    /// The pace of the gossip.
    pub gossip: Settings,
}

/// Whether the lines of temporary keys say when they end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// If this server's sshd understands it.
    Auto,
    /// Yes.
    On,
    /// No.
    Off,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("the configuration {} can't be read", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What failed.
        source: std::io::Error,
    },
    /// The file is not TOML, or has an unknown key or a value of the wrong type.
    #[error("the configuration {} can't be parsed", path.display())]
    Syntax {
        /// Which file.
        path: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// Some values can't be right.
    #[error("{problems}")]
    Wrong {
        /// All of them.
        problems: Problems,
    },
}

/// What is wrong with a configuration: all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

/// What is wrong with one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Which key.
    pub key: &'static str,
    /// What is wrong, and what would be right.
    pub what: String,
}

/// What the host says where the file says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostDefaults {
    /// Its host name.
    pub node: Option<NodeId>,
    /// Its addresses, the best one first.
    pub addresses: Vec<IpAddr>,
    /// x2goserver's session database.
    pub session_database: Option<PathBuf>,
}

impl HostDefaults {
    /// Asks the operating system.
    #[must_use]
    pub fn of_this_host() -> Self {
        Self {
            node: host::name(),
            addresses: host::addresses(),
            session_database: host::session_database(),
        }
    }
}

impl RawConfig {
    /// Reads a file.
    ///
    /// # Errors
    /// When it can't be read or parsed.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        toml::from_str(&text).map_err(|source| ConfigError::Syntax {
            path: path.to_owned(),
            source: Box::new(source),
        })
    }

    /// Checks everything.
    ///
    /// # Errors
    /// All problems together.
    pub fn check(self, host: HostDefaults) -> Result<Config, ConfigError> {
        let mut problems = Problems::default();
        let node = match &self.node {
            Some(name) => problems.take("node", NodeId::parse(name)),
            None => host
                .node
                .or_else(|| problems.add("node", "this host's name is no host name")),
        };
        let listen = problems.take(
            "listen",
            self.listen
                .parse::<SocketAddr>()
                .map_err(|_not_one| format!("{:?} is not ADDRESS:PORT", self.listen)),
        );
        let advertise = self.advertise(listen, &host.addresses, &mut problems);
        let seeds = self
            .seeds
            .iter()
            .filter_map(|seed| problems.take("seeds", with_port(seed)));
        let seeds: Vec<String> = seeds.collect();
        if seeds.len() > MAX_SEEDS {
            problems.add::<()>("seeds", format!("more than {MAX_SEEDS}"));
        }
        let names = self
            .names
            .iter()
            .filter_map(|name| problems.take("names", NodeId::parse(name)));
        let names: Vec<NodeId> = names.collect();
        if names.len() > MAX_NAMES {
            problems.add::<()>("names", format!("more than {MAX_NAMES}"));
        }
        for (key, path) in [
            ("identity", &self.identity),
            ("state_directory", &self.state_directory),
            ("agent_program", &self.agent_program),
            ("keys_socket", &self.keys_socket),
        ] {
            if !path.is_absolute() {
                problems.add::<()>(key, format!("{:?} is not an absolute path", path.display()));
            }
        }
        let session_database = self.session_database.or(host.session_database).or_else(|| {
            problems.add(
                "session_database",
                "there is no user x2gouser, so it must be set",
            )
        });
        if let Some(mhz) = self.capacity_mhz
            && !(MIN_MHZ..=MAX_MHZ).contains(&mhz)
        {
            let range = format!("{mhz} is not between {MIN_MHZ} and {MAX_MHZ}");
            problems.add::<()>("capacity_mhz", range);
        }
        let gossip = match self.gossip.as_str() {
            "lan" => Some(Settings::lan()),
            "local" => Some(Settings::local()),
            other => problems.add("gossip", format!("{other:?} is neither lan nor local")),
        };
        let keys = match self.keys.as_str() {
            "files" => KeysMode::Files,
            "command" => KeysMode::Command,
            "off" => KeysMode::Off,
            other => {
                let what = format!("{other:?} is none of files, command and off");
                problems.add::<()>("keys", what);
                KeysMode::Off
            }
        };
        let keys_expiry = match self.keys_expiry.as_str() {
            "auto" => Expiry::Auto,
            "on" => Expiry::On,
            "off" => Expiry::Off,
            other => {
                let what = format!("{other:?} is none of auto, on and off");
                problems.add::<()>("keys_expiry", what);
                Expiry::Off
            }
        };
        let (Some(node), Some(listen), Some(advertise), Some(session_database), Some(gossip), true) = (
            node,
            listen,
            advertise,
            session_database,
            gossip,
            problems.0.is_empty(),
        ) else {
            return Err(ConfigError::Wrong { problems });
        };
        Ok(Config {
            node,
            identity: self.identity,
            listen,
            advertise,
            seeds,
            names,
            state_directory: self.state_directory,
            session_database,
            agent_program: self.agent_program,
            keys,
            keys_socket: self.keys_socket,
            keys_from: self.keys_from,
            keys_expiry,
            capacity_mhz: self.capacity_mhz,
            gossip,
        })
    }

    fn advertise(
        &self,
        listen: Option<SocketAddr>,
        addresses: &[IpAddr],
        problems: &mut Problems,
    ) -> Option<SocketAddr> {
        if let Some(text) = &self.advertise {
            let address = text.parse::<SocketAddr>();
            let usable = address
                .ok()
                .filter(|address| !address.ip().is_unspecified());
            return usable.or_else(|| {
                problems.add(
                    "advertise",
                    format!("{text:?} is not ADDRESS:PORT of this host"),
                )
            });
        }
        let listen = listen?;
        if !listen.ip().is_unspecified() {
            return Some(listen);
        }
        let same_family = |ip: &&IpAddr| listen.is_ipv6() || ip.is_ipv4();
        let address = addresses.iter().find(same_family).copied();
        let address = address.map(|ip| SocketAddr::new(ip, listen.port()));
        address.or_else(|| {
            problems.add(
                "advertise",
                "this host has no address for others, so it must be set",
            )
        })
    }
}

/// `HOST`, `HOST:PORT` or `[ADDRESS]:PORT`, always with a port.
fn with_port(seed: &str) -> Result<String, String> {
    let wrong = || format!("{seed:?} is not HOST or HOST:PORT");
    if let Ok(address) = seed.parse::<SocketAddr>() {
        return Ok(address.to_string());
    }
    if let Ok(address) = seed.parse::<IpAddr>() {
        return Ok(SocketAddr::new(address, BROKER_PORT).to_string());
    }
    let (host, port) = match seed.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().map_err(|_not_one| wrong())?),
        None => (seed, BROKER_PORT),
    };
    if port == 0 {
        return Err(wrong());
    }
    let host = NodeId::parse(host).map_err(|_not_one| wrong())?;
    Ok(format!("{host}:{port}"))
}

impl Problems {
    fn add<T>(&mut self, key: &'static str, what: impl Into<String>) -> Option<T> {
        self.0.push(Problem {
            key,
            what: what.into(),
        });
        None
    }

    fn take<T, E: fmt::Display>(&mut self, key: &'static str, value: Result<T, E>) -> Option<T> {
        value
            .map_err(|error| self.add::<T>(key, error.to_string()))
            .ok()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration is wrong")?;
        for Problem { key, what } in &self.0 {
            write!(f, "\n  {key}: {what}")?;
        }
        Ok(())
    }
}

/// Where brokers listen for members, if a seed names no port.
const BROKER_PORT: u16 = 7465;
/// As many as the gossip contacts.
const MAX_SEEDS: usize = 32;
/// The advert has room for 32 names and addresses in all.
const MAX_NAMES: usize = 4;

#[cfg(test)]
mod tests;
