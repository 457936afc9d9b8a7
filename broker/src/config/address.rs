//! What do texts like `127.0.0.1:8080`, `[::1]` or `broker1:7465` mean?

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use proto::NodeId;

/// A host that is looked up each time it is used, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostAndPort {
    /// A host name, or an address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl HostAndPort {
    /// Reads `host`, `host:port`, or an address with or without a port. IPv6 addresses
    /// with a port stand in square brackets.
    #[must_use]
    pub fn parse(text: &str, default_port: u16) -> Option<Self> {
        if let Some(address) = socket_address(text, default_port) {
            return Some(Self {
                host: address.ip().to_string(),
                port: address.port(),
            });
        }
        let (host, port) = match text.split_once(':') {
            Some((host, port)) => (host, port.parse().ok().filter(|&port| port != 0)?),
            None => (text, default_port),
        };
        NodeId::parse(host).ok()?;
        Some(Self {
            host: host.to_owned(),
            port,
        })
    }
}

impl fmt::Display for HostAndPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') {
            write!(f, "[{host}]:{port}")
        } else {
            write!(f, "{host}:{port}")
        }
    }
}

/// Reads an address with or without a port.
pub(super) fn socket_address(text: &str, default_port: u16) -> Option<SocketAddr> {
    let bracketed = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
    if let Ok(address) = bracketed.unwrap_or(text).parse::<IpAddr>() {
        return Some(SocketAddr::new(address, default_port));
    }
    text.parse().ok()
}

/// Reads an address to listen at: `address:port`, `localhost:port`, `:port` or `port`.
/// Without an address it is all of them. Port 0 asks the kernel for a free one.
pub(super) fn bind_address(text: &str, default_port: u16) -> Option<SocketAddr> {
    let all = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let port_only = text.strip_prefix(':').unwrap_or(text);
    if let Ok(port) = port_only.parse() {
        return Some(SocketAddr::new(all, port));
    }
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    match text.strip_prefix("localhost") {
        Some("") => Some(SocketAddr::new(loopback, default_port)),
        Some(rest) => {
            let port = rest.strip_prefix(':')?.parse().ok()?;
            Some(SocketAddr::new(loopback, port))
        }
        None => socket_address(text, default_port),
    }
}
