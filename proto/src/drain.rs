//! What an operator wants of a server that takes no new sessions, and until when?

use std::fmt;
use std::time::Duration;

use crate::{Readiness, v1};

/// A drain, as its operator asked for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drain {
    /// The operator's words, in one line.
    pub reason: String,
    /// When something happens by itself; none: when the drain is undone, and not before.
    pub deadline: Option<Deadline>,
}

/// The moment at which a drain has waited long enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline {
    /// Seconds since 1970-01-01 UTC, at which it has come.
    pub at: u64,
    /// What happens then.
    pub then: AtDeadline,
}

/// What happens at the deadline of a drain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AtDeadline {
    /// The drain ends: the server takes new sessions again.
    #[default]
    Accept,
    /// Sessions that still run are suspended, and the server stays drained.
    Suspend,
    /// All sessions are ended, suspended ones too, and the server stays drained.
    Terminate,
}

/// Why a deadline can't be meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeadlineError {
    /// It has come already.
    #[error("the deadline is not in the future")]
    Past,
    /// A drain of that length is a mistake, or one without a deadline.
    #[error("the deadline is more than {} days ahead", MAX_AHEAD.as_secs() / DAY)]
    Far,
}

/// Why a message does not say what is wanted at the deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DrainWireError {
    /// It would never happen.
    #[error("something is to happen at the deadline, and there is no deadline")]
    NoDeadline,
    /// Whoever asks is of a later version.
    #[error("what is to happen at the deadline is not known here")]
    Unknown,
}

impl Drain {
    /// Without a deadline.
    #[must_use]
    pub fn new(reason: &str) -> Self {
        Self {
            reason: Readiness::reason_line(reason),
            deadline: None,
        }
    }

    /// What is to happen because the deadline has come; none before it.
    #[must_use]
    pub fn due(&self, since_epoch: Duration) -> Option<AtDeadline> {
        let deadline = self.deadline?;
        (since_epoch.as_secs() >= deadline.at).then_some(deadline.then)
    }

    /// Whether not even owners of sessions may come back: what they would find is being
    /// suspended or ended.
    #[must_use]
    pub fn is_closed(&self, since_epoch: Duration) -> bool {
        match self.due(since_epoch) {
            None | Some(AtDeadline::Accept) => false,
            Some(AtDeadline::Suspend | AtDeadline::Terminate) => true,
        }
    }

    /// Reads what an operator's program asks for.
    ///
    /// # Errors
    /// When it is not clear what is to happen: a guess might open a server that is about
    /// to be shut down.
    pub fn from_wire(wire: v1::SetDrainRequest) -> Result<Option<Self>, DrainWireError> {
        let v1::SetDrainRequest {
            drain,
            reason,
            deadline_seconds,
            at_deadline,
        } = wire;
        if !drain {
            return Ok(None);
        }
        let then = v1::AtDeadline::try_from(at_deadline);
        let then = then.map_err(|_later| DrainWireError::Unknown)?;
        let deadline = match (deadline_seconds, then) {
            (0, v1::AtDeadline::Unspecified) => None,
            (0, _) => return Err(DrainWireError::NoDeadline),
            (at, then) => Some(Deadline {
                at,
                then: then.into(),
            }),
        };
        Ok(Some(Self {
            deadline,
            ..Self::new(&reason)
        }))
    }
}

impl Deadline {
    /// Whether it can be meant, by whoever asks for it.
    ///
    /// # Errors
    /// When it has come already, or is too far away.
    pub fn check(self, since_epoch: Duration) -> Result<Self, DeadlineError> {
        self.check_within(since_epoch, MAX_AHEAD)
    }

    /// The same for whoever is asked, whose clock may be another one.
    ///
    /// # Errors
    /// When it has come already, or is too far away.
    pub fn check_of_others(self, since_epoch: Duration) -> Result<Self, DeadlineError> {
        self.check_within(since_epoch, MAX_AHEAD + MAX_SKEW)
    }

    fn check_within(self, since_epoch: Duration, ahead: Duration) -> Result<Self, DeadlineError> {
        let at = Duration::from_secs(self.at);
        if at <= since_epoch {
            return Err(DeadlineError::Past);
        }
        if at - since_epoch > ahead {
            return Err(DeadlineError::Far);
        }
        Ok(self)
    }

    /// How a message says it.
    #[must_use]
    pub fn to_wire(deadline: Option<Self>) -> (u64, v1::AtDeadline) {
        deadline.map_or((0, v1::AtDeadline::Unspecified), |deadline| {
            (deadline.at, deadline.then.into())
        })
    }
}

impl AtDeadline {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Accept, Self::Suspend, Self::Terminate];

    /// Its word, as operators write it and files hold it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Suspend => "suspend",
            Self::Terminate => "terminate",
        }
    }

    /// What the word says, if it is one.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|then| then.word() == word)
    }
}

