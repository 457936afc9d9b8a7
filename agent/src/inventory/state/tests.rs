use std::time::{Duration, Instant};

use proto::{
    ClientOrder, Counts, Drain, Generation, Load, NodeId, Readiness, Session, SessionId,
    SessionRecord, SessionState, Username,
};

use super::{Delta, Settled, State};
use crate::admission::{Refusal, Request, Verdict};
use crate::inventory::sqlite::{Reading, Skipped, StoredSession};

const LINE: &str = "2245|alice-50-1795323502_stRTERMINAL_dp24|50|s1|S|2026-11-22T04:58:23|7f6f58b8d2090b344f5dfddadaf20900|10.77.0.20|49024|49025|2026-11-22T04:58:39|alice|34|49026|-1|-1";
/// 2026-11-22 05:00:00 on the server's clock, an hour ahead of UTC.
const LOCAL_NOW: i64 = 1_795_323_600;
const UTC_OFFSET: i64 = 3600;

fn user(name: &str) -> Username {
    Username::parse(name).unwrap()
}

fn stored(name: &str, state: SessionState, age: i64) -> StoredSession {
    let session = Session {
        id: SessionId::parse(&format!("{name}-1")).unwrap(),
        user: user(name),
        state,
        starting: false,
        client_order: None,
    };
    let record = SessionRecord {
        id: session.id.clone(),
        user: session.user.clone(),
        state,
        ..SessionRecord::parse(LINE).unwrap()
    };
    StoredSession {
        session,
        record: Some(record),
        started: Some(LOCAL_NOW - age),
        last_written: Some(LOCAL_NOW - age),
    }
}

fn starting(name: &str) -> StoredSession {
    let stored = stored(name, SessionState::Running, 0);
    let session = Session {
        starting: true,
        ..stored.session.clone()
    };
    StoredSession {
        session,
        record: None,
        ..stored
    }
}

fn request(name: &str) -> Request {
    Request {
        node: NodeId::parse("s1").unwrap(),
        user: user(name),
        forced: false,
    }
}

struct Fixture {
    state: State,
    start: Instant,
    now: Duration,
}

impl Fixture {
    fn new(drain: Option<&str>) -> Self {
        let state = State::new(
            NodeId::parse("s1").unwrap(),
            Generation(7),
            drain.map(Drain::new),
        );
        let start = tokio::time::Instant::now().into_std();
        Self {
            state,
            start,
            now: Duration::ZERO,
        }
    }

    fn ready() -> Self {
        let mut fixture = Self::new(None);
        fixture.read(&[]);
        fixture
    }

    fn at(&self) -> Instant {
        self.start + self.now
    }

    fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }

    fn read(&mut self, sessions: &[StoredSession]) -> Option<Settled> {
        let reading = Reading {
            sessions: sessions.to_vec(),
            utc_offset: UTC_OFFSET,
            skipped: Skipped::default(),
        };
        let local_now = LOCAL_NOW + i64::try_from(self.now.as_secs()).unwrap();
        self.state.take_reading(reading, local_now, self.at());
        self.settle()
    }

    fn settle(&mut self) -> Option<Settled> {
        self.state.settle(self.at())
    }

    fn admit(&mut self, name: &str) -> Verdict {
        let utc_now = LOCAL_NOW - UTC_OFFSET + i64::try_from(self.now.as_secs()).unwrap();
        self.state.admit(&request(name), utc_now, self.at())
    }

    fn counts(&self) -> (u32, u32, u32, u32) {
        let Counts {
            active,
            suspended,
            young,
            pending,
        } = self.state.node_state(self.at()).counts;
        (active, suspended, young, pending)
    }

    fn delta(&mut self) -> Delta {
        self.settle()
            .and_then(|settled| settled.change)
            .map(|change| change.delta)
            .unwrap_or_default()
    }
}

