//! What the view shows after which news.

use std::sync::Arc;
use std::time::Duration;

use gossip::{Member, Members};
use pki::Role;
use proto::{
    Advert, Counts, Drain, Generation, HostNames, Load, NodeId, NodeState, Readiness, Session,
    SessionId, SessionState, Username, Version,
};
use tokio::time::Instant;

use super::{FarmState, Membership, SUSPICION};
use crate::profiles::ProfileHost;
use crate::view::links::{WatchUpdate, What};

fn node(name: &str) -> NodeId {
    NodeId::parse(name).unwrap()
}

fn user(name: &str) -> Username {
    Username::parse(name).unwrap()
}

fn session(user_name: &str, id: &str) -> Session {
    let id = SessionId::parse(id).unwrap();
    Session {
        id,
        user: user(user_name),
        state: SessionState::Running,
        starting: false,
        client_order: None,
    }
}

fn state(generation: u64, version: u64, active: u32) -> NodeState {
    NodeState {
        generation: Generation(generation),
        version: Version(version),
        counts: Counts {
            active,
            ..Counts::default()
        },
        load: Some(Load {
            cores: 4,
            mhz: 2400,
            ..Load::default()
        }),
        readiness: Readiness::Ready,
    }
}

fn member(name: &str, live: bool, state: NodeState) -> Arc<Member> {
    let names = HostNames {
        names: vec![node(name)],
        addresses: vec![],
    };
    Arc::new(Member {
        node: node(name),
        role: Role::Agent,
        generation: state.generation,
        address: "10.0.0.1:7464".parse().unwrap(),
        live,
        advert: Advert {
            names,
            state: Some(state),
            ..Advert::default()
        },
    })
}

fn snapshot(generation: u64, version: u64, sessions: Vec<Session>) -> WatchUpdate {
    let n_sessions = u32::try_from(sessions.len()).unwrap();
    WatchUpdate {
        generation: Generation(generation),
        version: Version(version),
        counts: Counts {
            active: n_sessions,
            ..Counts::default()
        },
        what: What::Snapshot {
            sessions,
            reserved: vec![],
        },
    }
}

fn changes(version: u64, upserted: Vec<Session>, removed: &[&str]) -> WatchUpdate {
    let removed = removed
        .iter()
        .map(|id| SessionId::parse(id).unwrap())
        .collect();
    WatchUpdate {
        generation: Generation(1),
        version: Version(version),
        counts: Counts {
            active: 7,
            ..Counts::default()
        },
        what: What::Changes {
            upserted,
            removed,
            reserved: vec![],
            released: vec![],
        },
    }
}

/// A farm of one server, s1, which has told generation 1, version 1.
fn farm() -> (FarmState, Instant) {
    let now = Instant::now();
    let mut farm = FarmState::new(now);
    let changes = farm.members(
        &Members::from_iter([member("s1", true, state(1, 1, 0))]),
        now,
    );
    assert_eq!(
        changes.to_link,
        [(node("s1"), "10.0.0.1:7464".parse().unwrap())]
    );
    (farm, now)
}

fn gossip(farm: &mut FarmState, live: bool, state: NodeState, now: Instant) -> Membership {
    farm.members(&Members::from_iter([member("s1", live, state)]), now)
}

fn active(farm: &FarmState) -> u32 {
    farm.view().node(&node("s1")).unwrap().state.counts.active
}

#[test]
fn a_server_counts_only_once_it_is_alive_and_has_told_its_state() {
    let now = Instant::now();
    let mut farm = FarmState::new(now);
    let dead = Members::from_iter([member("s1", false, state(1, 1, 0))]);
    assert_eq!(farm.members(&dead, now), Membership::default());
    assert!(farm.view().nodes().is_empty());
}

#[test]
fn sessions_follow_the_stream_of_their_server() {
    let (mut farm, now) = farm();
    farm.watched(
        &node("s1"),
        snapshot(1, 5, vec![session("alice", "alice-50")]),
        now,
    );
    farm.watched(
        &node("s1"),
        changes(6, vec![session("bob", "bob-51")], &["alice-50"]),
        now,
    );
    assert!(farm.view().of_user(&user("alice")).sessions.is_empty());
    assert_eq!(farm.view().of_user(&user("bob")).sessions.len(), 1);
    assert_eq!((farm.view().n_sessions(), active(&farm)), (1, 7));
}

