//! What does placement take an old server's state for?
//!
//! An old agent tells a mean load and free memory, now and then. Placement compares that
//! with what agents of the mesh tell, so it is brought into the same form, and what an old
//! agent never tells is assumed so that such servers are neither favoured nor starved.

use std::time::Duration;

use proto::{Counts, Generation, Load, NodeId, NodeState, Readiness, Version};
use tokio::time::Instant;

use super::answer::CheckLoad;

/// The figures of one old agent.
#[derive(Clone, Debug, Default)]
pub(super) struct Figures {
    load: Option<(CheckLoad, Instant)>,
    /// The most memory that was ever free there: nearly what is there for sessions.
    most_memory_mb: u64,
    /// The highest frequency that was seen; the momentary one says little.
    most_mhz: u32,
    /// How many sessions each server has, as far as this agent's database knows.
    sessions: Vec<(NodeId, u32)>,
}

impl Figures {
    pub(super) fn take_load(&mut self, told: CheckLoad, now: Instant) {
        self.most_memory_mb = self.most_memory_mb.max(told.memory_available_mb);
        self.most_mhz = self.most_mhz.max(told.mhz);
        self.load = Some((told, now));
    }

    pub(super) fn take_sessions(&mut self, sessions: Vec<(NodeId, u32)>) {
        self.sessions = sessions;
    }

    /// How many sessions the servers have that `is_it` knows.
    pub(super) fn n_sessions(&self, is_it: impl Fn(&NodeId) -> bool) -> u32 {
        let own = self.sessions.iter().filter(|(node, _)| is_it(node));
        own.fold(0, |sum, (_, n)| sum.saturating_add(*n))
    }

    /// The load, unless it is too old to say anything.
    pub(super) fn load(&self, now: Instant) -> Option<Load> {
        let (told, at) = self.load.as_ref()?;
        if now.saturating_duration_since(*at) > MAX_AGE {
            return None;
        }
        let used = self.most_memory_mb.saturating_sub(told.memory_available_mb);
        Some(Load {
            cores: told.cores,
            mhz: self.most_mhz,
            memory_total_mb: self.most_memory_mb,
            memory_used_mb: used,
            load1: told.load_average,
            load5: told.load_average,
            ..Load::default()
        })
    }
}

/// The state of an old server that has answered in this request.
pub(super) fn state(load: Option<Load>, n_sessions: u32, in_flight: u32) -> NodeState {
    NodeState {
        generation: Generation::default(),
        version: Version::default(),
        counts: Counts {
            active: n_sessions,
            pending: in_flight,
            ..Counts::default()
        },
        load: Some(load.unwrap_or_else(|| middling(n_sessions))),
        readiness: Readiness::Ready,
    }
}

/// A server that tells no load counts as a middling one whose sessions are average ones: so
/// servers of that kind are told apart by their sessions, as the original does.
fn middling(n_sessions: u32) -> Load {
    let n = f64::from(n_sessions);
    Load {
        cores: 4,
        mhz: 2400,
        memory_total_mb: 16_000,
        memory_used_mb: 2_000 + 500 * u64::from(n_sessions),
        load1: 0.2 * n,
        load5: 0.2 * n,
        ..Load::default()
    }
}

/// Three polls.
const MAX_AGE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proto::NodeId;
    use tokio::time::Instant;

    use super::{CheckLoad, Figures, MAX_AGE, state};
    use crate::placement::{Averages, Score};

    fn told(load_average: f64, memory_available_mb: u64) -> CheckLoad {
        CheckLoad {
            load_average,
            memory_available_mb,
            cores: 4,
            mhz: 2400,
        }
    }

    fn score(figures: &Figures, n_sessions: u32, in_flight: u32, now: Instant) -> f64 {
        let state = state(figures.load(now), n_sessions, in_flight);
        let score = Score::of(&state, 0, &Averages::default()).unwrap();
        assert!(!score.hot);
        score.total()
    }

    #[test]
    fn more_load_less_memory_and_more_log_ins_are_worse() {
        let now = Instant::now();
        let mut idle = Figures::default();
        idle.take_load(told(0.1, 16_000), now);
        let mut busy = idle.clone();
        busy.take_load(told(3.0, 16_000), now);
        let mut full = idle.clone();
        full.take_load(told(0.1, 6_000), now);
        let best = score(&idle, 0, 0, now);
        assert!(score(&busy, 0, 0, now) > best);
        assert!(score(&full, 0, 0, now) > best);
        assert!(score(&idle, 0, 2, now) > best);
    }

    #[test]
    fn servers_without_a_load_are_told_apart_by_their_sessions() {
        let (none, now) = (Figures::default(), Instant::now());
        assert!(score(&none, 3, 0, now) > score(&none, 1, 0, now));
        assert!(score(&none, 1, 1, now) > score(&none, 1, 0, now));
    }

    #[test]
    fn an_old_reading_is_none() {
        let now = Instant::now();
        let mut figures = Figures::default();
        figures.take_load(told(1.0, 8_000), now);
        assert!(figures.load(now + MAX_AGE).is_some());
        assert!(
            figures
                .load(now + MAX_AGE + Duration::from_secs(1))
                .is_none()
        );
    }

    #[test]
    fn sessions_are_counted_for_the_server_that_is_meant() {
        let node = |name: &str| NodeId::parse(name).unwrap();
        let mut figures = Figures::default();
        figures.take_sessions(vec![(node("s1"), 3), (node("s2"), 2)]);
        assert_eq!(figures.n_sessions(|n| *n == node("s2")), 2);
        assert_eq!(figures.n_sessions(|n| *n == node("s9")), 0);
    }
}
