//! Which client does a proxy speak for?
//!
//! Only a proxy that the configuration names is believed, and only in the one header that
//! it is said to set: a proxy passes other headers on as clients sent them. The list in
//! the header is read from its end, where the nearest proxy wrote, and the first address
//! that is no trusted proxy is the client.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, header};

use crate::acl::ClientPattern;

/// Which proxies are believed, and in which header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies {
    /// Addresses and networks.
    pub addresses: Vec<ClientPattern>,
    /// The header that they set.
    pub header: ForwardedHeader,
}

/// A header in which proxies tell whom they speak for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For: CLIENT, PROXY`.
    #[default]
    XForwardedFor,
    /// `Forwarded: for=CLIENT;proto=https, for=PROXY` (RFC 7239).
    Forwarded,
}

/// A trusted proxy told something that is no list of addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the proxy's header names a client that is no IP address")]
pub struct ForwardedError;

impl TrustedProxies {
    /// Whether this address is a proxy that is believed.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.addresses
            .iter()
            .any(|pattern| pattern.contains(address))
    }

    /// The client of a request that came from `peer`.
    ///
    /// # Errors
    /// When `peer` is believed and what it tells can't be read. To take the proxy's own
    /// address then would give its rights to anybody behind it.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> Result<IpAddr, ForwardedError> {
        if !self.contains(peer) {
            return Ok(peer);
        }
        self.client_of_trusted(peer, headers)
    }

    /// The client of a request that came from a peer that is believed in any case, such as
    /// one on a unix socket. `peer` stands for a request that names nobody.
    ///
    /// # Errors
    /// As [`Self::client`].
    pub fn client_of_trusted(
        &self,
        peer: IpAddr,
        headers: &HeaderMap,
    ) -> Result<IpAddr, ForwardedError> {
        let values = headers.get_all(self.header.name()).iter().rev();
        let mut client = peer;
        for value in values {
            let value = value.to_str().or(Err(ForwardedError))?;
            let items = split(value, ',').ok_or(ForwardedError)?;
            for item in items.into_iter().rev() {
                client = self.header.address(item.trim()).ok_or(ForwardedError)?;
                if !self.contains(client) {
                    return Ok(client);
                }
            }
        }
        Ok(client)
    }
}

impl ForwardedHeader {
    fn name(self) -> HeaderName {
        match self {
            Self::XForwardedFor => HeaderName::from_static("x-forwarded-for"),
            Self::Forwarded => header::FORWARDED,
        }
    }

    fn address(self, item: &str) -> Option<IpAddr> {
        match self {
            Self::XForwardedFor => address(item),
            Self::Forwarded => {
                let pairs = split(item, ';')?;
                let pairs = pairs.iter().filter_map(|pair| pair.split_once('='));
                let mut nodes = pairs.filter(|(key, _)| key.trim().eq_ignore_ascii_case("for"));
                let ((_, node), None) = (nodes.next()?, nodes.next()) else {
                    return None;
                };
                let node = node.trim();
                let quoted = node.strip_prefix('"').map(|rest| rest.strip_suffix('"'));
                address(quoted.unwrap_or(Some(node))?)
            }
        }
    }
}

/// Cuts a header's value, but not within quoted strings, which may hold what a client wrote
/// (RFC 9110, 5.6.4). None where a quote stays open.
fn split(value: &str, separator: char) -> Option<Vec<&str>> {
    let (mut items, mut start) = (Vec::new(), 0);
    let (mut is_quoted, mut is_escaped) = (false, false);
    for (at, c) in value.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            c if c == separator && !is_quoted => {
                items.push(value.get(start..at)?);
                start = at + c.len_utf8();
            }
            _ => {}
        }
    }
    items.push(value.get(start..)?);
    (!is_quoted).then_some(items)
}

