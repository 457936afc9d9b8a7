//! Which X2Go server does an entry of a profile's `host` list mean?

use std::net::IpAddr;

use proto::NodeId;

/// One entry of a `host` list: `name`, `name (address)` or `name (address:port)`.
///
/// Name and address are host names or IP addresses, so that they can stand in an answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ProfileHost {
    /// As written; clients are shown it.
    pub name: String,
    /// Where clients connect instead of the name.
    pub address: Option<String>,
    /// The SSH port behind the address; else the profile's `sshport` counts.
    pub port: Option<u16>,
    name_key: HostKey,
    address_key: Option<HostKey>,
}

/// A host name or address in the form in which nodes are looked up by it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum HostKey {
    Address(IpAddr),
    Name(NodeId),
}

/// Why an entry of a `host` list can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// The name is neither a host name nor an address.
    #[error("{0:?} is neither a host name nor an IP address")]
    Name(String),
    /// What stands in the brackets is neither.
    #[error("{0:?} in brackets is neither a host name nor an IP address")]
    Address(String),
    /// Not a port.
    #[error("{0:?} is not a port; write one from 1 to 65535")]
    Port(String),
    /// The bracket is not closed, or something stands behind it.
    #[error("{0:?} is none of: name, name (address), name (address:port)")]
    Form(String),
}

impl ProfileHost {
    /// Reads one entry.
    ///
    /// # Errors
    /// When it has none of the three forms. Errors show at most 64 characters of it.
    pub fn parse(text: &str) -> Result<Self, HostError> {
        let text = text.trim();
        let Some((name, rest)) = text.split_once('(') else {
            return Ok(Self {
                name_key: HostKey::parse(text).ok_or_else(|| HostError::Name(cut(text)))?,
                name: text.to_owned(),
                address: None,
                address_key: None,
                port: None,
            });
        };
        let name = name.trim();
        let inner = rest.trim_end().strip_suffix(')');
        let inner = inner.ok_or_else(|| HostError::Form(cut(text)))?.trim();
        let (address, port) = split_port(inner);
        let port = port.map(|port| port_number(port).ok_or_else(|| HostError::Port(cut(port))));
        let address_key = HostKey::parse(address);
        Ok(Self {
            name_key: HostKey::parse(name).ok_or_else(|| HostError::Name(cut(name)))?,
            name: name.to_owned(),
            address_key: Some(address_key.ok_or_else(|| HostError::Address(cut(address)))?),
            address: Some(address.to_owned()),
            port: port.transpose()?,
        })
    }

    /// The name, then the address: nodes are looked up in this order.
    pub(crate) fn keys(&self) -> (&HostKey, Option<&HostKey>) {
        (&self.name_key, self.address_key.as_ref())
    }

    /// Where clients connect: the address if there is one, else the name.
    #[must_use]
    pub fn target(&self) -> &str {
        self.address.as_deref().unwrap_or(&self.name)
    }

    /// X2Go Client splits `SERVER:host:port` at the first colon behind the host, so it
    /// can't read an IPv6 address.
    #[must_use]
    pub fn clients_can_not_read_it(&self) -> bool {
        let target = self.address_key.as_ref().unwrap_or(&self.name_key);
        matches!(target, HostKey::Address(IpAddr::V6(_)))
    }
}

/// Takes `address:port` apart. An IPv6 address with a port stands in square brackets.
fn split_port(text: &str) -> (&str, Option<&str>) {
    if let Some((address, rest)) = text.strip_prefix('[').and_then(|t| t.split_once(']')) {
        return match rest.strip_prefix(':') {
            Some(port) => (address, Some(port)),
            None if rest.is_empty() => (address, None),
            None => (text, None),
        };
    }
    match text.split_once(':') {
        Some((address, port)) if !port.contains(':') => (address.trim_end(), Some(port)),
        _ => (text, None),
    }
}

fn port_number(text: &str) -> Option<u16> {
    text.trim().parse().ok().filter(|&port| port != 0)
}

impl HostKey {
    fn parse(text: &str) -> Option<Self> {
        match text.parse() {
            Ok(address) => Some(Self::Address(address)),
            Err(_) => NodeId::parse(text).ok().map(Self::Name),
        }
    }
}

fn cut(text: &str) -> String {
    text.chars().take(64).collect()
}
