//! Who may gossip over mutual TLS, and what a member with a good certificate can't do.

use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use gossip::Settings;
use pki::Role::{Agent, Broker, Operator};
use pki::{
    ChannelLimits, Clock, ConnectError, Expect, IdentityWatch, IssueRequest, ListenerLimits,
    MeshListener, NodeName, UnixTime,
};
use proto::v1::Frame;
use proto::v1::gossip_client::GossipClient;
use proto::v1::gossip_server::{Gossip, GossipServer};
use proto::{Generation, KEY_SOFTWARE};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::farm::{FARM, Farm, Net, Node, Pki, SOON, all_see_all, are_live, expect, look};
use crate::forge::{Op, ack, syn};

/// A gossip stream made by hand.
struct Raw {
    frames: mpsc::Sender<Frame>,
    replies: Streaming<Frame>,
}

impl Raw {
    async fn open(to: SocketAddr, identity: IdentityWatch) -> Result<Self, Status> {
        let expect = Expect::AnyOf(&[Agent, Broker]);
        let channel = pki::mesh_channel(to, expect, identity, ChannelLimits::default());
        let (frames, to_member) = mpsc::channel(16);
        let stream = ReceiverStream::new(to_member);
        let response = GossipClient::new(channel).exchange(stream).await?;
        Ok(Self {
            frames,
            replies: response.into_inner(),
        })
    }

    async fn send(&self, payload: impl Into<bytes::Bytes>) {
        let payload = payload.into();
        self.frames.send(Frame { payload }).await.unwrap();
    }

    /// The next reply, which must come soon.
    async fn reply(&mut self) -> Result<Option<Frame>, Status> {
        tokio::time::timeout(SOON, self.replies.message())
            .await
            .expect("an answer")
    }
}

/// Why a call failed, in the words for an operator.
fn told(status: &Status) -> String {
    match ConnectError::behind(status) {
        Some(error) => {
            let source = std::error::Error::source(error).map(ToString::to_string);
            format!("{error}: {}", source.unwrap_or_default())
        }
        None => format!("{:?}: {}", status.code(), status.message()),
    }
}

async fn change_reaches_all(nodes: &[Node], value: &str) {
    nodes[0]
        .handle
        .advertise(KEY_SOFTWARE, value.to_owned())
        .unwrap();
    for node in nodes {
        node.sees(SOON, |members| {
            let software = &look(members, &nodes[0])?.advert.software;
            expect(software == value, format!("software {software:?}"))
        })
        .await;
    }
}

