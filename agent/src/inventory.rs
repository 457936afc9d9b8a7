//! Who owns what this server knows of its sessions, reservations, load and drain?
//!
//! One task. It takes commands in their order, decides admissions over its own state
//! alone, and publishes: the [`NodeState`] as a watched value, each step as a [`Change`],
//! and whole [`Snapshot`]s on demand. Its edges are the [`Poller`] of the session database
//! and the drain file.

mod drain;
mod handle;
mod poller;
mod sqlite;
mod state;

use std::path::Path;
use std::time::Duration;

use pki::Clock;
use proto::{
    AtDeadline, ClientOrder, Drain, Generation, Load, NodeId, NodeState, SessionId, SessionRecord,
    Username,
};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::admission::{Request, Verdict};
pub use drain::DrainError;
use drain::DrainFile;
pub(crate) use drain::{LOOK_AGAIN, until_due};
pub use handle::{InventoryGone, InventoryHandle, OrderClientError, SetDrainError};
pub use poller::Poller;
pub use sqlite::{
    DatabaseError, Look, Reading, RowsError, SessionDatabase, Skipped, StoredSession,
};
pub use state::{ActiveSession, Change, Delta, OrderError, Snapshot};
use state::{Settled, State};

/// The owner of the state; see the module.
#[derive(Debug)]
pub struct Inventory {
    state: State,
    clock: Clock,
    drain_file: DrainFile,
    commands: mpsc::Receiver<Command>,
    changes: broadcast::Sender<Change>,
    published: watch::Sender<NodeState>,
}

/// Sessions and reservations from one version on.
#[derive(Debug)]
pub struct Subscription {
    /// Everything at the start.
    pub snapshot: Snapshot,
    /// Each step after it. Who reads too slowly misses some, learns so, and subscribes
    /// anew.
    pub changes: broadcast::Receiver<Change>,
}

/// The answer to an admission, and the state it was given in.
#[derive(Clone, Debug, PartialEq)]
pub struct Admission {
    /// The answer.
    pub verdict: Verdict,
    /// The state of this server, the answer's effect included.
    pub state: NodeState,
}

/// What the inventory is told or asked.
#[derive(Debug)]
pub(crate) enum Command {
    Reading(Reading),
    Trouble(String),
    Load(Load),
    Admit(Request, oneshot::Sender<Admission>),
    Cancel(Username, oneshot::Sender<NodeState>),
    SetDrain(
        Option<Drain>,
        oneshot::Sender<Result<NodeState, DrainError>>,
    ),
    OrderClient {
        user: Username,
        session: SessionId,
        order: ClientOrder,
        answer: oneshot::Sender<Result<(), OrderError>>,
    },
    Resumable(Username, oneshot::Sender<Vec<SessionRecord>>),
    Subscribe(oneshot::Sender<Subscription>),
    ActiveSessions(oneshot::Sender<Vec<ActiveSession>>),
    Leave(oneshot::Sender<NodeState>),
}

impl Inventory {
    /// Makes the inventory of `node`, the handle to ask it, and the poller that feeds it
    /// from `database`. The drain wish is read from the state directory. Blocks briefly.
    #[must_use]
    pub fn build(
        node: NodeId,
        generation: Generation,
        database: SessionDatabase,
        state_directory: &Path,
        clock: Clock,
    ) -> (Self, InventoryHandle, Poller) {
        let drain_file = DrainFile::new(state_directory);
        let state = State::new(node, generation, drain_file.load());
        let (commands_in, commands) = mpsc::channel(MAX_COMMANDS);
        let (poller, freshener) = Poller::build(database, commands_in.clone());
        let (changes, _) = broadcast::channel(MAX_CHANGES);
        let (published, watched) = watch::channel(state.node_state(Instant::now().into_std()));
        let inventory = Self {
            state,
            clock,
            drain_file,
            commands,
            changes,
            published,
        };
        let handle = InventoryHandle {
            commands: commands_in,
            published: watched,
            freshener,
        };
        (inventory, handle, poller)
    }

