//! What an agent or a replica says about itself by gossip: keys, value formats, limits.
//!
//! Every value starts with the format's version where it has structure, so that members
//! of this and the next version mix. Values come from other members and are never
//! trusted: whatever can't be read is an error of that one key, and the rest stays.

use std::net::IpAddr;

use crate::{Counts, Drain, Generation, Load, NodeId, NodeState, Readiness, Version};

/// Version of the advert's format.
pub const KEY_VERSION: &str = "v";
/// `agent` or `broker`.
pub const KEY_ROLE: &str = "role";
/// Version of the software, for operators.
pub const KEY_SOFTWARE: &str = "sw";
/// Names and addresses of the host, see [`HostNames`].
pub const KEY_NAMES: &str = "names";
/// See [`Readiness`].
pub const KEY_READINESS: &str = "ready";
/// Load and counts, see [`NodeState`].
pub const KEY_LOAD: &str = "load";
/// Whether the agent installs temporary keys, see [`Advert::installs_keys`].
pub const KEY_KEYS: &str = "keys";

/// Gossip stops delivering a node's changes when one value nears 64 KB, so our setter
/// refuses values long before.
pub const MAX_VALUE_BYTES: usize = 16 * 1024;

/// The names and addresses by which session profiles may call a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostNames {
    /// Host names: what `hostname` says, and the fully qualified form if it is known.
    pub names: Vec<NodeId>,
    /// Addresses of its interfaces, without loopback and link-local ones.
    pub addresses: Vec<IpAddr>,
}

/// Everything that a node says about itself, as far as it could be read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Advert {
    /// Names and addresses.
    pub names: HostNames,
    /// State without readiness gaps: present only when load and readiness could be read.
    pub state: Option<NodeState>,
    /// Version of the software.
    pub software: String,
    /// Whether temporary keys can be asked for. An agent that knows of none says nothing,
    /// and what a later one may say that is not understood counts as no.
    pub installs_keys: bool,
}

/// Why a gossiped value can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the gossiped value of the key {key} can't be read")]
pub struct AdvertError {
    /// Which key.
    pub key: &'static str,
}

impl HostNames {
    /// Writes the value of [`KEY_NAMES`]: all names and addresses, with blanks between.
    #[must_use]
    pub fn to_value(&self) -> String {
        let names = self.names.iter().map(ToString::to_string);
        let addresses = self.addresses.iter().map(ToString::to_string);
        names.chain(addresses).collect::<Vec<_>>().join(" ")
    }

    /// Reads it.
    ///
    /// # Errors
    /// When a word is neither a name nor an address, or there are too many.
    pub fn from_value(value: &str) -> Result<Self, AdvertError> {
        let error = AdvertError { key: KEY_NAMES };
        let mut names = Self::default();
        for (n_words, word) in value.split_ascii_whitespace().enumerate() {
            if n_words >= MAX_NAMES {
                return Err(error);
            }
            if let Ok(address) = word.parse() {
                names.addresses.push(address);
            } else {
                names
                    .names
                    .push(NodeId::parse(word).or(Err(error.clone()))?);
            }
        }
        Ok(names)
    }
}

impl Readiness {
    /// Writes the value of [`KEY_READINESS`]: without the deadline of a drain, which only
    /// operators want to know, and they ask the agent.
    #[must_use]
    pub fn to_value(&self) -> String {
        match self {
            Self::Ready => "ready".to_owned(),
            Self::Draining(drain) => {
                format!("draining {}", Self::reason_line(&drain.reason))
            }
            Self::NotReady { reason } => format!("not-ready {}", Self::reason_line(reason)),
            Self::Leaving => "leaving".to_owned(),
        }
    }

    /// Reads it.
    ///
    /// # Errors
    /// When the first word is unknown.
    pub fn from_value(value: &str) -> Result<Self, AdvertError> {
        let (word, reason) = value.split_once(' ').unwrap_or((value, ""));
        let reason = Self::reason_line(reason);
        match word {
            "ready" => Ok(Self::Ready),
            "draining" => Ok(Self::Draining(Drain {
                reason,
                deadline: None,
            })),
            "not-ready" => Ok(Self::NotReady { reason }),
            "leaving" => Ok(Self::Leaving),
            _ => Err(AdvertError { key: KEY_READINESS }),
        }
    }
}

