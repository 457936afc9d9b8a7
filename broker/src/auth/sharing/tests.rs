//! Replicas that tell each other over the mesh which AUTHIDs were used.

use std::collections::HashMap;
use std::time::Duration;

use pki::{
    ChannelLimits, Expect, IdentityPublisher, IdentityWatch, ListenerLimits, MeshListener, Role,
};
use proto::v1::replica_client::ReplicaClient;
use proto::v1::{FollowLoginsRequest, FollowSpentRequest, SpentAuthId, SpentAuthIds};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::Code;

use super::{SpentTeller, follow, read};
use crate::auth::Authenticator;
use crate::auth::WhyDenied;
use crate::auth::spent::Used;
use crate::auth::testing::Farm;
use crate::auth::tests::{Client, open};

fn used(n: u8) -> Used {
    let issued = crate::auth::testing::START * 1000;
    Used {
        issued,
        nonce: [n; 12],
        forget: issued + 1_000_000,
    }
}

/// A replica that tells, at an address of its own.
struct Telling {
    authenticator: Authenticator,
    address: std::net::SocketAddr,
    stop: CancellationToken,
    _serving: JoinSet<()>,
}

impl Telling {
    async fn start(farm: &Farm) -> Self {
        let (_, identity) = IdentityPublisher::new(farm.member(Role::Broker, "broker1"));
        let authenticator = farm.replica("broker1");
        let address = "127.0.0.1:0".parse().unwrap();
        let listener = MeshListener::bind(address, identity, ListenerLimits::default());
        let listener = listener.await.unwrap();
        let address = listener.local_addr();
        let stop = CancellationToken::new();
        let teller = SpentTeller::into_server(authenticator.clone(), stop.clone());
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let server = pki::mesh_server(ChannelLimits::default()).add_service(teller);
            server
                .serve_with_incoming(listener.incoming())
                .await
                .unwrap();
        });
        Self {
            authenticator,
            address,
            stop,
            _serving: serving,
        }
    }

    fn channel(&self, identity: IdentityWatch) -> tonic::transport::Channel {
        let expect = Expect::AnyOf(&[Role::Broker]);
        let limits = ChannelLimits::default();
        pki::mesh_channel(self.address, expect, identity, limits)
    }

    fn client(&self, identity: IdentityWatch) -> ReplicaClient<tonic::transport::Channel> {
        ReplicaClient::new(self.channel(identity))
    }
}

#[tokio::test]
async fn a_replica_is_told_what_was_used_before_and_then_each_a_second_later() {
    let farm = Farm::new("office");
    let telling = Telling::start(&farm).await;
    let now = telling.authenticator.now();
    telling.authenticator.spent().learn(used(1), now);
    let (_, identity) = IdentityPublisher::new(farm.member(Role::Broker, "broker2"));
    let mut client = telling.client(identity);
    let mut stream = client
        .follow_spent(FollowSpentRequest {})
        .await
        .unwrap()
        .into_inner();
    let told: Vec<Used> = read(stream.message().await.unwrap().unwrap()).collect();
    assert_eq!(told, [used(1)]);
    let began = tokio::time::Instant::now();
    telling
        .authenticator
        .inner
        .used
        .send((used(2), began))
        .unwrap();
    let told: Vec<Used> = read(stream.message().await.unwrap().unwrap()).collect();
    assert_eq!(told, [used(2)]);
    let after = began.elapsed();
    assert!(
        after >= Duration::from_secs(1) && after < Duration::from_secs(5),
        "{after:?}"
    );
}

#[tokio::test]
async fn a_replica_that_stops_tells_at_once_what_was_used_of_late() {
    let farm = Farm::new("office");
    let telling = Telling::start(&farm).await;
    let now = telling.authenticator.now();
    telling.authenticator.spent().learn(used(1), now);
    let (_, identity) = IdentityPublisher::new(farm.member(Role::Broker, "broker2"));
    let mut client = telling.client(identity);
    let asked = client.follow_spent(FollowSpentRequest {}).await;
    let mut stream = asked.unwrap().into_inner();
    assert_eq!(read(stream.message().await.unwrap().unwrap()).count(), 1);
    // Far ahead, so that only the stop can be why they are told.
    let at = tokio::time::Instant::now() + Duration::from_secs(3600);
    for n in 2..10 {
        let news = &telling.authenticator.inner.used;
        news.send((used(n), at)).unwrap();
    }
    telling.stop.cancel();
    let mut told = Vec::new();
    while let Some(message) = stream.message().await.unwrap() {
        told.extend(read(message));
    }
    let expected: Vec<Used> = (2..10).map(used).collect();
    assert_eq!(told, expected);
}

