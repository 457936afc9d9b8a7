//! One X2Go server as the mesh speaks of it: its name, its load, its readiness.

use std::fmt;
use std::sync::Arc;

use crate::{Deadline, Drain, v1};

/// The name that a server has itself: its `hostname`, as session records show it.
///
/// Short or fully qualified, lower case, at most 253 bytes; labels of letters, digits,
/// `-` and `_`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(Arc<str>);

/// A text that can't be a host name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a host name")]
pub struct NodeIdError(pub String);

impl NodeId {
    /// Checks a host name and takes it in lower case, without a final dot.
    ///
    /// # Errors
    /// When it is not a host name. The error shows at most 64 characters of it.
    pub fn parse(text: &str) -> Result<Self, NodeIdError> {
        let name = text.strip_suffix('.').unwrap_or(text);
        let label_is_good = |label: &str| {
            !label.is_empty()
                && label.len() <= 63
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        if name.len() > MAX_NAME_BYTES || !name.split('.').all(label_is_good) {
            return Err(NodeIdError(text.chars().take(64).collect()));
        }
        Ok(Self(name.to_ascii_lowercase().into()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first label: what `hostname --short` prints.
    #[must_use]
    pub fn short(&self) -> &str {
        self.0.split('.').next().unwrap_or(&self.0)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which start of an agent: grows each time, also when the clock was set back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Generation(pub u64);

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which state of an agent, within one generation: grows with each change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version(pub u64);

/// How many sessions and reservations a server holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Running sessions.
    pub active: u32,
    /// Suspended sessions.
    pub suspended: u32,
    /// Sessions started or resumed in the last 30 s.
    pub young: u32,
    /// Reservations that no session has fulfilled yet.
    pub pending: u32,
}

/// The load of a server. Memory in units of 10^6 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Load {
    /// Processors that are on line.
    pub cores: u32,
    /// Maximum or base frequency of a core in MHz, never the momentary one.
    pub mhz: u32,
    /// `MemTotal`.
    pub memory_total_mb: u64,
    /// `MemTotal - MemAvailable`.
    pub memory_used_mb: u64,
    /// Predicted CPU demand of the active sessions, in cores of 2400 MHz.
    pub predicted: Option<f64>,
    /// Load average of one minute, as the kernel gives it.
    pub load1: f64,
    /// Load average of five minutes.
    pub load5: f64,
    /// Share of the last 10 s in which some task waited for a CPU, 0 to 1.
    pub pressure_cpu: Option<f64>,
    /// The same for memory.
    pub pressure_memory: Option<f64>,
}

impl Load {
    /// The frequency of the reference core, in which CPU demand is counted.
    pub const REFERENCE_MHZ: f64 = 2400.0;

    /// Capacity in reference cores; at least a tenth of one, so that it can divide.
    #[must_use]
    pub fn capacity(&self) -> f64 {
        (f64::from(self.cores) * f64::from(self.mhz) / Self::REFERENCE_MHZ).max(0.1)
    }
}

/// What a server says about taking new sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It takes new sessions.
    Ready,
    /// An operator asked it to take none; running ones go on.
    Draining(Drain),
    /// Its agent can't tell the truth now.
    NotReady {
        /// What is wrong, for operators.
        reason: String,
    },
    /// Its agent is stopping.
    Leaving,
}

impl Readiness {
    /// Whether the server takes new sessions.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        matches!(self, Self::Ready)
    }

    /// Cuts a reason to one line that fits a gossip value.
    #[must_use]
    pub fn reason_line(text: &str) -> String {
        text.chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .take(MAX_REASON_CHARS)
            .collect()
    }
}

impl fmt::Display for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready => f.write_str("ready"),
            Self::Draining(drain) if drain.reason.is_empty() => f.write_str("draining"),
            Self::Draining(drain) => write!(f, "draining: {}", drain.reason),
            Self::NotReady { reason } => write!(f, "not ready: {reason}"),
            Self::Leaving => f.write_str("leaving"),
        }
    }
}