#[test]
fn a_new_snapshot_replaces_all_that_was_known() {
    let (mut farm, now) = farm();
    farm.watched(
        &node("s1"),
        snapshot(1, 5, vec![session("alice", "alice-50")]),
        now,
    );
    farm.watched(
        &node("s1"),
        snapshot(2, 1, vec![session("bob", "bob-51")]),
        now,
    );
    assert!(farm.view().of_user(&user("alice")).sessions.is_empty());
    assert_eq!(farm.view().n_sessions(), 1);
}

#[test]
fn gossip_does_not_overrule_what_a_server_says_itself() {
    let (mut farm, now) = farm();
    farm.watched(
        &node("s1"),
        snapshot(1, 5, vec![session("alice", "alice-50")]),
        now,
    );
    gossip(&mut farm, true, state(u64::MAX, u64::MAX, 99), now);
    assert_eq!(active(&farm), 1);
    farm.watched(&node("s1"), changes(6, vec![], &[]), now);
    assert_eq!(active(&farm), 7, "the server's next word still counts");
}

#[test]
fn a_readiness_pushed_by_gossip_counts_at_once_and_an_old_one_does_not_return() {
    let (mut farm, now) = farm();
    farm.watched(&node("s1"), snapshot(1, 50, vec![]), now);
    let draining = Readiness::Draining(Drain::new("disks"));
    gossip(
        &mut farm,
        true,
        NodeState {
            readiness: draining.clone(),
            ..state(1, 1, 0)
        },
        now,
    );
    assert_eq!(
        farm.view().node(&node("s1")).unwrap().state.readiness,
        draining
    );
    farm.answered(&node("s1"), &state(1, 51, 0), now);
    gossip(
        &mut farm,
        true,
        NodeState {
            readiness: draining,
            ..state(1, 2, 0)
        },
        now,
    );
    assert!(
        farm.view()
            .node(&node("s1"))
            .unwrap()
            .state
            .readiness
            .is_ready()
    );
}

#[test]
fn a_readiness_by_answer_is_undone_by_newer_gossip_though_gossip_never_changed() {
    let (mut farm, now) = farm();
    farm.watched(&node("s1"), snapshot(1, 5, vec![]), now);
    let readiness = Readiness::NotReady {
        reason: "locked".to_owned(),
    };
    let not_ready = NodeState {
        readiness,
        ..state(1, 6, 0)
    };
    farm.answered(&node("s1"), &not_ready, now);
    gossip(&mut farm, true, state(1, 7, 0), now);
    let s1 = farm.view().node(&node("s1")).unwrap();
    assert!(s1.state.readiness.is_ready());
}

#[test]
fn a_host_counts_as_without_agent_only_when_the_farm_is_known_well() {
    let (mut farm, now) = farm();
    let warm_up = Some(Duration::from_secs(10));
    let has_no_agent = |farm: &FarmState, name: &str, after: u64| {
        let host = ProfileHost::parse(name).unwrap();
        let later = now + Duration::from_secs(after);
        farm.view().has_no_agent(&host, warm_up, later)
    };
    assert!(
        !has_no_agent(&farm, "s9", 9),
        "it may not have shown itself yet"
    );
    assert!(has_no_agent(&farm, "s9", 10));
    assert!(!has_no_agent(&farm, "s1", 10));
    farm.members(&Members::default(), now);
    assert!(!has_no_agent(&farm, "s1", 10), "it had one");
    assert!(
        !has_no_agent(&FarmState::new(now), "s9", 90),
        "nobody was ever heard"
    );
    let s9 = ProfileHost::parse("s9").unwrap();
    let alone = FarmState::new(now);
    assert!(
        alone.view().has_no_agent(&s9, None, now),
        "nobody expects agents"
    );
}

#[test]
fn no_host_counts_as_outside_of_the_mesh_until_its_agent_would_have_shown_itself() {
    let is_outside = |farm: &FarmState, name: &str, later: Instant| {
        let host = ProfileHost::parse(name).unwrap();
        let warm_up = Duration::from_secs(10);
        farm.view().is_outside(&host, warm_up, later)
    };
    let (mut farm, now) = farm();
    let soon = now + Duration::from_secs(9);
    let later = now + Duration::from_secs(10);
    assert!(!is_outside(&farm, "s9", soon), "it may be in the mesh");
    assert!(is_outside(&farm, "s9", later));
    assert!(!is_outside(&farm, "s1", later));
    farm.members(&Members::default(), now);
    assert!(!is_outside(&farm, "s1", later), "it had an agent of ours");
    let all_old = FarmState::new(now);
    assert!(!is_outside(&all_old, "s9", soon));
    assert!(is_outside(&all_old, "s9", later), "nobody is in the mesh");
}

