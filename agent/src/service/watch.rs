//! How does a subscriber stay up to date, however slowly it reads?
//!
//! First a snapshot, then each change. A subscriber that falls behind misses changes and
//! gets a new snapshot instead, on the same stream.

use proto::{Generation, Session, SessionId, Username, v1};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::inventory::{Change, Delta, InventoryHandle, Snapshot, Subscription};

/// One Watch stream.
#[derive(Debug)]
pub(super) struct Watcher {
    pub(super) generation: Generation,
    pub(super) inventory: InventoryHandle,
    pub(super) to_subscriber: mpsc::Sender<Result<v1::WatchEvent, Status>>,
    /// Held as long as the stream is open.
    pub(super) permit: OwnedSemaphorePermit,
}

impl Watcher {
    /// Sends until the subscriber leaves, or `stop`.
    pub(super) async fn run(self, first: Subscription, stop: CancellationToken) {
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = self.to_subscriber.closed() => {}
            () = self.send_all(first) => {}
        }
        drop(self.permit);
    }

    async fn send_all(&self, mut subscription: Subscription) {
        loop {
            let Subscription {
                snapshot,
                mut changes,
            } = subscription;
            if !self.send(snapshot_event(self.generation, snapshot)).await {
                return;
            }
            loop {
                match changes.recv().await {
                    Ok(change) => {
                        if !self.send(change_event(self.generation, change)).await {
                            return;
                        }
                    }
                    Err(RecvError::Lagged(n_missed)) => {
                        tracing::debug!(n_missed, "a watch fell behind, sending a snapshot");
                        break;
                    }
                    Err(RecvError::Closed) => return,
                }
            }
            let Ok(again) = self.inventory.subscribe().await else {
                return;
            };
            subscription = again;
        }
    }

    async fn send(&self, event: v1::WatchEvent) -> bool {
        self.to_subscriber.send(Ok(event)).await.is_ok()
    }
}

fn snapshot_event(generation: Generation, snapshot: Snapshot) -> v1::WatchEvent {
    let Snapshot {
        version,
        counts,
        sessions,
        reserved,
    } = snapshot;
    v1::WatchEvent {
        generation: generation.0,
        version: version.0,
        counts: Some(counts.into()),
        what: Some(v1::watch_event::What::Snapshot(v1::Snapshot {
            sessions: sessions_to_wire(sessions),
            reserved_users: users_to_wire(&reserved),
        })),
    }
}

fn change_event(generation: Generation, change: Change) -> v1::WatchEvent {
    let Change {
        version,
        counts,
        delta,
    } = change;
    let Delta {
        upserted,
        removed,
        reserved,
        released,
    } = delta;
    v1::WatchEvent {
        generation: generation.0,
        version: version.0,
        counts: Some(counts.into()),
        what: Some(v1::watch_event::What::Changes(v1::Changes {
            upserted: sessions_to_wire(upserted),
            removed_session_ids: removed.iter().map(SessionId::to_string).collect(),
            reserved_users: users_to_wire(&reserved),
            released_users: users_to_wire(&released),
        })),
    }
}

pub(super) fn sessions_to_wire(sessions: Vec<Session>) -> Vec<v1::Session> {
    sessions.into_iter().map(Into::into).collect()
}

pub(super) fn users_to_wire(users: &[Username]) -> Vec<String> {
    users.iter().map(Username::to_string).collect()
}
