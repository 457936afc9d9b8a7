//! How does this replica take part in the mesh?

use std::net::SocketAddr;
use std::path::PathBuf;

use proto::NodeId;

use super::address::{HostAndPort, bind_address, socket_address};
use super::raw::RawConfig;

/// This replica as a member of the mesh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeshConfig {
    /// Its name; must be the one in its certificate.
    pub node: NodeId,
    /// The directory of its certificate, key and trust bundle.
    pub identity: PathBuf,
    /// Where it listens for members.
    pub listen: SocketAddr,
    /// Where members reach it, if that differs from `listen`.
    pub advertise: Option<SocketAddr>,
    /// Members to begin with; names are looked up again and again.
    pub seeds: Vec<HostAndPort>,
    /// What must outlive a restart, such as the last generation.
    pub state_directory: PathBuf,
    /// How fast gossip runs.
    pub gossip: GossipTiming,
}

/// How fast gossip runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GossipTiming {
    /// Rounds of a second, for real networks.
    #[default]
    Lan,
    /// Short rounds, for a farm on one machine.
    Local,
}

impl MeshConfig {
    /// None only together with an error.
    pub(super) fn build(raw: &mut RawConfig<'_>) -> Option<Self> {
        let node = node(raw);
        let listen = listen(raw);
        let advertise = advertise(raw, listen);
        let path = |key, default: &str| raw.text("mesh", key).unwrap_or(default).into();
        let identity = path("identity", "/etc/x2go/pki/broker");
        let state_directory = path("state-directory", "/var/lib/x2gobroker");
        Some(Self {
            identity,
            state_directory,
            advertise,
            seeds: seeds(raw),
            gossip: gossip(raw),
            node: node?,
            listen: listen?,
        })
    }
}

fn node(raw: &mut RawConfig<'_>) -> Option<NodeId> {
    let host_name = raw.sources().host_name;
    let Some(key) = raw.entry("mesh", "node") else {
        let node = NodeId::parse(host_name).ok();
        if node.is_none() {
            raw.file_error(format!(
                "the host name of this machine is {host_name:?}; give a name as [mesh] node"
            ));
        }
        return node;
    };
    let node = NodeId::parse(key.value()).ok();
    if node.is_none() {
        raw.error(key, "this is not a host name");
    }
    node
}

fn listen(raw: &mut RawConfig<'_>) -> Option<SocketAddr> {
    let Some(key) = raw.entry("mesh", "listen") else {
        return bind_address("0.0.0.0", MESH_PORT);
    };
    let address = bind_address(key.value(), MESH_PORT);
    if address.is_none() {
        raw.error(key, "this is not an IP address with or without a port");
    }
    address
}

fn advertise(raw: &mut RawConfig<'_>, listen: Option<SocketAddr>) -> Option<SocketAddr> {
    let key = raw.entry("mesh", "advertise")?;
    let port = listen.map_or(MESH_PORT, |listen| listen.port());
    let address = socket_address(key.value(), port);
    if address.is_none_or(|address| address.ip().is_unspecified()) {
        raw.error(key, "this is not an IP address that members can reach");
    }
    address
}

fn seeds(raw: &mut RawConfig<'_>) -> Vec<HostAndPort> {
    let Some(key) = raw.entry("mesh", "seeds") else {
        return Vec::new();
    };
    let mut seeds = Vec::new();
    let items = key.value().split(',').map(str::trim);
    for item in items.filter(|item| !item.is_empty()) {
        match HostAndPort::parse(item, MESH_PORT) {
            Some(seed) => seeds.push(seed),
            None => raw.error(
                key,
                format!("{item:?} is not a host with or without a port"),
            ),
        }
    }
    seeds
}

fn gossip(raw: &mut RawConfig<'_>) -> GossipTiming {
    let Some(key) = raw.entry("mesh", "gossip") else {
        return GossipTiming::default();
    };
    match key.value() {
        "lan" => GossipTiming::Lan,
        "local" => GossipTiming::Local,
        _ => {
            raw.error(key, "this is neither lan nor local");
            GossipTiming::default()
        }
    }
}

/// Where members listen for each other.
pub(super) const MESH_PORT: u16 = 7465;
