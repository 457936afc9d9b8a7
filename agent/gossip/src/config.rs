//! What must a member be told before it can join, and at which pace does it gossip?

use std::net::SocketAddr;
use std::time::Duration;

use pki::Role;
use proto::{Generation, NodeId};

/// Who we are and where the others can be found.
#[derive(Debug, Clone)]
pub struct ClusterConfig {
    /// The farm's name, which is the cluster ID: messages of another cluster are refused.
    pub farm: String,
    /// Our host name.
    pub node: NodeId,
    /// Agent or broker; operators are no members.
    pub role: Role,
    /// Of this start, from [`next_generation`](crate::next_generation).
    pub generation: Generation,
    /// Where the other members can reach our gossip service.
    pub advertise: SocketAddr,
    /// `HOST:PORT` each, where HOST is a DNS name or an address. All addresses of a name
    /// are contacted.
    pub seeds: Vec<String>,
    /// The pace.
    pub settings: Settings,
}

/// The pace of the gossip and of everything around it.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// One round: how often a member talks to three others.
    pub interval: Duration,
    /// How many mean heartbeat intervals a member may be silent before it counts as dead.
    pub phi: f64,
    /// Assumed heartbeat interval of a member that was never heard before.
    pub initial_interval: Duration,
    /// A longer silence does not count as a heartbeat interval.
    pub max_interval: Duration,
    /// How many heartbeat intervals are remembered per member.
    pub window: usize,
    /// How long a dead generation is remembered. Each costs 65 bytes in every message for
    /// half of that time, so an agent that restarts in a loop must be forgotten soon.
    pub dead_grace: Duration,
    /// How long a deleted key is remembered.
    pub tombstone_grace: Duration,
    /// How often our own keys are set again, in case another member forged them.
    pub reassert: Duration,
    /// How often the seeds are resolved while no other member is live.
    pub seeds_alone: Duration,
    /// How often the seeds are resolved and contacted otherwise, so that a partition that
    /// outlived [`Settings::dead_grace`] heals.
    pub seeds_joined: Duration,
    /// Pause before the gossip is restarted after its first failure; doubles each time.
    pub restart_first: Duration,
    /// The longest such pause.
    pub restart_most: Duration,
}

impl Settings {
    /// For farms: a change reaches 500 members in 2 s, a dead host is noticed in 5 to 10 s.
    #[must_use]
    pub fn lan() -> Self {
        Self {
            interval: Duration::from_secs(1),
            phi: 8.0,
            initial_interval: Duration::from_secs(2),
            max_interval: Duration::from_secs(10),
            window: 200,
            dead_grace: Duration::from_secs(600),
            tombstone_grace: Duration::from_secs(600),
            reassert: Duration::from_secs(10),
            seeds_alone: Duration::from_secs(15),
            seeds_joined: Duration::from_secs(60),
            restart_first: Duration::from_secs(1),
            restart_most: Duration::from_secs(30),
        }
    }

    /// For demos and tests on one machine: five times the pace, a dead host is noticed in
    /// about 2 s. Too dear for a farm.
    #[must_use]
    pub fn local() -> Self {
        Self {
            interval: Duration::from_millis(200),
            phi: 10.0,
            initial_interval: Duration::from_millis(400),
            max_interval: Duration::from_secs(4),
            window: 200,
            dead_grace: Duration::from_secs(120),
            tombstone_grace: Duration::from_secs(120),
            reassert: Duration::from_secs(2),
            seeds_alone: Duration::from_secs(1),
            seeds_joined: Duration::from_secs(5),
            restart_first: Duration::from_millis(200),
            restart_most: Duration::from_secs(5),
        }
    }
}

