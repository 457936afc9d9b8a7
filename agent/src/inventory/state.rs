//! Which sessions and reservations does this server hold, and what has changed?
//!
//! All rules of the inventory, without tasks, channels or clocks: each step is told the
//! time, and [`State::settle`] says what others must hear of it.

mod held;
mod news;

use std::collections::BTreeMap;
use std::mem;
use std::time::{Duration, Instant};

use proto::{
    ClientOrder, Counts, Drain, Generation, Load, NodeId, NodeState, Readiness, SessionId,
    SessionRecord, SessionState, Username, Version,
};

use super::sqlite::Reading;
use crate::admission::{self, Facts, Refusal, Request, Verdict};
use held::{Held, HeldOrder};
pub use news::{ActiveSession, Change, Delta, Snapshot};

/// What this server knows of itself.
#[derive(Debug)]
pub(super) struct State {
    node: NodeId,
    generation: Generation,
    version: Version,
    sessions: BTreeMap<SessionId, Held>,
    reservations: BTreeMap<Username, Instant>,
    utc_offset: i64,
    load: Option<Load>,
    drain: Option<Drain>,
    trouble: Option<String>,
    was_read: bool,
    is_leaving: bool,
    /// What [`State::settle`] has last told.
    told: (Counts, Readiness, Option<Load>),
    delta: Delta,
}

/// Why the client of a session can't be told what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// There is none of this user.
    #[error("{user} has no session {session} here")]
    NoSuchSession {
        /// Whose it should be.
        user: Username,
        /// Which one.
        session: SessionId,
    },
    /// Nobody is connected.
    #[error("the session {session} is suspended, so it has no client")]
    Suspended {
        /// Which one.
        session: SessionId,
    },
}

/// What a step means for others.
#[derive(Debug, PartialEq)]
pub(super) struct Settled {
    /// For subscribers of sessions and reservations.
    pub(super) change: Option<Change>,
    /// For everybody who reads the state of this server.
    pub(super) state: NodeState,
}

impl State {
    pub(super) fn new(node: NodeId, generation: Generation, drain: Option<Drain>) -> Self {
        let mut state = Self {
            node,
            generation,
            version: Version(1),
            sessions: BTreeMap::new(),
            reservations: BTreeMap::new(),
            utc_offset: 0,
            load: None,
            drain,
            trouble: Some(NOT_YET_READ.to_owned()),
            was_read: false,
            is_leaving: false,
            told: (Counts::default(), Readiness::Ready, None),
            delta: Delta::default(),
        };
        state.told.1 = state.readiness();
        state
    }

    /// Takes over what the session database says now.
    pub(super) fn take_reading(&mut self, reading: Reading, local_now: i64, now: Instant) {
        let is_first = !mem::replace(&mut self.was_read, true);
        self.trouble = None;
        self.utc_offset = reading.utc_offset;
        let mut known = mem::take(&mut self.sessions);
        for stored in reading.sessions {
            let id = stored.session.id.clone();
            let old = known.remove(&id);
            let before = old.as_ref().map(Held::session);
            let held = match old {
                Some(old) => old.succeeded_by(stored, now),
                None if is_first => Held::found(stored, local_now, now),
                None => Held::started(stored, now),
            };
            let session = held.session();
            if before.is_none_or(|before| before != session) {
                self.delta.upserted.push(session);
            }
            if self
                .reservations
                .remove(&held.stored.session.user)
                .is_some()
            {
                self.delta.released.push(held.stored.session.user.clone());
            }
            self.sessions.insert(id, held);
        }
        self.delta.removed.extend(known.into_keys());
    }

    /// Notes that the session database can't be read. What was read last is kept.
    pub(super) fn take_trouble(&mut self, reason: String) {
        self.trouble = Some(reason);
    }

    pub(super) fn take_load(&mut self, load: Load) {
        self.load = Some(load);
    }

    pub(super) fn set_drain(&mut self, drain: Option<Drain>) {
        self.drain = drain;
    }

    pub(super) fn drain(&self) -> Option<&Drain> {
        self.drain.as_ref()
    }

    pub(super) fn leave(&mut self) {
        self.is_leaving = true;
    }

    /// Answers a broker, and holds a place if that is the answer.
    pub(super) fn admit(&mut self, request: &Request, utc_now: i64, now: Instant) -> Verdict {
        let local_now = utc_now.saturating_add(self.utc_offset);
        let readiness = self.readiness();
        let Counts { young, pending, .. } = self.counts(now);
        let theirs = || {
            let stored = self.sessions.values().map(|held| &held.stored);
            stored.filter(|stored| stored.is_own_of(&request.user))
        };
        let facts = Facts {
            node: &self.node,
            readiness: &readiness,
            since_epoch: since_epoch(utc_now),
            records: theirs()
                .filter_map(|stored| stored.record_at(local_now))
                .collect(),
            is_starting: theirs().any(|stored| stored.session.starting),
            is_reserved: self.reservations.contains_key(&request.user),
            pending,
            young,
            capacity: self.load.map(|load| load.capacity()),
        };
        let mut verdict = admission::decide(request, facts);
        if verdict == Verdict::Reserve && self.reservations.len() >= MAX_RESERVATIONS {
            verdict = Verdict::Refused(Refusal::Crowded);
        }
        if verdict == Verdict::Reserve {
            self.reservations
                .insert(request.user.clone(), now + RESERVATION_LIFE);
            self.delta.reserved.push(request.user.clone());
        }
        verdict
    }

