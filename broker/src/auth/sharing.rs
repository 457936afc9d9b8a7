//! How do other replicas learn that an AUTHID was used here?
//!
//! Each replica follows every other one: it is told all that the other remembers, so one
//! that was started anew knows at once what was used before, and then each AUTHID as it is
//! used. A use is told a second later: by then the client has its answer, or this replica
//! is dead and the client must be able to ask another with the AUTHID that it still has.

mod follow;

use std::sync::Arc;
use std::time::Duration;

use pki::{PeerIdentity, Role};
use proto::v1::replica_server::{Replica, ReplicaServer};
use proto::v1::{FollowSpentRequest, SpentAuthId, SpentAuthIds};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Semaphore, broadcast, mpsc};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status};
use tracing::debug;

use super::Authenticator;
use super::spent::Used;
pub use follow::Follower;

/// An AUTHID that was used here, and when.
pub(super) type News = (Used, Instant);

/// Tells other replicas what is used here.
#[derive(Debug)]
pub struct SpentTeller {
    authenticator: Authenticator,
    room: Arc<Semaphore>,
    running: TaskTracker,
    stop: CancellationToken,
}

/// Where uses are announced, for whoever follows.
pub(super) fn announcements() -> broadcast::Sender<News> {
    broadcast::Sender::new(MOST_UNTOLD)
}

impl SpentTeller {
    /// The service of the mesh; its streams end at `stop`.
    #[must_use]
    pub fn into_server(
        authenticator: Authenticator,
        stop: CancellationToken,
    ) -> ReplicaServer<Self> {
        ReplicaServer::new(Self {
            authenticator,
            room: Arc::new(Semaphore::new(MOST_FOLLOWERS)),
            running: TaskTracker::new(),
            stop,
        })
    }
}

#[tonic::async_trait]
impl Replica for SpentTeller {
    type FollowSpentStream = ReceiverStream<Result<SpentAuthIds, Status>>;

    async fn follow_spent(
        &self,
        request: Request<FollowSpentRequest>,
    ) -> Result<Response<Self::FollowSpentStream>, Status> {
        let peer = request.extensions().get::<PeerIdentity>();
        if peer.is_none_or(|peer| peer.subject.role != Role::Broker) {
            return Err(Status::permission_denied("only replicas may ask this"));
        }
        let room = Arc::clone(&self.room).try_acquire_owned();
        let room = room.or(Err(Status::resource_exhausted("too many replicas follow")))?;
        let (sender, stream) = mpsc::channel(1);
        let (authenticator, stop) = (self.authenticator.clone(), self.stop.clone());
        self.running.spawn(async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = sender.closed() => {}
                () = tell(&authenticator, &sender) => {}
            }
            drop(room);
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

/// Tells all, and then each; ends when the follower can't keep up, so that it begins anew.
async fn tell(
    authenticator: &Authenticator,
    follower: &mpsc::Sender<Result<SpentAuthIds, Status>>,
) {
    // First, so that nothing is missed in between.
    let mut news = authenticator.0.used.subscribe();
    let all = authenticator.spent().all();
    for part in all.chunks(MOST_IN_A_MESSAGE) {
        if follower.send(Ok(message(part))).await.is_err() {
            return;
        }
    }
    loop {
        match news.recv().await {
            Ok((used, at)) => {
                tokio::time::sleep_until(at + TELL_AFTER).await;
                if follower.send(Ok(message(&[used]))).await.is_err() {
                    return;
                }
            }
            Err(RecvError::Lagged(n_missed)) => {
                debug!(n_missed, "a replica that follows could not keep up");
                return;
            }
            Err(RecvError::Closed) => return,
        }
    }
}

fn message(part: &[Used]) -> SpentAuthIds {
    let spent = part.iter().map(|used| SpentAuthId {
        issued: used.issued,
        nonce: used.nonce.to_vec(),
        forget: used.forget,
    });
    SpentAuthIds {
        spent: spent.collect(),
    }
}

/// What was told; what can't be read is left out.
fn read(message: SpentAuthIds) -> impl Iterator<Item = Used> {
    message.spent.into_iter().filter_map(|spent| {
        Some(Used {
            issued: spent.issued,
            nonce: spent.nonce.try_into().ok()?,
            forget: spent.forget,
        })
    })
}

/// Longer than answers take.
const TELL_AFTER: Duration = Duration::from_secs(1);

/// Uses within [`TELL_AFTER`] at many times the rate of a busy replica.
const MOST_UNTOLD: usize = 8192;

/// Some 30 KB each.
const MOST_IN_A_MESSAGE: usize = 1000;

/// More replicas than a farm has.
const MOST_FOLLOWERS: usize = 64;

#[cfg(test)]
mod tests;
