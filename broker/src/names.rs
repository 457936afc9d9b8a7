//! Which node does a host of a session profile mean, and where do clients reach it?
//!
//! A node is known by its ID (from its certificate), by the names and by the addresses
//! that it advertises. A short name and a fully qualified one match by their first
//! label; two fully qualified names match only when they are equal. What two nodes claim
//! belongs to neither.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;

use proto::{HostNames, NodeId};

use crate::profiles::{DEFAULT_SSH_PORT, HostKey, ProfileHost};

/// All names and addresses of the farm, with the node each belongs to.
#[derive(Clone, Debug, Default)]
pub struct HostIndex {
    /// The ID itself; stronger than anything that a node only advertises.
    ids: HashMap<Box<str>, NodeId>,
    /// Advertised names as they are.
    names: HashMap<Box<str>, Claim>,
    /// First labels of fully qualified IDs and names: what a short name may mean.
    first_labels: HashMap<Box<str>, Claim>,
    /// IDs and names of nodes that have no fully qualified one: what a fully qualified
    /// name may mean by its first label.
    short_only: HashMap<Box<str>, Claim>,
    addresses: HashMap<IpAddr, Claim>,
}

/// Which nodes claim a name or address. At least one.
#[derive(Clone, Debug)]
struct Claim {
    first: NodeId,
    others: Vec<NodeId>,
}

/// What a host of a profile means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolved<'a> {
    /// This node.
    Node(&'a NodeId),
    /// No node of the farm.
    Unknown,
    /// More than one node claims it: this one and others.
    Ambiguous(&'a NodeId),
}

/// Where a client connects.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServerAddress {
    /// A host name or an address.
    pub host: String,
    /// The SSH port.
    pub port: u16,
}

impl HostIndex {
    /// Takes the names of all nodes in.
    pub fn build<'a>(nodes: impl Iterator<Item = (&'a NodeId, &'a HostNames)>) -> Self {
        let mut index = Self::default();
        for (node, names) in nodes {
            index.add(node, names);
        }
        index
    }

    fn add(&mut self, node: &NodeId, names: &HostNames) {
        self.ids.insert(node.as_str().into(), node.clone());
        for name in &names.names {
            Claim::add(&mut self.names, name.as_str().into(), node);
        }
        for address in &names.addresses {
            Claim::add(&mut self.addresses, address.to_canonical(), node);
        }
        let all = || std::iter::once(node).chain(&names.names);
        let has_full_name = all().any(is_full);
        for name in all() {
            if is_full(name) {
                Claim::add(&mut self.first_labels, name.short().into(), node);
            } else if !has_full_name {
                Claim::add(&mut self.short_only, name.as_str().into(), node);
            }
        }
    }

    /// The node that a host of a profile means; none when no node or more than one fits.
    #[must_use]
    pub fn resolve(&self, host: &ProfileHost) -> Option<&NodeId> {
        match self.look_up(host) {
            Resolved::Node(node) => Some(node),
            Resolved::Unknown | Resolved::Ambiguous(_) => None,
        }
    }

    /// The same with the reason: first by the host's name, then by its address.
    #[must_use]
    pub fn look_up(&self, host: &ProfileHost) -> Resolved<'_> {
        let (name, address) = host.keys();
        let by_name = self.look_up_key(name);
        if let Resolved::Node(_) = by_name {
            return by_name;
        }
        match address.map(|address| self.look_up_key(address)) {
            None | Some(Resolved::Unknown) => by_name,
            Some(by_address) => by_address,
        }
    }

    fn look_up_key(&self, key: &HostKey) -> Resolved<'_> {
        let name = match key {
            HostKey::Address(address) => {
                return Resolved::of(self.addresses.get(&address.to_canonical()));
            }
            HostKey::Name(name) => name,
        };
        if let Some(node) = self.ids.get(name.as_str()) {
            return Resolved::Node(node);
        }
        let by_label = if is_full(name) {
            self.short_only.get(name.short())
        } else {
            self.first_labels.get(name.as_str())
        };
        let exact = self.names.get(name.as_str());
        // A server that takes another's name gets nothing by it: both must mean one server.
        let both = exact.into_iter().chain(by_label);
        let mut nodes = both.flat_map(|claim| std::iter::once(&claim.first).chain(&claim.others));
        match nodes.next() {
            None => Resolved::Unknown,
            Some(node) if nodes.all(|other| other == node) => Resolved::Node(node),
            Some(node) => Resolved::Ambiguous(node),
        }
    }
}

/// The address that a client is given for a host: what stands in brackets, else the name
/// as written; its own port, else the profile's `sshport`.
#[must_use]
pub fn address_for_client(host: &ProfileHost, sshport: u16) -> ServerAddress {
    let port = host.port.unwrap_or(sshport);
    ServerAddress {
        host: host.target().to_owned(),
        port: if port == 0 { DEFAULT_SSH_PORT } else { port },
    }
}

impl<'a> Resolved<'a> {
    fn of(claim: Option<&'a Claim>) -> Self {
        match claim {
            None => Self::Unknown,
            Some(claim) if claim.others.is_empty() => Self::Node(&claim.first),
            Some(claim) => Self::Ambiguous(&claim.first),
        }
    }
}

impl Claim {
    fn add<K: std::hash::Hash + Eq>(claims: &mut HashMap<K, Self>, key: K, node: &NodeId) {
        let claim = claims.entry(key).or_insert_with(|| Self {
            first: node.clone(),
            others: Vec::new(),
        });
        if claim.first != *node && !claim.others.contains(node) {
            claim.others.push(node.clone());
        }
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

fn is_full(name: &NodeId) -> bool {
    name.as_str().contains('.')
}

#[cfg(test)]
mod tests;