/// A server as its own agent sees it at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeState {
    /// Of the agent.
    pub generation: Generation,
    /// Of this state; compared only within one generation.
    pub version: Version,
    /// Sessions and reservations.
    pub counts: Counts,
    /// Absent until the first reading.
    pub load: Option<Load>,
    /// Whether it takes new sessions.
    pub readiness: Readiness,
}

/// A message of the mesh that does not say what it must.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the field {field} of {message} is missing or can't be right")]
pub struct WireError {
    /// The message type.
    pub message: &'static str,
    /// The field.
    pub field: &'static str,
}

impl WireError {
    pub(crate) fn new(message: &'static str, field: &'static str) -> Self {
        Self { message, field }
    }
}

impl From<Counts> for v1::Counts {
    fn from(counts: Counts) -> Self {
        let Counts {
            active,
            suspended,
            young,
            pending,
        } = counts;
        Self {
            active,
            suspended,
            young,
            pending,
        }
    }
}

impl From<v1::Counts> for Counts {
    fn from(wire: v1::Counts) -> Self {
        let v1::Counts {
            active,
            suspended,
            young,
            pending,
        } = wire;
        Self {
            active,
            suspended,
            young,
            pending,
        }
    }
}

impl From<Load> for v1::Load {
    fn from(load: Load) -> Self {
        Self {
            cores: load.cores,
            mhz: load.mhz,
            memory_total_mb: load.memory_total_mb,
            memory_used_mb: load.memory_used_mb,
            predicted: load.predicted,
            load1: load.load1,
            load5: load.load5,
            pressure_cpu: load.pressure_cpu,
            pressure_memory: load.pressure_memory,
        }
    }
}

impl TryFrom<v1::Load> for Load {
    type Error = WireError;

    fn try_from(wire: v1::Load) -> Result<Self, WireError> {
        let load = Self {
            cores: wire.cores,
            mhz: wire.mhz,
            memory_total_mb: wire.memory_total_mb,
            memory_used_mb: wire.memory_used_mb,
            predicted: wire.predicted,
            load1: wire.load1,
            load5: wire.load5,
            pressure_cpu: wire.pressure_cpu,
            pressure_memory: wire.pressure_memory,
        };
        load.checked().ok_or(WireError::new("Load", "a number"))
    }
}

impl Load {
    /// The load if each of its numbers is finite and not negative.
    pub(crate) fn checked(self) -> Option<Self> {
        let good = |x: f64| x.is_finite() && x >= 0.0;
        let good_if_there = |x: Option<f64>| x.is_none_or(good);
        let all_good = good(self.load1)
            && good(self.load5)
            && good_if_there(self.predicted)
            && good_if_there(self.pressure_cpu)
            && good_if_there(self.pressure_memory);
        all_good.then_some(self)
    }
}

impl From<Readiness> for v1::Readiness {
    fn from(readiness: Readiness) -> Self {
        use v1::readiness::State;
        let (state, reason, deadline) = match readiness {
            Readiness::Ready => (State::Ready, String::new(), None),
            Readiness::Draining(Drain { reason, deadline }) => (State::Draining, reason, deadline),
            Readiness::NotReady { reason } => (State::NotReady, reason, None),
            Readiness::Leaving => (State::Leaving, String::new(), None),
        };
        let (deadline_seconds, then) = Deadline::to_wire(deadline);
        Self {
            state: state.into(),
            reason,
            deadline_seconds,
            at_deadline: then.into(),
        }
    }
}

impl TryFrom<v1::Readiness> for Readiness {
    type Error = WireError;

    fn try_from(wire: v1::Readiness) -> Result<Self, WireError> {
        use v1::readiness::State;
        let reason = Self::reason_line(&wire.reason);
        match State::try_from(wire.state) {
            Ok(State::Ready) => Ok(Self::Ready),
            Ok(State::Draining) => Ok(Self::Draining(Drain {
                reason,
                deadline: deadline_of(wire.deadline_seconds, wire.at_deadline),
            })),
            Ok(State::NotReady) => Ok(Self::NotReady { reason }),
            Ok(State::Leaving) => Ok(Self::Leaving),
            Ok(State::Unspecified) | Err(_) => Err(WireError::new("Readiness", "state")),
        }
    }
}

