mod drains;

use std::path::Path;
use std::time::Duration;

use pki::{Clock, ManualClock, UnixTime};
use proto::{
    Counts, Generation, Load, NodeId, Readiness, Session, SessionId, SessionState, Username,
};
use tempfile::TempDir;
use tokio::sync::broadcast::error::TryRecvError;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{
    Command, Delta, Inventory, InventoryHandle, Poller, Reading, SessionDatabase, Skipped,
    Snapshot, StoredSession,
};
use crate::admission::{Refusal, Request, Verdict};

/// An inventory whose session database is fed by the test itself.
struct Fixture {
    handle: InventoryHandle,
    folder: TempDir,
    clock: Clock,
    hand: ManualClock,
    stop: CancellationToken,
    tasks: JoinSet<()>,
    /// Not run: with it gone, admissions do not wait for it.
    _poller: Option<Poller>,
}

impl Fixture {
    async fn ready() -> Self {
        let (clock, hand) = Clock::manual(UnixTime::since_unix_epoch(NOW));
        let fixture = Self::in_folder(tempfile::tempdir().unwrap(), clock, hand);
        fixture.read(&[]).await;
        fixture
    }

    fn in_folder(folder: TempDir, clock: Clock, hand: ManualClock) -> Self {
        let (inventory, handle, poller) = build(folder.path(), clock.clone());
        drop(poller);
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(inventory.run(stop.clone()));
        Self {
            handle,
            folder,
            clock,
            hand,
            stop,
            tasks,
            _poller: None,
        }
    }

    async fn restart(mut self) -> Self {
        self.stop.cancel();
        self.tasks.join_next().await;
        Self::in_folder(self.folder, self.clock, self.hand)
    }

    async fn read(&self, sessions: &[StoredSession]) {
        let reading = Reading {
            sessions: sessions.to_vec(),
            utc_offset: 0,
            skipped: Skipped::default(),
        };
        self.handle
            .commands
            .send(Command::Reading(reading))
            .await
            .unwrap();
        // The answer to any question comes after the reading was taken.
        self.handle.active_sessions().await.unwrap();
    }

    async fn admit(&self, name: &str) -> Verdict {
        self.handle.admit(request(name)).await.unwrap().verdict
    }
}

/// 2026-11-22 05:00 UTC.
const NOW: Duration = Duration::from_secs(1_795_323_600);

fn build(state_directory: &Path, clock: Clock) -> (Inventory, InventoryHandle, Poller) {
    let node = NodeId::parse("s1").unwrap();
    let database = SessionDatabase::new(state_directory.join("x2go_sessions"), node.clone());
    Inventory::build(node, Generation(7), database, state_directory, clock)
}

fn request(name: &str) -> Request {
    let user = Username::parse(name).unwrap();
    Request {
        node: NodeId::parse("s1").unwrap(),
        user,
        forced: true,
    }
}

fn running(name: &str) -> StoredSession {
    let session = Session {
        id: SessionId::parse(&format!("{name}-1")).unwrap(),
        user: Username::parse(name).unwrap(),
        state: SessionState::Running,
        starting: true,
        client_order: None,
    };
    StoredSession {
        session,
        record: None,
        started: None,
        last_written: None,
    }
}

#[tokio::test(start_paused = true)]
async fn a_reservation_and_a_young_session_end_by_themselves() {
    let fixture = Fixture::ready().await;
    assert_eq!(fixture.admit("alice").await, Verdict::Reserve);
    fixture.read(&[running("bob")]).await;
    let mut changes = fixture.handle.subscribe().await.unwrap().changes;
    let began = tokio::time::Instant::now();
    let change = changes.recv().await.unwrap();
    assert_eq!(began.elapsed().as_secs(), 30);
    assert_eq!(change.delta, Delta::default());
    assert_eq!(
        change.counts,
        Counts {
            active: 1,
            pending: 1,
            ..Counts::default()
        }
    );
    let change = changes.recv().await.unwrap();
    assert_eq!(began.elapsed().as_secs(), 60);
    assert_eq!(change.delta.released, [Username::parse("alice").unwrap()]);
    assert_eq!(
        fixture.handle.state().counts,
        Counts {
            active: 1,
            ..Counts::default()
        }
    );
}

#[tokio::test(start_paused = true)]
async fn the_answer_to_an_admission_carries_the_version_that_includes_it() {
    let fixture = Fixture::ready().await;
    let mut changes = fixture.handle.subscribe().await.unwrap().changes;
    let admission = fixture.handle.admit(request("alice")).await.unwrap();
    let change = changes.try_recv().unwrap();
    assert_eq!(admission.state.version, change.version);
    assert_eq!(admission.state.counts.pending, 1);
    let again = fixture.handle.admit(request("alice")).await.unwrap();
    assert_eq!(again.verdict, Verdict::Confirmed);
    assert_eq!(again.state.version, change.version);
    assert_eq!(changes.try_recv().unwrap_err(), TryRecvError::Empty);
}

