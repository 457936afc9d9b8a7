//! How do the parts of the agent come together, and how do they end?
//!
//! Every part is a task of one set. A part that ends before it was told to stops the whole
//! process with an error, so that systemd starts it anew. To end well: say *leaving*, by
//! gossip and in every answer; end the streams; finish running requests; stop the gossip;
//! stop the rest.

mod parts;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use gossip::{
    AdvertiseError, Cluster, ClusterConfig, ClusterError, ClusterHandle, GenerationError,
    Generations, GossipService, MtlsTransport, TransportLimits, next_generation,
};
use pki::{
    BindError, ChannelLimits, Clock, IdentityError, IdentityWatch, ListenerLimits, MeshListener,
    Reloader, Role, mesh_server,
};
use proto::{Generation, HostNames, NodeId};
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, Expiry};
use crate::desktops::Desktops;
use crate::evacuation::Evacuation;
use crate::inventory::{Inventory, InventoryHandle, SessionDatabase};
use crate::keys::{
    Keys, KeysMode, KeysSetup, KeysSocket, KeysSocketError, LineRules, sshd_knows_utc_expiry,
};
use crate::load::{self, LoadReader};
use crate::operations::{ACT_LIMIT, Operations};
use crate::service::{AgentService, Sources};
use crate::shim_client::ShimClient;
use crate::{advertise, host, keys};
use parts::Parts;

