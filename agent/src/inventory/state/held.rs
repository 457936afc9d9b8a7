//! What follows for a session from how it got here: its age, and what its client is told?

use std::time::{Duration, Instant};

use proto::{ClientOrder, Session, SessionState};

use crate::inventory::sqlite::StoredSession;

/// A session and what follows from how it got here.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) stored: StoredSession,
    /// Until when it counts as started or resumed just now.
    pub(super) young_until: Option<Instant>,
    /// Since when it runs, for its share of the CPU; none while suspended.
    pub(super) active_since: Option<Instant>,
    /// How long it ran before that.
    pub(super) active_before: Duration,
    /// What its client is to do, and until when it is told.
    pub(super) client_order: Option<HeldOrder>,
}

/// What a client is to do, and until when.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeldOrder {
    pub(super) order: ClientOrder,
    pub(super) until: Instant,
    /// When it counts as done, if the session stays as it is.
    pub(super) settles: Option<Instant>,
}

impl HeldOrder {
    pub(super) fn end(self) -> Instant {
        self.settles
            .map_or(self.until, |settles| settles.min(self.until))
    }
}

impl Held {
    /// What others may know of it.
    pub(super) fn session(&self) -> Session {
        Session {
            client_order: self.client_order.map(|held| held.order),
            ..self.stored.session.clone()
        }
    }

    /// A session that was not there at the last reading.
    pub(super) fn started(stored: StoredSession, now: Instant) -> Self {
        let runs = stored.session.state == SessionState::Running;
        Self {
            stored,
            young_until: runs.then(|| now + YOUNG),
            active_since: runs.then_some(now),
            active_before: Duration::ZERO,
            client_order: None,
        }
    }

    /// A session that was there before this agent: only the database knows its age.
    pub(super) fn found(stored: StoredSession, local_now: i64, now: Instant) -> Self {
        let age = |time: Option<i64>| {
            let seconds = u64::try_from(local_now.saturating_sub(time?)).unwrap_or(0);
            Some(Duration::from_secs(seconds).min(MAX_AGE))
        };
        let since_written = age(stored.last_written);
        let active_before = age(stored.started).unwrap_or_default();
        let mut held = Self::started(stored, now);
        held.young_until = held
            .young_until
            .and_then(|until| until.checked_sub(since_written?));
        held.young_until = held.young_until.filter(|until| *until > now);
        if held.active_since.is_some() {
            held.active_before = active_before;
        }
        held
    }

    /// The same session as it is now.
    pub(super) fn succeeded_by(mut self, stored: StoredSession, now: Instant) -> Self {
        if self.stored.session.state != stored.session.state
            && let Some(held) = &mut self.client_order
        {
            // Done, most likely. But x2goserver writes S before the session is suspended, and
            // R again if somebody lists sessions in between: then the client is told again.
            held.settles = match stored.session.state {
                SessionState::Suspended => Some(now + ORDER_SETTLES),
                SessionState::Running => None,
            };
        }
        match (self.stored.session.state, stored.session.state) {
            (SessionState::Suspended, SessionState::Running) => {
                self.young_until = Some(now + YOUNG);
                self.active_since = Some(now);
            }
            (SessionState::Running, SessionState::Suspended) => {
                self.young_until = None;
                let since = self.active_since.take().unwrap_or(now);
                self.active_before += now.saturating_duration_since(since);
            }
            (SessionState::Running, SessionState::Running)
            | (SessionState::Suspended, SessionState::Suspended) => {}
        }
        self.stored = stored;
        self
    }
}

/// A session that is still suspended by then stays so; nobody has resumed it sooner.
const ORDER_SETTLES: Duration = Duration::from_secs(6);
/// How long a session start still weighs on the server.
const YOUNG: Duration = Duration::from_secs(30);
/// A time stamp from long ago is a wrong one; ten years still count exactly.
const MAX_AGE: Duration = Duration::from_secs(10 * 366 * 24 * 3600);