/// Lets a member with a certificate that is not good try to join for some time.
async fn nobody_sees(nodes: &[Node], stranger: &Node) {
    change_reaches_all(nodes, "before").await;
    tokio::time::sleep(Settings::local().interval * 10).await;
    change_reaches_all(nodes, "after").await;
    let names: Vec<_> = nodes
        .iter()
        .map(|node| (node.role, node.name.clone()))
        .collect();
    for node in nodes {
        are_live(&node.members(), &names).unwrap();
        assert!(
            look(&node.members(), stranger).is_err(),
            "{} sees it",
            node.name
        );
    }
    assert_eq!(stranger.members().len(), 1, "it sees somebody");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_with_a_foreign_root_can_not_gossip() {
    let mut farm = Farm::mtls();
    let nodes = farm.of(1).await;
    let own = std::mem::replace(&mut farm.net, Net::Mtls(Pki::new(Clock::system())));
    let seeds: Vec<_> = nodes.iter().map(|node| node.address.to_string()).collect();
    let stranger = farm.start(Agent, "stranger", &seeds).await;

    let foreign = farm.pki().identity(Agent, "stranger");
    let error = Raw::open(nodes[0].address, foreign).await.err().unwrap();
    assert!(told(&error).contains("unknown issuer"), "{}", told(&error));
    // It does not even listen to us.
    let Net::Mtls(own) = own else {
        panic!("not over TLS")
    };
    let error = Raw::open(stranger.address, own.identity(Agent, "a1"))
        .await
        .err()
        .unwrap();
    assert!(told(&error).contains("unknown issuer"), "{}", told(&error));
    nobody_sees(&nodes, &stranger).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_with_an_expired_certificate_can_not_gossip() {
    let start = UnixTime::since_unix_epoch(Duration::from_secs(1_795_000_000));
    let (clock, hand) = Clock::manual(start);
    let mut farm = Farm::with_clock(clock);
    let request = |name| IssueRequest::new(Agent, NodeName::parse(name).unwrap());
    let life = Duration::from_secs(3600);
    let short = IssueRequest {
        life,
        ..request("late")
    };
    let expired = farm.pki().issue(&short, "agent-late");
    let nodes = farm.of(1).await;
    hand.advance(life + Duration::from_secs(60));

    let error = Raw::open(nodes[0].address, expired.clone())
        .await
        .err()
        .unwrap();
    assert!(
        told(&error).to_lowercase().contains("expired"),
        "{}",
        told(&error)
    );
    let seeds: Vec<_> = nodes.iter().map(|node| node.address.to_string()).collect();
    let late = farm.start_with(expired, Agent, "late", &seeds).await;
    nobody_sees(&nodes, &late).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_can_not_gossip() {
    let mut farm = Farm::mtls();
    let nodes = farm.of(1).await;
    let operator = farm.pki().identity(Operator, "desk");
    let error = Raw::open(nodes[0].address, operator).await.err().unwrap();
    assert_eq!(
        told(&error),
        "PermissionDenied: only agents and brokers gossip"
    );
    change_reaches_all(&nodes, "after").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_messages_of_a_member_are_dropped_and_the_gossip_goes_on() {
    let mut farm = Farm::mtls();
    let nodes = farm.of(1).await;
    let good = syn(
        FARM,
        &[(("agent/raw", 1, "127.0.0.1:9".parse().unwrap()), 1)],
    );
    let mut raw = Raw::open(nodes[0].address, farm.pki().identity(Agent, "raw"))
        .await
        .unwrap();
    for frame in [
        Vec::new(),
        vec![0xff; 1000],
        good[..20].to_vec(),
        b"GET / HTTP/1.1".to_vec(),
    ] {
        raw.send(frame).await;
    }
    raw.send(good.clone()).await;
    let reply = raw
        .reply()
        .await
        .unwrap()
        .expect("the stream is still of use");
    assert_eq!(
        reply.payload.get(..4),
        Some(&[0x53, 0xb0, 0, 1][..]),
        "a SYN-ACK"
    );
    // A frame that is too large ends its stream, and nothing else.
    raw.send(vec![0; 5_000_000]).await;
    assert!(matches!(raw.reply().await, Ok(None) | Err(_)));
    let dropped = nodes[0].service.as_ref().unwrap().traffic().frames_dropped;
    assert!(dropped >= 4, "{dropped} frames dropped");
    let mut raw = Raw::open(nodes[0].address, farm.pki().identity(Agent, "raw"))
        .await
        .unwrap();
    raw.send(good).await;
    assert!(raw.reply().await.unwrap().is_some());
    change_reaches_all(&nodes, "after").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_by_a_message_of_a_member_is_survived() {
    let mut farm = Farm::mtls();
    let nodes = farm.of(1).await;
    let raw = Raw::open(nodes[0].address, farm.pki().identity(Agent, "raw"))
        .await
        .unwrap();
    let about = Op::Node {
        id: ("agent/a1", 1, nodes[2].address),
        last_gc: 0,
        from: 0,
    };
    let high = Op::Set {
        key: "k",
        value: "v",
        version: 1000,
    };
    raw.send(ack(&[about, high, Op::MaxVersion(999)])).await;
    for node in &nodes {
        node.sees(SOON, |members| {
            let generation = look(members, &nodes[0])?.generation;
            expect(
                generation > Generation(1),
                format!("generation {generation}"),
            )
        })
        .await;
    }
    all_see_all(&nodes).await;
    change_reaches_all(&nodes, "after").await;
}

/// A member that takes streams, and never reads from one nor answers.
#[derive(Clone, Default)]
struct Deaf {
    held: std::sync::Arc<std::sync::Mutex<Vec<Request<Streaming<Frame>>>>>,
}

#[tonic::async_trait]
impl Gossip for Deaf {
    type ExchangeStream = Pin<Box<dyn Stream<Item = Result<Frame, Status>> + Send>>;

    async fn exchange(
        &self,
        request: Request<Streaming<Frame>>,
    ) -> Result<Response<Self::ExchangeStream>, Status> {
        self.held.lock().unwrap().push(request);
        Ok(Response::new(Box::pin(tokio_stream::pending())))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_never_reads_holds_up_nobody() {
    let mut farm = Farm::mtls();
    let any = ([127, 0, 0, 1], 0).into();
    let identity = farm.pki().identity(Broker, "deaf");
    let listener = MeshListener::bind(any, identity, ListenerLimits::default())
        .await
        .unwrap();
    let address = listener.local_addr();
    let (deaf, mut tasks) = (Deaf::default(), JoinSet::new());
    let held = deaf.held.clone();
    let server = tonic::transport::Server::builder().add_service(GossipServer::new(deaf));
    tasks.spawn(async move {
        server
            .serve_with_incoming(listener.incoming())
            .await
            .unwrap();
    });

    // Half of the seeds is deaf, and all members gossip to it.
    let first = farm.start(Broker, "b1", &[address.to_string()]).await;
    let seeds = [address.to_string(), first.address.to_string()];
    let mut nodes = vec![first];
    for name in ["a1", "a2"] {
        nodes.push(farm.start(Agent, name, &seeds).await);
    }
    all_see_all(&nodes).await;
    // It also gets more than a connection can hold.
    let flood = Raw::open(nodes[0].address, farm.pki().identity(Broker, "deaf"))
        .await
        .unwrap();
    for heartbeat in 1..2000 {
        let frame = syn(FARM, &[(("broker/deaf", 1, address), heartbeat)]);
        let sent = tokio::time::timeout(Duration::from_millis(5), flood.send(frame)).await;
        if sent.is_err() {
            break;
        }
    }
    for n in 0..5 {
        change_reaches_all(&nodes, &n.to_string()).await;
    }
    assert!(
        !held.lock().unwrap().is_empty(),
        "nobody spoke to the deaf member"
    );
}
