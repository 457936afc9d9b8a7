//! Accepting connections of other members, and of nobody else.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::server::Acceptor;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;
use tokio_rustls::{LazyConfigAcceptor, TlsStream};
use tokio_stream::Stream;

use super::failure::HandshakeFailure;
use super::failure_log::FailureLog;
use super::sources::Sources;
use super::stream::{MeshStream, PeerIdentity};
use crate::identity::IdentityWatch;

/// A bound address of the mesh.
#[derive(Debug)]
pub struct MeshListener {
    tcp: TcpListener,
    address: SocketAddr,
    identity: IdentityWatch,
    limits: ListenerLimits,
}

/// The bounds of a listener, each at least 1. One source address gets at most half of the first two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenerLimits {
    /// Connections that are not yet known to be of a member.
    pub unfinished: usize,
    /// Handshakes that may use the processor at the same time.
    pub handshakes: usize,
    /// Open connections of members. More are closed at once.
    pub connections: usize,
    /// From the TCP connection to the end of the handshake.
    pub handshake_timeout: Duration,
}

/// The connections of members, as a stream for tonic. Dropping it closes the listener, and
/// leaves open connections alone.
#[derive(Debug)]
pub struct MeshIncoming {
    ready: mpsc::Receiver<io::Result<MeshStream>>,
    /// Holds the one task that accepts.
    _accepting: JoinSet<()>,
}

/// No listener, because the address can't be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen at {address}")]
pub struct BindError {
    /// The address.
    pub address: SocketAddr,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

impl Default for ListenerLimits {
    fn default() -> Self {
        Self {
            unfinished: UNFINISHED,
            handshakes: HANDSHAKES,
            connections: CONNECTIONS,
            handshake_timeout: HANDSHAKE_TIMEOUT,
        }
    }
}

impl MeshListener {
    /// Binds `address`; port 0 takes a free one.
    ///
    /// # Errors
    /// When the address is taken or not ours.
    pub async fn bind(
        address: SocketAddr,
        identity: IdentityWatch,
        limits: ListenerLimits,
    ) -> Result<Self, BindError> {
        let cannot = |source| BindError { address, source };
        let tcp = TcpListener::bind(address).await.map_err(cannot)?;
        let address = tcp.local_addr().map_err(cannot)?;
        Ok(Self {
            tcp,
            address,
            identity,
            limits,
        })
    }

    /// The address with its real port.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Begins to accept. For `Server::serve_with_incoming_shutdown` of tonic, whose
    /// handlers then find a [`PeerIdentity`] in the extensions of each request.
    ///
    /// Items are never errors; what goes wrong is logged and concerns one connection.
    pub fn incoming(self) -> MeshIncoming {
        let (to_server, ready) = mpsc::channel(READY);
        let mut accepting = JoinSet::new();
        accepting.spawn(Accepting::new(self, to_server).run());
        MeshIncoming {
            ready,
            _accepting: accepting,
        }
    }
}

impl Stream for MeshIncoming {
    type Item = io::Result<MeshStream>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.ready.poll_recv(cx)
    }
}

/// The state of the task that accepts.
struct Accepting {
    tcp: TcpListener,
    sources: Sources,
    failures: FailureLog,
    unfinished: JoinSet<Result<(), HandshakeFailure>>,
    from: HashMap<Id, SocketAddr>,
    shared: Shared,
}

/// What each handshake needs.
#[derive(Clone)]
struct Shared {
    identity: IdentityWatch,
    limits: ListenerLimits,
    handshakes: Arc<Semaphore>,
    connections: Arc<Semaphore>,
    to_server: mpsc::Sender<io::Result<MeshStream>>,
}

impl Accepting {
    fn new(listener: MeshListener, to_server: mpsc::Sender<io::Result<MeshStream>>) -> Self {
        let MeshListener {
            tcp,
            identity,
            limits,
            ..
        } = listener;
        Self {
            tcp,
            sources: Sources::new(&limits),
            failures: FailureLog::default(),
            unfinished: JoinSet::new(),
            from: HashMap::new(),
            shared: Shared {
                identity,
                handshakes: Arc::new(Semaphore::new(limits.handshakes)),
                connections: Arc::new(Semaphore::new(limits.connections)),
                limits,
                to_server,
            },
        }
    }

    async fn run(mut self) {
        loop {
            let room = self.unfinished.len() < self.shared.limits.unfinished;
            tokio::select! {
                biased;
                () = self.shared.to_server.closed() => return,
                Some(done) = self.unfinished.join_next_with_id() => self.finished(done),
                accepted = self.tcp.accept(), if room => match accepted {
                    Ok((tcp, address)) => self.begin(tcp, address),
                    Err(error) => pause_after(&error).await,
                },
            }
        }
    }