    /// Gives a reservation back; unknown users are no error.
    pub(super) fn cancel(&mut self, user: &Username) {
        if self.reservations.remove(user).is_some() {
            self.delta.released.push(user.clone());
        }
    }

    /// The user's sessions that can be resumed, the best one first. None on a server that
    /// lets nobody back.
    pub(super) fn resumable(&self, user: &Username, utc_now: i64) -> Vec<SessionRecord> {
        let drain = self.drain.as_ref();
        if drain.is_some_and(|drain| drain.is_closed(since_epoch(utc_now))) {
            return Vec::new();
        }
        let local_now = utc_now.saturating_add(self.utc_offset);
        let stored = self.sessions.values().map(|held| &held.stored);
        let theirs = stored.filter(|stored| stored.is_own_of(user));
        admission::best_first(
            theirs
                .filter_map(|stored| stored.record_at(local_now))
                .collect(),
        )
    }

    /// Notes what the client of a session is to do.
    pub(super) fn order_client(
        &mut self,
        user: &Username,
        session: &SessionId,
        order: ClientOrder,
        now: Instant,
    ) -> Result<(), OrderError> {
        let held = self.sessions.get_mut(session);
        let theirs = held.filter(|held| held.stored.session.user == *user);
        let held = theirs.ok_or_else(|| OrderError::NoSuchSession {
            user: user.clone(),
            session: session.clone(),
        })?;
        if held.stored.session.state == SessionState::Suspended {
            let session = session.clone();
            return Err(OrderError::Suspended { session });
        }
        held.client_order = Some(HeldOrder {
            order,
            until: now + CLIENT_ORDER_LIFE,
            settles: None,
        });
        self.delta.upserted.push(held.session());
        Ok(())
    }

    /// Ends what has come to its end, and says what has changed since the last time.
    pub(super) fn settle(&mut self, now: Instant) -> Option<Settled> {
        self.expire(now);
        let counts = self.counts(now);
        let told = (counts, self.readiness(), self.load);
        let delta = mem::take(&mut self.delta);
        let has_change = delta != Delta::default() || counts != self.told.0;
        if !has_change && told == self.told {
            return None;
        }
        self.told = told;
        self.version = Version(self.version.0.saturating_add(1));
        let change = has_change.then_some(Change {
            version: self.version,
            counts,
            delta,
        });
        Some(Settled {
            change,
            state: self.node_state(now),
        })
    }

    /// When something ends by itself next.
    pub(super) fn next_end(&self) -> Option<Instant> {
        let held = self.sessions.values();
        let ends = held.flat_map(|held| [held.young_until, held.client_order.map(HeldOrder::end)]);
        let ends = ends.flatten();
        ends.chain(self.reservations.values().copied()).min()
    }

    pub(super) fn node_state(&self, now: Instant) -> NodeState {
        NodeState {
            generation: self.generation,
            version: self.version,
            counts: self.counts(now),
            load: self.load,
            readiness: self.readiness(),
        }
    }

    pub(super) fn snapshot(&self, now: Instant) -> Snapshot {
        Snapshot {
            version: self.version,
            counts: self.counts(now),
            sessions: self.sessions.values().map(Held::session).collect(),
            reserved: self.reservations.keys().cloned().collect(),
        }
    }

    pub(super) fn active_sessions(&self, now: Instant) -> Vec<ActiveSession> {
        let active = self.sessions.iter().filter_map(|(id, held)| {
            let since = held.active_since?;
            let active = held.active_before + now.saturating_duration_since(since);
            Some(ActiveSession {
                id: id.clone(),
                user: held.stored.session.user.clone(),
                active,
            })
        });
        active.collect()
    }

    /// Stopping says more than trouble, and trouble more than an operator's wish.
    fn readiness(&self) -> Readiness {
        if self.is_leaving {
            return Readiness::Leaving;
        }
        if let Some(reason) = &self.trouble {
            return Readiness::NotReady {
                reason: reason.clone(),
            };
        }
        match &self.drain {
            Some(drain) => Readiness::Draining(drain.clone()),
            None => Readiness::Ready,
        }
    }

    fn counts(&self, now: Instant) -> Counts {
        let mut counts = Counts {
            pending: saturate(self.reservations.len()),
            ..Counts::default()
        };
        for held in self.sessions.values() {
            match held.stored.session.state {
                SessionState::Running => counts.active += 1,
                SessionState::Suspended => counts.suspended += 1,
            }
            counts.young += u32::from(held.young_until.is_some_and(|until| until > now));
        }
        counts
    }

    fn expire(&mut self, now: Instant) {
        let delta = &mut self.delta;
        self.reservations.retain(|user, until| {
            let holds = *until > now;
            if !holds {
                delta.released.push(user.clone());
            }
            holds
        });
        for held in self.sessions.values_mut() {
            held.young_until = held.young_until.filter(|until| *until > now);
            if held
                .client_order
                .take_if(|order| order.end() <= now)
                .is_some()
            {
                delta.upserted.push(held.session());
            }
        }
    }
}

fn since_epoch(utc_now: i64) -> Duration {
    Duration::from_secs(u64::try_from(utc_now).unwrap_or(0))
}

fn saturate(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// The reason until the session database was read for the first time.
const NOT_YET_READ: &str = "session database was not read yet";
/// A client that has not started its session by then has given up.
const RESERVATION_LIFE: Duration = Duration::from_secs(60);
/// A client that tells nothing for so long does not listen.
const CLIENT_ORDER_LIFE: Duration = Duration::from_secs(600);
/// Only a broker that goes wild holds so many places; forced requests count too.
const MAX_RESERVATIONS: usize = 10_000;

#[cfg(test)]
mod tests;
