//! A farm of one agent, with a session database that the test writes.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use agent::app::App;
use agent::config::{Config, HostDefaults, RawConfig};
use pki::{
    ChannelLimits, Clock, Expect, FarmName, IdentityPublisher, IssueRequest, NodeName, Role,
    load_identity, mesh_channel,
};
use proto::v1::agent_client::AgentClient;
use proto::{NodeState, v1};
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

const SCHEMA: &str = "CREATE TABLE sessions(
    session_id varchar(500) primary key, display integer not null,
    uname varchar(100) not null, server varchar(100) not null, client inet,
    status char(1) not null default 'R',
    init_time timestamp not null default CURRENT_TIMESTAMP,
    last_time timestamp not null default CURRENT_TIMESTAMP,
    cookie char(33), agent_pid int, gr_port int, sound_port int, fs_port int,
    tekictrl_port int, tekidata_port int, unique(display));";

/// A farm of one agent, with certificates for everybody.
pub(crate) struct Farm {
    pub(crate) folder: TempDir,
    pub(crate) writer: Connection,
}

impl Farm {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let farm = FarmName::parse("office").unwrap();
        pki::init_ca(&folder.path().join("ca"), &farm, &Clock::system()).unwrap();
        std::fs::create_dir(folder.path().join("state")).unwrap();
        let writer = Connection::open(folder.path().join("x2go_sessions")).unwrap();
        writer.execute_batch(SCHEMA).unwrap();
        Self { folder, writer }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The directory of a new certificate.
    pub(crate) fn identity(&self, role: Role, node: &str) -> PathBuf {
        let dir = self.path(&format!("{role}-{node}"));
        if !dir.exists() {
            let request = IssueRequest::new(role, NodeName::parse(node).unwrap());
            pki::issue(&self.path("ca"), &request, &dir, &Clock::system()).unwrap();
        }
        dir
    }

    pub(crate) fn raw_config(&self, identity: &Path) -> RawConfig {
        RawConfig {
            node: Some("s1".to_owned()),
            identity: identity.to_owned(),
            listen: "127.0.0.1:0".to_owned(),
            state_directory: self.path("state"),
            session_database: Some(self.path("x2go_sessions")),
            gossip: "local".to_owned(),
            ..RawConfig::default()
        }
    }

    pub(crate) fn config(&self) -> Config {
        let identity = self.identity(Role::Agent, "s1");
        self.raw_config(&identity)
            .check(HostDefaults::default())
            .unwrap()
    }

    pub(crate) async fn start(&self) -> RunningAgent {
        self.start_with(self.config()).await
    }

    /// An agent that takes new sessions.
    pub(crate) async fn start_with(&self, config: Config) -> RunningAgent {
        let agent = self.launch(config).await;
        let is_up = |state: &NodeState| state.readiness.is_ready() && state.load.is_some();
        agent.wait_for(self, is_up).await;
        agent
    }

    /// An agent that was just started.
    pub(crate) async fn launch(&self, config: Config) -> RunningAgent {
        let app = App::build(config, Clock::system()).await.unwrap();
        let address = app.local_addr();
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(app.run(stop.clone()));
        RunningAgent {
            address,
            stop,
            tasks,
        }
    }

    pub(crate) fn channel(&self, role: Role, node: &str, address: SocketAddr) -> Channel {
        let identity = load_identity(&self.identity(role, node), &Clock::system()).unwrap();
        let (_publisher, watch) = IdentityPublisher::new(identity);
        let expected = Expect::Node {
            role: Role::Agent,
            node: NodeName::parse("s1").unwrap(),
        };
        mesh_channel(address, expected, watch, ChannelLimits::default())
    }

    pub(crate) fn session(&self, user: &str, display: u32, status: &str) {
        let insert = "INSERT INTO sessions VALUES (?1 || '-' || ?2 || '-1795323502_stRTERMINAL_dp24', \
            ?2, ?1, 's1', '10.77.0.20', ?3, '2026-11-22 04:58:23', '2026-11-22 04:58:39', \
            '7f6f58b8d2090b344f5dfddadaf20900', 2245, 49024, 49025, 49026, -1, -1)";
        self.writer
            .execute(insert, rusqlite::params![user, display, status])
            .unwrap();
    }

    pub(crate) fn set(&self, user: &str, status: &str) {
        let update = "UPDATE sessions SET status = ?2 WHERE uname = ?1";
        assert_eq!(self.writer.execute(update, [user, status]).unwrap(), 1);
    }
}

pub(crate) struct RunningAgent {
    pub(crate) address: SocketAddr,
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: JoinSet<Result<(), agent::app::AppError>>,
}

impl RunningAgent {
    pub(crate) fn client(&self, farm: &Farm, role: Role) -> AgentClient<Channel> {
        AgentClient::new(farm.channel(role, "b1", self.address))
    }

    /// Waits until the agent's own state is as it should be.
    pub(crate) async fn wait_for(
        &self,
        farm: &Farm,
        good: impl Fn(&NodeState) -> bool,
    ) -> Duration {
        let mut client = self.client(farm, Role::Operator);
        let began = tokio::time::Instant::now();
        loop {
            let status = client
                .status(v1::StatusRequest {})
                .await
                .unwrap()
                .into_inner();
            let state = NodeState::try_from(status.state.unwrap()).unwrap();
            if good(&state) {
                return began.elapsed();
            }
            assert!(began.elapsed() < LIMIT, "still {state:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) async fn end(mut self) -> Duration {
        let began = tokio::time::Instant::now();
        self.stop.cancel();
        let ended = tokio::time::timeout(LIMIT, self.tasks.join_next())
            .await
            .unwrap();
        ended.unwrap().unwrap().unwrap();
        began.elapsed()
    }
}

pub(crate) fn admit(user: &str) -> v1::AdmitRequest {
    v1::AdmitRequest {
        node: "s1".to_owned(),
        user: user.to_owned(),
        profile: "farm".to_owned(),
        forced: false,
        key: None,
    }
}

/// For everything that takes milliseconds on an idle machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(8);