#[test]
fn nothing_is_admitted_before_the_first_reading() {
    let mut fixture = Fixture::new(None);
    assert_eq!(fixture.admit("alice"), Verdict::Refused(Refusal::NotReady));
    let settled = fixture.read(&[]).unwrap();
    assert_eq!(settled.state.readiness, Readiness::Ready);
    assert_eq!(settled.change, None);
    assert_eq!(fixture.admit("alice"), Verdict::Reserve);
}

#[test]
fn a_reservation_is_confirmed_and_counted_once() {
    let mut fixture = Fixture::ready();
    assert_eq!(fixture.admit("alice"), Verdict::Reserve);
    assert_eq!(fixture.delta().reserved, [user("alice")]);
    for _ in 0..3 {
        assert_eq!(fixture.admit("alice"), Verdict::Confirmed);
        assert_eq!(fixture.settle(), None);
    }
    assert_eq!(fixture.counts(), (0, 0, 0, 1));
}

#[test]
fn a_reservation_ends_by_session_start_by_cancel_and_after_60_seconds() {
    let mut fixture = Fixture::ready();
    for name in ["alice", "bob"] {
        assert_eq!(fixture.admit(name), Verdict::Reserve, "{name}");
    }
    fixture.settle();
    let settled = fixture.read(&[starting("alice")]).unwrap();
    let change = settled.change.unwrap();
    assert_eq!(change.delta.released, [user("alice")]);
    assert_eq!(change.delta.upserted, [starting("alice").session]);
    assert_eq!(fixture.counts(), (1, 0, 1, 1));
    assert_eq!(fixture.admit("alice"), Verdict::Confirmed);

    fixture.state.cancel(&user("bob"));
    fixture.state.cancel(&user("nobody"));
    assert_eq!(fixture.delta().released, [user("bob")]);

    fixture.pass(31);
    fixture.settle();
    assert_eq!(fixture.admit("carol"), Verdict::Reserve);
    fixture.settle();
    fixture.pass(59);
    assert_eq!(fixture.settle(), None);
    let end = fixture.state.next_end().unwrap();
    assert_eq!(end, fixture.at() + Duration::from_secs(1));
    fixture.pass(1);
    assert_eq!(fixture.delta().released, [user("carol")]);
    assert_eq!(fixture.counts(), (1, 0, 0, 0));
    assert_eq!(fixture.state.next_end(), None);
}

#[test]
fn a_session_is_young_for_30_seconds_and_its_end_is_a_change_of_counts_alone() {
    let mut fixture = Fixture::ready();
    let before = fixture.read(&[starting("alice")]).unwrap();
    fixture.pass(29);
    // Completing the row is a change, but does not make it younger.
    let settled = fixture
        .read(&[stored("alice", SessionState::Running, 0)])
        .unwrap();
    assert_eq!(settled.change.as_ref().unwrap().delta.upserted.len(), 1);
    fixture.pass(1);
    let after = fixture.settle().unwrap().change.unwrap();
    assert_eq!(after.delta, Delta::default());
    assert_eq!((after.counts.active, after.counts.young), (1, 0));
    assert_eq!(after.version.0, before.state.version.0 + 2);

    let suspended = [stored("alice", SessionState::Suspended, 0)];
    let running = [stored("alice", SessionState::Running, 0)];
    fixture.read(&suspended);
    assert_eq!(fixture.counts(), (0, 1, 0, 0));
    fixture.read(&running);
    assert_eq!(fixture.counts(), (1, 0, 1, 0));
    fixture.read(&suspended);
    assert_eq!(fixture.counts(), (0, 1, 0, 0));
}

