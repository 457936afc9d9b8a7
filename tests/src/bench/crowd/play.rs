//! How does one server of the crowd behave on the mesh? As its real agent would, as far as
//! a replica can see.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use gossip::{Settings, TransportLimits};
use pki::{ChannelLimits, Expect, IdentityWatch, MeshListener, Role, mesh_channel, mesh_server};
use proto::v1::agent_server::{Agent, AgentServer};
use proto::v1::gossip_client::GossipClient;
use proto::v1::gossip_server::GossipServer;
use proto::v1::{self, Frame, WatchEvent};
use proto::{Session, SessionState};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, interval_at, timeout};
use tokio_stream::wrappers::{IntervalStream, ReceiverStream};
use tokio_stream::{Stream, StreamExt as _, once};
use tonic::{Request, Response, Status, Streaming};

use super::rumour::Rumour;
use super::servers::Server;

/// One server. Clones are the same server.
#[derive(Clone, Debug)]
pub(super) struct Player {
    pub(super) server: Arc<Server>,
    pub(super) identity: IdentityWatch,
    pub(super) rumour: Arc<Rumour>,
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Player {
    /// Serves `Agent` and `Gossip` until it is dropped.
    pub(super) async fn serve(self, listener: MeshListener) {
        let served = mesh_server(ChannelLimits::default())
            .add_service(AgentServer::new(self.clone()))
            .add_service(GossipServer::new(self))
            .serve_with_incoming(listener.incoming());
        // It never ends by itself, and without it the figures are missing.
        let _ = served.await;
    }

    fn counts(&self) -> v1::Counts {
        self.server.state(self.rumour.tick()).counts.into()
    }

    fn event(&self, what: v1::watch_event::What) -> WatchEvent {
        WatchEvent {
            generation: self.server.generation,
            version: self.rumour.tick(),
            counts: Some(self.counts()),
            what: Some(what),
        }
    }

    fn snapshot(&self) -> WatchEvent {
        self.event(v1::watch_event::What::Snapshot(v1::Snapshot {
            sessions: self
                .server
                .sessions
                .iter()
                .cloned()
                .map(Into::into)
                .collect(),
            reserved_users: Vec::new(),
        }))
    }

    /// Change number `n`: one session is suspended, and resumed by the next but so many.
    fn change(&self, n: usize) -> WatchEvent {
        let n_sessions = self.server.sessions.len().max(1);
        let session = self.server.sessions.get(n % n_sessions).cloned();
        let flipped = session.map(|session| Session {
            state: match ((n / n_sessions).is_multiple_of(2), session.state) {
                (true, SessionState::Running) => SessionState::Suspended,
                (true, SessionState::Suspended) => SessionState::Running,
                (false, state) => state,
            },
            ..session
        });
        self.event(v1::watch_event::What::Changes(v1::Changes {
            upserted: flipped.into_iter().map(Into::into).collect(),
            ..v1::Changes::default()
        }))
    }

    fn records_of(&self, user: &str) -> Vec<v1::SessionRecord> {
        let theirs = self.server.sessions.iter();
        let theirs = theirs.filter(|session| session.user.as_str() == user);
        theirs.map(|session| self.record(session)).collect()
    }

    fn record(&self, session: &Session) -> v1::SessionRecord {
        let wire = v1::Session::from(session.clone());
        v1::SessionRecord {
            agent_pid: 2245,
            id: wire.id,
            display: 50,
            server: self.server.node.to_string(),
            state: wire.state,
            started_at: "2026-11-22T04:58:23".to_owned(),
            cookie: "7f6f58b8d2090b344f5dfddadaf20900".to_owned(),
            client: "10.77.0.20".to_owned(),
            graphics_port: 30_001,
            sound_port: 30_002,
            last_seen_at: "2026-11-22T04:58:39".to_owned(),
            user: wire.user,
            age_seconds: 34,
            sshfs_port: Some(30_003),
            tekictrl_port: Some(-1),
            tekidata_port: Some(-1),
        }
    }
}

#[tonic::async_trait]
impl Agent for Player {
    type WatchStream = Answers<WatchEvent>;

