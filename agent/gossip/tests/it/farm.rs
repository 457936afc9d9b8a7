//! A farm within the test process, over either transport.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gossip::{
    Cluster, ClusterConfig, ClusterHandle, Generations, GossipService, Member, Members,
    MemoryNetwork, MtlsTransport, Settings, Transport, TransportLimits,
};
use pki::{
    Clock, FarmName, IdentityPublisher, IdentityWatch, IssueRequest, ListenerLimits, MeshListener,
    NodeName, Role,
};
use proto::{Generation, NodeId};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub(crate) const FARM: &str = "lab";

/// What members are connected by.
pub(crate) enum Net {
    Memory {
        network: MemoryNetwork,
        next_port: u16,
    },
    Mtls(Pki),
}

/// A farm of members. Dropping it does not end them.
pub(crate) struct Farm {
    pub(crate) net: Net,
    pub(crate) settings: Settings,
    pub(crate) limits: TransportLimits,
}

/// One running member.
pub(crate) struct Node {
    pub(crate) name: NodeId,
    pub(crate) role: Role,
    pub(crate) address: SocketAddr,
    pub(crate) handle: ClusterHandle,
    pub(crate) service: Option<GossipService>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

/// A certificate authority in a directory of its own.
pub(crate) struct Pki {
    dir: tempfile::TempDir,
    pub(crate) clock: Clock,
}

impl Pki {
    pub(crate) fn new(clock: Clock) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let farm = FarmName::parse(FARM).unwrap();
        pki::init_ca(&dir.path().join("ca"), &farm, &clock).unwrap();
        Self { dir, clock }
    }

    pub(crate) fn identity(&self, role: Role, node: &str) -> IdentityWatch {
        let request = IssueRequest::new(role, NodeName::parse(node).unwrap());
        self.issue(&request, &format!("{role}-{node}"))
    }

    pub(crate) fn issue(&self, request: &IssueRequest, name: &str) -> IdentityWatch {
        let out: PathBuf = self.dir.path().join(name);
        if !out.exists() {
            pki::issue(&self.dir.path().join("ca"), request, &out, &self.clock).unwrap();
        }
        let identity = pki::load_identity(&out, &self.clock).unwrap();
        IdentityPublisher::new(identity).1
    }
}

impl Farm {
    /// In memory, at the pace of real farms: time is paused in these tests.
    pub(crate) fn memory() -> Self {
        let net = Net::Memory {
            network: MemoryNetwork::new(),
            next_port: 1,
        };
        Self {
            net,
            settings: Settings::lan(),
            limits: TransportLimits::default(),
        }
    }

    /// Over mutual TLS on the loopback.
    pub(crate) fn mtls() -> Self {
        Self::with_clock(Clock::system())
    }

    /// Over mutual TLS, with certificates of this clock.
    pub(crate) fn with_clock(clock: Clock) -> Self {
        let net = Net::Mtls(Pki::new(clock));
        Self {
            net,
            settings: Settings::local(),
            limits: TransportLimits::default(),
        }
    }

    pub(crate) fn network(&self) -> &MemoryNetwork {
        match &self.net {
            Net::Memory { network, .. } => network,
            Net::Mtls(_) => panic!("not in memory"),
        }
    }

    pub(crate) fn pki(&self) -> &Pki {
        match &self.net {
            Net::Mtls(pki) => pki,
            Net::Memory { .. } => panic!("no certificates in memory"),
        }
    }

    /// Starts a member that knows `seeds`.
    pub(crate) async fn start(&mut self, role: Role, name: &str, seeds: &[String]) -> Node {
        self.start_as(role, name, seeds, 1).await
    }

    pub(crate) async fn start_as(
        &mut self,
        role: Role,
        name: &str,
        seeds: &[String],
        generation: u64,
    ) -> Node {
        match &mut self.net {
            Net::Memory { next_port, .. } => {
                let address = ([10, 0, 0, 1], *next_port).into();
                *next_port += 1;
                self.start_at(address, role, name, seeds, generation).await
            }
            Net::Mtls(_) => {
                let any = ([127, 0, 0, 1], 0).into();
                self.start_at(any, role, name, seeds, generation).await
            }
        }
    }

    /// Starts a member at an address of before.
    pub(crate) async fn start_at(
        &self,
        address: SocketAddr,
        role: Role,
        name: &str,
        seeds: &[String],
        generation: u64,
    ) -> Node {
        let config = self.config(address, role, name, seeds, generation);
        match &self.net {
            Net::Memory { network, .. } => run_in_memory(config, network.clone()),
            Net::Mtls(pki) => {
                run_over_mtls(config, pki.identity(role, name), self.limits.clone()).await
            }
        }
    }

    /// Starts a member over mutual TLS with this identity.
    pub(crate) async fn start_with(
        &self,
        identity: IdentityWatch,
        role: Role,
        name: &str,
        seeds: &[String],
    ) -> Node {
        let any = ([127, 0, 0, 1], 0).into();
        let config = self.config(any, role, name, seeds, 1);
        run_over_mtls(config, identity, self.limits.clone()).await
    }

    fn config(
        &self,
        advertise: SocketAddr,
        role: Role,
        name: &str,
        seeds: &[String],
        generation: u64,
    ) -> ClusterConfig {
        ClusterConfig {
            farm: FARM.to_owned(),
            node: NodeId::parse(name).unwrap(),
            role,
            generation: Generation(generation),
            advertise,
            seeds: seeds.to_vec(),
            settings: self.settings.clone(),
        }
    }

