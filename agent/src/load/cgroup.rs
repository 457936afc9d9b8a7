//! How much CPU will the running sessions want, judged by what they have used?
//!
//! One session per user is the normal case, so the CPU time of a session is that of its
//! user's slice since the session began. The prediction is `(c0·tau0 + cpu) / (tau0 + a)`
//! per session: a new one counts as average, an old one as measured.

use std::collections::BTreeMap;
use std::time::Duration;

use proto::{Load, SessionId, Username};

use crate::inventory::ActiveSession;

/// Reads `usage_usec` of a `cpu.stat` file of cgroup v2.
pub(super) fn cpu_usage(cpu_stat: &str) -> Option<Duration> {
    let value = cpu_stat
        .lines()
        .find_map(|line| line.strip_prefix("usage_usec "))?;
    value.trim().parse().ok().map(Duration::from_micros)
}

/// Remembers what each user's slice had used when a session began.
#[derive(Debug, Default)]
pub(super) struct Prediction {
    baselines: BTreeMap<SessionId, Baseline>,
}

#[derive(Debug, Clone, Copy)]
struct Baseline {
    /// The slice's usage when the session was seen first.
    usage: Duration,
}

impl Prediction {
    /// Predicts the demand of `sessions` in reference cores. `usage` has the CPU time of
    /// the users whose slice could be read; the others count as average.
    pub(super) fn predict(
        &mut self,
        sessions: &[ActiveSession],
        usage: &BTreeMap<Username, Duration>,
        mhz: u32,
    ) -> f64 {
        let speed = f64::from(mhz) / Load::REFERENCE_MHZ;
        let mut n_of_user = BTreeMap::<&Username, f64>::new();
        for session in sessions {
            *n_of_user.entry(&session.user).or_default() += 1.0;
        }
        let mut kept = BTreeMap::new();
        let mut sum = 0.0;
        for session in sessions {
            let active = session.active.as_secs_f64();
            let share = n_of_user.get(&session.user).copied().unwrap_or(1.0);
            let used = usage.get(&session.user).map(|now| {
                let baseline = self.baseline(session, *now);
                kept.insert(session.id.clone(), baseline);
                now.saturating_sub(baseline.usage).as_secs_f64() * speed / share
            });
            sum += demand(used.unwrap_or(AVERAGE_DEMAND * active), active);
        }
        self.baselines = kept;
        sum
    }

    /// A session that was there long before it was seen: its user's slice most likely
    /// began with it, so all of its usage counts.
    fn baseline(&self, session: &ActiveSession, usage: Duration) -> Baseline {
        let known = self.baselines.get(&session.id).copied();
        known.unwrap_or_else(|| Baseline {
            usage: if session.active < JUST_BEGUN {
                usage
            } else {
                Duration::ZERO
            },
        })
    }
}

fn demand(cpu_seconds: f64, active_seconds: f64) -> f64 {
    (AVERAGE_DEMAND * CONFIDENCE + cpu_seconds) / (CONFIDENCE + active_seconds)
}

/// What an average session wants, in reference cores (c0 of the placement).
const AVERAGE_DEMAND: f64 = 0.2;
/// For how many seconds a session counts more as average than as measured (tau0).
const CONFIDENCE: f64 = 600.0;
/// The load is read each second, so a session that began under our eyes is younger.
const JUST_BEGUN: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use proto::{SessionId, Username};

    use super::{Prediction, cpu_usage};
    use crate::inventory::ActiveSession;

    fn user(name: &str) -> Username {
        Username::parse(name).unwrap()
    }

    fn session(user_name: &str, n: u32, active: u64) -> ActiveSession {
        ActiveSession {
            id: SessionId::parse(&format!("{user_name}-{n}")).unwrap(),
            user: user(user_name),
            active: Duration::from_secs(active),
        }
    }

    fn usage(of: &[(&str, u64)]) -> BTreeMap<Username, Duration> {
        of.iter()
            .map(|(name, seconds)| (user(name), Duration::from_secs(*seconds)))
            .collect()
    }

    #[track_caller]
    fn check(predicted: f64, expected: f64) {
        assert!(
            (predicted - expected).abs() < 1e-9,
            "{predicted} instead of {expected}"
        );
    }

    #[test]
    fn usage_is_read_from_cpu_stat() {
        let text = "usage_usec 1500000\nuser_usec 1000000\nsystem_usec 500000\n";
        assert_eq!(cpu_usage(text), Some(Duration::from_millis(1500)));
        assert_eq!(cpu_usage("nr_periods 0\n"), None);
        assert_eq!(cpu_usage("usage_usec x\n"), None);
    }

    #[test]
    fn new_sessions_count_as_average_and_old_ones_as_measured() {
        let predict = |active, used| {
            let sessions = [session("alice", 1, active)];
            Prediction::default().predict(&sessions, &usage(&[("alice", used)]), 2400)
        };
        check(predict(0, 0), 0.2);
        // A slice that was busy before the session began does not count against it.
        check(predict(0, 5000), 0.2);
        check(predict(600, 600), (120.0 + 600.0) / 1200.0);
        check(predict(600, 0), 120.0 / 1200.0);
    }

    #[test]
    fn usage_counts_from_the_beginning_of_the_session_and_in_reference_cores() {
        let mut prediction = Prediction::default();
        check(
            prediction.predict(&[session("alice", 1, 0)], &usage(&[("alice", 100)]), 4800),
            0.2,
        );
        let later =
            prediction.predict(&[session("alice", 1, 600)], &usage(&[("alice", 160)]), 4800);
        check(later, (120.0 + 2.0 * 60.0) / 1200.0);
    }

    #[test]
    fn sessions_of_one_user_share_its_slice() {
        let sessions = [session("alice", 1, 600), session("alice", 2, 600)];
        let predicted = Prediction::default().predict(&sessions, &usage(&[("alice", 600)]), 2400);
        check(predicted, 2.0 * (120.0 + 300.0) / 1200.0);
    }

    #[test]
    fn a_user_without_a_readable_slice_counts_as_average() {
        let sessions = [session("alice", 1, 5000), session("bob", 1, 600)];
        let predicted = Prediction::default().predict(&sessions, &usage(&[("bob", 600)]), 2400);
        check(predicted, 0.2 + (120.0 + 600.0) / 1200.0);
    }

    #[test]
    fn nobody_wants_nothing() {
        check(Prediction::default().predict(&[], &usage(&[]), 2400), 0.0);
    }
}
