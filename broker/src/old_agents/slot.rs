//! What is kept for one old agent: its places, its connection, and what is known of it.

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use proto::{NodeId, Username};
use tokio::process::Child;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use super::LIST_DEADLINE;
use super::call::Call;
use super::figures::Figures;
use super::health::{Event, Health, Verdict};
use super::pace::Pace;
use super::places::Places;
use super::round::Answer;

/// All that is kept for one old agent.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) places: Places,
    /// One may connect; the others wait for it and use what it made.
    pub(super) connecting: Semaphore,
    /// Where the connection's socket is.
    pub(super) socket: PathBuf,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    master: Option<Child>,
    health: Health,
    pace: Pace,
    warned_at: Option<Instant>,
    /// Listings on their way.
    listings: HashMap<Username, watch::Receiver<Option<Answer>>>,
    figures: Figures,
    placed: VecDeque<(NodeId, Instant)>,
}

impl Slot {
    pub(super) fn new(socket: PathBuf) -> Self {
        Self {
            places: Places::new(),
            connecting: Semaphore::new(1),
            socket,
            kept: Mutex::default(),
        }
    }

    /// Nothing is awaited and nothing long is done while it is held.
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the connection stands, as far as can be seen from here.
    pub(super) fn is_connected(&self) -> bool {
        let mut kept = self.kept();
        let runs = |child: &mut Child| matches!(child.try_wait(), Ok(None));
        let is_there = kept.master.as_mut().is_some_and(runs);
        if !is_there {
            kept.master = None;
        }
        is_there && self.socket.exists()
    }

    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Takes the connection that was made; none ends the one that is there.
    pub(super) fn set_master(&self, master: Option<Child>) {
        self.kept().master = master;
    }

    /// Notes what became of a call.
    pub(super) fn judge(&self, call: &Call, event: Event, now: Instant) -> Verdict {
        self.kept().health.take(call, event, now)
    }

    #[cfg(test)]
    pub(super) fn has_answered(&self) -> bool {
        self.kept().health.has_answered()
    }

    /// The call that would show whether the agent answers again, if it is passed over.
    pub(super) fn next_probe(&self) -> Option<Call> {
        self.kept().health.next_probe()
    }

    /// The listing of this user's sessions that is on its way; else a new one, which whoever
    /// gets the sender must make.
    pub(super) fn listing(
        &self,
        user: &Username,
    ) -> (
        watch::Receiver<Option<Answer>>,
        Option<watch::Sender<Option<Answer>>>,
    ) {
        let mut kept = self.kept();
        kept.listings.retain(|_, told| told.has_changed().is_ok());
        if let Some(told) = kept.listings.get(user) {
            return (told.clone(), None);
        }
        let (tell, told) = watch::channel(None);
        kept.listings.insert(user.clone(), told.clone());
        (told, Some(tell))
    }

    /// How long a log-in waits for a listing. To connect takes a time of its own, and so does
    /// a queue: neither says anything of the agent.
    pub(super) fn patience(&self, connected: bool) -> Duration {
        if connected && self.places.has_room() {
            self.kept().pace.patience()
        } else {
            LIST_DEADLINE
        }
    }

    pub(super) fn change_pace<T>(&self, change: impl FnOnce(&mut Pace) -> T) -> T {
        change(&mut self.kept().pace)
    }

    #[cfg(test)]
    pub(super) fn n_listings(&self) -> usize {
        let mut kept = self.kept();
        kept.listings.retain(|_, told| told.has_changed().is_ok());
        kept.listings.len()
    }

    /// Whether a warning is due, which then counts as given: each call could have one.
    pub(super) fn may_warn(&self, now: Instant) -> bool {
        let last = &mut self.kept().warned_at;
        let is_due = last.is_none_or(|at| now.saturating_duration_since(at) >= WARN_EVERY);
        if is_due {
            *last = Some(now);
        }
        is_due
    }

    pub(super) fn is_passed_over(&self) -> bool {
        self.kept().health.is_passed_over()
    }

    /// Somebody who has an account there: the agent lists servers only for such.
    pub(super) fn known_user(&self) -> Option<Username> {
        self.kept().health.known_user().cloned()
    }

    pub(super) fn figures(&self) -> Figures {
        self.kept().figures.clone()
    }

    pub(super) fn change_figures(&self, change: impl FnOnce(&mut Figures)) {
        change(&mut self.kept().figures);
    }

    /// A user was placed on a host of this agent.
    pub(super) fn placed(&self, node: &NodeId, now: Instant) {
        let mut kept = self.kept();
        if kept.placed.len() >= MAX_PLACED {
            kept.placed.pop_front();
        }
        kept.placed.push_back((node.clone(), now));
    }

    /// How many were placed on the host lately.
    pub(super) fn in_flight(&self, node: &NodeId, now: Instant) -> u32 {
        let mut kept = self.kept();
        kept.placed
            .retain(|(_, at)| now.saturating_duration_since(*at) < IN_FLIGHT);
        let n = kept.placed.iter().filter(|(to, _)| to == node).count();
        u32::try_from(n).unwrap_or(u32::MAX)
    }
}

/// Often enough to be seen, and not one for each log-in.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// A session has started by then, and shows in the load.
const IN_FLIGHT: Duration = Duration::from_secs(30);

/// More log-ins than one server takes in that time.
const MAX_PLACED: usize = 256;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proto::NodeId;
    use tokio::time::Instant;

    use super::{IN_FLIGHT, Slot, WARN_EVERY};

    #[test]
    fn an_agent_is_warned_of_once_in_a_while() {
        let (slot, now) = (Slot::new("/s".into()), Instant::now());
        assert!(slot.may_warn(now));
        assert!(!slot.may_warn(now + WARN_EVERY - Duration::from_millis(1)));
        assert!(slot.may_warn(now + WARN_EVERY));
        assert!(!slot.may_warn(now + WARN_EVERY));
    }

    #[test]
    fn placements_count_for_their_host_until_a_session_has_started() {
        let (slot, now) = (Slot::new("/s".into()), Instant::now());
        let node = |name: &str| NodeId::parse(name).unwrap();
        slot.placed(&node("s1"), now);
        slot.placed(&node("s1"), now);
        slot.placed(&node("s2"), now);
        assert_eq!(slot.in_flight(&node("s1"), now), 2);
        assert_eq!(slot.in_flight(&node("s1"), now + IN_FLIGHT), 0);
    }
}