/// What a subscriber makes of a snapshot and the changes after it.
fn apply(snapshot: &mut Snapshot, delta: Delta) {
    for session in delta.upserted {
        snapshot.sessions.retain(|old| old.id != session.id);
        snapshot.sessions.push(session);
    }
    snapshot
        .sessions
        .retain(|old| !delta.removed.contains(&old.id));
    snapshot.reserved.extend(delta.reserved);
    snapshot
        .reserved
        .retain(|user| !delta.released.contains(user));
    snapshot.sessions.sort_by(|a, b| a.id.cmp(&b.id));
    snapshot.reserved.sort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn snapshot_and_changes_lead_every_subscriber_to_the_same_state() {
    let fixture = Fixture::ready().await;
    let mut writers = JoinSet::new();
    for writer in 0..4 {
        let handle = fixture.handle.clone();
        writers.spawn(async move {
            for n in 0..50 {
                let name = format!("u{writer}-{}", n % 7);
                if n % 3 == 2 {
                    handle
                        .cancel(Username::parse(&name).unwrap())
                        .await
                        .unwrap();
                } else {
                    handle.admit(request(&name)).await.unwrap();
                }
            }
        });
    }
    let mut readers = JoinSet::new();
    for reader in 0..20u64 {
        let handle = fixture.handle.clone();
        readers.spawn(async move {
            // Each begins at another moment.
            for _ in 0..reader * 3 {
                tokio::task::yield_now().await;
            }
            handle.subscribe().await.unwrap()
        });
    }
    while writers.join_next().await.transpose().unwrap().is_some() {}
    fixture.read(&[running("u0-1"), running("zoe")]).await;
    let end = fixture.handle.subscribe().await.unwrap().snapshot;
    let mut n_changes = 0;
    while let Some(subscription) = readers.join_next().await {
        let mut subscription = subscription.unwrap();
        let mut snapshot = subscription.snapshot;
        while let Ok(change) = subscription.changes.try_recv() {
            assert!(
                change.version > snapshot.version,
                "{change:?} after {:?}",
                snapshot.version
            );
            apply(&mut snapshot, change.delta);
            snapshot.version = change.version;
            snapshot.counts = change.counts;
            n_changes += 1;
        }
        assert_eq!(snapshot, end);
    }
    assert!(n_changes > 0);
}

#[tokio::test(start_paused = true)]
async fn leaving_is_published_and_answered() {
    let fixture = Fixture::ready().await;
    let mut states = fixture.handle.watch_state();
    assert_eq!(
        fixture.handle.leave().await.unwrap().readiness,
        Readiness::Leaving
    );
    assert_eq!(states.borrow_and_update().readiness, Readiness::Leaving);
    assert_eq!(
        fixture.admit("alice").await,
        Verdict::Refused(Refusal::Leaving)
    );
}

#[tokio::test(start_paused = true)]
async fn the_load_is_part_of_the_state_and_no_news_for_subscribers() {
    let fixture = Fixture::ready().await;
    let mut changes = fixture.handle.subscribe().await.unwrap().changes;
    let load = Load {
        cores: 8,
        mhz: 2400,
        ..Load::default()
    };
    fixture.handle.set_load(load).await.unwrap();
    fixture.handle.active_sessions().await.unwrap();
    assert_eq!(fixture.handle.state().load, Some(load));
    assert_eq!(changes.try_recv().unwrap_err(), TryRecvError::Empty);
}

#[tokio::test]
async fn whoever_asks_after_the_end_is_told() {
    let fixture = Fixture::ready().await;
    let handle = fixture.handle.clone();
    fixture.restart().await;
    assert_eq!(
        handle.admit(request("alice")).await,
        Err(super::InventoryGone)
    );
}

/// The real poller over a real database.
#[tokio::test(flavor = "multi_thread")]
async fn an_admission_sees_what_was_committed_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let writer = rusqlite::Connection::open(folder.path().join("x2go_sessions")).unwrap();
    let schema = "CREATE TABLE sessions(session_id primary key, display, uname, server, client, \
        status, init_time, last_time, cookie, agent_pid, gr_port, sound_port, fs_port)";
    writer.execute_batch(schema).unwrap();
    let (clock, _hand) = Clock::manual(UnixTime::since_unix_epoch(NOW));
    let (inventory, handle, poller) = build(folder.path(), clock);
    let stop = CancellationToken::new();
    let mut tasks = JoinSet::new();
    tasks.spawn(inventory.run(stop.clone()));
    tasks.spawn_blocking(move || poller.run());
    let mut states = handle.watch_state();
    let ready = states.wait_for(|state| state.readiness.is_ready());
    tokio::time::timeout(Duration::from_secs(5), ready)
        .await
        .unwrap()
        .unwrap();
    for n in 0..20 {
        let name = format!("user{n}");
        let insert = "INSERT INTO sessions VALUES (?1 || '-1', ?2, ?1, 's1', '10.0.0.1', 'S', \
            '2026-11-22 04:58:23', '2026-11-22 04:58:39', 'c0', 1, 2, 3, 4)";
        writer.execute(insert, rusqlite::params![name, n]).unwrap();
        let verdict = handle.admit(request(&name)).await.unwrap().verdict;
        let Verdict::Resume(records) = verdict else {
            panic!("{name}: {verdict:?}")
        };
        assert_eq!(records[0].user.as_str(), name);
    }
    stop.cancel();
    let ended = async { while tasks.join_next().await.is_some() {} };
    tokio::time::timeout(Duration::from_secs(5), ended)
        .await
        .unwrap();
}
