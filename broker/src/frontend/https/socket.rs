//! Where clients connect: TCP and unix sockets, opened here or handed over by systemd.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use nix::sys::stat::{Mode, umask};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};
use tracing::{debug, info, warn};

/// A socket that clients connect to.
#[derive(Debug)]
pub enum Socket {
    /// TCP.
    Tcp(TcpListener),
    /// A unix socket, for a proxy on this host.
    Unix {
        /// The socket.
        listener: UnixListener,
        /// Its file, when this process made it and so removes it.
        path: Option<PathBuf>,
    },
}

/// Why no socket could be opened.
#[derive(Debug, thiserror::Error)]
#[error("can't listen on {address}")]
pub struct BindError {
    address: String,
    source: io::Error,
}

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) enum Peer {
    /// Somebody at this address.
    Tcp(SocketAddr),
    /// A process of this host that may open the unix socket.
    Unix,
}

/// A new connection.
pub(super) struct Accepted {
    pub(super) stream: Stream,
    pub(super) peer: Peer,
}

/// The bytes of a connection.
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    /// Takes an address, without listening yet: what needs privileges.
    ///
    /// # Errors
    /// When it can't be bound.
    pub fn reserve_tcp(address: SocketAddr) -> Result<TcpSocket, BindError> {
        let bind = || -> io::Result<TcpSocket> {
            let socket = match address {
                SocketAddr::V4(_) => TcpSocket::new_v4()?,
                SocketAddr::V6(_) => TcpSocket::new_v6()?,
            };
            // Else a restart would wait for the old connections to be forgotten.
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            Ok(socket)
        };
        bind().map_err(|source| BindError {
            address: address.to_string(),
            source,
        })
    }

    /// Listens at an address that was taken.
    ///
    /// # Errors
    /// When somebody else listens there by now.
    ///
    /// # Panics
    /// Outside of tokio's runtime.
    pub fn listen(address: SocketAddr, socket: TcpSocket) -> Result<Self, BindError> {
        let listener = socket.listen(MAX_WAITING).map_err(|source| BindError {
            address: address.to_string(),
            source,
        })?;
        Ok(Self::Tcp(listener))
    }

    /// Listens at an address.
    ///
    /// # Errors
    /// When it can't be bound.
    ///
    /// # Panics
    /// Outside of tokio's runtime.
    pub fn bind_tcp(address: SocketAddr) -> Result<Self, BindError> {
        Self::listen(address, Self::reserve_tcp(address)?)
    }

    /// Listens at a path, with these permissions. What an earlier process left there is
    /// removed, but not a socket that somebody listens at.
    ///
    /// # Errors
    /// When it can't be bound.
    ///
    /// # Panics
    /// Outside of tokio's runtime.
    pub fn bind_unix(path: &Path, mode: u32) -> Result<Self, BindError> {
        let listener = UnixListener::from_std(Self::reserve_unix(path, mode)?);
        Ok(Self::Unix {
            listener: listener.map_err(|source| BindError::at(path, source))?,
            path: Some(path.to_owned()),
        })
    }

    /// The same without tokio's runtime. The permissions are there from the first moment;
    /// nothing is done by name afterwards.
    ///
    /// # Errors
    /// When it can't be bound.
    pub fn reserve_unix(
        path: &Path,
        mode: u32,
    ) -> Result<std::os::unix::net::UnixListener, BindError> {
        let bind = || {
            remove_left_over(path)?;
            let own_mask = umask(Mode::from_bits_truncate(0o777 & !mode));
            let bound = std::os::unix::net::UnixListener::bind(path);
            umask(own_mask);
            let listener = bound?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        };
        bind().map_err(|source| BindError::at(path, source))
    }

    /// Takes over a TCP socket of systemd.
    ///
    /// # Errors
    /// When it can't be used.
    pub fn from_tcp(listener: std::net::TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self::Tcp(TcpListener::from_std(listener)?))
    }

    /// Takes over a unix socket of systemd, which also removes its file.
    ///
    /// # Errors
    /// When it can't be used.
    pub fn from_unix(listener: std::os::unix::net::UnixListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let listener = UnixListener::from_std(listener)?;
        Ok(Self::Unix {
            listener,
            path: None,
        })
    }

    /// Where it listens over TCP: the port that was chosen when 0 was asked for.
    #[must_use]
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            Self::Unix { .. } => None,
        }
    }

    pub(super) async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                if let Err(error) = stream.set_nodelay(true) {
                    debug!(%peer, error = %error, "no TCP_NODELAY");
                }
                Ok(Accepted {
                    stream: Stream::Tcp(stream),
                    peer: Peer::Tcp(peer),
                })
            }
            Self::Unix { listener, .. } => {
                let (stream, _) = listener.accept().await?;
                Ok(Accepted {
                    stream: Stream::Unix(stream),
                    peer: Peer::Unix,
                })
            }
        }
    }

    /// Says in the log where it listens.
    pub fn announce(&self, protocol: &str) {
        match self {
            Self::Tcp(_) => {
                if let Some(address) = self.tcp_address() {
                    info!(%address, "listening for {protocol}");
                }
            }
            Self::Unix { path, .. } => {
                let path = path
                    .as_deref()
                    .map_or("of systemd".into(), Path::to_string_lossy);
                info!(%path, "listening for {protocol} of proxies");
            }
        }
    }

    pub(super) fn close(self) {
        let Self::Unix {
            path: Some(path), ..
        } = self
        else {
            return;
        };
        if let Err(error) = std::fs::remove_file(&path) {
            warn!(path = %path.display(), error = %error, "a unix socket was not removed");
        }
    }
}

impl BindError {
    fn at(path: &Path, source: io::Error) -> Self {
        Self {
            address: path.display().to_string(),
            source,
        }
    }
}

fn remove_left_over(path: &Path) -> io::Result<()> {
    let Ok(metadata) = std::fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !metadata.file_type().is_socket() {
        let text = "there is something that is no socket";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err(io::ErrorKind::AddrInUse.into()),
        Err(_) => std::fs::remove_file(path),
    }
}

impl Peer {
    /// Its address, if it has one.
    pub(super) fn address(self) -> Option<IpAddr> {
        match self {
            Self::Tcp(peer) => Some(peer.ip().to_canonical()),
            Self::Unix => None,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(peer) => peer.fmt(f),
            Self::Unix => f.write_str("unix socket"),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, bytes),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// Connections that the kernel holds until they are accepted. Who comes when it is full
/// waits for a second, so it has room for a rush in the morning, or for a flood. The kernel
/// may hold it to less, by net.core.somaxconn.
const MAX_WAITING: u32 = 4096;