    async fn watch(
        &self,
        _request: Request<v1::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let first = Instant::now() + CHANGE_EVERY.mul_f64(f64::from(self.server.idx % 500) / 500.0);
        let player = self.clone();
        let mut n_changes = 0;
        let changes = IntervalStream::new(interval_at(first, CHANGE_EVERY)).map(move |_| {
            n_changes += 1;
            Ok(player.change(n_changes))
        });
        Ok(Response::new(Box::pin(
            once(Ok(self.snapshot())).chain(changes),
        )))
    }

    async fn admit(
        &self,
        request: Request<v1::AdmitRequest>,
    ) -> Result<Response<v1::AdmitResponse>, Status> {
        let sessions = self.records_of(&request.get_ref().user);
        let verdict = if sessions.is_empty() {
            v1::admit_response::Verdict::Admitted(v1::Admitted { confirmed: false })
        } else {
            v1::admit_response::Verdict::Resume(v1::Resume { sessions })
        };
        Ok(Response::new(v1::AdmitResponse {
            state: Some(self.server.state(self.rumour.tick()).into()),
            verdict: Some(verdict),
            ..v1::AdmitResponse::default()
        }))
    }

    async fn cancel(
        &self,
        _request: Request<v1::CancelRequest>,
    ) -> Result<Response<v1::CancelResponse>, Status> {
        Ok(Response::new(v1::CancelResponse {}))
    }

    async fn set_drain(
        &self,
        _request: Request<v1::SetDrainRequest>,
    ) -> Result<Response<v1::SetDrainResponse>, Status> {
        Err(Status::unimplemented("nobody drains the crowd"))
    }

    async fn suspend(
        &self,
        _request: Request<v1::SuspendRequest>,
    ) -> Result<Response<v1::SuspendResponse>, Status> {
        Err(Status::unimplemented(
            "the crowd's sessions stay as they are",
        ))
    }

    async fn terminate(
        &self,
        _request: Request<v1::TerminateRequest>,
    ) -> Result<Response<v1::TerminateResponse>, Status> {
        Err(Status::unimplemented(
            "the crowd's sessions stay as they are",
        ))
    }

    async fn order_client(
        &self,
        _request: Request<v1::OrderClientRequest>,
    ) -> Result<Response<v1::OrderClientResponse>, Status> {
        Err(Status::unimplemented("the crowd has no clients"))
    }

    async fn add_key(
        &self,
        _request: Request<v1::AddKeyRequest>,
    ) -> Result<Response<v1::AddKeyResponse>, Status> {
        Err(Status::unimplemented("the crowd has no accounts"))
    }

    async fn remove_key(
        &self,
        _request: Request<v1::RemoveKeyRequest>,
    ) -> Result<Response<v1::RemoveKeyResponse>, Status> {
        Err(Status::unimplemented("the crowd has no accounts"))
    }

    async fn list_sessions(
        &self,
        request: Request<v1::ListSessionsRequest>,
    ) -> Result<Response<v1::ListSessionsResponse>, Status> {
        Ok(Response::new(v1::ListSessionsResponse {
            state: Some(self.server.state(self.rumour.tick()).into()),
            sessions: self.records_of(&request.get_ref().user),
        }))
    }

    async fn list_desktops(
        &self,
        _request: Request<v1::ListDesktopsRequest>,
    ) -> Result<Response<v1::ListDesktopsResponse>, Status> {
        Err(Status::unimplemented("the crowd has no desktops"))
    }

    async fn status(
        &self,
        _request: Request<v1::StatusRequest>,
    ) -> Result<Response<v1::StatusResponse>, Status> {
        Err(Status::unimplemented(
            "nobody asks the crowd for its status",
        ))
    }
}

#[tonic::async_trait]
impl v1::gossip_server::Gossip for Player {
    type ExchangeStream = Answers<Frame>;

    async fn exchange(
        &self,
        request: Request<Streaming<Frame>>,
    ) -> Result<Response<Self::ExchangeStream>, Status> {
        let rumour = Arc::clone(&self.rumour);
        let answers = request.into_inner().filter_map(move |frame| {
            let answer = rumour.answer(&frame.ok()?.payload)?;
            Some(Ok(Frame {
                payload: answer.into(),
            }))
        });
        Ok(Response::new(Box::pin(answers)))
    }
}

/// The side of the crowd that begins exchanges with one peer.
#[derive(Debug)]
pub(super) struct Talker {
    peer: SocketAddr,
    role: Role,
    limits: TransportLimits,
    players: Vec<Player>,
    conversations: JoinSet<()>,
    open: HashMap<usize, mpsc::Sender<()>>,
    random: u64,
}

impl Talker {
    pub(super) fn new(peer: SocketAddr, role: Role, players: Vec<Player>) -> Self {
        Self {
            peer,
            role,
            limits: TransportLimits::default(),
            players,
            conversations: JoinSet::new(),
            open: HashMap::new(),
            random: 1,
        }
    }