    fn begin(&mut self, tcp: TcpStream, address: SocketAddr) {
        match self.sources.enter(address.ip()) {
            Ok(slots) => {
                let task = self
                    .unfinished
                    .spawn(self.shared.clone().welcome(tcp, address, slots));
                self.from.insert(task.id(), address);
            }
            Err(limit) => {
                self.failed(address, &HandshakeFailure::TooManyUnfinished { limit });
            }
        }
    }

    fn finished(&mut self, done: Result<(Id, Result<(), HandshakeFailure>), JoinError>) {
        let (id, result) = match done {
            Ok((id, result)) => (id, Some(result)),
            Err(error) => {
                tracing::error!(%error, "a handshake panicked");
                (error.id(), None)
            }
        };
        let Some(address) = self.from.remove(&id) else {
            return;
        };
        self.sources.leave(address.ip());
        if let Some(Err(failure)) = result {
            self.failed(address, &failure);
        }
    }

    fn failed(&mut self, address: SocketAddr, failure: &HandshakeFailure) {
        let reason = failure.full_text();
        tracing::debug!(%address, reason, "connection refused");
        if matches!(failure, HandshakeFailure::Closed) {
            // Also what port checks of monitoring do, once a second.
            return;
        }
        let ip: IpAddr = address.ip();
        if let Some(count) = self.failures.note(ip, Instant::now()) {
            tracing::warn!(address = %ip, count, reason, "connections refused");
        }
    }
}

impl Shared {
    async fn welcome(
        self,
        tcp: TcpStream,
        address: SocketAddr,
        slots: Arc<Semaphore>,
    ) -> Result<(), HandshakeFailure> {
        let after = self.limits.handshake_timeout;
        let shake = self.shake_hands(tcp, address, &slots);
        let (tls, peer) = match tokio::time::timeout(after, shake).await {
            Ok(result) => result?,
            Err(_elapsed) => return Err(HandshakeFailure::TimedOut { after }),
        };
        let Ok(permit) = self.connections.try_acquire_owned() else {
            return Err(HandshakeFailure::Full {
                limit: self.limits.connections,
            });
        };
        let stream = MeshStream::new(tls, peer, Some(permit));
        tracing::debug!(peer = %stream.peer().subject, %address, "connection accepted");
        // It fails only when the server is gone, and then nobody misses the connection.
        let _unread = self.to_server.send(Ok(stream)).await;
        Ok(())
    }

    async fn shake_hands(
        &self,
        tcp: TcpStream,
        address: SocketAddr,
        slots: &Semaphore,
    ) -> Result<(TlsStream<TcpStream>, PeerIdentity), HandshakeFailure> {
        tcp.set_nodelay(true).map_err(HandshakeFailure::Network)?;
        // Whoever says nothing occupies no slot.
        let hello = LazyConfigAcceptor::new(Acceptor::default(), tcp)
            .await
            .map_err(HandshakeFailure::from_io)?;
        // A semaphore that nobody closes always gives a permit.
        let _own_slot = slots.acquire().await;
        let _slot = self.handshakes.acquire().await;
        let identity = self.identity.borrow().clone();
        let tls = hello
            .into_stream(identity.server_config())
            .await
            .map_err(HandshakeFailure::from_io)?;
        let chain = tls.get_ref().1.peer_certificates();
        let peer = PeerIdentity::of_verified(chain, address, &identity.subject().farm)?;
        Ok((TlsStream::from(tls), peer))
    }
}

/// Accepting fails when descriptors or memory are short, and would fail again at once.
async fn pause_after(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    if matches!(
        error.kind(),
        ConnectionAborted | ConnectionReset | Interrupted
    ) {
        return;
    }
    tracing::warn!(%error, pause = ?ACCEPT_PAUSE, "cannot accept connections");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

/// A silent connection costs a descriptor and a few hundred bytes; a cold farm of some
/// hundred members begins with as many at once.
const UNFINISHED: usize = 256;
/// Each costs 0.7 ms of processor time; more at once only make all of them late.
const HANDSHAKES: usize = 16;
/// Two per member, with a farm of 1,000 in mind; each costs about 50 KB.
const CONNECTIONS: usize = 2048;
/// A loaded farm may need seconds for one; what is not done by then is given up.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections between the handshake and tonic, which takes them at once.
const READY: usize = 16;
/// Long enough not to burn the processor, short enough that peers don't notice.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
