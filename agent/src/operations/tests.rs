use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use pki::Clock;
use proto::{ClientOrder, Generation, NodeId, Session, SessionId, Username};
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{OperationError, Operations};
use crate::inventory::{Inventory, InventoryHandle, OrderClientError, OrderError, SessionDatabase};
use crate::shim_client::{Act, ShimClient, ShimError};

/// A session database, the inventory that reads it, and a program that only notes that it
/// was run: the test itself does to the database what x2goserver would do.
struct Fixture {
    folder: TempDir,
    writer: Connection,
    inventory: InventoryHandle,
    operations: Operations,
    _stop: tokio_util::sync::DropGuard,
    _tasks: JoinSet<()>,
}

impl Fixture {
    async fn new(script: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x2go_sessions");
        let writer = Connection::open(&path).unwrap();
        let schema = "CREATE TABLE sessions(session_id, display, uname, server, client, status, \
            init_time, last_time, cookie, agent_pid, gr_port, sound_port)";
        writer.execute_batch(schema).unwrap();
        let node = NodeId::parse("s1").unwrap();
        let database = SessionDatabase::new(path, node.clone());
        let clock = Clock::system();
        let (inventory, handle, poller) =
            Inventory::build(node, Generation(7), database, folder.path(), clock);
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(inventory.run(stop.clone()));
        tasks.spawn_blocking(move || poller.run());
        let mut states = handle.watch_state();
        let ready = states.wait_for(|state| state.readiness.is_ready());
        tokio::time::timeout(LIMIT, ready).await.unwrap().unwrap();

        let (draft, program) = (folder.path().join("draft"), folder.path().join("program"));
        fs::write(&draft, format!("#!/bin/sh\n{script}")).unwrap();
        fs::set_permissions(&draft, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(draft, &program).unwrap();
        let operations = Operations::new(handle.clone(), ShimClient::new(&program));
        Self {
            folder,
            writer,
            inventory: handle,
            operations,
            _stop: stop.drop_guard(),
            _tasks: tasks,
        }
    }

    fn session(&self, user: &str, status: &str) -> SessionId {
        let id = format!("{user}-50-1795323502_stRTERMINAL_dp24");
        let insert = "INSERT INTO sessions VALUES (?1, 50, ?2, 's1', '10.77.0.20', ?3, \
            '2026-11-22 04:58:23', '2026-11-22 04:58:39', '7f6f58b8d2090b344f5dfddadaf20900', \
            2245, 49024, 49025)";
        let row = rusqlite::params![id, user, status];
        self.writer.execute(insert, row).unwrap();
        SessionId::parse(&id).unwrap()
    }

    fn set(&self, session: &SessionId, status: &str) {
        let update = "UPDATE sessions SET status = ?2 WHERE session_id = ?1";
        let row = rusqlite::params![session.as_str(), status];
        assert_eq!(self.writer.execute(update, row).unwrap(), 1);
    }

    /// Begins an operation, and returns once the program was run for it.
    async fn begin(&self, act: Act, session: &SessionId) -> Begun {
        let (operations, session) = (self.operations.clone(), session.clone());
        let mut task = JoinSet::new();
        task.spawn(async move { operations.bring_about(act, &user("alice"), &session).await });
        let ran = self.folder.path().join("ran");
        let until = tokio::time::Instant::now() + LIMIT;
        while !ran.exists() {
            assert!(
                tokio::time::Instant::now() < until,
                "the program was not run"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Begun(task)
    }

    async fn known(&self, id: &SessionId) -> Option<Session> {
        self.inventory.look().await;
        let sessions = self.inventory.subscribe().await.unwrap().snapshot.sessions;
        sessions.into_iter().find(|known| known.id == *id)
    }

    async fn order(&self, name: &str, id: &SessionId) -> Result<(), OrderClientError> {
        let (user, id) = (user(name), id.clone());
        let order = ClientOrder::Suspend;
        self.inventory.order_client(user, id, order).await
    }
}

/// An operation under way.
struct Begun(JoinSet<Result<(), OperationError>>);

impl Begun {
    async fn ended(mut self) -> Result<(), OperationError> {
        let ended = tokio::time::timeout(LIMIT, self.0.join_next()).await;
        ended.unwrap().unwrap().unwrap()
    }

    fn is_over(&mut self) -> bool {
        self.0.try_join_next().is_some()
    }
}

fn user(name: &str) -> Username {
    Username::parse(name).unwrap()
}

const NOTE: &str = "touch \"${0%/*}/ran\"";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn suspended_is_what_the_session_database_shows_and_not_what_the_program_says() {
    let fixture = Fixture::new(NOTE).await;
    let session = fixture.session("alice", "R");
    let mut begun = fixture.begin(Act::Suspend, &session).await;
    // The program has ended well; nothing has changed.
    for _ in 0..4 {
        fixture.inventory.look().await;
    }
    assert!(!begun.is_over());
    fixture.set(&session, "S");
    begun.ended().await.unwrap();
    // What is so already needs no program.
    fs::remove_file(fixture.folder.path().join("ran")).unwrap();
    let again = fixture
        .operations
        .bring_about(Act::Suspend, &user("alice"), &session)
        .await;
    again.unwrap();
    assert!(!fixture.folder.path().join("ran").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ended_is_a_session_that_the_database_no_longer_offers() {
    for status in ["T", "F"] {
        let fixture = Fixture::new(NOTE).await;
        let session = fixture.session("alice", "R");
        let begun = fixture.begin(Act::Terminate, &session).await;
        fixture.set(&session, status);
        begun.ended().await.unwrap();
    }
    // Who wanted to suspend it is told that it is gone.
    let fixture = Fixture::new(NOTE).await;
    let session = fixture.session("alice", "R");
    let begun = fixture.begin(Act::Suspend, &session).await;
    fixture.set(&session, "F");
    let ended = begun.ended().await;
    assert!(
        matches!(ended, Err(OperationError::Ended { .. })),
        "{ended:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_users_own_session_that_has_started_is_touched() {
    let fixture = Fixture::new(NOTE).await;
    let session = fixture.session("alice", "R");
    let of_bob = fixture
        .operations
        .bring_about(Act::Suspend, &user("bob"), &session)
        .await;
    assert!(
        matches!(of_bob, Err(OperationError::NoSuchSession { .. })),
        "{of_bob:?}"
    );
    let update = "UPDATE sessions SET agent_pid = NULL, cookie = NULL";
    fixture.writer.execute(update, []).unwrap();
    let starting = fixture
        .operations
        .bring_about(Act::Suspend, &user("alice"), &session)
        .await;
    assert!(
        matches!(starting, Err(OperationError::Starting { .. })),
        "{starting:?}"
    );
    assert!(!fixture.folder.path().join("ran").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_fails_is_told_at_once() {
    let fixture = Fixture::new("echo 'not allowed' >&2; exit 77").await;
    let session = fixture.session("alice", "R");
    let failed = fixture
        .operations
        .bring_about(Act::Suspend, &user("alice"), &session)
        .await;
    let Err(OperationError::NotDone(ShimError::Failed { text, .. })) = failed else {
        panic!("{failed:?}")
    };
    assert_eq!(text, "not allowed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_to_a_client_outlives_a_state_that_does_not_last() {
    let fixture = Fixture::new(NOTE).await;
    let session = fixture.session("alice", "R");
    fixture.inventory.look().await;
    let foreign = fixture.order("bob", &session).await;
    let none = OrderError::NoSuchSession {
        user: user("bob"),
        session: session.clone(),
    };
    assert!(matches!(foreign, Err(OrderClientError::NoClient(why)) if why == none));
    fixture.order("alice", &session).await.unwrap();
    let order = |session: Option<Session>| session.unwrap().client_order;
    assert_eq!(
        order(fixture.known(&session).await),
        Some(ClientOrder::Suspend)
    );
    // A change that is none of the state leaves it.
    let update = "UPDATE sessions SET last_time = '2026-11-22 05:00:00'";
    fixture.writer.execute(update, []).unwrap();
    assert_eq!(
        order(fixture.known(&session).await),
        Some(ClientOrder::Suspend)
    );
    // It settles some seconds after the state has changed: x2goserver may take that back.
    fixture.set(&session, "S");
    assert_eq!(
        order(fixture.known(&session).await),
        Some(ClientOrder::Suspend)
    );
    let suspended = fixture.order("alice", &session).await;
    let none = OrderError::Suspended {
        session: session.clone(),
    };
    assert!(matches!(suspended, Err(OrderClientError::NoClient(why)) if why == none));
    fixture.set(&session, "R");
    assert_eq!(
        order(fixture.known(&session).await),
        Some(ClientOrder::Suspend)
    );
}

/// Everything here takes milliseconds, but for a busy machine.
const LIMIT: Duration = Duration::from_secs(20);
