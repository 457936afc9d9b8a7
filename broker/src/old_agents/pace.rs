//! How long does a log-in wait for an old agent?
//!
//! Several times as long as it usually takes. One that takes longer goes on all the same, and
//! its answer is there for the user's next request, which is mostly that for the session.

use std::collections::HashMap;
use std::time::Duration;

use proto::{SessionRecord, Username};
use tokio::time::Instant;

use super::LIST_DEADLINE;

/// The pace of one agent, and what came too late. Times come from outside.
#[derive(Clone, Debug, Default)]
pub(super) struct Pace {
    /// What listings took, the latest ones above all.
    usual: Option<Duration>,
    late: HashMap<Username, (Vec<SessionRecord>, Instant)>,
}

impl Pace {
    /// Notes what a listing took that was answered.
    pub(super) fn took(&mut self, time: Duration) {
        self.usual = Some(match self.usual {
            Some(usual) => (usual * 7 + time) / 8,
            None => time,
        });
    }

    /// So long a log-in waits; for an agent that is not known, as long as it may take at all.
    pub(super) fn patience(&self) -> Duration {
        let usual = self.usual.unwrap_or(LIST_DEADLINE);
        (usual * TIMES_THE_USUAL).clamp(LEAST_PATIENCE, LIST_DEADLINE)
    }

    /// Keeps a listing for which nobody waits any more.
    pub(super) fn keep(&mut self, user: &Username, listed: Vec<SessionRecord>, now: Instant) {
        self.forget_old(now);
        if self.late.len() < MAX_LATE {
            self.late.insert(user.clone(), (listed, now));
        }
    }

    /// The listing that came late, once.
    pub(super) fn take_late(
        &mut self,
        user: &Username,
        now: Instant,
    ) -> Option<Vec<SessionRecord>> {
        self.forget_old(now);
        self.late.remove(user).map(|(listed, _)| listed)
    }

    fn forget_old(&mut self, now: Instant) {
        let age = |at: Instant| now.saturating_duration_since(at);
        self.late.retain(|_, (_, at)| age(*at) < LATE_LIFE);
    }
}

/// Answers differ as much on a server that is busy (measured: 0.3 s to 0.8 s).
const TIMES_THE_USUAL: u32 = 4;

/// A second is not noticed, and a quick server may have a slow moment.
const LEAST_PATIENCE: Duration = Duration::from_secs(1);

/// Users pick a session within seconds of the list; what is older may no longer be so.
const LATE_LIFE: Duration = Duration::from_secs(10);

/// More log-ins than one slow server has in that time. One more is asked anew.
const MAX_LATE: usize = 64;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proto::Username;
    use tokio::time::Instant;

    use super::{LATE_LIFE, LIST_DEADLINE, MAX_LATE, Pace};

    fn user(name: &str) -> Username {
        Username::parse(name).unwrap()
    }

    #[test]
    fn patience_is_several_times_the_usual_time_and_within_bounds() {
        let table = [
            (vec![], 4000),
            (vec![300], 1200),
            (vec![50, 50], 1000),
            (vec![800], 3200),
            (vec![3000], 4000),
            // One slow answer is not the usual.
            (vec![300, 300, 300, 1500], 1800),
        ];
        for (took, expected) in table {
            let mut pace = Pace::default();
            for time in &took {
                pace.took(Duration::from_millis(*time));
            }
            assert_eq!(pace.patience(), Duration::from_millis(expected), "{took:?}");
        }
    }

    #[test]
    fn a_late_listing_is_kept_for_a_while_and_used_once() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        pace.keep(&user("alice"), Vec::new(), now);
        assert_eq!(pace.take_late(&user("bob"), now), None);
        assert_eq!(pace.take_late(&user("alice"), now), Some(Vec::new()));
        assert_eq!(pace.take_late(&user("alice"), now), None);
        pace.keep(&user("alice"), Vec::new(), now);
        assert_eq!(pace.take_late(&user("alice"), now + LATE_LIFE), None);
    }

    #[test]
    fn late_listings_are_bounded_and_old_ones_make_room() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        for number in 0..=MAX_LATE {
            pace.keep(&user(&format!("user{number}")), Vec::new(), now);
        }
        assert_eq!(pace.late.len(), MAX_LATE);
        assert!(LATE_LIFE > LIST_DEADLINE);
        pace.keep(&user("alice"), Vec::new(), now + LATE_LIFE);
        assert_eq!(pace.late.len(), 1);
    }
}