/// Why the agent can't run, or no longer.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The certificate is missing or wrong.
    #[error(
        "the identity in {} can't be used; where there is none yet, issue one with: \
         x2gobroker-ca issue --role agent --node NAME-OF-THIS-HOST", dir.display()
    )]
    Identity {
        /// Where it is.
        dir: PathBuf,
        /// What is wrong.
        source: Box<IdentityError>,
    },
    /// The certificate is of another program.
    #[error("the certificate in {} is of the role {found}, an agent needs one issued with --role agent", dir.display())]
    WrongRole {
        /// Where it is.
        dir: PathBuf,
        /// Its role.
        found: Role,
    },
    /// The certificate is of another host.
    #[error(
        "the certificate in {} is for the node {found}, but this is {node}; issue one for \
         {node}, or set the key node of the configuration", dir.display()
    )]
    WrongNode {
        /// Where it is.
        dir: PathBuf,
        /// Its node.
        found: String,
        /// This node.
        node: NodeId,
    },
    /// The address is taken, or not one of this host.
    #[error("can't listen on {address}")]
    Listen {
        /// Which address.
        address: SocketAddr,
        /// What failed.
        source: BindError,
    },
    /// The state directory can't be used.
    #[error("the state directory can't be used")]
    State(#[source] GenerationError),
    /// sshd could not ask for keys.
    #[error("sshd can't ask for temporary keys")]
    KeysSocket(#[source] KeysSocketError),
    /// The gossip can't work.
    #[error("the gossip can't run")]
    Gossip(#[source] ClusterError),
    /// What the agent wants to say can't be gossiped.
    #[error("the advert can't be gossiped")]
    Advertise(#[source] AdvertiseError),
    /// The server has failed.
    #[error("the gRPC server has failed")]
    Serve(#[source] tonic::transport::Error),
    /// Signals can't be received.
    #[error("signals can't be received")]
    Signals(#[source] io::Error),
    /// A part has panicked.
    #[error("a part of the agent has panicked")]
    Panicked(#[source] JoinError),
    /// A part has ended without being told to.
    #[error("the part {0} has ended by itself")]
    EndedEarly(&'static str),
}

/// An agent that is ready to run.
#[derive(Debug)]
pub struct App {
    config: Config,
    reloader: Reloader,
    identity: IdentityWatch,
    listener: MeshListener,
    clock: Clock,
}

impl App {
    /// Loads the identity and binds the address.
    ///
    /// # Errors
    /// When the identity is not one of this node's agent, or the address can't be had.
    pub async fn build(config: Config, clock: Clock) -> Result<Self, AppError> {
        let dir = || config.identity.clone();
        let (reloader, identity) =
            Reloader::open(&config.identity, clock.clone()).map_err(|source| {
                AppError::Identity {
                    dir: dir(),
                    source: Box::new(source),
                }
            })?;
        let subject = identity.borrow().subject().clone();
        if subject.role != Role::Agent {
            return Err(AppError::WrongRole {
                dir: dir(),
                found: subject.role,
            });
        }
        if subject.node.as_str() != config.node.as_str() {
            let (found, node) = (subject.node.to_string(), config.node.clone());
            return Err(AppError::WrongNode {
                dir: dir(),
                found,
                node,
            });
        }
        let address = config.listen;
        let listener = MeshListener::bind(address, identity.clone(), ListenerLimits::default())
            .await
            .map_err(|source| AppError::Listen { address, source })?;
        Ok(Self {
            config,
            reloader,
            identity,
            listener,
            clock,
        })
    }

    /// Where it listens, with the real port.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.listener.local_addr()
    }

    /// Runs until `stop`, and then ends well within a grace time.
    ///
    /// # Errors
    /// When it can't begin, or a part ends by itself.
    pub async fn run(self, stop: CancellationToken) -> Result<(), AppError> {
        let (mut parts, inventory, cluster) = self.start()?;
        notify(&NotifyState::Ready);
        let early = parts.until(&stop).await;
        notify(&NotifyState::Stopping);
        parts.end(&inventory, &cluster).await;
        early
    }

    fn start(self) -> Result<(Parts, InventoryHandle, ClusterHandle), AppError> {
        let Self {
            config,
            reloader,
            identity,
            listener,
            clock,
        } = self;
        let node = config.node.clone();
        let bound = listener.local_addr();
        let state_directory = &config.state_directory;
        let generation = next_generation(state_directory, &clock).map_err(AppError::State)?;
        let generations = Generations::stored(state_directory, clock.clone());
        let mut parts = Parts::default();
        let (serving, rest) = (parts.serving.clone(), parts.rest.clone());

        let database = SessionDatabase::new(config.session_database.clone(), node.clone());
        let (inventory, handle, poller) = Inventory::build(
            node.clone(),
            generation,
            database,
            state_directory,
            clock.clone(),
        );
        let shim = ShimClient::new(&config.agent_program);
        let keys_setup = keys_setup(&config, generation);
        let (keys, keys_handle) = Keys::build(keys_setup, shim.clone(), clock.clone());
        parts.add("keys", keys.run(rest.clone()));
        if config.keys == KeysMode::Command {
            let socket = KeysSocket::bind(&config.keys_socket).map_err(AppError::KeysSocket)?;
            let asked = socket.run(keys_handle.clone(), serving.clone());
            parts.add("socket of temporary keys", asked);
        }
        parts.add_blocking("session database", move || poller.run());
        parts.add("inventory", inventory.run(rest.clone()));
        parts.add("identity", reloader.run(rest.clone()));
        let reader = LoadReader::new(PathBuf::from("/"), config.capacity_mhz);
        parts.add("load", load::run(reader, handle.clone(), rest.clone()));

        let limits = TransportLimits::default();
        let (transport, gossip_service) = MtlsTransport::new(identity.clone(), limits);
        let operations = Operations::new(handle.clone(), shim.clone());
        let evacuation = Evacuation::new(handle.clone(), operations.clone(), clock.clone());
        parts.add("evacuation", evacuation.run(rest.clone()));
        let sources = Sources {
            inventory: handle.clone(),
            operations,
            desktops: Desktops::new(handle.clone(), shim),
            keys: keys_handle.clone(),
            clock,
        };
        let service = AgentService::new(node.clone(), sources, serving.clone());
        parts.add_fallible("server", serve(listener, service, gossip_service, serving));

        let names = names_of(&config);
        let cluster_config = ClusterConfig {
            farm: identity.borrow().subject().farm.to_string(),
            node: node.clone(),
            role: Role::Agent,
            generation,
            advertise: reachable(config.advertise, bound),
            seeds: config.seeds,
            settings: config.gossip,
        };
        let (cluster, cluster_handle) =
            Cluster::build(cluster_config, transport, generations).map_err(AppError::Gossip)?;
        let advert = advertise::run(
            cluster_handle.clone(),
            names,
            handle.watch_state(),
            keys_handle.watch_state(),
            rest.clone(),
        );
        parts.add_fallible("advert", async {
            advert.await.map_err(AppError::Advertise)
        });
        parts.add_fallible("gossip", async {
            cluster.run(rest).await.map_err(AppError::Gossip)
        });
        tracing::info!(%node, %generation, address = %bound, "agent began");
        Ok((parts, handle, cluster_handle))
    }
}

/// Runs an agent until SIGTERM or SIGINT.
///
/// # Errors
/// As [`App::build`] and [`App::run`].
pub async fn run_until_signal(config: Config, clock: Clock) -> Result<(), AppError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(AppError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(AppError::Signals)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(AppError::Signals)?;
    let app = App::build(config, clock).await?;
    let stop = CancellationToken::new();
    let mut running = std::pin::pin!(app.run(stop.clone()));
    loop {
        tokio::select! {
            ended = &mut running => return ended,
            _ = terminate.recv() => stop.cancel(),
            _ = interrupt.recv() => stop.cancel(),
            _ = hangup.recv() => tracing::info!("nothing to reload: new certificates are noticed"),
        }
    }
}

async fn serve(
    listener: MeshListener,
    agent: AgentService,
    gossip: GossipService,
    stop: CancellationToken,
) -> Result<(), AppError> {
    mesh_server(ChannelLimits::default())
        .timeout(REQUEST_LIMIT)
        .concurrency_limit_per_connection(REQUESTS_PER_CONNECTION)
        .max_concurrent_streams(STREAMS_PER_CONNECTION)
        .add_service(agent.into_server())
        .add_service(gossip.into_server())
        .serve_with_incoming_shutdown(listener.incoming(), stop.cancelled_owned())
        .await
        .map_err(AppError::Serve)
}

fn keys_setup(config: &Config, generation: Generation) -> KeysSetup {
    let expiry = match config.keys_expiry {
        Expiry::Auto => sshd_knows_utc_expiry(),
        Expiry::On => true,
        Expiry::Off => false,
    };
    KeysSetup {
        mode: config.keys,
        rules: LineRules {
            from: config.keys_from,
            expiry,
        },
        state_directory: config.state_directory.clone(),
        mark: keys::mark(&config.node, generation),
        program_owner: 0,
    }
}

fn names_of(config: &Config) -> HostNames {
    let mut names = host::names(&config.node);
    for name in &config.names {
        if !names.names.contains(name) {
            names.names.push(name.clone());
        }
    }
    names
}

/// The address to advertise, with the port that was really bound if none was set.
fn reachable(advertise: SocketAddr, bound: SocketAddr) -> SocketAddr {
    let port = if advertise.port() == 0 {
        bound.port()
    } else {
        advertise.port()
    };
    SocketAddr::new(advertise.ip(), port)
}

/// Not being run by systemd is no failure.
fn notify(state: &NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(std::slice::from_ref(state)) {
        tracing::debug!(%error, "systemd was not told");
    }
}

/// Suspending takes longest; Watch answers at once, and its stream is not meant.
const REQUEST_LIMIT: Duration = ACT_LIMIT.saturating_add(Duration::from_secs(1));
/// A replica in a login storm sends its requests over one connection.
const REQUESTS_PER_CONNECTION: usize = 128;
/// The same, and Watch and gossip streams.
const STREAMS_PER_CONNECTION: u32 = 256;