    /// Serves until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            self.end_drain_if_over().await;
            let next_end = self.next_end();
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                command = self.commands.recv() => match command {
                    Some(command) => self.obey(command).await,
                    None => return,
                },
                () = tokio::time::sleep_until(next_end) => {
                    self.publish();
                }
            }
        }
    }

    /// Everything that a command changes is published before its answer is given.
    async fn obey(&mut self, command: Command) {
        let now = Instant::now().into_std();
        match command {
            Command::Reading(reading) => {
                let local_now = self.utc_now().saturating_add(reading.utc_offset);
                self.state.take_reading(reading, local_now, now);
                self.publish();
            }
            Command::Trouble(reason) => {
                self.state.take_trouble(reason);
                self.publish();
            }
            Command::Load(load) => {
                self.state.take_load(load);
                self.publish();
            }
            // Nobody waits for the answer any more: a place would be held for nobody.
            Command::Admit(_, answer) if answer.is_closed() => {}
            Command::Admit(request, answer) => {
                let verdict = self.state.admit(&request, self.utc_now(), now);
                reply(
                    answer,
                    Admission {
                        verdict,
                        state: self.publish(),
                    },
                );
            }
            Command::Cancel(user, answer) => {
                self.state.cancel(&user);
                reply(answer, self.publish());
            }
            Command::SetDrain(drain, answer) => {
                let kept = self.keep_drain(drain).await;
                let state = self.publish();
                reply(answer, kept.map(|()| state));
            }
            Command::OrderClient {
                user,
                session,
                order,
                answer,
            } => {
                let ordered = self.state.order_client(&user, &session, order, now);
                self.publish();
                reply(answer, ordered);
            }
            Command::Resumable(user, answer) => {
                reply(answer, self.state.resumable(&user, self.utc_now()));
            }
            Command::Subscribe(answer) => {
                self.publish();
                let changes = self.changes.subscribe();
                reply(
                    answer,
                    Subscription {
                        snapshot: self.state.snapshot(now),
                        changes,
                    },
                );
            }
            Command::ActiveSessions(answer) => reply(answer, self.state.active_sessions(now)),
            Command::Leave(answer) => {
                self.state.leave();
                reply(answer, self.publish());
            }
        }
    }

    /// Tells everybody what has changed, and returns the state.
    fn publish(&mut self) -> NodeState {
        let now = Instant::now().into_std();
        let Some(Settled { change, state }) = self.state.settle(now) else {
            return self.state.node_state(now);
        };
        if let Some(change) = change {
            // Nobody may be watching.
            let _no_subscribers = self.changes.send(change);
        }
        self.published.send_replace(state.clone());
        state
    }

    /// The disk first: a drain that is not kept is not begun.
    async fn keep_drain(&mut self, drain: Option<Drain>) -> Result<(), DrainError> {
        let file = self.drain_file.clone();
        let kept = drain.clone();
        let stored = tokio::task::spawn_blocking(move || file.store(kept.as_ref()));
        match stored.await {
            Ok(stored) => stored?,
            // Only a stopping runtime drops the task.
            Err(_) => return Ok(()),
        }
        self.state.set_drain(drain);
        Ok(())
    }

    /// A drain that was only to last until now ends by itself.
    async fn end_drain_if_over(&mut self) {
        let due = |drain: &&Drain| drain.due(self.clock.since_epoch());
        let over = self
            .state
            .drain()
            .filter(|drain| due(drain) == Some(AtDeadline::Accept));
        let Some(Drain { reason, .. }) = over.cloned() else {
            return;
        };
        if let Err(error) = self.keep_drain(None).await {
            // The file says itself that it is over.
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "the file of a drain that is over was not removed");
            self.state.set_drain(None);
        }
        tracing::info!(
            reason,
            "the drain has come to its deadline, new sessions are taken"
        );
        self.publish();
    }

    /// When something ends by itself next, or may have ended.
    fn next_end(&self) -> Instant {
        let now = Instant::now();
        let next_end = self.state.next_end().map(Instant::from_std);
        let drain = self.state.drain();
        let of_drain = drain.and_then(|drain| until_due(drain, self.clock.since_epoch()));
        // Once it is due, the sessions are what is waited for, and not by the inventory.
        let of_drain = of_drain
            .filter(|wait| !wait.is_zero())
            .map(|wait| now + wait);
        let ends = next_end.into_iter().chain(of_drain);
        ends.min().unwrap_or(now + Duration::from_secs(3600))
    }

    fn utc_now(&self) -> i64 {
        i64::try_from(self.clock.since_epoch().as_secs()).unwrap_or(i64::MAX)
    }
}

/// Whoever asked may have given up; what was done stays done.
fn reply<T>(answer: oneshot::Sender<T>, value: T) {
    let _given_up = answer.send(value);
}

/// Commands take microseconds each; askers beyond these wait for their turn.
const MAX_COMMANDS: usize = 256;
/// A subscriber that is this far behind gets a snapshot instead of the rest.
const MAX_CHANGES: usize = 256;

#[cfg(test)]
mod tests;