impl NodeState {
    /// Writes the value of [`KEY_LOAD`]: 16 words with blanks between, `-` for what is
    /// not known. Readiness has a key of its own, since it is pushed at once.
    #[must_use]
    pub fn load_to_value(&self) -> Option<String> {
        let load = self.load?;
        let Counts {
            active,
            suspended,
            young,
            pending,
        } = self.counts;
        let or_dash = |x: Option<f64>| x.map_or_else(|| "-".to_owned(), |x| format!("{x:.4}"));
        Some(format!(
            "{FORMAT} {} {} {} {} {} {} {} {:.2} {:.2} {} {} {active} {suspended} {young} {pending}",
            self.generation,
            self.version.0,
            load.cores,
            load.mhz,
            load.memory_total_mb,
            load.memory_used_mb,
            or_dash(load.predicted),
            load.load1,
            load.load5,
            or_dash(load.pressure_cpu),
            or_dash(load.pressure_memory),
        ))
    }

    /// Reads the values of [`KEY_LOAD`] and [`KEY_READINESS`]. Words behind the known
    /// ones are ignored: a later version may add some.
    ///
    /// # Errors
    /// When a word is missing or can't be right.
    pub fn from_values(load: &str, readiness: &str) -> Result<Self, AdvertError> {
        let readiness = Readiness::from_value(readiness)?;
        let error = AdvertError { key: KEY_LOAD };
        let words = load.split_ascii_whitespace();
        Self::read_load(words, readiness).ok_or(error)
    }

    fn read_load<'a>(
        mut words: impl Iterator<Item = &'a str>,
        readiness: Readiness,
    ) -> Option<Self> {
        let words = &mut words;
        if words.next()? != FORMAT {
            return None;
        }
        let generation = Generation(number(words)?);
        let version = Version(number(words)?);
        let load = Load {
            cores: number(words)?,
            mhz: number(words)?,
            memory_total_mb: number(words)?,
            memory_used_mb: number(words)?,
            predicted: number_or_dash(words)?,
            load1: number(words)?,
            load5: number(words)?,
            pressure_cpu: number_or_dash(words)?,
            pressure_memory: number_or_dash(words)?,
        };
        let counts = Counts {
            active: number(words)?,
            suspended: number(words)?,
            young: number(words)?,
            pending: number(words)?,
        };
        Some(Self {
            generation,
            version,
            counts,
            load: Some(load.checked()?),
            readiness,
        })
    }
}

impl Advert {
    /// Writes the value of [`KEY_KEYS`]. Words behind the first one are ignored: a later
    /// version may add some.
    #[must_use]
    pub fn keys_to_value(installs_keys: bool) -> &'static str {
        if installs_keys { "1" } else { "0" }
    }

    /// Reads the keys of a member. Each key that can't be read is reported and left out.
    pub fn from_keys<'a>(
        keys: impl IntoIterator<Item = (&'a str, &'a str)>,
        mut report: impl FnMut(AdvertError),
    ) -> Self {
        let mut advert = Self::default();
        let (mut load, mut readiness) = (None, None);
        for (key, value) in keys {
            match key {
                KEY_NAMES => match HostNames::from_value(value) {
                    Ok(names) => advert.names = names,
                    Err(error) => report(error),
                },
                KEY_SOFTWARE => advert.software = value.chars().take(64).collect(),
                KEY_LOAD => load = Some(value),
                KEY_READINESS => readiness = Some(value),
                KEY_KEYS => {
                    advert.installs_keys = value.split_ascii_whitespace().next() == Some("1");
                }
                _ => {}
            }
        }
        if let (Some(load), Some(readiness)) = (load, readiness) {
            match NodeState::from_values(load, readiness) {
                Ok(state) => advert.state = Some(state),
                Err(error) => report(error),
            }
        }
        advert
    }
}

fn number<'a, N: std::str::FromStr>(words: &mut impl Iterator<Item = &'a str>) -> Option<N> {
    words.next()?.parse().ok()
}

fn number_or_dash<'a>(words: &mut impl Iterator<Item = &'a str>) -> Option<Option<f64>> {
    match words.next()? {
        "-" => Some(None),
        word => Some(Some(word.parse().ok()?)),
    }
}

/// The first word of a load value.
const FORMAT: &str = "1";

