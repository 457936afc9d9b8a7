//! How do other replicas learn that an AUTHID was used here?
//!
//! Each replica follows every other one: it is told all that the other remembers, so one
//! that was started anew knows at once what was used before, and then each AUTHID as it is
//! used. A use is told a second later: by then the client has its answer, or this replica
//! is dead and the client must be able to ask another with the AUTHID that it still has.
//!
//! In the same way, by a call of its own, each is told of wrong and right passwords, as
//! digests: who guesses at one replica is known at all. What happened while nobody listened
//! is not told later.

mod follow;

use std::sync::Arc;
use std::time::Duration;

use pki::{PeerIdentity, Role};
use proto::v1::replica_server::{Replica, ReplicaServer};
use proto::v1::{self, FollowLoginsRequest, FollowSpentRequest, SpentAuthId, SpentAuthIds};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Semaphore, broadcast, mpsc};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status};
use tracing::debug;

use super::Authenticator;
use super::failures::{Key, Keys};
use super::spent::Used;
pub use follow::Follower;

/// An AUTHID that was used here, and when.
pub(super) type News = (Used, Instant);

/// A password was wrong here, or right.
#[derive(Clone, Copy, Debug)]
pub(super) enum LoginNews {
    Failed(Keys),
    LetIn(Key),
}

/// Tells other replicas what is used here.
#[derive(Debug)]
pub struct SpentTeller {
    authenticator: Authenticator,
    room: Arc<Semaphore>,
    running: TaskTracker,
    stop: CancellationToken,
}

/// Where uses are announced, for whoever follows.
pub(super) fn announcements<T: Clone>() -> broadcast::Sender<T> {
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
        let authenticator = self.authenticator.clone();
        let stream = self.stream(&request, |to, stop| async move {
            tell(&authenticator, &to, &stop).await;
        });
        Ok(Response::new(stream?))
    }

    type FollowLoginsStream = ReceiverStream<Result<v1::LoginNews, Status>>;

    async fn follow_logins(
        &self,
        request: Request<FollowLoginsRequest>,
    ) -> Result<Response<Self::FollowLoginsStream>, Status> {
        let news = self.authenticator.inner.logins.subscribe();
        let stream = self.stream(&request, |to, stop| async move {
            tell_logins(news, &to, &stop).await;
        });
        Ok(Response::new(stream?))
    }
}

impl SpentTeller {
    /// A stream to a replica, for as long as it listens. `tell` ends soon after the stop that
    /// it is given, with what is still to be told.
    fn stream<T: Send + 'static, A, F: Future<Output = ()> + Send + 'static>(
        &self,
        request: &Request<A>,
        tell: impl FnOnce(mpsc::Sender<Result<T, Status>>, CancellationToken) -> F,
    ) -> Result<ReceiverStream<Result<T, Status>>, Status> {
        let peer = request.extensions().get::<PeerIdentity>();
        if peer.is_none_or(|peer| peer.subject.role != Role::Broker) {
            return Err(Status::permission_denied("only replicas may ask this"));
        }
        let room = Arc::clone(&self.room).try_acquire_owned();
        let room = room.or(Err(Status::resource_exhausted("too many replicas follow")))?;
        let (sender, stream) = mpsc::channel(1);
        let (stop, told) = (self.stop.clone(), tell(sender.clone(), self.stop.clone()));
        let end = async move {
            stop.cancelled().await;
            tokio::time::sleep(LAST_WORDS).await;
        };
        self.running.spawn(async move {
            tokio::select! {
                biased;
                () = sender.closed() => {}
                () = told => {}
                () = end => {}
            }
            drop(room);
        });
        Ok(ReceiverStream::new(stream))
    }
}

/// Tells each; what a slow follower missed it can do without.
async fn tell_logins(
    mut news: broadcast::Receiver<LoginNews>,
    follower: &mpsc::Sender<Result<v1::LoginNews, Status>>,
    stop: &CancellationToken,
) {
    loop {
        let told = match next(&mut news, stop).await {
            Ok(told) => told,
            Err(RecvError::Lagged(_)) => continue,
            Err(RecvError::Closed) => return,
        };
        if follower.send(Ok(login_message(&told))).await.is_err() {
            return;
        }
    }
}

/// What is announced next; at the stop, what was announced before it.
async fn next<T: Clone>(
    news: &mut broadcast::Receiver<T>,
    stop: &CancellationToken,
) -> Result<T, RecvError> {
    tokio::select! {
        biased;
        told = news.recv() => told,
        () = stop.cancelled() => Err(RecvError::Closed),
    }
}

fn login_message(told: &LoginNews) -> v1::LoginNews {
    let mut message = v1::LoginNews::default();
    match told {
        LoginNews::Failed(keys) => message.failed.push(v1::FailedLogin {
            user_at: keys.user_at.to_vec(),
            address: keys.address.to_vec(),
            user: keys.user.to_vec(),
        }),
        LoginNews::LetIn(key) => message.let_in.push(key.to_vec()),
    }
    message
}

/// What was told; what can't be read is left out.
fn read_logins(message: v1::LoginNews) -> impl Iterator<Item = LoginNews> {
    let failed = message.failed.into_iter().filter_map(|failed| {
        Some(LoginNews::Failed(Keys {
            user_at: failed.user_at.try_into().ok()?,
            address: failed.address.try_into().ok()?,
            user: failed.user.try_into().ok()?,
        }))
    });
    let let_in = message.let_in.into_iter();
    failed.chain(let_in.filter_map(|key| Some(LoginNews::LetIn(key.try_into().ok()?))))
}

/// Tells all, and then each; ends when the follower can't keep up, so that it begins anew.
async fn tell(
    authenticator: &Authenticator,
    follower: &mpsc::Sender<Result<SpentAuthIds, Status>>,
    stop: &CancellationToken,
) {
    // First, so that nothing is missed in between.
    let mut news = authenticator.inner.used.subscribe();
    let all = authenticator.spent().all();
    for part in all.chunks(MOST_IN_A_MESSAGE) {
        if follower.send(Ok(message(part))).await.is_err() {
            return;
        }
    }
    loop {
        match next(&mut news, stop).await {
            Ok((used, at)) => {
                // At the stop the answers are out.
                let _ = stop
                    .run_until_cancelled(tokio::time::sleep_until(at + TELL_AFTER))
                    .await;
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

/// What a stop may cost, for a follower that takes no more.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Uses within [`TELL_AFTER`] at many times the rate of a busy replica.
const MOST_UNTOLD: usize = 8192;

/// Some 30 KB each.
const MOST_IN_A_MESSAGE: usize = 1000;

/// Two streams for each of more replicas than a farm has.
const MOST_FOLLOWERS: usize = 128;

#[cfg(test)]
mod tests;