#[tokio::test]
async fn an_authid_that_was_used_at_one_replica_is_refused_at_another() {
    let farm = Farm::new("office");
    let telling = Telling::start(&farm).await;
    let other = farm.replica("broker2");
    let (_, identity) = IdentityPublisher::new(farm.member(Role::Broker, "broker3"));
    let mut following = JoinSet::new();
    let node = proto::NodeId::parse("broker1").unwrap();
    let stop = CancellationToken::new();
    following.spawn(follow::follow(
        node,
        telling.channel(identity),
        other.clone(),
        stop,
    ));
    let mut client = Client::new(open());
    client.ask(&telling.authenticator).await.unwrap();
    let first = client.authid.clone();
    client.ask(&telling.authenticator).await.unwrap();
    let replay = || client.try_with(&other, &first);
    let began = tokio::time::Instant::now();
    // Asking does not use it: it is refused as soon as it is known.
    while replay().await != Some(WhyDenied::AuthIdSpent) {
        assert!(began.elapsed() < Duration::from_secs(20), "never heard of");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    client.ask(&other).await.unwrap();
}

#[tokio::test]
async fn a_password_that_is_wrong_here_counts_elsewhere_and_is_forgiven_elsewhere() {
    let farm = Farm::new("office");
    let telling = Telling::start(&farm).await;
    let other = farm.replica("broker2");
    let (_, identity) = IdentityPublisher::new(farm.member(Role::Broker, "broker2"));
    let mut following = JoinSet::new();
    following.spawn(follow::follow(
        proto::NodeId::parse("broker1").unwrap(),
        telling.channel(identity),
        other.clone(),
        CancellationToken::new(),
    ));
    let alice = proto::BrokerUser::parse("alice").unwrap();
    let desk = "10.77.0.20".parse().unwrap();
    let limits = open().failures;
    let counts = |wanted: bool| {
        let (other, alice) = (other.clone(), alice.clone());
        async move {
            let began = tokio::time::Instant::now();
            loop {
                let now = other.now();
                let checked = other.failures().check(&limits, &alice, desk, now);
                if checked.is_err() == wanted {
                    return;
                }
                assert!(began.elapsed() < Duration::from_secs(20), "never heard of");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    };
    let guess = async |answer: Result<(), WhyDenied>| {
        let asked = async { answer };
        let guarded = telling.authenticator.guarded(&limits, &alice, desk, asked);
        let _ = guarded.await;
        farm.hand.advance(Duration::from_secs(61));
    };
    // The stream may not be open yet: what happened before is not told.
    let told = async {
        loop {
            guess(Err(WhyDenied::Password)).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        () = told => {}
        () = counts(true) => {}
    }
    guess(Ok(())).await;
    counts(false).await;
}

#[tokio::test]
async fn only_replicas_are_told() {
    let farm = Farm::new("office");
    let telling = Telling::start(&farm).await;
    let answers: HashMap<Role, Code> = {
        let mut answers = HashMap::new();
        for role in [Role::Agent, Role::Operator] {
            let (_, identity) = IdentityPublisher::new(farm.member(role, "s1"));
            let asked = telling
                .client(identity)
                .follow_spent(FollowSpentRequest {})
                .await;
            answers.insert(role, asked.unwrap_err().code());
            let (_, identity) = IdentityPublisher::new(farm.member(role, "s1"));
            let mut client = telling.client(identity);
            let asked = client.follow_logins(FollowLoginsRequest {}).await;
            assert_eq!(asked.unwrap_err().code(), Code::PermissionDenied);
        }
        answers
    };
    assert!(
        answers.values().all(|code| *code == Code::PermissionDenied),
        "{answers:?}"
    );
}

#[test]
fn what_can_not_be_read_or_be_true_is_left_out() {
    let of_length = |n_bytes| SpentAuthId {
        issued: 1,
        nonce: vec![7; n_bytes],
        forget: 2,
    };
    let message = SpentAuthIds {
        spent: [0, 11, 12, 13].map(of_length).to_vec(),
    };
    assert_eq!(read(message).count(), 1);
    let mut spent = crate::auth::spent::Spent::default();
    let now = used(0).issued;
    for odd in [
        Used {
            issued: now + 10_000_000,
            ..used(1)
        },
        Used {
            forget: now - 1,
            ..used(1)
        },
    ] {
        spent.learn(odd, now);
    }
    assert_eq!(spent.all(), []);
    spent.learn(used(1), now);
    spent.learn(used(1), now);
    assert_eq!(spent.all(), [used(1)]);
}
