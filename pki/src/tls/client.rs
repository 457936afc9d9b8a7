//! Connecting to another member, and to nobody else.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, TlsStream};
use tonic::transport::{Channel, Endpoint, Server, Uri};

use super::config::member_name;
use super::failure::HandshakeFailure;
use super::stream::{MeshStream, PeerIdentity};
use crate::identity::IdentityWatch;
use crate::name::{NodeName, Role, Subject};

/// Who must answer for a connection to be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// This one member.
    Node {
        /// In this role.
        role: Role,
        /// On this node.
        node: NodeName,
    },
    /// Any member with one of these roles.
    AnyOf(&'static [Role]),
}

/// The waits of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelLimits {
    /// TCP and TLS together must be done by then.
    pub connect_timeout: Duration,
    /// A ping goes out when nothing was heard for so long, also without any call.
    pub keepalive_interval: Duration,
    /// The connection is given up when a ping is not answered by then.
    pub keepalive_timeout: Duration,
}

/// Why there is no connection to a member.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// TCP failed.
    #[error("cannot reach {wanted} at {address}")]
    Unreachable {
        /// Where it should be.
        address: SocketAddr,
        /// Who it should be.
        wanted: Expect,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It took too long.
    #[error("cannot reach {wanted} at {address} within {after:?}")]
    TimedOut {
        /// Where it should be.
        address: SocketAddr,
        /// Who it should be.
        wanted: Expect,
        /// How long we waited.
        after: Duration,
    },
    /// TLS failed.
    #[error("no trust between us and {wanted} at {address}")]
    Handshake {
        /// Where it should be.
        address: SocketAddr,
        /// Who it should be.
        wanted: Expect,
        /// What went wrong; "it" is the other end.
        #[source]
        source: HandshakeFailure,
    },
    /// A member answered, but not the one we want.
    #[error("wanted {wanted} at {address}, found {found}")]
    WrongPeer {
        /// Where it should be.
        address: SocketAddr,
        /// Who it should be.
        wanted: Expect,
        /// Who answered.
        found: Box<Subject>,
    },
}

impl Expect {
    /// Whether `subject` may answer. The farm is checked elsewhere.
    pub fn accepts(&self, subject: &Subject) -> bool {
        match self {
            Self::Node { role, node } => subject.role == *role && subject.node == *node,
            Self::AnyOf(roles) => roles.contains(&subject.role),
        }
    }
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node { role, node } => write!(f, "{role} {node}"),
            Self::AnyOf(roles) => {
                let words: Vec<&str> = roles.iter().map(|role| role.as_str()).collect();
                write!(f, "any {}", words.join(" or "))
            }
        }
    }
}

impl Default for ChannelLimits {
    fn default() -> Self {
        Self {
            connect_timeout: CONNECT_TIMEOUT,
            keepalive_interval: KEEPALIVE,
            keepalive_timeout: KEEPALIVE,
        }
    }
}

impl ConnectError {
    /// Finds the reason why a call on a channel of ours failed, if it failed by connecting.
    pub fn behind<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Self> {
        let mut next = Some(error);
        while let Some(cause) = next {
            if let Some(found) = cause.downcast_ref::<Self>() {
                return Some(found);
            }
            next = cause.source();
        }
        None
    }
}

/// A channel for gRPC to the member at `address`. It connects at the first call, and again
/// after a loss, each time with the identity of that moment.
pub fn mesh_channel(
    address: SocketAddr,
    expect: Expect,
    identity: IdentityWatch,
    limits: ChannelLimits,
) -> Channel {
    let connect = move |_: Uri| {
        let (expect, identity) = (expect.clone(), identity.clone());
        async move {
            let limit = limits.connect_timeout;
            let accepted = connect_and_be_accepted(address, &expect, &identity);
            by_then(limit, address, &expect, accepted)
                .await
                .map(TokioIo::new)
        }
    };
    Endpoint::from_static(AUTHORITY)
        .http2_keep_alive_interval(limits.keepalive_interval)
        .keep_alive_timeout(limits.keepalive_timeout)
        .keep_alive_while_idle(true)
        .connect_with_connector_lazy(tower::service_fn(connect))
}

