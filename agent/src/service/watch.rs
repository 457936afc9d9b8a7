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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use pki::Clock;
    use proto::v1::watch_event::What;
    use proto::{Generation, NodeId, Username};
    use tokio::sync::{Semaphore, mpsc};
    use tokio::task::JoinSet;
    use tokio_util::sync::CancellationToken;

    use super::Watcher;
    use crate::admission::Request;
    use crate::inventory::{Inventory, SessionDatabase};

    #[tokio::test]
    async fn a_subscriber_that_falls_behind_gets_a_snapshot_and_is_up_to_date_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x2go_sessions");
        let schema = "CREATE TABLE sessions(session_id, display, uname, server, client, status, \
            init_time, last_time, cookie, agent_pid, gr_port, sound_port)";
        rusqlite::Connection::open(&path)
            .unwrap()
            .execute_batch(schema)
            .unwrap();
        let node = NodeId::parse("s1").unwrap();
        let database = SessionDatabase::new(path, node.clone());
        let (inventory, handle, poller) = Inventory::build(
            node.clone(),
            Generation(7),
            database,
            folder.path(),
            Clock::system(),
        );
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(inventory.run(stop.clone()));
        tasks.spawn_blocking(move || poller.run());
        let mut states = handle.watch_state();
        let ready = states.wait_for(|state| state.readiness.is_ready());
        tokio::time::timeout(Duration::from_secs(5), ready)
            .await
            .unwrap()
            .unwrap();

        let (to_subscriber, mut events) = mpsc::channel(2);
        let watches = Arc::new(Semaphore::new(1));
        let watcher = Watcher {
            generation: Generation(7),
            inventory: handle.clone(),
            to_subscriber,
            permit: Arc::clone(&watches).try_acquire_owned().unwrap(),
        };
        tasks.spawn(watcher.run(handle.subscribe().await.unwrap(), stop.clone()));
        // Many more changes than fit into the queues, while nothing is read.
        for n in 0..600 {
            let user = Username::parse(&format!("user{n}")).unwrap();
            let request = Request {
                node: node.clone(),
                user: user.clone(),
                forced: true,
            };
            handle.admit(request).await.unwrap();
            if n % 2 == 0 {
                handle.cancel(user).await.unwrap();
            }
        }
        let end = handle.state().version.0;
        let (mut reserved, mut n_snapshots, mut n_events) = (Vec::new(), 0, 0);
        let mut version = 0;
        while version < end {
            let event = tokio::time::timeout(Duration::from_secs(5), events.recv()).await;
            let event = event.unwrap().unwrap().unwrap();
            assert!(event.version > version, "{event:?} after {version}");
            version = event.version;
            n_events += 1;
            match event.what.unwrap() {
                What::Snapshot(snapshot) => {
                    reserved = snapshot.reserved_users;
                    n_snapshots += 1;
                }
                What::Changes(changes) => {
                    reserved.retain(|user| !changes.released_users.contains(user));
                    reserved.extend(changes.reserved_users);
                }
            }
            let counts = event.counts.unwrap();
            assert_eq!(usize::try_from(counts.pending).unwrap(), reserved.len());
        }
        assert_eq!(reserved.len(), 300);
        assert!(
            n_snapshots >= 2 && n_events < 900,
            "{n_snapshots} of {n_events}"
        );
        assert_eq!(watches.available_permits(), 0);
        drop(events);
        let place = tokio::time::timeout(Duration::from_secs(5), watches.acquire());
        assert!(place.await.is_ok(), "the place did not come back");
        stop.cancel();
    }
}