impl fmt::Display for AtDeadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl From<AtDeadline> for v1::AtDeadline {
    fn from(then: AtDeadline) -> Self {
        match then {
            AtDeadline::Accept => Self::Accept,
            AtDeadline::Suspend => Self::Suspend,
            AtDeadline::Terminate => Self::Terminate,
        }
    }
}

impl From<v1::AtDeadline> for AtDeadline {
    fn from(wire: v1::AtDeadline) -> Self {
        match wire {
            v1::AtDeadline::Unspecified | v1::AtDeadline::Accept => Self::Accept,
            v1::AtDeadline::Suspend => Self::Suspend,
            v1::AtDeadline::Terminate => Self::Terminate,
        }
    }
}

impl From<Drain> for v1::SetDrainRequest {
    fn from(drain: Drain) -> Self {
        let (deadline_seconds, then) = Deadline::to_wire(drain.deadline);
        Self {
            drain: true,
            reason: drain.reason,
            deadline_seconds,
            at_deadline: then.into(),
        }
    }
}

const DAY: u64 = 24 * 3600;
/// Who drains for longer has forgotten it by then, or means no deadline at all.
const MAX_AHEAD: Duration = Duration::from_secs(30 * DAY);
/// Certificates hardly work between clocks that differ by more.
const MAX_SKEW: Duration = Duration::from_secs(DAY);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{AtDeadline, Deadline, DeadlineError, Drain, DrainWireError};
    use crate::v1;

    fn drain(at: u64, then: AtDeadline) -> Drain {
        Drain {
            deadline: Some(Deadline { at, then }),
            ..Drain::new("new disks")
        }
    }

    #[test]
    fn a_drain_survives_the_wire_with_each_end() {
        let timed = AtDeadline::ALL.map(|then| drain(1000, then));
        for drain in timed.into_iter().chain([Drain::new("new disks")]) {
            let wire = v1::SetDrainRequest::from(drain.clone());
            assert_eq!(Drain::from_wire(wire), Ok(Some(drain)));
        }
    }

    #[test]
    fn what_is_not_said_is_as_before_and_what_is_not_known_is_refused() {
        let wire = |deadline_seconds, at_deadline| v1::SetDrainRequest {
            drain: true,
            reason: "new\ndisks".to_owned(),
            deadline_seconds,
            at_deadline,
        };
        let rows = [
            // An operator's program that knows of no deadlines.
            (wire(0, 0), Ok(Some(Drain::new("new disks")))),
            (wire(9, 0), Ok(Some(drain(9, AtDeadline::Accept)))),
            (wire(0, 2), Err(DrainWireError::NoDeadline)),
            (wire(9, 7), Err(DrainWireError::Unknown)),
        ];
        for (wire, expected) in rows {
            assert_eq!(Drain::from_wire(wire), expected);
        }
        let undrain = v1::SetDrainRequest::default();
        assert_eq!(Drain::from_wire(undrain), Ok(None));
    }

    #[test]
    fn nothing_is_due_before_the_deadline_nor_without_one() {
        let at = Duration::from_millis;
        for then in AtDeadline::ALL {
            assert_eq!(drain(1000, then).due(at(999_999)), None);
            assert!(!drain(1000, then).is_closed(at(999_999)));
            assert_eq!(drain(1000, then).due(at(1_000_000)), Some(then));
            let closes = then != AtDeadline::Accept;
            assert_eq!(drain(1000, then).is_closed(at(1_000_000)), closes);
            assert_eq!(drain(1000, then).due(Duration::MAX), Some(then));
        }
        assert_eq!(Drain::new("").due(Duration::MAX), None);
        assert!(!Drain::new("").is_closed(Duration::MAX));
    }

    #[test]
    fn deadlines_are_in_the_future_and_near() {
        let now = Duration::from_millis(5_000_500);
        let days = |days: u64| 5000 + days * 24 * 3600;
        let (past, far) = (Some(DeadlineError::Past), Some(DeadlineError::Far));
        // when, told to whoever asks for it, told by whoever is asked
        let rows = [
            (0, past, past),
            (5000, past, past),
            (5001, None, None),
            (days(30), None, None),
            (days(30) + 1, far, None),
            (days(31) + 1, far, far),
            (u64::MAX, far, far),
        ];
        for (at, asking, asked) in rows {
            let then = AtDeadline::Suspend;
            let deadline = Deadline { at, then };
            assert_eq!(deadline.check(now).err(), asking, "{at}");
            assert_eq!(deadline.check_of_others(now).err(), asked, "{at}");
        }
        assert_eq!(
            DeadlineError::Far.to_string(),
            "the deadline is more than 30 days ahead"
        );
    }

    #[test]
    fn words_come_back_and_others_are_none() {
        for then in AtDeadline::ALL {
            assert_eq!(AtDeadline::from_word(then.word()), Some(then));
        }
        assert_eq!(AtDeadline::from_word("Suspend"), None);
    }
}