/// A server has a handful of names and addresses; more would only grow the gossip.
const MAX_NAMES: usize = 32;

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert_eq, proptest};

    use super::{Advert, HostNames, KEY_KEYS, KEY_LOAD, KEY_NAMES, KEY_READINESS};
    use crate::{Counts, Drain, Generation, Load, NodeId, NodeState, Readiness, Version};

    fn state() -> NodeState {
        NodeState {
            generation: Generation(1_795_323_502_000),
            version: Version(4711),
            counts: Counts {
                active: 12,
                suspended: 3,
                young: 1,
                pending: 2,
            },
            load: Some(Load {
                cores: 16,
                mhz: 2900,
                memory_total_mb: 64_000,
                memory_used_mb: 20_000,
                predicted: Some(3.25),
                load1: 2.5,
                load5: 2.25,
                pressure_cpu: Some(0.125),
                pressure_memory: None,
            }),
            readiness: Readiness::Ready,
        }
    }

    #[test]
    fn load_and_readiness_come_back() {
        let value = state().load_to_value().unwrap();
        assert_eq!(NodeState::from_values(&value, "ready"), Ok(state()));
        assert!(value.len() < 120, "{value}");
    }

    #[test]
    fn words_of_a_later_version_are_ignored() {
        let value = format!("{} 99 x", state().load_to_value().unwrap());
        assert_eq!(NodeState::from_values(&value, "ready"), Ok(state()));
    }

    #[test]
    fn every_readiness_comes_back() {
        for readiness in [
            Readiness::Ready,
            Readiness::Draining(Drain::new("new disks")),
            Readiness::Draining(Drain::default()),
            Readiness::NotReady {
                reason: "session database: locked".to_owned(),
            },
            Readiness::Leaving,
        ] {
            assert_eq!(Readiness::from_value(&readiness.to_value()), Ok(readiness));
        }
    }

    #[test]
    fn names_and_addresses_come_back() {
        let names = HostNames {
            names: vec![
                NodeId::parse("s1").unwrap(),
                NodeId::parse("s1.lab.test").unwrap(),
            ],
            addresses: vec!["10.77.0.101".parse().unwrap(), "fd77::101".parse().unwrap()],
        };
        assert_eq!(names.to_value(), "s1 s1.lab.test 10.77.0.101 fd77::101");
        assert_eq!(HostNames::from_value(&names.to_value()), Ok(names));
    }

    #[test]
    fn a_key_that_can_not_be_read_does_not_take_the_others_with_it() {
        let load = state().load_to_value().unwrap();
        let keys = [
            (KEY_NAMES, "s1 /etc"),
            (KEY_LOAD, &load),
            (KEY_READINESS, "ready"),
            ("x", ""),
        ];
        let mut bad = Vec::new();
        let advert = Advert::from_keys(keys, |error| bad.push(error.key));
        assert_eq!(bad, [KEY_NAMES]);
        assert_eq!(advert.state, Some(state()));
    }

    #[test]
    fn keys_are_promised_only_where_that_is_said_in_words_that_are_understood() {
        let rows = [
            (Some(Advert::keys_to_value(true)), true),
            (Some(Advert::keys_to_value(false)), false),
            (Some("1 of a later version"), true),
            (Some("10"), false),
            (Some(""), false),
            // A member of the version before this one.
            (None, false),
        ];
        for (value, expected) in rows {
            let keys = value.map(|value| (KEY_KEYS, value));
            let advert = Advert::from_keys(keys, |error| panic!("{error}"));
            assert_eq!(advert.installs_keys, expected, "{value:?}");
        }
    }

    proptest! {
        #[test]
        fn foreign_values_never_panic(load in "[ -~]{0,80}", ready in "\\PC{0,40}") {
            let _ = NodeState::from_values(&load, &ready);
            let _ = HostNames::from_value(&ready);
            let mut cut = state().load_to_value().unwrap();
            cut.truncate(load.len());
            let _ = NodeState::from_values(&cut, "ready");
        }

        #[test]
        fn any_finite_load_comes_back(load1 in 0u32..10_000, cores in 1u32..512) {
            let mut state = state();
            let load = Load { load1: f64::from(load1) / 4.0, cores, ..state.load.unwrap() };
            state.load = Some(load);
            let value = state.load_to_value().unwrap();
            prop_assert_eq!(NodeState::from_values(&value, "ready"), Ok(state));
        }
    }
}