/// What a later version may do at a deadline is not known here: then the drain is all that is.
fn deadline_of(at: u64, then: i32) -> Option<Deadline> {
    let then = v1::AtDeadline::try_from(then).ok()?;
    (at > 0).then(|| Deadline {
        at,
        then: then.into(),
    })
}

impl From<NodeState> for v1::NodeState {
    fn from(state: NodeState) -> Self {
        Self {
            generation: state.generation.0,
            version: state.version.0,
            counts: Some(state.counts.into()),
            load: state.load.map(Into::into),
            readiness: Some(state.readiness.into()),
        }
    }
}

impl TryFrom<v1::NodeState> for NodeState {
    type Error = WireError;

    fn try_from(wire: v1::NodeState) -> Result<Self, WireError> {
        let missing = |field| WireError::new("NodeState", field);
        Ok(Self {
            generation: Generation(wire.generation),
            version: Version(wire.version),
            counts: wire.counts.ok_or_else(|| missing("counts"))?.into(),
            load: wire.load.map(TryInto::try_into).transpose()?,
            readiness: wire
                .readiness
                .ok_or_else(|| missing("readiness"))?
                .try_into()?,
        })
    }
}

const MAX_NAME_BYTES: usize = 253;

/// A reason is read by a person in one line; longer texts belong in the agent's log.
const MAX_REASON_CHARS: usize = 160;

#[cfg(test)]
mod tests {
    use super::{Counts, Generation, Load, NodeId, NodeState, Readiness, Version};
    use crate::{AtDeadline, Deadline, Drain, v1};

    #[test]
    fn host_names_are_taken_in_lower_case() {
        for (text, name) in [
            ("s1", "s1"),
            ("S1.Lab.Test.", "s1.lab.test"),
            ("x2go_7", "x2go_7"),
        ] {
            assert_eq!(NodeId::parse(text).unwrap().as_str(), name);
        }
        assert_eq!(NodeId::parse("s1.lab.test").unwrap().short(), "s1");
    }

    #[test]
    fn texts_that_are_no_host_name_are_refused() {
        let long = "a".repeat(254);
        for text in [
            "", ".", "a..b", "-a", "a-", "a b", "s1/x", "ä", "a\n", &long,
        ] {
            assert!(NodeId::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_node_state_survives_the_wire() {
        let state = NodeState {
            generation: Generation(7),
            version: Version(8),
            counts: Counts {
                active: 1,
                suspended: 2,
                young: 3,
                pending: 4,
            },
            load: Some(Load {
                cores: 4,
                mhz: 2900,
                predicted: Some(0.5),
                ..Load::default()
            }),
            readiness: Readiness::Draining(Drain {
                deadline: Some(Deadline {
                    at: 1_795_888_800,
                    then: AtDeadline::Suspend,
                }),
                ..Drain::new("new disks")
            }),
        };
        let mut wire = v1::NodeState::from(state.clone());
        assert_eq!(NodeState::try_from(wire.clone()), Ok(state));

        // What a later version does at the deadline.
        wire.readiness.as_mut().unwrap().at_deadline = 7;
        let drain = Drain::new("new disks");
        let read = NodeState::try_from(wire).unwrap().readiness;
        assert_eq!(read, Readiness::Draining(drain));
    }

    #[test]
    fn numbers_that_can_not_be_a_load_are_refused() {
        for bad in [f64::NAN, f64::INFINITY, -1.0] {
            let wire = v1::Load {
                load1: bad,
                ..v1::Load::default()
            };
            assert!(Load::try_from(wire).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_reason_becomes_one_short_line() {
        assert_eq!(Readiness::reason_line("a\nb"), "a b");
        assert_eq!(Readiness::reason_line(&"x".repeat(1000)).len(), 160);
    }
}