#[test]
fn sessions_from_before_this_agent_are_as_young_as_the_database_says() {
    let mut fixture = Fixture::new(None);
    fixture.state.take_trouble("locked".to_owned());
    fixture.settle();
    let settled = fixture.read(&[
        stored("alice", SessionState::Running, 10),
        stored("bob", SessionState::Running, 3000),
        stored("carol", SessionState::Suspended, 10),
        stored("dave", SessionState::Running, -500),
    ]);
    assert_eq!(settled.unwrap().change.unwrap().delta.upserted.len(), 4);
    assert_eq!(fixture.counts(), (3, 1, 2, 0));
    fixture.pass(20);
    assert_eq!(fixture.counts(), (3, 1, 1, 0));
    let active: Vec<(String, u64)> = fixture
        .state
        .active_sessions(fixture.at())
        .into_iter()
        .map(|session| (session.user.to_string(), session.active.as_secs()))
        .collect();
    let expected = [("alice", 30), ("bob", 3020), ("dave", 20)];
    assert_eq!(
        active,
        expected.map(|(name, seconds)| (name.to_owned(), seconds))
    );
}

#[test]
fn time_spent_suspended_is_not_active_time() {
    let mut fixture = Fixture::ready();
    let running = [stored("alice", SessionState::Running, 0)];
    fixture.read(&running);
    fixture.pass(100);
    fixture.read(&[stored("alice", SessionState::Suspended, 0)]);
    assert_eq!(fixture.state.active_sessions(fixture.at()), []);
    fixture.pass(1000);
    fixture.read(&running);
    fixture.pass(5);
    assert_eq!(
        fixture.state.active_sessions(fixture.at())[0].active,
        Duration::from_secs(105)
    );
}

#[test]
fn an_ended_session_is_removed_and_its_user_can_be_admitted_again() {
    let mut fixture = Fixture::ready();
    fixture.read(&[
        stored("alice", SessionState::Running, 0),
        stored("bob", SessionState::Suspended, 0),
    ]);
    let settled = fixture
        .read(&[stored("bob", SessionState::Suspended, 0)])
        .unwrap();
    let delta = settled.change.unwrap().delta;
    assert_eq!(delta.removed, [SessionId::parse("alice-1").unwrap()]);
    assert_eq!(delta.upserted, []);
    assert_eq!(fixture.admit("alice"), Verdict::Reserve);
    let Verdict::Resume(records) = fixture.admit("bob") else {
        panic!("bob is not resumed")
    };
    assert_eq!(records[0].user, user("bob"));
}

#[test]
fn the_age_of_a_record_is_that_of_the_moment_it_is_handed_out() {
    let mut fixture = Fixture::ready();
    fixture.read(&[stored("alice", SessionState::Suspended, 40)]);
    fixture.pass(2);
    let Verdict::Resume(records) = fixture.admit("alice") else {
        panic!("not resumed")
    };
    assert_eq!(records[0].age_seconds, 42);
}

#[test]
fn trouble_keeps_the_last_good_sessions_and_its_end_brings_them_back() {
    let mut fixture = Fixture::ready();
    fixture.read(&[stored("alice", SessionState::Suspended, 40)]);
    fixture
        .state
        .take_trouble("session database is locked".to_owned());
    let settled = fixture.settle().unwrap();
    let reason = "session database is locked".to_owned();
    assert_eq!(settled.state.readiness, Readiness::NotReady { reason });
    assert_eq!(settled.change, None);
    assert_eq!(fixture.counts(), (0, 1, 0, 0));
    assert_eq!(fixture.admit("alice"), Verdict::Refused(Refusal::NotReady));
    let settled = fixture
        .read(&[stored("alice", SessionState::Suspended, 40)])
        .unwrap();
    assert_eq!(
        (settled.state.readiness, settled.change),
        (Readiness::Ready, None)
    );
}

#[test]
fn leaving_hides_trouble_and_trouble_hides_a_drain() {
    let mut fixture = Fixture::new(Some("disks"));
    let readiness = |fixture: &Fixture| fixture.state.node_state(fixture.at()).readiness;
    assert!(matches!(readiness(&fixture), Readiness::NotReady { .. }));
    fixture.read(&[]);
    assert_eq!(
        readiness(&fixture),
        Readiness::Draining(Drain::new("disks"))
    );
    assert_eq!(fixture.admit("alice"), Verdict::Refused(Refusal::Draining));
    fixture.state.set_drain(None);
    assert_eq!(readiness(&fixture), Readiness::Ready);
    fixture.state.take_trouble("x".to_owned());
    fixture.state.leave();
    assert_eq!(readiness(&fixture), Readiness::Leaving);
}