    /// Each round, each of n members chooses three of the others: so three choose this one.
    /// For a broker these are any members; for an agent the few that have it as a partner.
    /// Brokers are also the seeds of all, who speak to them now and then.
    pub(super) async fn run(mut self) {
        let settings = Settings::lan();
        let n_players = u32::try_from(self.players.len()).unwrap_or(u32::MAX);
        let per_round = match self.role {
            Role::Broker | Role::Operator => {
                let rounds = settings.seeds_joined.div_duration_f64(settings.interval);
                CHOSEN_PER_ROUND + f64::from(n_players) / rounds
            }
            Role::Agent => CHOSEN_PER_ROUND,
        };
        let mut rounds = interval(settings.interval);
        let mut due = 0.0;
        loop {
            rounds.tick().await;
            while self.conversations.try_join_next().is_some() {}
            due += per_round.min(f64::from(n_players));
            while due >= 1.0 {
                due -= 1.0;
                let player_idx = self.choose();
                self.talk(player_idx);
            }
        }
    }

    fn choose(&mut self) -> usize {
        // Knuth's MMIX generator; its high bits are random enough.
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let n_choosing = match self.role {
            Role::Broker | Role::Operator => self.players.len(),
            // Each is on average the partner of as many others as it has partners.
            Role::Agent => self.players.len().min(self.limits.partners),
        };
        usize::try_from(self.random >> 33).unwrap_or(0) % n_choosing.max(1)
    }

    fn talk(&mut self, player_idx: usize) {
        let open = self.open.get(&player_idx);
        if open.is_some_and(|open| open.try_send(()).is_ok()) {
            return;
        }
        let Some(player) = self.players.get(player_idx).cloned() else {
            return;
        };
        let (begin, begun) = mpsc::channel(2);
        // There is room for two.
        let _ = begin.try_send(());
        self.open.insert(player_idx, begin);
        let peer = self.peer;
        let idle = match self.role {
            Role::Broker | Role::Operator => self.limits.idle_to_others,
            Role::Agent => self.limits.idle,
        };
        self.conversations.spawn(async move {
            // Real members try again later as well.
            let _ = player.converse(peer, idle, begun).await;
        });
    }
}

impl Player {
    /// Begins an exchange whenever `begun` says so, on one stream, until it was quiet for as
    /// long as real members leave a stream open.
    async fn converse(
        self,
        peer: SocketAddr,
        idle: Duration,
        mut begun: mpsc::Receiver<()>,
    ) -> Result<(), Status> {
        let expect = Expect::AnyOf(&[Role::Agent, Role::Broker]);
        let channel = mesh_channel(peer, expect, self.identity, ChannelLimits::default());
        let (to_peer, frames) = mpsc::channel(8);
        let mut client = GossipClient::new(channel).max_decoding_message_size(MAX_FRAME_BYTES);
        let replies = client.exchange(ReceiverStream::new(frames)).await?;
        let mut replies = replies.into_inner();
        loop {
            let message = tokio::select! {
                begun = timeout(idle, begun.recv()) => match begun {
                    Ok(Some(())) => Some(self.rumour.syn()),
                    Ok(None) | Err(_) => return Ok(()),
                },
                reply = replies.message() => match reply? {
                    Some(reply) => self.rumour.answer(&reply.payload),
                    None => return Ok(()),
                },
            };
            if let Some(payload) = message {
                let frame = Frame {
                    payload: payload.into(),
                };
                if to_peer.send(frame).await.is_err() {
                    return Ok(());
                }
            }
        }
    }
}

/// A user of each server suspends or resumes so often.
const CHANGE_EVERY: Duration = Duration::from_secs(30);
/// chitchat's own number.
const CHOSEN_PER_ROUND: f64 = 3.0;
const MAX_FRAME_BYTES: usize = 70_000;
