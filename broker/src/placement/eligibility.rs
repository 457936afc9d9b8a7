//! May this server be chosen at all?

use std::fmt;
use std::time::Duration;

use proto::Readiness;

use super::Server;

/// How old the view of a server may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freshness {
    max_age: Duration,
    cut_off: bool,
}

/// Why a server isn't considered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exclusion {
    /// An operator wants no new sessions on it.
    Draining,
    /// Its agent says that it can't tell the truth now.
    NotReady,
    /// Its agent is stopping.
    Leaving,
    /// It didn't answer lately.
    Suspect,
    /// Nothing was heard from it for this long.
    Stale(Duration),
    /// It has not yet said how loaded it is, and others have.
    NoLoad,
}

impl Freshness {
    /// The rule for a farm that gossips every `round`, from the ages of this replica's
    /// views of *all* servers of the farm, not only of one profile's.
    ///
    /// Views older than 10 rounds, and at least 10 s, are too old. When more than half
    /// of them are, it's this replica that is cut off, and not the servers: then age says
    /// nothing, and the last known states are used.
    #[must_use]
    pub fn new(round: Duration, ages: impl IntoIterator<Item = Duration>) -> Self {
        let max_age = round.saturating_mul(MAX_AGE_ROUNDS).max(LEAST_MAX_AGE);
        let (mut n_all, mut n_old) = (0_usize, 0_usize);
        for age in ages {
            n_all += 1;
            n_old += usize::from(age > max_age);
        }
        Self {
            max_age,
            cut_off: n_old > n_all / 2,
        }
    }

    /// Whether this replica is cut off from the farm, so that age says nothing.
    #[must_use]
    pub fn is_cut_off(&self) -> bool {
        self.cut_off
    }
}

impl Exclusion {
    /// Why this server may not be chosen, if there is a reason.
    #[must_use]
    pub fn of(server: &Server<'_>, freshness: &Freshness) -> Option<Self> {
        match server.state.readiness {
            Readiness::Draining { .. } => return Some(Self::Draining),
            Readiness::NotReady { .. } => return Some(Self::NotReady),
            Readiness::Leaving => return Some(Self::Leaving),
            Readiness::Ready => {}
        }
        if server.suspect {
            return Some(Self::Suspect);
        }
        if server.age > freshness.max_age && !freshness.cut_off {
            return Some(Self::Stale(server.age));
        }
        server.state.load.is_none().then_some(Self::NoLoad)
    }
}

impl fmt::Display for Exclusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Draining => f.write_str("draining"),
            Self::NotReady => f.write_str("not ready"),
            Self::Leaving => f.write_str("leaving"),
            Self::Suspect => f.write_str("suspect"),
            Self::Stale(age) => write!(f, "stale {} s", age.as_secs()),
            Self::NoLoad => f.write_str("load unknown"),
        }
    }
}

const MAX_AGE_ROUNDS: u32 = 10;
const LEAST_MAX_AGE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proto::{Drain, Readiness};

    use super::{Exclusion, Freshness};
    use crate::placement::testing::{Member, servers, sized};

    fn seconds(ages: &[u64]) -> Vec<Duration> {
        ages.iter().copied().map(Duration::from_secs).collect()
    }

    /// Which of the servers with these ages may be chosen.
    fn check(round: u64, ages: &[u64], expected: &[bool]) {
        let freshness = Freshness::new(Duration::from_secs(round), seconds(ages));
        let eligible: Vec<bool> = seconds(ages)
            .into_iter()
            .map(|age| {
                let member = Member {
                    age,
                    ..Member::new("s1", sized(4, 0.0))
                };
                Exclusion::of(&servers(&[member])[0], &freshness).is_none()
            })
            .collect();
        assert_eq!(eligible, expected, "round {round} s, ages {ages:?}");
    }

    #[test]
    fn a_view_may_be_ten_rounds_old_and_at_least_ten_seconds() {
        check(1, &[0, 10, 11], &[true, true, false]);
        check(5, &[0, 50, 51], &[true, true, false]);
        check(0, &[0, 10, 11], &[true, true, false]);
    }

    #[test]
    fn when_more_than_half_of_the_views_are_old_age_says_nothing() {
        check(1, &[1, 11], &[true, false]);
        check(1, &[1, 11, 12], &[true, true, true]);
        check(1, &[1, 1, 11, 12], &[true, true, false, false]);
        check(1, &[11], &[true]);
    }

    #[test]
    fn each_reason_is_told_and_readiness_comes_first() {
        let freshness = Freshness::new(Duration::from_secs(1), seconds(&[1, 1, 1]));
        let reason = || "x".to_owned();
        let table = [
            (Readiness::Ready, 1, false, None),
            (Readiness::Ready, 12, false, Some("stale 12 s")),
            (Readiness::Ready, 12, true, Some("suspect")),
            (
                Readiness::Draining(Drain::new(&reason())),
                12,
                true,
                Some("draining"),
            ),
            (
                Readiness::NotReady { reason: reason() },
                1,
                false,
                Some("not ready"),
            ),
            (Readiness::Leaving, 1, false, Some("leaving")),
        ];
        for (readiness, age, suspect, expected) in table {
            let mut member = Member::new("s1", sized(4, 0.0));
            member.state.readiness = readiness.clone();
            member.age = Duration::from_secs(age);
            member.suspect = suspect;
            let exclusion = Exclusion::of(&servers(&[member])[0], &freshness);
            let text = exclusion.map(|exclusion| exclusion.to_string());
            assert_eq!(
                text.as_deref(),
                expected,
                "{readiness:?}, {age} s, {suspect}"
            );
        }
    }

    #[test]
    fn a_server_that_has_not_told_its_load_is_left_out() {
        let freshness = Freshness::new(Duration::from_secs(1), []);
        let mut member = Member::new("s1", sized(4, 0.0));
        member.state.load = None;
        let exclusion = Exclusion::of(&servers(&[member])[0], &freshness);
        assert_eq!(exclusion, Some(Exclusion::NoLoad));
    }
}
