//! A connection of the mesh, and who is at its other end.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use rustls_pki_types::{CertificateDer, UnixTime};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio_rustls::TlsStream;
use tonic::transport::server::Connected;

use super::failure::HandshakeFailure;
use crate::certificate::CertificateFacts;
use crate::clock::rfc3339;
use crate::name::{FarmName, Subject};

/// Who is at the other end, as its verified certificate says. The farm is ours.
///
/// A handler of tonic finds it in the extensions of its request.
#[derive(Clone, PartialEq, Eq)]
pub struct PeerIdentity {
    /// Who it is.
    pub subject: Subject,
    /// The serial number of its leaf in hexadecimal.
    pub serial: String,
    /// The last second of its leaf's life.
    pub not_after: UnixTime,
    /// The address it connected from, or that we connected to.
    pub address: SocketAddr,
}

/// A connection to a verified member. Reading and writing is plain bytes.
pub struct MeshStream {
    tls: TlsStream<TcpStream>,
    peer: PeerIdentity,
    /// Held as long as the connection is open: bounds how many there are.
    _permit: Option<OwnedSemaphorePermit>,
}

impl PeerIdentity {
    /// Reads the identity from the chain that TLS has verified.
    pub(crate) fn of_verified(
        chain: Option<&[CertificateDer<'_>]>,
        address: SocketAddr,
        ours: &FarmName,
    ) -> Result<Self, HandshakeFailure> {
        let Some(leaf) = chain.and_then(<[_]>::first) else {
            return Err(HandshakeFailure::NoCertificate);
        };
        let facts = CertificateFacts::read(leaf).map_err(HandshakeFailure::Nameless)?;
        let subject = facts.subject().map_err(HandshakeFailure::Nameless)?;
        if subject.farm != *ours {
            let found = Box::new(subject);
            return Err(HandshakeFailure::WrongFarm {
                found,
                ours: ours.clone(),
            });
        }
        Ok(Self {
            subject,
            serial: facts.serial,
            not_after: facts.not_after,
            address,
        })
    }
}

impl fmt::Debug for PeerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerIdentity")
            .field("subject", &self.subject.to_uri())
            .field("serial", &self.serial)
            .field("not_after", &rfc3339(self.not_after))
            .field("address", &self.address)
            .finish()
    }
}

impl MeshStream {
    pub(crate) fn new(
        tls: TlsStream<TcpStream>,
        peer: PeerIdentity,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Self {
        Self {
            tls,
            peer,
            _permit: permit,
        }
    }

    /// Who is at the other end.
    pub fn peer(&self) -> &PeerIdentity {
        &self.peer
    }

    /// Waits until there is something to read, and leaves it there. False is the end.
    pub(crate) async fn first_bytes(&mut self) -> io::Result<bool> {
        Ok(!self.tls.fill_buf().await?.is_empty())
    }
}

impl fmt::Debug for MeshStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MeshStream")
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

impl Connected for MeshStream {
    type ConnectInfo = PeerIdentity;

    fn connect_info(&self) -> PeerIdentity {
        self.peer.clone()
    }
}

impl AsyncRead for MeshStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_read(cx, buf)
    }
}

impl AsyncWrite for MeshStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tls).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tls).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.tls.is_write_vectored()
    }
}