#[test]
fn each_change_has_a_version_of_its_own_and_none_is_told_twice() {
    let mut fixture = Fixture::ready();
    let mut last = fixture.state.node_state(fixture.at()).version;
    let load = Load {
        cores: 4,
        mhz: 2400,
        ..Load::default()
    };
    for step in 0..4 {
        match step {
            0 => fixture.state.take_load(load),
            1 => fixture.state.set_drain(Some(Drain::new("x"))),
            2 => fixture.state.set_drain(None),
            _ => drop(fixture.admit("alice")),
        }
        let settled = fixture.settle().unwrap();
        assert_eq!(settled.state.version.0, last.0 + 1);
        assert_eq!(settled.change.is_some(), step == 3);
        last = settled.state.version;
        assert_eq!(fixture.settle(), None);
    }
}

#[test]
fn a_login_storm_is_stopped_at_twice_the_capacity() {
    let mut fixture = Fixture::ready();
    fixture.state.take_load(Load {
        cores: 4,
        mhz: 2400,
        ..Load::default()
    });
    for n in 0..8 {
        assert_eq!(fixture.admit(&format!("user{n}")), Verdict::Reserve);
    }
    assert_eq!(fixture.admit("late"), Verdict::Refused(Refusal::Crowded));
    let forced = Request {
        forced: true,
        ..request("late")
    };
    assert_eq!(
        fixture.state.admit(&forced, 0, fixture.at()),
        Verdict::Reserve
    );
}

#[test]
fn an_order_to_a_client_ends_after_ten_minutes_and_that_is_told() {
    let mut fixture = Fixture::ready();
    let session = stored("alice", SessionState::Running, 100);
    fixture.read(std::slice::from_ref(&session));
    let at = fixture.at();
    let (alice, id) = (user("alice"), &session.session.id);
    let order = ClientOrder::Terminate;
    fixture.state.order_client(&alice, id, order, at).unwrap();
    let told = Session {
        client_order: Some(order),
        ..session.session.clone()
    };
    assert_eq!(fixture.delta().upserted, std::slice::from_ref(&told));
    assert_eq!(fixture.state.snapshot(at).sessions, [told]);
    fixture.pass(599);
    assert_eq!(fixture.delta().upserted, []);
    fixture.pass(1);
    assert_eq!(fixture.state.next_end(), Some(fixture.at()));
    assert_eq!(fixture.delta().upserted, [session.session]);
}

#[test]
fn an_order_to_a_client_is_done_once_the_session_has_stayed_suspended() {
    let mut fixture = Fixture::ready();
    let running = stored("alice", SessionState::Running, 100);
    fixture.read(std::slice::from_ref(&running));
    let at = fixture.at();
    let (alice, id) = (user("alice"), &running.session.id);
    let order = ClientOrder::Suspend;
    fixture.state.order_client(&alice, id, order, at).unwrap();
    fixture.delta();
    let suspended = stored("alice", SessionState::Suspended, 100);
    // Whoever lists sessions too early has x2goserver write R again.
    for session in [&suspended, &running, &suspended] {
        let read = fixture.read(std::slice::from_ref(session)).unwrap();
        let mut told = read.change.unwrap().delta.upserted;
        assert_eq!(told.pop().unwrap().client_order, Some(order));
        fixture.pass(1);
    }
    // Six seconds from the last change of its state.
    fixture.pass(4);
    assert_eq!(fixture.delta(), Delta::default());
    fixture.pass(1);
    assert_eq!(fixture.delta().upserted.pop().unwrap().client_order, None);
}
