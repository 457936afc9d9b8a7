use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use pki::{Clock, ManualClock, UnixTime};
use proto::{AtDeadline, Deadline, Drain, Generation, NodeId};
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Evacuation, MAX_ACTS};
use crate::inventory::{Inventory, InventoryHandle, SessionDatabase};
use crate::operations::Operations;
use crate::shim_client::ShimClient;

/// A session database, the inventory that reads it, and a program that only notes what it
/// was run for: the test itself does to the database what x2goserver would do. The clock and
/// the runtime's time stand still until the test moves them; the thread that reads the
/// database keeps the runtime from moving its time by itself.
struct Fixture {
    folder: TempDir,
    writer: Connection,
    inventory: InventoryHandle,
    hand: ManualClock,
    _stop: tokio_util::sync::DropGuard,
    _tasks: JoinSet<()>,
}

/// 2026-11-22 05:00 UTC.
const NOW: u64 = 1_795_323_600;
const HOUR: Duration = Duration::from_secs(3600);

impl Fixture {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x2go_sessions");
        let writer = Connection::open(&path).unwrap();
        let schema = "CREATE TABLE sessions(session_id, display, uname, server, client, status, \
            init_time, last_time, cookie, agent_pid, gr_port, sound_port)";
        writer.execute_batch(schema).unwrap();
        let node = NodeId::parse("s1").unwrap();
        let database = SessionDatabase::new(path, node.clone());
        let (clock, hand) = Clock::manual(UnixTime::since_unix_epoch(Duration::from_secs(NOW)));
        let (inventory, handle, poller) =
            Inventory::build(node, Generation(7), database, folder.path(), clock.clone());
        let (draft, program) = (folder.path().join("draft"), folder.path().join("program"));
        fs::write(&draft, PROGRAM).unwrap();
        fs::set_permissions(&draft, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(draft, &program).unwrap();
        let operations = Operations::new(handle.clone(), ShimClient::new(&program));
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(inventory.run(stop.clone()));
        tasks.spawn_blocking(move || poller.run());
        tasks.spawn(Evacuation::new(handle.clone(), operations, clock).run(stop.clone()));
        let mut states = handle.watch_state();
        states
            .wait_for(|state| state.readiness.is_ready())
            .await
            .unwrap();
        Self {
            folder,
            writer,
            inventory: handle,
            hand,
            _stop: stop.drop_guard(),
            _tasks: tasks,
        }
    }

    fn session(&self, user: &str, status: &str) {
        let insert = "INSERT INTO sessions VALUES (?1 || '-1', 50, ?1, 's1', '10.77.0.20', ?2, \
            '2026-11-22 04:58:23', '2026-11-22 04:58:39', '7f6f58b8d2090b344f5dfddadaf20900', \
            2245, 49024, 49025)";
        self.writer.execute(insert, [user, status]).unwrap();
    }

    fn set(&self, user: &str, status: &str) {
        let update = "UPDATE sessions SET status = ?2 WHERE uname = ?1";
        assert_eq!(self.writer.execute(update, [user, status]).unwrap(), 1);
    }

    async fn drain(&self, then: AtDeadline) {
        let deadline = Deadline {
            at: NOW + HOUR.as_secs(),
            then,
        };
        let drain = Drain {
            deadline: Some(deadline),
            ..Drain::new("disks")
        };
        self.inventory.set_drain(Some(drain)).await.unwrap();
    }

    /// Moves the clock to the deadline, and lets the time pass in which that is noticed.
    async fn deadline(&self) {
        self.hand.advance(HOUR);
        tokio::time::advance(Duration::from_secs(31)).await;
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What the program was run for, sorted.
    fn ran(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("ran")).unwrap_or_default();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }

    async fn wait_until(&self, good: impl Fn(&[String]) -> bool) {
        for _ in 0..4000 {
            if good(&self.ran()) {
                return;
            }
            real_moment().await;
        }
        panic!("ran {:?}", self.ran());
    }

    async fn wait_until_ran(&self, expected: &[&str]) {
        self.wait_until(|ran| ran == expected).await;
    }