#[test]
fn a_load_by_gossip_is_newer_than_the_version_of_the_stream_but_not_than_an_answer() {
    let (mut farm, now) = farm();
    let with_cores = |version, cores| {
        let load = Load {
            cores,
            mhz: 2400,
            ..Load::default()
        };
        NodeState {
            load: Some(load),
            ..state(1, version, 0)
        }
    };
    let cores = |farm: &FarmState| {
        farm.view()
            .node(&node("s1"))
            .unwrap()
            .state
            .load
            .unwrap()
            .cores
    };
    farm.watched(&node("s1"), snapshot(1, 50, vec![]), now);
    gossip(&mut farm, true, with_cores(3, 8), now);
    assert_eq!(cores(&farm), 8);
    farm.answered(&node("s1"), &with_cores(60, 16), now);
    gossip(&mut farm, true, with_cores(4, 32), now);
    assert_eq!(cores(&farm), 16);
}

#[test]
fn the_sessions_of_a_broken_stream_are_stale_and_those_of_a_dead_server_gone() {
    let (mut farm, now) = farm();
    farm.watched(
        &node("s1"),
        snapshot(1, 5, vec![session("alice", "alice-50")]),
        now,
    );
    farm.watch_broke(&node("s1"), now);
    let view = farm.view().node(&node("s1")).unwrap();
    assert!(!view.followed && view.is_suspect());
    assert_eq!(farm.view().n_sessions(), 1);
    let changes = gossip(&mut farm, false, state(1, 5, 1), now);
    assert_eq!(changes.to_unlink, [node("s1")]);
    assert_eq!(farm.view().n_sessions(), 0);
    assert!(!farm.view().node(&node("s1")).unwrap().live);
}

#[test]
fn a_server_that_comes_back_is_linked_again() {
    let (mut farm, now) = farm();
    gossip(&mut farm, false, state(1, 1, 0), now);
    let changes = gossip(&mut farm, true, state(2, 1, 0), now);
    assert_eq!(changes.to_link.len(), 1);
    assert_eq!(
        farm.members(&Members::default(), now).to_unlink,
        [node("s1")]
    );
    assert!(farm.view().nodes().is_empty());
}

#[test]
fn a_suspect_is_cleared_by_news_but_not_in_its_first_seconds() {
    let (mut farm, now) = farm();
    let suspect = |farm: &FarmState| farm.view().node(&node("s1")).unwrap().is_suspect();
    farm.silent(&node("s1"), now);
    gossip(
        &mut farm,
        true,
        state(1, 2, 0),
        now + Duration::from_secs(1),
    );
    assert!(suspect(&farm));
    farm.tick(now + SUSPICION + Duration::from_secs(1));
    assert!(suspect(&farm), "time alone clears nobody");
    gossip(&mut farm, true, state(1, 3, 0), now + SUSPICION);
    assert!(!suspect(&farm));
}

#[test]
fn a_placement_counts_until_its_server_shows_it() {
    let (mut farm, now) = farm();
    farm.watched(&node("s1"), snapshot(1, 5, vec![]), now);
    farm.placed(user("alice"), &node("s1"), (Generation(1), Version(6)), now);
    assert_eq!(farm.view().in_flight().count(&node("s1")), 1);
    farm.watched(&node("s1"), changes(6, vec![], &[]), now);
    assert_eq!(farm.view().in_flight().count(&node("s1")), 0);
    farm.placed(user("bob"), &node("s1"), (Generation(1), Version(6)), now);
    let in_flight = farm.view().in_flight();
    assert_eq!(in_flight.count(&node("s1")), 0, "shown already");
    assert_eq!(in_flight.of_user(&user("bob")).count(), 1, "for a retry");
}

#[test]
fn a_followed_server_stays_fresh_though_it_has_nothing_to_say() {
    let (mut farm, now) = farm();
    farm.watched(&node("s1"), snapshot(1, 5, vec![]), now);
    let later = now + Duration::from_secs(60);
    farm.tick(later);
    assert_eq!(farm.view().node(&node("s1")).unwrap().refreshed_at, later);
    farm.watch_broke(&node("s1"), later);
    farm.tick(later + Duration::from_secs(60));
    assert_eq!(farm.view().node(&node("s1")).unwrap().refreshed_at, later);
}