    /// Starts `n_agents` agents and two brokers, which are everybody's seeds, and waits
    /// until all see all.
    pub(crate) async fn of(&mut self, n_agents: usize) -> Vec<Node> {
        let first = self.start(Role::Broker, "b1", &[]).await;
        let mut seeds = vec![first.address.to_string()];
        let second = self.start(Role::Broker, "b2", &seeds).await;
        seeds.push(second.address.to_string());
        let mut nodes = vec![first, second];
        for n in 1..=n_agents {
            nodes.push(self.start(Role::Agent, &format!("a{n}"), &seeds).await);
        }
        all_see_all(&nodes).await;
        nodes
    }
}

fn run_in_memory(config: ClusterConfig, network: MemoryNetwork) -> Node {
    run(
        config,
        network,
        None,
        CancellationToken::new(),
        JoinSet::new(),
    )
}

async fn run_over_mtls(
    mut config: ClusterConfig,
    identity: IdentityWatch,
    limits: TransportLimits,
) -> Node {
    let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
    let listener = bind(config.advertise, &identity).await;
    config.advertise = listener.local_addr();
    let (transport, service) = MtlsTransport::new(identity, limits);
    tasks.spawn(serve(listener, service.clone(), stop.clone()));
    run(config, transport, Some(service), stop, tasks)
}

fn run(
    config: ClusterConfig,
    transport: impl Transport,
    service: Option<GossipService>,
    stop: CancellationToken,
    mut tasks: JoinSet<()>,
) -> Node {
    let (name, role, address) = (config.node.clone(), config.role, config.advertise);
    let generations = count_from(config.generation.0);
    let (cluster, handle) = Cluster::build(config, transport, generations).unwrap();
    let running = cluster.run(stop.clone());
    tasks.spawn(async move { running.await.unwrap() });
    Node {
        name,
        role,
        address,
        handle,
        service,
        stop,
        tasks,
    }
}

/// The next generations after `first`.
fn count_from(first: u64) -> Generations {
    let next = Arc::new(AtomicU64::new(first + 1));
    Generations::new(move || Ok(Generation(next.fetch_add(1, Ordering::SeqCst))))
}

/// Binds `address`, which a killed member may hold for a moment more.
async fn bind(address: SocketAddr, identity: &IdentityWatch) -> MeshListener {
    let limit = Instant::now() + SOON;
    loop {
        let limits = ListenerLimits::default();
        match MeshListener::bind(address, identity.clone(), limits).await {
            Ok(listener) => return listener,
            Err(error) if Instant::now() > limit => panic!("can't bind {address}: {error}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}

async fn serve(listener: MeshListener, service: GossipService, stop: CancellationToken) {
    tonic::transport::Server::builder()
        .add_service(service.into_server())
        .serve_with_incoming_shutdown(listener.incoming(), stop.cancelled_owned())
        .await
        .unwrap();
}

impl Node {
    /// Ends as after `kill -9`.
    pub(crate) async fn kill(mut self) {
        self.tasks.shutdown().await;
    }

    /// Ends as after SIGTERM.
    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
    }

    pub(crate) fn members(&self) -> Arc<Members> {
        self.handle.members().borrow().clone()
    }

    /// Waits until `check` is content with what this node sees. Gives how long it took.
    pub(crate) async fn sees(
        &self,
        limit: Duration,
        check: impl Fn(&Members) -> Result<(), String>,
    ) -> Duration {
        let start = Instant::now();
        let mut members = self.handle.members();
        let content = members.wait_for(|members| check(members).is_ok());
        if let Ok(content) = tokio::time::timeout(limit, content).await {
            content.expect("the cluster runs");
            return start.elapsed();
        }
        let why = check(&members.borrow())
            .err()
            .unwrap_or_else(|| "content too late".to_owned());
        panic!("{} after {limit:?}: {why}", self.name);
    }
}

/// Enough for whatever must happen soon, on a machine with much else to do.
pub(crate) const SOON: Duration = Duration::from_secs(30);

pub(crate) async fn all_see_all(nodes: &[Node]) {
    let names: Vec<_> = nodes
        .iter()
        .map(|node| (node.role, node.name.clone()))
        .collect();
    for node in nodes {
        node.sees(SOON, |members| are_live(members, &names)).await;
    }
}

pub(crate) fn are_live(members: &Members, names: &[(Role, NodeId)]) -> Result<(), String> {
    let is_live = |role, name| members.get(role, name).is_some_and(|member| member.live);
    let missing: Vec<_> = names
        .iter()
        .filter(|(role, name)| !is_live(*role, name))
        .collect();
    let n_live = members.iter().filter(|member| member.live).count();
    if missing.is_empty() && n_live == names.len() {
        return Ok(());
    }
    Err(format!(
        "{n_live} are live, {} are missing: {missing:?}",
        missing.len()
    ))
}

/// What `members` says of one of them.
pub(crate) fn look<'a>(members: &'a Members, node: &Node) -> Result<&'a Member, String> {
    let found = members.get(node.role, &node.name).map(AsRef::as_ref);
    found.ok_or_else(|| format!("{} is missing", node.name))
}

pub(crate) fn expect(holds: bool, otherwise: impl Into<String>) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise.into()) }
}
