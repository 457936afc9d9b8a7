//! Accepts connections, with and without TLS, and serves HTTP/1.1 on them.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;
use tracing::{debug, info, warn};

use super::limits::{Place, Places};
use super::patience::Patience;

/// The address of the client, as a request extension.
#[derive(Clone, Copy, Debug)]
pub struct ClientAddress(pub IpAddr);

/// A bound listener, ready to serve.
#[derive(Debug)]
pub struct HttpListener {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<Arc<ServerConfig>>,
    places: Places,
    idle: Duration,
}

/// Why no listener could be made.
#[derive(Debug, thiserror::Error)]
#[error("can't listen for {what} on {address}")]
pub struct BindError {
    what: &'static str,
    address: SocketAddr,
    source: io::Error,
}

impl HttpListener {
    /// Binds `address`; with `tls` it serves HTTPS. A connection may wait for `idle` for
    /// its first or next request, and for the client to take some of an answer.
    ///
    /// # Errors
    /// When the address can't be bound.
    ///
    /// # Panics
    /// Outside of tokio's runtime.
    pub fn bind(
        address: SocketAddr,
        tls: Option<Arc<ServerConfig>>,
        places: Places,
        idle: Duration,
    ) -> Result<Self, BindError> {
        let what = if tls.is_some() { "HTTPS" } else { "HTTP" };
        let error = |source| BindError {
            what,
            address,
            source,
        };
        let listener = listen(address).map_err(error)?;
        let address = listener.local_addr().map_err(error)?;
        info!(%address, "listening for {what}");
        Ok(Self {
            listener,
            address,
            tls,
            places,
            idle,
        })
    }

    /// Where it listens: the port that was chosen when 0 was asked for.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until told to stop; then lets running requests end, for at most `grace`.
    pub async fn run(self, app: Router, stop: CancellationToken, grace: Duration) {
        let connections = TaskTracker::new();
        let cut = CancellationToken::new();
        let tls = self.tls.map(TlsAcceptor::from);
        loop {
            let permit = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                permit = self.places.wait() => permit,
            };
            let Some(permit) = permit else { break };
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                accepted = self.listener.accept() => accepted,
            };
            let (tcp, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors, say: the next try at once would spin.
                    warn!(error = %error, "a connection could not be accepted");
                    let pause = tokio::time::sleep(ACCEPT_BACKOFF);
                    let _ = stop.run_until_cancelled(pause).await;
                    continue;
                }
            };
            let Some(place) = self.places.take(permit, peer.ip()) else {
                debug!(client = %peer.ip(), "too many connections from one address; closed");
                continue;
            };
            let (app, stop, idle) = (app.clone(), stop.clone(), self.idle);
            let connection = Connection {
                peer,
                place,
                app,
                stop,
                idle,
            };
            let (tls, cut) = (tls.clone(), cut.clone());
            connections.spawn(async move {
                let _cut = cut.run_until_cancelled(connection.serve(tcp, tls)).await;
            });
        }
        drop(self.listener);
        connections.close();
        if tokio::time::timeout(grace, connections.wait())
            .await
            .is_err()
        {
            warn!(
                n_open = connections.len(),
                "connections did not end in time; they are cut"
            );
            cut.cancel();
        }
    }
}

/// As `TcpListener::bind`, but with a longer queue.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // Else a restart would wait for the old connections to be forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(MAX_WAITING)
}

struct Connection {
    peer: SocketAddr,
    place: Place,
    app: Router,
    stop: CancellationToken,
    idle: Duration,
}

impl Connection {
    async fn serve(self, tcp: TcpStream, tls: Option<TlsAcceptor>) {
        let peer = self.peer;
        if let Err(error) = tcp.set_nodelay(true) {
            debug!(%peer, error = %error, "no TCP_NODELAY");
        }
        let Some(tls) = tls else {
            return self.serve_http(tcp).await;
        };
        let handshake = tokio::time::timeout(HANDSHAKE_LIMIT, tls.accept(tcp));
        match self.stop.run_until_cancelled(handshake).await {
            Some(Ok(Ok(stream))) => self.serve_http(stream).await,
            Some(Ok(Err(error))) => debug!(%peer, error = %error, "TLS handshake failed"),
            Some(Err(_elapsed)) => debug!(%peer, "TLS handshake took too long"),
            // Nothing was asked yet, so there is nothing to end.
            None => {}
        }
    }

    async fn serve_http(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let Self {
            peer,
            place,
            app,
            stop,
            idle,
        } = self;
        let client = ClientAddress(peer.ip().to_canonical());
        let service = hyper::service::service_fn(move |mut request: hyper::Request<_>| {
            request.extensions_mut().insert(client);
            app.clone().oneshot(request)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(idle)
            .max_buf_size(MAX_HEAD_BYTES)
            .serve_connection(TokioIo::new(Patience::new(stream, idle)), service);
        let mut connection = std::pin::pin!(connection);
        let result = tokio::select! {
            biased;
            result = &mut connection => result,
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = result {
            let error = &error as &dyn std::error::Error;
            debug!(%peer, error, "connection ended");
        }
        drop(place);
    }
}

/// Connections that the kernel holds until they are accepted. Who comes when it is full
/// waits for a second, so it has room for a rush in the morning, or for a flood. The kernel
/// may hold it to less, by net.core.somaxconn.
const MAX_WAITING: u32 = 4096;

/// A client that can't finish a handshake by then is not one of ours.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

/// A request's head is a few hundred bytes; hyper needs at least 8 KB.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// Descriptors come back when connections end.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);
