//! Puts a replica together, runs its parts, and stops them in order.
//!
//! A part that ends early stops the process with an error: systemd starts it again, and
//! the clients' next address works meanwhile. Stopping goes from the outside in: no new
//! requests, running ones end, the farm is told, gossip stops.

mod clients;
mod parts;
mod signals;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use gossip::{
    Cluster, ClusterConfig, ClusterError, ClusterHandle, GenerationError, Generations,
    MtlsTransport, Settings, TransportLimits, next_generation,
};
use pki::{
    ChannelLimits, Clock, HttpsConfigError, IdentityError, IdentityWatch, ListenerLimits,
    MeshListener, Reloader, Role, mesh_server,
};
use proto::NodeId;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::agents::KeyReturns;
use crate::audit::Audit;
use crate::auth::Authenticator;
use crate::auth::sharing::{Follower, SpentTeller};
use crate::autologin::{KeyPair, KeyPairsOwner};
use crate::config::load::Origin;
use crate::config::{Config, GossipTiming, MeshConfig};
use crate::frontend::https::sites::Sites;
use crate::frontend::https::socket::BindError;
use crate::frontend::https::{Bodies, Places, Serving};
use crate::frontend::ssh::SshSocketError;
use crate::groups::{self, GroupLimits, GroupsOwner};
use crate::load_checker::LoadChecker;
use crate::old_agents::{OldAgents, Poller};
use crate::placement::PlacementKey;
use crate::process::{self, Process};
use crate::task::select_session::Placing;
use crate::view::feed::Feed;
use clients::{Desk, bind_clients, bind_ssh};
use parts::Parts;
pub(crate) use signals::Reloads;
use signals::Signals;

