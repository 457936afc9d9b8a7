//! How do gossip messages travel between members? Over one gRPC stream per pair and
//! direction, with certificates on both sides.
//!
//! A reply goes back on the stream that its message came by. chitchat answers to an
//! address, so each inbound stream has a made-up one, which nobody else can guess; an
//! address that a member names is never dialled for a reply.

mod inbound;
mod outbound;
mod queue;
mod socket;
mod streams;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chitchat::ChitchatMessage;
use chitchat::transport::{Socket, Transport};
use pki::IdentityWatch;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::frame;
use crate::throttle::Throttle;
use crate::traffic::{Traffic, TrafficCounters};
pub use inbound::GossipService;
use streams::Streams;

/// The gossip of one member over mutual TLS: the side that calls others.
#[derive(Debug)]
pub struct MtlsTransport {
    hub: Arc<Hub>,
}

/// The bounds of the transport.
#[derive(Debug, Clone, PartialEq)]
pub struct TransportLimits {
    /// A connection to a partner that carried nothing for so long is closed.
    pub idle: Duration,
    /// The same for one to a seed or a broker that is no partner.
    pub idle_to_others: Duration,
    /// TCP, TLS and the first answer must be done by then.
    pub connect: Duration,
    /// Pause after the first failed connect; doubles each time, with jitter.
    pub backoff_first: Duration,
    /// The longest such pause. Short, since traffic to a member that is well again is lost
    /// for so long.
    pub backoff_most: Duration,
    /// Connects at one time.
    pub connects: usize,
    /// Members that we hold a connection to for ordinary rounds. Offers to others go to
    /// one of these.
    pub partners: usize,
    /// Members that we hold a connection to in all, with seeds and brokers.
    pub peers: usize,
    /// Streams that other members hold to us.
    pub streams: usize,
}

impl Default for TransportLimits {
    fn default() -> Self {
        Self {
            // A partner is spoken to every three seconds.
            idle: Duration::from_secs(5),
            // In a large farm each member speaks to a broker once a minute, and an open
            // connection costs the broker 200 KB: some handshakes are cheaper.
            idle_to_others: Duration::from_secs(2),
            // In a cold farm on busy machines, less wastes the handshakes.
            connect: Duration::from_secs(10),
            backoff_first: Duration::from_millis(250),
            backoff_most: Duration::from_secs(4),
            // A handshake is half a millisecond of CPU on each side.
            connects: 16,
            // As many again have us as theirs. News spread in such a random mesh as fast as
            // in a full one, for a tenth of the handshakes of a cold farm and of the memory
            // of a large one.
            partners: 8,
            // 32 seeds, 16 brokers, the partners, and as many that are not idle yet.
            peers: 128,
            // All members of the largest farm that gossip can carry, and some that are
            // being replaced: a lone broker may be the partner of all.
            streams: 2000,
        }
    }
}

impl MtlsTransport {
    /// The two sides of one member's gossip: the transport for
    /// [`Cluster::build`](crate::Cluster::build), and the service for the daemon's gRPC
    /// server.
    #[must_use]
    pub fn new(identity: IdentityWatch, limits: TransportLimits) -> (Self, GossipService) {
        let hub = Arc::new(Hub {
            identity,
            connects: Semaphore::new(limits.connects),
            streams: Streams::new(limits.streams),
            limits,
            traffic: TrafficCounters::default(),
            open: Mutex::new(None),
            preferred: Mutex::default(),
            misbehaviour: Mutex::new(Throttle::new(LOG_PERIOD)),
        });
        let service = GossipService::new(Arc::clone(&hub));
        (Self { hub }, service)
    }
}

impl crate::Transport for MtlsTransport {
    fn prefer(&self, addresses: BTreeSet<SocketAddr>) {
        *self.hub.preferred() = addresses;
    }
}

#[async_trait]
impl Transport for MtlsTransport {
    /// Begins to take messages. The address is that of the daemon's gRPC server, which is
    /// open already.
    async fn open(&self, _address: SocketAddr) -> anyhow::Result<Box<dyn Socket>> {
        let (to_inbox, inbox) = mpsc::channel(INBOX);
        let open = Open {
            to_inbox,
            life: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        let former = self.hub.open().replace(open.clone());
        if let Some(former) = former {
            former.life.cancel();
        }
        Ok(Box::new(socket::MtlsSocket::new(
            Arc::clone(&self.hub),
            open,
            inbox,
        )))
    }
}

/// What all connections of one member share.
#[derive(Debug)]
struct Hub {
    identity: IdentityWatch,
    limits: TransportLimits,
    connects: Semaphore,
    streams: Streams,
    traffic: TrafficCounters,
    open: Mutex<Option<Open>>,
    preferred: Mutex<BTreeSet<SocketAddr>>,
    misbehaviour: Mutex<Throttle>,
}

/// The running gossip that messages go to.
#[derive(Debug, Clone)]
struct Open {
    to_inbox: mpsc::Sender<(SocketAddr, ChitchatMessage)>,
    life: CancellationToken,
    tasks: TaskTracker,
}

impl Hub {
    fn open(&self) -> MutexGuard<'_, Option<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn preferred(&self) -> MutexGuard<'_, BTreeSet<SocketAddr>> {
        self.preferred
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The running gossip, if there is one.
    fn opened(&self) -> Option<Open> {
        self.open().clone().filter(|open| !open.life.is_cancelled())
    }

    /// Hands a frame to chitchat, as coming from `from`. Whatever is wrong with it is told
    /// in the log and goes no further. `who` sent it.
    fn deliver(&self, open: &Open, from: SocketAddr, payload: &Bytes, who: &str) {
        self.traffic.received(payload.len());
        match frame::decode(payload) {
            // When the gossip is busier than this, messages are lost as on any network.
            Ok(message) => {
                if open.to_inbox.try_send((from, message)).is_err() {
                    self.traffic.dropped();
                }
            }
            Err(error) => {
                self.traffic.dropped();
                self.misbehaved(who, &error);
            }
        }
    }

    fn misbehaved(&self, who: &str, error: &(dyn std::error::Error + 'static)) {
        let mut throttle = self
            .misbehaviour
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(n_silent) = throttle.may_log(Instant::now()) {
            tracing::warn!(from = who, error, n_silent, "a gossip message was dropped");
        }
    }

    fn traffic(&self) -> Traffic {
        self.traffic.read()
    }
}

/// A gossip loop that is slower than this loses messages. A round brings nine.
const INBOX: usize = 256;

/// A member can send nonsense much faster than anybody can read about it.
const LOG_PERIOD: Duration = Duration::from_secs(10);

/// The largest gRPC message: the largest frame, and its field header.
const MAX_MESSAGE_BYTES: usize = frame::MAX_FRAME_BYTES + 16;
