//! Accepts connections, over TCP with and without TLS and over a unix socket, and serves
//! HTTP/1.1 on them.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::access::Access;
use super::forwarded::TrustedProxies;
use super::limits::{Place, Places};
use super::patience::Patience;
use super::respond::failure;
use super::sites::Sites;
use super::socket::{Accepted, Peer, Socket};

/// The address of the client, as a request extension.
#[derive(Clone, Copy, Debug)]
pub struct ClientAddress(pub IpAddr);

/// What all listeners of a daemon have in common.
#[derive(Clone, Debug)]
pub struct Serving {
    /// Who answers.
    pub sites: Sites,
    /// Bounds the connections of all listeners together.
    pub places: Places,
    /// How long a connection may wait for its first or next request, and for the client to
    /// take some of an answer.
    pub idle: Duration,
    /// Who is believed about whom a request is from.
    pub proxies: Arc<TrustedProxies>,
}

/// A bound listener, ready to serve.
#[derive(Debug)]
pub struct HttpListener {
    socket: Socket,
    tls: Option<Arc<ServerConfig>>,
}

impl HttpListener {
    /// Serves HTTP on a socket, or with `tls` HTTPS.
    #[must_use]
    pub fn new(socket: Socket, tls: Option<Arc<ServerConfig>>) -> Self {
        Self { socket, tls }
    }

    /// Serves until told to stop; then lets running requests end, for at most `grace`.
    pub async fn run(self, serving: Serving, stop: CancellationToken, grace: Duration) {
        let connections = TaskTracker::new();
        let cut = CancellationToken::new();
        let tls = self.tls.map(TlsAcceptor::from);
        loop {
            let permit = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                permit = serving.places.wait() => permit,
            };
            let Some(permit) = permit else { break };
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                accepted = self.socket.accept() => accepted,
            };
            let Accepted { stream, peer } = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors, say: the next try at once would spin.
                    warn!(error = %error, "a connection could not be accepted");
                    let pause = tokio::time::sleep(ACCEPT_BACKOFF);
                    let _ = stop.run_until_cancelled(pause).await;
                    continue;
                }
            };
            // A proxy speaks for many clients.
            let counted = peer
                .address()
                .filter(|peer| !serving.proxies.contains(*peer));
            let Some(place) = serving.places.take(permit, counted) else {
                debug!(%peer, "too many connections from one address; closed");
                continue;
            };
            let (stop, serving) = (stop.clone(), serving.clone());
            let connection = Connection {
                peer,
                place,
                stop,
                serving,
            };
            let (tls, cut) = (tls.clone(), cut.clone());
            connections.spawn(async move {
                let _cut = cut.run_until_cancelled(connection.serve(stream, tls)).await;
            });
        }
        self.socket.close();
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

struct Connection {
    peer: Peer,
    place: Place,
    stop: CancellationToken,
    serving: Serving,
}

impl Connection {
    async fn serve(
        self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        tls: Option<TlsAcceptor>,
    ) {
        let peer = self.peer;
        let Some(tls) = tls else {
            return self.serve_http(stream).await;
        };
        let handshake = tokio::time::timeout(HANDSHAKE_LIMIT, tls.accept(stream));
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
            stop,
            serving,
        } = self;
        let idle = serving.idle;
        let service = hyper::service::service_fn(move |request: hyper::Request<_>| {
            let serving = serving.clone();
            async move { serving.answer(peer, request.map(Body::new)).await }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(idle)
            .max_buf_size(MAX_HEAD_BYTES)
            .title_case_headers(true)
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

impl Serving {
    async fn answer(
        &self,
        peer: Peer,
        mut request: hyper::Request<Body>,
    ) -> Result<Response, std::convert::Infallible> {
        let headers = request.headers();
        let client = match peer {
            Peer::Tcp(peer) => self.proxies.client(peer.ip().to_canonical(), headers),
            // Who may open the socket is the proxy, or root of this host.
            Peer::Unix => self.proxies.client_of_trusted(THIS_HOST, headers),
        };
        let client = match client {
            Ok(client) => client,
            Err(error) => {
                warn!(%peer, error = %error, "a request of a trusted proxy is refused");
                return Ok(failure(StatusCode::BAD_REQUEST));
            }
        };
        request.extensions_mut().insert(ClientAddress(client));
        let access = Access::new(client, &request);
        let answer = self.sites.answer(request).await;
        access.log(answer.status());
        Ok(answer)
    }
}

/// Whom a request on a unix socket is from when it names nobody.
const THIS_HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A client that can't finish a handshake by then is not one of ours.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

/// A request's head is a few hundred bytes; hyper needs at least 8 KB.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// Descriptors come back when connections end.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);