/// Why a replica can't start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// No certificate that can be used.
    #[error(
        "the certificate in {dir} can't be used; where there is none yet, issue one with: \
         x2gobroker-ca issue --role broker --node {node}"
    )]
    Identity {
        /// Where it should lie.
        dir: PathBuf,
        /// The node in the configuration.
        node: NodeId,
        /// What is wrong.
        source: Box<IdentityError>,
    },
    /// The certificate is somebody else's.
    #[error(
        "the certificate in {dir} is for {found}, but this replica is broker/{wanted}; \
         issue one with: x2gobroker-ca issue --role broker --node {wanted}"
    )]
    WrongIdentity {
        /// Where it lies.
        dir: PathBuf,
        /// Role and node in it.
        found: String,
        /// The node in the configuration.
        wanted: String,
    },
    /// The state directory can't be used.
    #[error("the generation can't be kept in {dir}")]
    Generation {
        /// The directory.
        dir: PathBuf,
        /// Why.
        source: GenerationError,
    },
    /// The folder for connections to old agents.
    #[error("no folder for connections to old agents can be made in {dir}")]
    OldAgents {
        /// Where.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The mesh port is taken, say.
    #[error("members can't connect")]
    MeshBind(#[source] pki::BindError),
    /// Members could not be told where to find this replica.
    #[error(
        "members can't be told where to find this replica: it listens on {listen}, and no \
         address of this host leads to them; set [mesh] advertise = ADDRESS:PORT"
    )]
    NoAdvertise {
        /// Where it listens.
        listen: SocketAddr,
    },
    /// Gossip can't be set up.
    #[error("gossip can't be set up")]
    Cluster(#[source] ClusterError),
    /// A client port is taken, say.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// Certificate or key for HTTPS.
    #[error("HTTPS can't be served")]
    Https(#[source] HttpsConfigError),
    /// Sockets that systemd hands over.
    #[error("a socket that systemd hands over can't be used")]
    Handed(#[source] io::Error),
    /// The socket of the SSH front end.
    #[error("clients can't ask over SSH")]
    Ssh(#[source] SshSocketError),
    /// A named broker's configuration.
    #[error("the configuration of the broker {name} can't be used: {problems}")]
    NamedBroker {
        /// Its name.
        name: String,
        /// All that is wrong with it.
        problems: String,
    },
    /// Signals can't be waited for.
    #[error("signals can't be waited for")]
    Signals(#[source] io::Error),
    /// Something that should run for ever ended.
    #[error("{part} ended early; the process stops so that it is started afresh")]
    PartEnded {
        /// What.
        part: &'static str,
    },
}

/// Runs a replica until SIGTERM or SIGINT.
///
/// # Errors
/// When it can't start, or one of its parts ended early.
pub async fn run(config: Config, origin: Origin, mut process: Process) -> Result<(), AppError> {
    let clock = Clock::system();
    let (reloader, identity) = open_identity(&config.mesh, &clock)?;
    let mesh = bind_mesh(&config.mesh, &identity).await?;
    let advertise = advertise_address(&config.mesh, mesh.local_addr())?;
    let dir = config.mesh.state_directory.clone();
    let generation = next_generation(&dir, &clock).map_err(|source| AppError::Generation {
        dir: dir.clone(),
        source,
    })?;
    let (transport, gossip_service) =
        MtlsTransport::new(identity.clone(), TransportLimits::default());
    let settings = match config.mesh.gossip {
        GossipTiming::Lan => Settings::lan(),
        GossipTiming::Local => Settings::local(),
    };
    let round = settings.interval;
    let cluster_config = ClusterConfig {
        farm: identity.borrow().subject().farm.to_string(),
        node: config.mesh.node.clone(),
        role: Role::Broker,
        generation,
        advertise,
        seeds: config.mesh.seeds.iter().map(ToString::to_string).collect(),
        settings,
    };
    let (auth_clock, clock_of_answers) = (clock.clone(), clock.clone());
    let (cluster, handle) =
        Cluster::build(cluster_config, transport, Generations::stored(&dir, clock))
            .map_err(AppError::Cluster)?;
    introduce(&handle);
    let (feed, feed_handle) = Feed::new(handle.members(), identity.clone());
    let node = config.mesh.node.as_str();
    let (audit, audit_writer) = Audit::new(config.audit.clone(), node, auth_clock.clone());
    let socket = &config.authservice_socket;
    let authenticator = Authenticator::new(identity.clone(), auth_clock, socket, audit);
    let checks = authenticator.clone();
    let key = PlacementKey::new(identity.borrow().derive_key("x2gobroker placement"));
    let old_agents = OldAgents::new(dir.join("old-agents"));
    old_agents.prepare().map_err(|source| AppError::OldAgents {
        dir: dir.clone(),
        source,
    })?;
    let (pairs_owner, pairs) = KeyPairsOwner::new(KeyPair::generate);
    let returns = KeyReturns::default();
    let placing = Placing {
        feed: feed_handle,
        key,
        round,
        old_agents,
        keys: pairs,
        returns: returns.clone(),
    };
    let follower = Follower::new(authenticator.clone(), handle.members(), identity.clone());
    let running = CancellationToken::new();
    let teller = SpentTeller::into_server(authenticator.clone(), running.clone());
    let (groups_owner, groups) = GroupsOwner::new(groups::look_up, GroupLimits::default());
    let mut desk = Desk {
        clock: clock_of_answers,
        authenticator,
        placing,
        request_timeout: config.limits.request_timeout,
        bodies: Bodies::default(),
        sites: Vec::new(),
        reloaders: Vec::new(),
        groups,
        resolvers: Vec::new(),
        settings: Vec::new(),
    };
    let main_broker = desk.add("", &config, origin.clone());
    for named in &config.brokers {
        desk.add_named(named, &origin)?;
    }
    let load_checker = match (&config.http.load_checker, desk.settings.first()) {
        (Some(path), Some(settings)) => {
            let feed = desk.placing.feed.clone();
            LoadChecker::bind(path, settings.clone(), feed)?
        }
        _ => None,
    };
    let listeners = bind_clients(&config, std::mem::take(&mut process.reserved))?;
    let ssh = bind_ssh(&config, main_broker)?;
    let log = process.log.clone();
    // The writer of the audit log is one that opens its file anew.
    let n_reloaders = desk.reloaders.len() + 1;
    let mut signals = Signals::new(log, n_reloaders).map_err(AppError::Signals)?;

    let serving = CancellationToken::new();
    let mut parts = Parts::default();
    let stop = running.clone();
    parts.add(
        "certificate reload",
        async move { reloader.run(stop).await },
    );
    let stop = running.clone();
    parts.add("mesh listener", async move {
        let server = mesh_server(ChannelLimits::default())
            .add_service(gossip_service.into_server())
            .add_service(teller);
        let served = server.serve_with_incoming_shutdown(mesh.incoming(), stop.cancelled_owned());
        if let Err(error) = served.await {
            error!(error = %error, "the mesh listener failed");
        }
    });
    let stop = running.clone();
    parts.add("gossip", async move {
        if let Err(error) = cluster.run(stop).await {
            error!(error = &error as &dyn std::error::Error, "gossip failed");
        }
    });
    parts.add("view", feed.run(running.clone()));
    if let Some(load_checker) = load_checker {
        parts.add("load checks", load_checker.run(running.clone()));
    }
    parts.add("used AUTHIDs", follower.run(running.clone()));
    let poller = Poller::new(desk.settings, &desk.placing);
    parts.add("old agents", poller.run(running.clone()));
    parts.add("key pairs", pairs_owner.run(running.clone()));
    parts.add(
        "audit log",
        audit_writer.run(signals.reloads(), running.clone()),
    );
    parts.add("groups", groups_owner.run(running.clone()));
    for resolver in desk.resolvers {
        parts.add("client names", resolver.run(running.clone()));
    }
    for reloader in desk.reloaders {
        parts.add("settings", reloader.run(signals.reloads(), running.clone()));
    }
    let serving_all = Serving {
        sites: Sites::new(desk.sites),
        places: Places::new(
            config.limits.max_connections as usize,
            config.limits.max_connections_per_client as usize,
        ),
        idle: config.limits.idle_timeout,
        proxies: Arc::new(config.http.proxies.clone()),
    };
    let mut clients = Parts::default();
    for listener in listeners {
        let (serving_all, stop) = (serving_all.clone(), serving.clone());
        clients.add("client listener", listener.run(serving_all, stop, GRACE));
    }
    if let Some(ssh) = ssh {
        clients.add("SSH front end", ssh.run(serving.clone(), GRACE));
    }
    process.ready();
    info!(node = %config.mesh.node, %generation, %advertise, "replica started");

    let ended = tokio::select! {
        biased;
        () = signals.stop() => None,
        part = parts.first_end() => Some(part),
        part = clients.first_end() => Some(part),
    };
    process::stopping();
    info!("stopping");
    serving.cancel();
    clients.all_end(GRACE + GRACE_MARGIN).await;
    returns.finish(LEAVE_LIMIT).await;
    checks.checks_end(GRACE).await;
    handle.leave(LEAVE_LIMIT).await;
    running.cancel();
    parts.all_end(GRACE_MARGIN).await;
    match ended {
        None => Ok(()),
        Some(part) => Err(AppError::PartEnded { part }),
    }
}

fn open_identity(
    config: &MeshConfig,
    clock: &Clock,
) -> Result<(Reloader, IdentityWatch), AppError> {
    let dir: &Path = &config.identity;
    let (reloader, identity) =
        Reloader::open(dir, clock.clone()).map_err(|source| AppError::Identity {
            dir: dir.to_owned(),
            node: config.node.clone(),
            source: Box::new(source),
        })?;
    let subject = identity.borrow().subject().clone();
    if subject.role != Role::Broker || subject.node.as_str() != config.node.as_str() {
        return Err(AppError::WrongIdentity {
            dir: dir.to_owned(),
            found: format!("{}/{}", subject.role, subject.node),
            wanted: config.node.to_string(),
        });
    }
    Ok((reloader, identity))
}

async fn bind_mesh(
    config: &MeshConfig,
    identity: &IdentityWatch,
) -> Result<MeshListener, AppError> {
    let address = config.listen;
    MeshListener::bind(address, identity.clone(), ListenerLimits::default())
        .await
        .map_err(AppError::MeshBind)
}

/// Where members find this replica: what is configured, else where it listens, else the
/// address from which this host would speak to its seeds.
fn advertise_address(config: &MeshConfig, bound: SocketAddr) -> Result<SocketAddr, AppError> {
    if let Some(advertise) = config.advertise {
        return Ok(advertise);
    }
    if !bound.ip().is_unspecified() {
        return Ok(bound);
    }
    let seeds = config.seeds.iter();
    let seeds = seeds.map(|seed| (seed.host.as_str(), seed.port));
    let own = seeds.chain(ELSEWHERE).find_map(source_address);
    match own {
        Some(address) => Ok(SocketAddr::new(address, bound.port())),
        None => Err(AppError::NoAdvertise { listen: bound }),
    }
}

/// The local address of a route. Nothing is sent: connecting a UDP socket only looks up
/// the route. A seed that is this host itself leads to loopback, where nobody else finds us.
fn source_address(to: (&str, u16)) -> Option<IpAddr> {
    let targets = match to.to_socket_addrs() {
        Ok(targets) => targets,
        Err(error) => {
            warn!(host = to.0, error = %error, "a seed's name can't be looked up now");
            return None;
        }
    };
    let own = |target: SocketAddr| {
        let any: SocketAddr = match target {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(any).ok()?;
        socket.connect(target).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    targets
        .filter_map(own)
        .find(|address| !address.is_unspecified() && !address.is_loopback())
}

fn introduce(handle: &ClusterHandle) {
    let software = env!("CARGO_PKG_VERSION").to_owned();
    if let Err(error) = handle.advertise(proto::KEY_SOFTWARE, software) {
        warn!(error = %error, "the software version is not advertised");
    }
}

/// How long running requests may take to end: longer than any of them lasts.
const GRACE: Duration = Duration::from_secs(5);

/// For what comes after, on a busy machine.
const GRACE_MARGIN: Duration = Duration::from_secs(2);

/// Addresses that are nobody's (RFC 5737, RFC 3849): the route to them is the one to the
/// world, for a replica whose seeds tell nothing.
const ELSEWHERE: [(&str, u16); 2] = [("192.0.2.1", 9), ("2001:db8::1", 9)];

/// Telling the farm is a courtesy; its failure detector would notice as well.
const LEAVE_LIMIT: Duration = Duration::from_secs(1);
