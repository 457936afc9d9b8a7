//! Does a whole agent do what brokers and operators ask over the network, and does it say
//! clearly why when it can't run?
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod desktops;
mod drained;
mod farm;

use std::time::Duration;

use agent::app::App;
use agent::config::{Config, HostDefaults};
use gossip::{Cluster, ClusterConfig, Generations, MtlsTransport, Settings, TransportLimits};
use pki::{Clock, IdentityPublisher, ListenerLimits, MeshListener, Role, load_identity};
use proto::v1::gossip_server::GossipServer;
use proto::v1::watch_event::What;
use proto::{Drain, NodeId, NodeState, Readiness, SessionRecord, v1};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::Code;

use farm::{Farm, LIMIT, admit};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_reserves_confirms_cancels_and_resumes() {
    use v1::admit_response::Verdict;
    let farm = Farm::new();
    let agent = farm.start().await;
    let mut broker = agent.client(&farm, Role::Broker);

    let answer = broker.admit(admit("alice")).await.unwrap().into_inner();
    assert_eq!(
        answer.verdict,
        Some(Verdict::Admitted(v1::Admitted { confirmed: false }))
    );
    let first = NodeState::try_from(answer.state.unwrap()).unwrap();
    assert_eq!(first.counts.pending, 1);
    let answer = broker.admit(admit("alice")).await.unwrap().into_inner();
    assert_eq!(
        answer.verdict,
        Some(Verdict::Admitted(v1::Admitted { confirmed: true }))
    );

    let cancel = |node: &str| v1::CancelRequest {
        node: node.to_owned(),
        user: "alice".to_owned(),
    };
    broker.cancel(cancel("s2")).await.unwrap();
    agent
        .wait_for(&farm, |state| state.counts.pending == 1)
        .await;
    broker.cancel(cancel("s1")).await.unwrap();
    agent
        .wait_for(&farm, |state| state.counts.pending == 0)
        .await;

    farm.session("alice", 50, "S");
    let answer = broker.admit(admit("alice")).await.unwrap().into_inner();
    let Some(Verdict::Resume(resume)) = answer.verdict else {
        panic!("{answer:?}")
    };
    let record = SessionRecord::try_from(resume.sessions[0].clone()).unwrap();
    let line = record.line_for("10.0.0.1").to_string();
    let start = "2245|alice-50-1795323502_stRTERMINAL_dp24|50|10.0.0.1|S|2026-11-22T04:58:23|\
                 7f6f58b8d2090b344f5dfddadaf20900|10.77.0.20|49024|49025|2026-11-22T04:58:39|alice|";
    assert!(
        line.starts_with(start) && line.ends_with("|49026|-1|-1"),
        "{line}"
    );

    let elsewhere = v1::AdmitRequest {
        node: "s2".to_owned(),
        ..admit("alice")
    };
    let answer = broker.admit(elsewhere).await.unwrap().into_inner();
    let reason = v1::refused::Reason::WrongNode.into();
    assert_eq!(
        answer.verdict,
        Some(Verdict::Refused(v1::Refused { reason }))
    );

    for user in ["", "../etc", "a b"] {
        let status = broker.admit(admit(user)).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{user:?}");
    }
    agent.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roles_are_taken_from_the_certificate() {
    let farm = Farm::new();
    let agent = farm.start().await;
    let drain = || v1::SetDrainRequest {
        drain: true,
        reason: "disks".to_owned(),
        ..v1::SetDrainRequest::default()
    };
    let denied = Some(Code::PermissionDenied);

    let mut broker = agent.client(&farm, Role::Broker);
    let code = |result: Result<_, tonic::Status>| result.err().map(|status| status.code());
    assert_eq!(code(broker.set_drain(drain()).await.map(drop)), denied);
    assert_eq!(
        code(broker.status(v1::StatusRequest {}).await.map(drop)),
        None
    );

    let mut operator = agent.client(&farm, Role::Operator);
    assert_eq!(code(operator.admit(admit("alice")).await.map(drop)), denied);
    assert_eq!(code(operator.set_drain(drain()).await.map(drop)), None);

    let mut other = agent.client(&farm, Role::Agent);
    assert_eq!(
        code(other.status(v1::StatusRequest {}).await.map(drop)),
        denied
    );
    assert_eq!(
        code(other.watch(v1::WatchRequest {}).await.map(drop)),
        denied
    );

    // Drained: newcomers go elsewhere, owners of sessions come back.
    farm.session("bob", 51, "R");
    for (user, expected) in [("alice", "Refused"), ("bob", "Resume")] {
        let verdict = broker
            .admit(admit(user))
            .await
            .unwrap()
            .into_inner()
            .verdict
            .unwrap();
        assert!(
            format!("{verdict:?}").starts_with(expected),
            "{user}: {verdict:?}"
        );
    }
    agent.end().await;
    // The wish outlives the agent.
    let agent = farm.launch(farm.config()).await;
    let draining = Readiness::Draining(Drain::new("disks"));
    agent
        .wait_for(&farm, |state| state.readiness == draining)
        .await;
    agent.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watch_gives_a_snapshot_and_then_each_change_within_a_quarter_of_a_second() {
    let farm = Farm::new();
    farm.session("alice", 50, "S");
    let agent = farm.start().await;
    let mut broker = agent.client(&farm, Role::Broker);
    let mut events = broker
        .watch(v1::WatchRequest {})
        .await
        .unwrap()
        .into_inner();
    let event = events.message().await.unwrap().unwrap();
    let Some(What::Snapshot(snapshot)) = event.what else {
        panic!("{event:?}")
    };
    assert_eq!(snapshot.sessions.len(), 1);
    assert!(
        !format!("{snapshot:?}").contains("7f6f58b8"),
        "a cookie travels by Watch"
    );

    let (mut version, mut times) = (event.version, Vec::new());
    for n in 0..10 {
        farm.session(&format!("user{n}"), 60 + n, "R");
        let began = tokio::time::Instant::now();
        let event = events.message().await.unwrap().unwrap();
        times.push(began.elapsed());
        let Some(What::Changes(changes)) = event.what else {
            panic!("{event:?}")
        };
        assert_eq!(changes.upserted[0].user, format!("user{n}"));
        assert!(event.version > version);
        version = event.version;
    }
    times.sort();
    println!("from commit to Watch event: {times:?}");
    // The median, so that a busy machine can delay some.
    assert!(times[5] < Duration::from_millis(250), "{times:?}");
    let took = agent.end().await;
    println!("ended in {took:?} with a Watch stream open");
    assert!(events.message().await.unwrap_or_default().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watch_streams_are_bounded_and_their_places_come_back() {
    let farm = Farm::new();
    let agent = farm.start().await;
    let mut broker = agent.client(&farm, Role::Broker);
    let mut streams = Vec::new();
    for _ in 0..64 {
        streams.push(broker.watch(v1::WatchRequest {}).await.unwrap());
    }
    let status = broker.watch(v1::WatchRequest {}).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    drop(streams);
    let began = tokio::time::Instant::now();
    while broker.watch(v1::WatchRequest {}).await.is_err() {
        assert!(began.elapsed() < LIMIT, "no place came back");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    agent.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_session_database_makes_it_not_ready_until_a_good_one_is_there() {
    let farm = Farm::new();
    farm.session("alice", 50, "S");
    let agent = farm.start().await;
    let path = farm.path("x2go_sessions");
    let good = std::fs::read(&path).unwrap();
    let replace = |bytes: &[u8]| {
        std::fs::write(farm.path("new"), bytes).unwrap();
        std::fs::rename(farm.path("new"), &path).unwrap();
    };
    for (bad, expected) in [
        (&b"random bytes"[..], "not an SQLite database"),
        (&good[..5000], "cut off"),
    ] {
        replace(bad);
        agent
            .wait_for(&farm, |state| match &state.readiness {
                Readiness::NotReady { reason } => reason.contains(expected),
                _ => false,
            })
            .await;
        replace(&good);
        let took = agent
            .wait_for(&farm, |state| state.readiness.is_ready())
            .await;
        println!("ready again after {took:?}");
    }
    agent.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn brokers_learn_by_gossip_who_it_is_and_that_it_leaves() {
    let farm = Farm::new();
    // A broker's side of the gossip.
    let identity = load_identity(&farm.identity(Role::Broker, "b1"), &Clock::system()).unwrap();
    let (_publisher, watch) = IdentityPublisher::new(identity);
    let any = "127.0.0.1:0".parse().unwrap();
    let listener = MeshListener::bind(any, watch.clone(), ListenerLimits::default())
        .await
        .unwrap();
    let address = listener.local_addr();
    let (transport, service) = MtlsTransport::new(watch, TransportLimits::default());
    let config = ClusterConfig {
        farm: "office".to_owned(),
        node: NodeId::parse("b1").unwrap(),
        role: Role::Broker,
        generation: proto::Generation(1),
        advertise: address,
        seeds: Vec::new(),
        settings: Settings::local(),
    };
    let generations = Generations::stored(farm.folder.path(), Clock::system());
    let (cluster, handle) = Cluster::build(config, transport, generations).unwrap();
    let mut tasks = JoinSet::new();
    let stop = CancellationToken::new();
    let server = tonic::transport::Server::builder().add_service(GossipServer::new(service));
    tasks.spawn(async move {
        server
            .serve_with_incoming(listener.incoming())
            .await
            .unwrap();
    });
    tasks.spawn(async move { cluster.run(stop).await.unwrap() });

    let config = Config {
        seeds: vec![address.to_string()],
        ..farm.config()
    };
    let agent = farm.start_with(config).await;
    let node = NodeId::parse("s1").unwrap();
    let mut members = handle.members();
    let seen = members.wait_for(|members| {
        let member = members.get(Role::Agent, &node);
        member.is_some_and(|member| {
            member.live
                && member
                    .advert
                    .state
                    .as_ref()
                    .is_some_and(|state| state.readiness.is_ready())
        })
    });
    let seen = tokio::time::timeout(LIMIT, seen)
        .await
        .unwrap()
        .unwrap()
        .clone();
    let member = seen.get(Role::Agent, &node).unwrap();
    assert_eq!(member.address, agent.address);
    assert!(member.advert.names.names.contains(&node));
    let state = member.advert.state.clone().unwrap();
    assert!(state.load.is_some_and(|load| load.cores > 0), "{state:?}");

    let mut leaving = JoinSet::new();
    leaving.spawn(agent.end());
    let gone = members.wait_for(|members| {
        let member = members.get(Role::Agent, &node);
        let state = member.and_then(|member| member.advert.state.as_ref());
        state.is_some_and(|state| state.readiness == Readiness::Leaving)
    });
    tokio::time::timeout(LIMIT, gone).await.unwrap().unwrap();
    println!("left in {:?}", leaving.join_next().await.unwrap().unwrap());
}

#[tokio::test]
async fn an_identity_that_does_not_fit_is_told_with_what_would() {
    let farm = Farm::new();
    let rows = [
        (
            farm.identity(Role::Broker, "s1"),
            "is of the role broker, an agent needs one issued with --role agent",
        ),
        (
            farm.identity(Role::Agent, "s2"),
            "is for the node s2, but this is s1; issue one for s1",
        ),
        (farm.path("nowhere"), "can't be used"),
    ];
    for (identity, expected) in rows {
        let config = farm
            .raw_config(&identity)
            .check(HostDefaults::default())
            .unwrap();
        let error = App::build(config, Clock::system())
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn an_address_that_is_taken_is_told() {
    let farm = Farm::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let config = Config {
        listen: taken.local_addr().unwrap(),
        ..farm.config()
    };
    let error = App::build(config, Clock::system())
        .await
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        format!("can't listen on {}", taken.local_addr().unwrap())
    );
}
