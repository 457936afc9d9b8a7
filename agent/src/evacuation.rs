//! What becomes of the sessions of a server whose drain has come to its deadline?
//!
//! One task. It looks at what is there and at what the operator wants now, and never at
//! what it did before, so that a session that comes later is acted on too, and nothing is
//! lost with the agent. A drain that is undone or changed ends it: nothing more is begun,
//! and only what the setuid program is doing in this moment is brought to its end.

mod due;

use std::collections::BTreeMap;
use std::time::Duration;

use pki::Clock;
use proto::{AtDeadline, Drain, Readiness, Session, SessionId, Username};
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::inventory::{InventoryGone, InventoryHandle, LOOK_AGAIN, until_due};
use crate::operations::{OperationError, Operations};
use crate::shim_client::Act;
use due::{due, next_try};

/// Suspends or ends the sessions of this server when its drain says so.
#[derive(Debug)]
pub struct Evacuation {
    inventory: InventoryHandle,
    operations: Operations,
    clock: Clock,
    /// The drain that is being carried out.
    drain: Option<Drain>,
    /// When each session was tried last.
    begun: BTreeMap<SessionId, std::time::Instant>,
    /// The failures that the log has already.
    told: BTreeMap<SessionId, String>,
    acts: JoinSet<Ended>,
}

/// How it went with one session.
#[derive(Debug)]
struct Ended {
    act: Act,
    user: Username,
    session: SessionId,
    result: Result<(), OperationError>,
}

impl Evacuation {
    /// Looks at `inventory`, and acts by `operations`.
    #[must_use]
    pub fn new(inventory: InventoryHandle, operations: Operations, clock: Clock) -> Self {
        Self {
            inventory,
            operations,
            clock,
            drain: None,
            begun: BTreeMap::new(),
            told: BTreeMap::new(),
            acts: JoinSet::new(),
        }
    }

    /// Acts until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        // Each change of a session or of the drain is a new state.
        let mut states = self.inventory.watch_state();
        loop {
            let readiness = states.borrow_and_update().readiness.clone();
            let Ok(wait) = self.look(readiness).await else {
                return;
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                Some(ended) = self.acts.join_next() => self.note(ended),
                changed = states.changed() => if changed.is_err() {
                    return;
                },
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Begins what is to be begun, and says when to look again at the latest.
    async fn look(&mut self, readiness: Readiness) -> Result<Duration, InventoryGone> {
        let drain = match readiness {
            Readiness::Draining(drain) => drain,
            Readiness::Ready => {
                self.forget();
                return Ok(LOOK_AGAIN);
            }
            // What is known of the sessions may be wrong, or is somebody else's matter soon.
            Readiness::NotReady { .. } | Readiness::Leaving => return Ok(LOOK_AGAIN),
        };
        let act = match drain.due(self.clock.since_epoch()) {
            Some(AtDeadline::Suspend) => Act::Suspend,
            Some(AtDeadline::Terminate) => Act::Terminate,
            // The inventory itself ends the drain.
            Some(AtDeadline::Accept) => return Ok(LOOK_AGAIN),
            None => {
                self.forget();
                let until = until_due(&drain, self.clock.since_epoch());
                return Ok(until.unwrap_or(LOOK_AGAIN));
            }
        };
        let sessions = self.inventory.subscribe().await?.snapshot.sessions;
        // Who has undone it meanwhile has been answered already.
        if self.inventory.state().readiness != Readiness::Draining(drain.clone()) {
            return Ok(Duration::ZERO);
        }
        self.take_up(drain, act, &sessions);
        let now = Instant::now().into_std();
        self.begun
            .retain(|id, _| sessions.iter().any(|session| session.id == *id));
        self.told.retain(|id, _| self.begun.contains_key(id));
        let n_free = MAX_ACTS.saturating_sub(self.acts.len());
        for session in due(act, &sessions, &self.begun, n_free, now) {
            self.begin(act, session, now);
        }
        let next = next_try(&self.begun, now).map(|next| next.saturating_duration_since(now));
        Ok(next.unwrap_or(LOOK_AGAIN).min(LOOK_AGAIN))
    }

    fn forget(&mut self) {
        self.drain = None;
        self.begun.clear();
        self.told.clear();
    }

    fn take_up(&mut self, drain: Drain, act: Act, sessions: &[Session]) {
        if self.drain.as_ref() == Some(&drain) {
            return;
        }
        self.forget();
        let (reason, n_sessions) = (&drain.reason, sessions.len());
        tracing::info!(reason, %act, n_sessions, "the drain has come to its deadline");
        self.drain = Some(drain);
    }

    fn begin(&mut self, act: Act, session: &Session, now: std::time::Instant) {
        self.begun.insert(session.id.clone(), now);
        let (user, session) = (session.user.clone(), session.id.clone());
        let operations = self.operations.clone();
        self.acts.spawn(async move {
            let result = operations.bring_about(act, &user, &session).await;
            Ended {
                act,
                user,
                session,
                result,
            }
        });
    }

    /// Logs it, but for a failure that is as the one before.
    fn note(&mut self, ended: Result<Ended, JoinError>) {
        let Ended {
            act,
            user,
            session,
            result,
        } = match ended {
            Ok(ended) => ended,
            Err(error) => {
                tracing::error!(%error, "an act on a session of a drained server has panicked");
                return;
            }
        };
        let error = match result {
            Ok(()) => {
                self.told.remove(&session);
                tracing::info!(%user, %session, %act, "done at the deadline of the drain");
                return;
            }
            // Gone, just starting, or the next agent's: the next look says what is to be done.
            Err(
                OperationError::NoSuchSession { .. }
                | OperationError::Ended { .. }
                | OperationError::Starting { .. }
                | OperationError::Stopping(_),
            ) => return,
            Err(error @ (OperationError::NotDone(_) | OperationError::NotSeen { .. })) => error,
        };
        let text = error.to_string();
        if self.told.get(&session) == Some(&text) {
            return;
        }
        self.told.insert(session.clone(), text);
        let error = &error as &dyn std::error::Error;
        tracing::warn!(%user, %session, %act, error, "not done at the deadline of the drain, will be tried again each minute");
    }
}

/// One place of the setuid program stays for what brokers and operators ask meanwhile.
const MAX_ACTS: usize = 3;

#[cfg(test)]
mod tests;
