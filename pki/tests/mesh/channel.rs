//! gRPC over the mesh: handlers see who calls, and callers see why a call did not connect.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::Duration;

use pki::{
    ChannelLimits, ConnectError, IdentityWatch, ListenerLimits, MeshListener, PeerIdentity, Role,
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::{HeaderValue, Request, Response};
use tonic::server::NamedService;
use tonic::transport::Channel;

use crate::farm::{DAY, Farm, full_text, node};
use crate::wait::{LIMIT, within};

/// A service of one method, which tells the caller who it is.
#[derive(Clone)]
struct WhoAmI;

impl NamedService for WhoAmI {
    const NAME: &'static str = "test.WhoAmI";
}

impl Service<Request<Body>> for WhoAmI {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let peer = request.extensions().get::<PeerIdentity>();
        let who = peer.map_or("nobody".to_owned(), |peer| peer.subject.to_uri());
        let mut response = Response::new(Body::empty());
        let headers = response.headers_mut();
        headers.insert("content-type", HeaderValue::from_static("application/grpc"));
        headers.insert("grpc-status", HeaderValue::from_static("0"));
        headers.insert("who", who.parse().unwrap());
        std::future::ready(Ok(response))
    }
}

struct Grpc {
    address: SocketAddr,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Grpc {
    async fn start(identity: IdentityWatch) -> Self {
        Self::start_at(([127, 0, 0, 1], 0).into(), identity).await
    }

    async fn start_at(address: SocketAddr, identity: IdentityWatch) -> Self {
        let limits = ListenerLimits::default();
        let listener = MeshListener::bind(address, identity, limits).await.unwrap();
        let address = listener.local_addr();
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let stopped = stop.clone().cancelled_owned();
        tasks.spawn(async move {
            let server = pki::mesh_server(impatient()).add_service(WhoAmI);
            server
                .serve_with_incoming_shutdown(listener.incoming(), stopped)
                .await
                .unwrap();
        });
        Self {
            address,
            stop,
            tasks,
        }
    }

    async fn end(&mut self) {
        self.stop.cancel();
        within("the server does not stop", self.tasks.join_next())
            .await
            .unwrap()
            .unwrap();
    }
}

async fn who_am_i(channel: &mut Channel) -> Result<String, tonic::transport::Error> {
    let call = async {
        std::future::poll_fn(|cx| channel.poll_ready(cx)).await?;
        let request = Request::post("/test.WhoAmI/Ask")
            .body(Body::empty())
            .unwrap();
        let response = channel.call(request).await?;
        let who = response
            .headers()
            .get("who")
            .map(|who| who.to_str().unwrap().to_owned());
        Ok(who.unwrap_or_else(|| format!("no answer: {:?}", response.headers())))
    };
    within("no answer", call).await
}

fn channel(address: SocketAddr, node_name: &str, identity: &IdentityWatch) -> Channel {
    let expect = node(Role::Agent, node_name);
    pki::mesh_channel(address, expect, identity.clone(), ChannelLimits::default())
}

fn reason(error: &tonic::transport::Error) -> String {
    match ConnectError::behind(error) {
        Some(found) => full_text(found),
        None => format!("no ConnectError behind: {}", full_text(error)),
    }
}

#[tokio::test]
async fn a_handler_finds_the_identity_of_its_caller_in_the_request() {
    let farm = Farm::new("office");
    let server = Grpc::start(farm.member(Role::Agent, "web1")).await;
    for role in Role::ALL {
        let client = farm.member(role, "caller");
        let mut channel = channel(server.address, "web1", &client);
        let expected = format!("x2gofarm://office/{role}/caller");
        assert_eq!(who_am_i(&mut channel).await.unwrap(), expected);
    }
}

#[tokio::test]
async fn a_call_that_cannot_connect_carries_the_reason() {
    let farm = Farm::new("office");
    let server = Grpc::start(farm.member(Role::Agent, "web1")).await;
    let client = farm.member_for(Role::Broker, "replica", DAY);
    let address = server.address;

    let error = who_am_i(&mut channel(address, "web2", &client))
        .await
        .unwrap_err();
    let expected = format!("wanted agent web2 at {address}, found x2gofarm://office/agent/web1");
    assert_eq!(reason(&error), expected);

    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let error = who_am_i(&mut channel(closed, "web1", &client))
        .await
        .unwrap_err();
    let expected =
        format!("cannot reach agent web1 at {closed}: Connection refused (os error 111)");
    assert_eq!(reason(&error), expected);

    // Our own certificate is over: the server says so, and the caller hears it.
    farm.hand.advance(2 * DAY);
    let error = who_am_i(&mut channel(address, "web1", &client))
        .await
        .unwrap_err();
    let expected = format!(
        "no trust between us and agent web1 at {address}: \
         it refused us with the alert CertificateExpired"
    );
    assert_eq!(reason(&error), expected);

    // A status made of it, as generated clients return it, keeps the reason, too.
    let status = tonic::Status::from_error(Box::new(error));
    assert_eq!(status.code(), tonic::Code::Unavailable, "{status:?}");
    assert!(ConnectError::behind(&status).is_some(), "{status:?}");

    let good = farm.member(Role::Broker, "good");
    assert!(who_am_i(&mut channel(address, "web1", &good)).await.is_ok());
}

#[tokio::test]
async fn a_silent_server_is_given_up_after_the_connect_time_out() {
    let farm = Farm::new("office");
    let client = farm.member(Role::Broker, "replica");
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let connect_timeout = Duration::from_millis(50);
    let limits = ChannelLimits {
        connect_timeout,
        ..ChannelLimits::default()
    };
    let mut channel = pki::mesh_channel(address, node(Role::Agent, "web1"), client.clone(), limits);
    let error = who_am_i(&mut channel).await.unwrap_err();
    assert_eq!(
        reason(&error),
        format!("cannot reach agent web1 at {address} within 50ms")
    );
}

#[tokio::test]
async fn a_channel_connects_again_with_the_identity_of_that_moment() {
    let farm = Farm::new("office");
    let identity = farm.member(Role::Agent, "web1");
    let mut server = Grpc::start(identity.clone()).await;
    let first = pki::load_identity(
        &farm.issue(Role::Broker, "first", DAY).directory,
        &farm.clock,
    )
    .unwrap();
    let second = pki::load_identity(
        &farm.issue(Role::Broker, "second", DAY).directory,
        &farm.clock,
    )
    .unwrap();
    let (publisher, client) = pki::IdentityPublisher::new(first);
    let mut channel = channel(server.address, "web1", &client);
    assert_eq!(
        who_am_i(&mut channel).await.unwrap(),
        "x2gofarm://office/broker/first"
    );
    publisher.publish(second);
    assert_eq!(
        who_am_i(&mut channel).await.unwrap(),
        "x2gofarm://office/broker/first"
    );
    server.end().await;
    let server = Grpc::start_at(server.address, identity).await;
    let end = tokio::time::Instant::now() + LIMIT;
    let who = loop {
        // The first call may meet the end of the old connection.
        match who_am_i(&mut channel).await {
            Ok(who) => break who,
            Err(error) => assert!(tokio::time::Instant::now() < end, "{}", reason(&error)),
        }
    };
    assert_eq!(who, "x2gofarm://office/broker/second");
    drop(server);
}

/// Passes bytes between one client and `target`, until it is cut: then what either end
/// sends is lost, as when the cable of a host is pulled. Ends when `end` gives up.
fn relay(target: SocketAddr, cut: CancellationToken, end: End) -> (SocketAddr, JoinSet<()>) {
    use tokio::io::{AsyncReadExt, copy_bidirectional};
    let relay = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = relay.local_addr().unwrap();
    relay.set_nonblocking(true).unwrap();
    let relay = tokio::net::TcpListener::from_std(relay).unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let (mut near, _) = relay.accept().await.unwrap();
        let mut far = tokio::net::TcpStream::connect(target).await.unwrap();
        tokio::select! {
            () = cut.cancelled() => {}
            ended = copy_bidirectional(&mut near, &mut far) => { ended.unwrap(); }
        }
        let lost = match end {
            End::Client => near.read_to_end(&mut Vec::new()).await,
            End::Server => far.read_to_end(&mut Vec::new()).await,
        };
        lost.unwrap();
    });
    (address, tasks)
}

