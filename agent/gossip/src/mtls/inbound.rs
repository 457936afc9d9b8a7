//! Who calls us to gossip, and may they? The gRPC service of the gossip.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pki::{PeerIdentity, Role, Subject};
use proto::v1::Frame;
use proto::v1::gossip_server::{Gossip, GossipServer};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

use super::queue::ROOM_CONNECTED;
use super::streams::Place;
use super::{Hub, MAX_MESSAGE_BYTES, Open};
use crate::Traffic;

/// The gossip of one member over mutual TLS: the side that is called by others.
///
/// The daemon adds it to its gRPC server, which must accept connections by
/// [`pki::MeshListener`], since the caller is known by its certificate only. Cheap to
/// clone.
#[derive(Debug, Clone)]
pub struct GossipService {
    hub: Arc<Hub>,
}

impl GossipService {
    pub(super) fn new(hub: Arc<Hub>) -> Self {
        Self { hub }
    }

    /// The service for the daemon's gRPC server, with the limits of gossip.
    #[must_use]
    pub fn into_server(self) -> GossipServer<Self> {
        GossipServer::new(self)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// What this member has sent and received, in both directions.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.hub.traffic()
    }
}

#[tonic::async_trait]
impl Gossip for GossipService {
    type ExchangeStream = Pin<Box<dyn Stream<Item = Result<Frame, Status>> + Send>>;

    async fn exchange(
        &self,
        request: Request<Streaming<Frame>>,
    ) -> Result<Response<Self::ExchangeStream>, Status> {
        let peer = authorise(request.extensions().get::<PeerIdentity>())?;
        let (to_replies, replies) = mpsc::channel(ROOM_CONNECTED);
        let Some(open) = self.hub.opened() else {
            return Err(Status::unavailable(
                "the gossip of this member is not running",
            ));
        };
        let Some(place) = self.hub.streams.enter(&peer, to_replies) else {
            return Err(Status::resource_exhausted(
                "too many members gossip with this one",
            ));
        };
        let (hub, tasks) = (Arc::clone(&self.hub), open.tasks.clone());
        tasks.spawn(receive(hub, open, place, request.into_inner(), peer));
        let replies = ReceiverStream::new(replies).map(|payload| Ok(Frame { payload }));
        Ok(Response::new(Box::pin(replies)))
    }
}

/// Only members gossip: agents and brokers. Operators are people.
fn authorise(peer: Option<&PeerIdentity>) -> Result<Subject, Status> {
    let Some(PeerIdentity { subject, .. }) = peer else {
        return Err(Status::unauthenticated(
            "gossip needs a certificate of the farm",
        ));
    };
    match subject.role {
        Role::Agent | Role::Broker => Ok(subject.clone()),
        Role::Operator => {
            tracing::warn!(from = %subject, "refused to gossip with an operator");
            Err(Status::permission_denied("only agents and brokers gossip"))
        }
    }
}

/// Takes messages of one stream until it, or the gossip, ends. Dropping `place` ends the
/// replies.
async fn receive(
    hub: Arc<Hub>,
    open: Open,
    place: Place,
    mut frames: Streaming<Frame>,
    peer: Subject,
) {
    let who = peer.to_string();
    let mut pace = Pace::new(Instant::now());
    let idle = hub.limits.idle * 2;
    loop {
        tokio::select! {
            biased;
            () = open.life.cancelled() => return,
            () = place.taken.cancelled() => return,
            frame = timeout(idle, frames.message()) => match frame {
                Ok(Ok(Some(Frame { payload }))) => {
                    hub.deliver(&open, place.token, &payload, &who);
                }
                Ok(Err(status)) if status.code() == tonic::Code::OutOfRange => {
                    return hub.misbehaved(&who, &status);
                }
                Ok(Ok(None) | Err(_)) | Err(_) => return,
            },
        }
        pace.wait().await;
    }
}

/// Slows down a member that sends without end, so that it can't take all the time of the
/// gossip loop.
pub(super) struct Pace {
    due: Instant,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self { due: now }
    }

    /// Waits if there were too many messages lately.
    pub(super) async fn wait(&mut self) {
        let now = Instant::now();
        self.due = self.due.max(now) + PER_MESSAGE;
        if self.due > now + BURST {
            tokio::time::sleep_until(self.due - BURST).await;
        }
    }
}

/// A hundred messages per second: ten times of what two members have to say to each other
/// at the quickest pace.
const PER_MESSAGE: Duration = Duration::from_millis(10);
/// Two hundred at once.
const BURST: Duration = Duration::from_secs(2);

/// One frame as it travels.
pub(super) fn frame(payload: Bytes) -> Frame {
    Frame { payload }
}

#[cfg(test)]
mod tests {
    use pki::{PeerIdentity, Subject, UnixTime};
    use tokio::time::Instant;

    use super::{Pace, authorise};

    #[test]
    fn only_agents_and_brokers_gossip() {
        let told = |peer: Option<&PeerIdentity>| match authorise(peer) {
            Ok(subject) => subject.to_string(),
            Err(status) => status.message().to_owned(),
        };
        let peer = |uri| PeerIdentity {
            subject: Subject::from_uri(uri).unwrap(),
            serial: "1".to_owned(),
            not_after: UnixTime::since_unix_epoch(std::time::Duration::from_secs(1)),
            address: "10.0.0.1:1".parse().unwrap(),
        };
        for (uri, expected) in [
            ("x2gofarm://f/agent/a", "x2gofarm://f/agent/a"),
            ("x2gofarm://f/broker/b", "x2gofarm://f/broker/b"),
            ("x2gofarm://f/operator/o", "only agents and brokers gossip"),
        ] {
            assert_eq!(told(Some(&peer(uri))), expected);
        }
        assert_eq!(told(None), "gossip needs a certificate of the farm");
    }

    #[tokio::test(start_paused = true)]
    async fn an_endless_sender_is_slowed_down() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        for _ in 0..200 {
            pace.wait().await;
        }
        assert_eq!(start.elapsed().as_millis(), 0);
        for _ in 0..100 {
            pace.wait().await;
        }
        assert!(start.elapsed().as_millis() >= 1000, "{:?}", start.elapsed());
    }
}