    /// Everything that was about to happen by now has happened.
    async fn still(&self, expected: &[&str]) {
        for _ in 0..10 {
            self.inventory.look().await;
            real_moment().await;
        }
        assert_eq!(self.ran(), expected);
    }
}

/// Lets threads and processes work; the runtime's time stands still.
async fn real_moment() {
    let moment = || std::thread::sleep(Duration::from_millis(5));
    tokio::task::spawn_blocking(moment).await.unwrap();
}

const PROGRAM: &str = "#!/bin/sh\necho \"$1 $2\" >>\"${0%/*}/ran\"\n[ ! -e \"${0%/*}/fail\" ]\n";

#[tokio::test(start_paused = true)]
async fn what_runs_is_suspended_at_the_deadline_and_so_is_what_comes_later() {
    let fixture = Fixture::new().await;
    fixture.session("alice", "R");
    fixture.session("bob", "S");
    fixture.drain(AtDeadline::Suspend).await;
    tokio::time::advance(HOUR * 2).await;
    // The time of day is what counts.
    fixture.still(&[]).await;
    fixture.deadline().await;
    fixture.wait_until_ran(&["alice suspendsession"]).await;
    fixture.set("alice", "S");
    fixture.session("carol", "R");
    let both = ["alice suspendsession", "carol suspendsession"];
    fixture.wait_until_ran(&both).await;
    fixture.set("carol", "S");
    tokio::time::advance(HOUR).await;
    fixture.still(&both).await;
}

#[tokio::test(start_paused = true)]
async fn all_sessions_are_ended_when_that_is_wanted_a_few_at_once() {
    let fixture = Fixture::new().await;
    let users = ["u1", "u2", "u3", "u4", "u5"];
    for (n, user) in users.iter().enumerate() {
        fixture.session(user, if n % 2 == 0 { "R" } else { "S" });
    }
    fixture.drain(AtDeadline::Terminate).await;
    fixture.deadline().await;
    fixture.wait_until(|ran| ran.len() == MAX_ACTS).await;
    let first = ["u1", "u2", "u3"].map(|user| format!("{user} terminatesession"));
    let first: Vec<&str> = first.iter().map(String::as_str).collect();
    fixture.still(&first).await;
    fixture.set("u2", "F");
    fixture.wait_until(|ran| ran.len() == MAX_ACTS + 1).await;
    for user in ["u1", "u3", "u4"] {
        fixture.set(user, "F");
    }
    fixture.wait_until(|ran| ran.len() == users.len()).await;
}

#[tokio::test(start_paused = true)]
async fn what_fails_is_tried_each_minute_until_the_drain_is_undone() {
    let fixture = Fixture::new().await;
    fixture.session("alice", "R");
    fs::write(fixture.path("fail"), "").unwrap();
    fixture.drain(AtDeadline::Suspend).await;
    fixture.deadline().await;
    let tries = |n| vec!["alice suspendsession"; n];
    fixture.wait_until_ran(&tries(1)).await;
    tokio::time::advance(Duration::from_secs(59)).await;
    fixture.still(&tries(1)).await;
    for n in 2..4 {
        tokio::time::advance(Duration::from_secs(60)).await;
        fixture.wait_until_ran(&tries(n)).await;
    }
    fixture.inventory.set_drain(None).await.unwrap();
    tokio::time::advance(HOUR).await;
    fixture.still(&tries(3)).await;
    // A new drain has its own deadline.
    fixture
        .inventory
        .set_drain(Some(Drain::new("disks")))
        .await
        .unwrap();
    tokio::time::advance(HOUR).await;
    fixture.still(&tries(3)).await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_done_to_sessions_when_the_drain_only_ends() {
    let fixture = Fixture::new().await;
    fixture.session("alice", "R");
    fixture.drain(AtDeadline::Accept).await;
    fixture.deadline().await;
    let mut states = fixture.inventory.watch_state();
    states
        .wait_for(|state| state.readiness.is_ready())
        .await
        .unwrap();
    fixture.still(&[]).await;
}