enum End {
    Client,
    Server,
}

fn impatient() -> ChannelLimits {
    let keepalive = Duration::from_millis(100);
    ChannelLimits {
        keepalive_interval: keepalive,
        keepalive_timeout: keepalive,
        ..ChannelLimits::default()
    }
}

#[tokio::test]
async fn a_client_gives_up_a_silent_connection_without_any_call() {
    let farm = Farm::new("office");
    let server = Grpc::start(farm.member(Role::Agent, "web1")).await;
    let client = farm.member(Role::Broker, "replica");
    let cut = CancellationToken::new();
    let (address, mut relay) = relay(server.address, cut.clone(), End::Client);
    let mut channel = pki::mesh_channel(address, node(Role::Agent, "web1"), client, impatient());
    who_am_i(&mut channel).await.unwrap();
    cut.cancel();
    let given_up = within("the connection is still open", relay.join_next()).await;
    given_up.unwrap().unwrap();
}

#[tokio::test]
async fn a_server_gives_up_a_silent_connection() {
    let farm = Farm::new("office");
    let server = Grpc::start(farm.member(Role::Agent, "web1")).await;
    let client = farm.member(Role::Broker, "replica");
    let cut = CancellationToken::new();
    let (address, mut relay) = relay(server.address, cut.clone(), End::Server);
    let mut channel = channel(address, "web1", &client);
    who_am_i(&mut channel).await.unwrap();
    cut.cancel();
    let given_up = within("the connection is still open", relay.join_next()).await;
    given_up.unwrap().unwrap();
}