/// Reads an address with or without a port; IPv6 with or without brackets.
fn address(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address.to_canonical());
    }
    let bare = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?.0,
        None => text.split_once(':')?.0,
    };
    let address: IpAddr = bare.parse().ok()?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn proxies(header: ForwardedHeader) -> TrustedProxies {
        let addresses = ["127.0.0.1", "10.1.0.0/16", "fd00::/8"];
        TrustedProxies {
            addresses: addresses
                .map(|text| ClientPattern::parse(text).unwrap())
                .to_vec(),
            header,
        }
    }

    #[track_caller]
    fn check(
        how: ForwardedHeader,
        peer: &str,
        values: &[(&'static str, &str)],
        expected: Option<&str>,
    ) {
        let mut headers = HeaderMap::new();
        for (name, value) in values {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        let client = proxies(how).client(peer.parse().unwrap(), &headers);
        assert_eq!(
            client.ok(),
            expected.map(|e| e.parse().unwrap()),
            "{values:?}"
        );
    }

    const XFF: &str = "x-forwarded-for";

    #[test]
    fn nobody_but_a_trusted_proxy_is_believed() {
        use ForwardedHeader::XForwardedFor;
        let said = [(XFF, "10.9.9.9")];
        check(XForwardedFor, "192.0.2.7", &said, Some("192.0.2.7"));
        check(XForwardedFor, "127.0.0.1", &said, Some("10.9.9.9"));
        check(XForwardedFor, "10.1.2.3", &said, Some("10.9.9.9"));
        check(XForwardedFor, "127.0.0.1", &[], Some("127.0.0.1"));
    }

    #[test]
    fn the_nearest_address_that_is_no_proxy_is_the_client() {
        use ForwardedHeader::XForwardedFor;
        // What a client wrote itself stands before what the proxies wrote.
        let chain = [(XFF, "10.0.0.1, 192.0.2.7, 10.1.0.2")];
        check(XForwardedFor, "127.0.0.1", &chain, Some("192.0.2.7"));
        let split = [(XFF, "10.0.0.1, 192.0.2.7"), (XFF, "10.1.0.2")];
        check(XForwardedFor, "127.0.0.1", &split, Some("192.0.2.7"));
        let only_proxies = [(XFF, "10.1.0.9, 10.1.0.2")];
        check(XForwardedFor, "127.0.0.1", &only_proxies, Some("10.1.0.9"));
        let with_ports = [(XFF, "[2001:db8::7]:4711, 10.1.0.2:80")];
        check(XForwardedFor, "127.0.0.1", &with_ports, Some("2001:db8::7"));
    }

    #[test]
    fn only_the_configured_header_counts() {
        use ForwardedHeader::{Forwarded, XForwardedFor};
        let both = [("forwarded", "for=10.9.9.9"), (XFF, "192.0.2.7")];
        check(XForwardedFor, "127.0.0.1", &both, Some("192.0.2.7"));
        check(Forwarded, "127.0.0.1", &both, Some("10.9.9.9"));
        // RFC 7239, section 4
        let quoted = [(
            "forwarded",
            "for=192.0.2.7, For=\"[2001:db8:cafe::17]:4711\";proto=https",
        )];
        check(Forwarded, "127.0.0.1", &quoted, Some("2001:db8:cafe::17"));
    }

    #[test]
    fn what_can_not_be_read_is_refused_and_never_the_proxy_itself() {
        use ForwardedHeader::{Forwarded, XForwardedFor};
        for odd in ["unknown", "", "10.0.0.1,", "a, 10.1.0.2", "999.1.1.1"] {
            check(XForwardedFor, "127.0.0.1", &[(XFF, odd)], None);
        }
        // What a client put into its Host must not become an address.
        let by_host = [
            ("for=192.0.2.7;host=\"x,for=10.9.9.9\"", Some("192.0.2.7")),
            ("host=\"x;for=10.9.9.9\";for=192.0.2.7", Some("192.0.2.7")),
            (
                "host=\"x\\\";for=10.9.9.9\";for=192.0.2.7",
                Some("192.0.2.7"),
            ),
            ("for=10.9.9.9;for=192.0.2.7", None),
            ("for=192.0.2.7;host=\"x", None),
        ];
        for (value, expected) in by_host {
            check(Forwarded, "127.0.0.1", &[("forwarded", value)], expected);
        }
        for odd in ["for=unknown", "for=_hidden", "proto=https", ""] {
            check(Forwarded, "127.0.0.1", &[("forwarded", odd)], None);
        }
    }
}