/// Why a cluster can't be built or run.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// Only agents and brokers gossip.
    #[error("the role {role} can't be a member of the cluster; agents and brokers can")]
    Role {
        /// The role given.
        role: Role,
    },
    /// The farm's name is the cluster ID and stands in each message.
    #[error("the farm's name must have 1 to {MAX_FARM_BYTES} bytes")]
    Farm,
    /// Others could not reach us there.
    #[error("{advertise} is no address that other members could reach us by")]
    Advertise {
        /// The address given.
        advertise: SocketAddr,
    },
    /// A seed is neither `NAME:PORT` nor `ADDRESS:PORT`.
    #[error("the seed {seed:?} is not of the form HOST:PORT")]
    Seed {
        /// The text given.
        seed: String,
    },
    /// There are more seeds than can be contacted in one round.
    #[error("{given} seeds are too many; {MAX_SEEDS} are enough for any farm")]
    Seeds {
        /// How many were given.
        given: usize,
    },
    /// The first start of the gossip failed.
    #[error("can't open the gossip transport of {advertise}")]
    Open {
        /// Our address.
        advertise: SocketAddr,
        /// What the transport said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl ClusterConfig {
    /// Checks what types can't.
    pub(crate) fn check(&self) -> Result<(), ClusterError> {
        if self.role == Role::Operator {
            return Err(ClusterError::Role { role: self.role });
        }
        if self.farm.is_empty() || self.farm.len() > MAX_FARM_BYTES {
            return Err(ClusterError::Farm);
        }
        if self.advertise.ip().is_unspecified() || self.advertise.port() == 0 {
            return Err(ClusterError::Advertise {
                advertise: self.advertise,
            });
        }
        if self.seeds.len() > MAX_SEEDS {
            return Err(ClusterError::Seeds {
                given: self.seeds.len(),
            });
        }
        match self.seeds.iter().find(|seed| !is_host_and_port(seed)) {
            Some(seed) => Err(ClusterError::Seed { seed: seed.clone() }),
            None => Ok(()),
        }
    }
}

fn is_host_and_port(seed: &str) -> bool {
    if let Ok(address) = seed.parse::<SocketAddr>() {
        return address.port() != 0 && !address.ip().is_unspecified();
    }
    seed.rsplit_once(':').is_some_and(|(host, port)| {
        NodeId::parse(host).is_ok() && port.parse::<u16>().is_ok_and(|port| port != 0)
    })
}

/// As long as a farm's name can be.
const MAX_FARM_BYTES: usize = 64;

/// More than the replicas of any farm; each is contacted once per round while we are alone.
pub(crate) const MAX_SEEDS: usize = 32;

#[cfg(test)]
mod tests {
    use super::{ClusterConfig, Settings};
    use pki::Role;
    use proto::{Generation, NodeId};

    fn config() -> ClusterConfig {
        ClusterConfig {
            farm: "office".to_owned(),
            node: NodeId::parse("s1").unwrap(),
            role: Role::Agent,
            generation: Generation(1),
            advertise: "10.0.0.1:7403".parse().unwrap(),
            seeds: Vec::new(),
            settings: Settings::lan(),
        }
    }

    fn told(config: &ClusterConfig) -> String {
        config
            .check()
            .map_or_else(|e| e.to_string(), |()| "good".to_owned())
    }

    #[test]
    fn seeds_are_hosts_with_ports() {
        for (seed, expected) in [
            ("brokers.lab.test:7403", "good"),
            ("10.77.0.1:7403", "good"),
            ("[fd77::1]:7403", "good"),
            ("localhost:1", "good"),
            ("b1", r#"the seed "b1" is not of the form HOST:PORT"#),
            ("b1:0", r#"the seed "b1:0" is not of the form HOST:PORT"#),
            ("b1:x", r#"the seed "b1:x" is not of the form HOST:PORT"#),
            (
                "0.0.0.0:1",
                r#"the seed "0.0.0.0:1" is not of the form HOST:PORT"#,
            ),
            (
                "https://b1:1",
                r#"the seed "https://b1:1" is not of the form HOST:PORT"#,
            ),
        ] {
            let config = ClusterConfig {
                seeds: vec![seed.to_owned()],
                ..config()
            };
            assert_eq!(told(&config), expected, "{seed}");
        }
        let config = ClusterConfig {
            seeds: vec!["b:1".to_owned(); 33],
            ..config()
        };
        assert_eq!(
            told(&config),
            "33 seeds are too many; 32 are enough for any farm"
        );
    }

    #[test]
    fn what_can_not_be_a_member_is_refused() {
        let operator = ClusterConfig {
            role: Role::Operator,
            ..config()
        };
        assert!(told(&operator).starts_with("the role operator can't be a member"));
        let nowhere = ClusterConfig {
            advertise: "0.0.0.0:7403".parse().unwrap(),
            ..config()
        };
        assert!(told(&nowhere).starts_with("0.0.0.0:7403 is no address"));
        let nameless = ClusterConfig {
            farm: String::new(),
            ..config()
        };
        assert!(told(&nameless).starts_with("the farm's name must have"));
    }
}