/// A gRPC server for [`MeshListener::incoming`](crate::MeshListener::incoming) that notices
/// when the host of a caller is gone, and ends its connections. Without this they would
/// hold their places for a quarter of an hour and more.
pub fn mesh_server(limits: ChannelLimits) -> Server {
    Server::builder()
        .http2_keepalive_interval(Some(limits.keepalive_interval))
        .http2_keepalive_timeout(Some(limits.keepalive_timeout))
}

/// Connects to the member at `address` with the identity of this moment.
///
/// The member may still refuse *us*: with TLS 1.3 that shows only at the first read, as an
/// error or as the end of the stream.
///
/// # Errors
/// When nobody answers within `limit`, or somebody else than expected.
pub async fn mesh_connect(
    address: SocketAddr,
    expect: &Expect,
    identity: &IdentityWatch,
    limit: Duration,
) -> Result<MeshStream, ConnectError> {
    let connected = connect_at_once(address, expect, identity);
    by_then(limit, address, expect, connected).await
}

async fn by_then(
    limit: Duration,
    address: SocketAddr,
    expect: &Expect,
    connected: impl Future<Output = Result<MeshStream, ConnectError>>,
) -> Result<MeshStream, ConnectError> {
    match tokio::time::timeout(limit, connected).await {
        Ok(result) => result,
        Err(_elapsed) => Err(ConnectError::TimedOut {
            address,
            wanted: expect.clone(),
            after: limit,
        }),
    }
}

/// Connects, and waits for the first bytes of the server: those of HTTP/2 speak at once
/// (RFC 9113, 3.4). A server that refuses us sends an alert instead, which then is the
/// reason of a connection that failed, not of a call.
async fn connect_and_be_accepted(
    address: SocketAddr,
    expect: &Expect,
    identity: &IdentityWatch,
) -> Result<MeshStream, ConnectError> {
    let mut stream = connect_at_once(address, expect, identity).await?;
    let source = match stream.first_bytes().await {
        Ok(true) => return Ok(stream),
        Ok(false) => HandshakeFailure::Closed,
        Err(error) => HandshakeFailure::from_io(error),
    };
    Err(ConnectError::Handshake {
        address,
        wanted: expect.clone(),
        source,
    })
}

async fn connect_at_once(
    address: SocketAddr,
    expect: &Expect,
    identity: &IdentityWatch,
) -> Result<MeshStream, ConnectError> {
    let wanted = || expect.clone();
    let unreachable = |source| ConnectError::Unreachable {
        address,
        wanted: wanted(),
        source,
    };
    let no_trust = |source| ConnectError::Handshake {
        address,
        wanted: wanted(),
        source,
    };
    let name = member_name().map_err(|error| unreachable(io::Error::other(error)))?;
    let tcp = TcpStream::connect(address).await.map_err(unreachable)?;
    tcp.set_nodelay(true).map_err(unreachable)?;
    let identity = identity.borrow().clone();
    let tls = TlsConnector::from(identity.client_config())
        .connect(name, tcp)
        .await
        .map_err(|error| no_trust(HandshakeFailure::from_io(error)))?;
    let chain = tls.get_ref().1.peer_certificates();
    let peer =
        PeerIdentity::of_verified(chain, address, &identity.subject().farm).map_err(no_trust)?;
    if !expect.accepts(&peer.subject) {
        let found = Box::new(peer.subject);
        return Err(ConnectError::WrongPeer {
            address,
            wanted: wanted(),
            found,
        });
    }
    Ok(MeshStream::new(TlsStream::from(tls), peer, None))
}

/// What stands in the authority of requests; the address is fixed by the channel. TLS is
/// below tonic, which therefore sees plain HTTP/2.
const AUTHORITY: &str = "http://member.x2gofarm.internal";
/// A cold farm makes all its handshakes at once; less than this loses them again.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Five seconds of silence and five more for the answer: a dead host shows after ten.
const KEEPALIVE: Duration = Duration::from_secs(5);
