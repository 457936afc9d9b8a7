//! Does following the session database ever get in x2goserver's way, or see half a
//! transaction?
//!
//! The writer is a process of its own, since SQLite's locks are those of a process: this
//! test program, started again for one of the "tests" below that do nothing by themselves.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use agent::inventory::{DatabaseError, Look, Reading, SessionDatabase};
use proto::{NodeId, SessionState};
use rusqlite::Connection;

const SCHEMA: &str = "CREATE TABLE sessions(
    session_id varchar(500) primary key, display integer not null,
    uname varchar(100) not null, server varchar(100) not null, client inet,
    status char(1) not null default 'R',
    init_time timestamp not null default CURRENT_TIMESTAMP,
    last_time timestamp not null default CURRENT_TIMESTAMP,
    cookie char(33), agent_pid int, gr_port int, sound_port int, fs_port int,
    tekictrl_port int, tekidata_port int, unique(display));
    CREATE TABLE filler(x);";

#[test]
fn a_writer_that_never_waits_is_never_refused_and_no_half_transaction_is_seen() {
    // With synchronous = off a transaction takes some 50 µs: hardly a quiet moment is left.
    let rows = [
        ("delete", "full", 201),
        ("truncate", "off", 1001),
        ("persist", "off", 1001),
    ];
    for (journal, synchronous, n_transactions) in rows {
        let folder = tempfile::tempdir().unwrap();
        let path = database(folder.path());
        let setup = format!(
            "{n_transactions} PRAGMA journal_mode = {journal}; PRAGMA synchronous = {synchronous}"
        );
        let mut writer = Process::start("writes_without_a_pause", &path, &setup);
        let mut reader = reader(&path);
        // Time stands still, so that it never comes to a read with a lock.
        let now = now();
        let (mut n_looks, mut n_readings) = (0u32, 0u32);
        let mut last = None;
        while !writer.has_ended() {
            n_looks += 1;
            match reader.look(now) {
                Look::Unchanged => {}
                Look::Changed(reading) => {
                    n_readings += 1;
                    check_invariant(&reading);
                    last = Some(reading);
                }
                Look::Failed(error) => panic!("{journal}: {error:?}"),
            }
        }
        let output = writer.output();
        assert_eq!(
            output.trim(),
            format!("{n_transactions} transactions"),
            "{journal}"
        );
        if let Look::Changed(reading) = reader.look(now) {
            last = Some(reading);
        }
        // The last transaction has an even number, so carol is gone.
        assert_eq!(last.unwrap().sessions.len(), 2, "{journal}");
        println!("{journal}: {n_looks} looks, {n_readings} readings while written");
        // Without syncs, a machine with other work may leave hardly a quiet moment.
        let enough = if synchronous == "full" { 10 } else { 1 };
        assert!(
            n_readings >= enough,
            "{journal}: {n_readings} readings in {n_looks} looks"
        );
    }
}

/// Alice's and bob's sessions are always in opposite states, and carol's is there in every
/// second transaction, with as many sound ports as there were transactions.
fn check_invariant(reading: &Reading) {
    let session = |user: &str| {
        reading
            .sessions
            .iter()
            .find(|stored| stored.session.user.as_str() == user)
    };
    let (Some(alice), Some(bob)) = (session("alice"), session("bob")) else {
        panic!("half a transaction: {reading:?}");
    };
    assert_ne!(
        alice.session.state, bob.session.state,
        "half a transaction: {reading:?}"
    );
    let is_odd = alice.session.state == SessionState::Suspended;
    assert_eq!(
        session("carol").is_some(),
        is_odd,
        "half a transaction: {reading:?}"
    );
    let port = |stored: &agent::inventory::StoredSession| {
        stored.record.as_ref().map(|record| record.sound_port)
    };
    assert_eq!(port(alice), port(bob), "half a transaction: {reading:?}");
}

#[test]
fn writes_without_a_pause() {
    let Some((path, words)) = helper() else {
        return;
    };
    let (n_transactions, setup) = words.split_once(' ').unwrap();
    let n_transactions: u32 = n_transactions.parse().unwrap();
    let mut writer = Connection::open(path).unwrap();
    writer.busy_timeout(Duration::ZERO).unwrap();
    writer.execute_batch(setup).unwrap();
    for n in 0..n_transactions {
        let (alice, bob) = if n % 2 == 0 { ("R", "S") } else { ("S", "R") };
        let transaction = writer.transaction().unwrap();
        let update = "UPDATE sessions SET status = ?1, sound_port = ?2 WHERE uname = ?3";
        transaction.execute(update, (alice, n, "alice")).unwrap();
        // Fills and empties pages, so that the two rows are written at different times.
        if n % 2 == 0 {
            transaction.execute_batch("DELETE FROM filler").unwrap();
            transaction
                .execute("DELETE FROM sessions WHERE uname = 'carol'", [])
                .unwrap();
        } else {
            let fill = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 8) \
                        INSERT INTO filler SELECT randomblob(3000) FROM n";
            transaction.execute(fill, []).unwrap();
            transaction.execute_batch(&row("carol", 52, "S")).unwrap();
        }
        transaction.execute(update, (bob, n, "bob")).unwrap();
        transaction.commit().unwrap();
    }
    say(&format!("{n_transactions} transactions"));
}

#[test]
fn a_lock_that_lasts_is_reported_with_its_holder_and_its_end_is_noticed() {
    for lock in ["BEGIN EXCLUSIVE", "BEGIN IMMEDIATE"] {
        let folder = tempfile::tempdir().unwrap();
        let path = database(folder.path());
        let mut reader = reader(&path);
        assert!(matches!(reader.look(now()), Look::Changed(_)));
        let mut holder = Process::start("holds_a_lock", &path, lock);
        holder.wait_for_line("locked");
        // At first it is a transaction like any other; the rows can be read all the same.
        assert!(matches!(reader.look(now()), Look::Unchanged));
        let later = now() + Duration::from_secs(3);
        match reader.look(later) {
            Look::Failed(DatabaseError::Locked { pid, .. }) => {
                assert_eq!(pid, holder.pid(), "{lock}");
            }
            other => panic!("{lock}: {other:?}"),
        }
        holder.end();
        let Look::Changed(reading) = reader.look(later) else {
            panic!("{lock}: still locked")
        };
        assert_eq!(reading.sessions.len(), 2, "{lock}");
    }
}

#[test]
fn holds_a_lock() {
    let Some((path, lock)) = helper() else { return };
    let connection = Connection::open(path).unwrap();
    connection.execute_batch(&lock).unwrap();
    say("locked");
    // Until the test closes our standard input.
    let _ended = std::io::stdin().read(&mut [0]);
}

#[test]
fn a_commit_is_seen_long_before_a_quarter_of_a_second() {
    let folder = tempfile::tempdir().unwrap();
    let path = database(folder.path());
    let mut reader = reader(&path);
    assert!(matches!(reader.look(now()), Look::Changed(_)));
    let writer = Connection::open(&path).unwrap();
    let began = now();
    for n in 1..=50 {
        writer
            .execute("UPDATE sessions SET sound_port = ?1", [n])
            .unwrap();
        let Look::Changed(reading) = reader.look(now()) else {
            panic!("not seen")
        };
        assert_eq!(reading.sessions.len(), 2);
    }
    let with_changes = (now() - began) / 50;
    let began = now();
    for _ in 0..1000 {
        assert!(matches!(reader.look(now()), Look::Unchanged));
    }
    println!(
        "a commit and its look {with_changes:?}, a look without a change {:?}",
        (now() - began) / 1000
    );
    // The poller looks every 100 ms, so this leaves 150 ms.
    assert!(
        with_changes < Duration::from_millis(100),
        "{with_changes:?}"
    );
}

#[test]
fn the_difference_to_utc_is_that_of_the_server() {
    // Without it, ages would be wrong by hours: x2goserver writes local times.
    for (zone, expected) in [("UTC", "0"), ("AAA-2", "7200"), ("BBB+5:30", "-19800")] {
        let folder = tempfile::tempdir().unwrap();
        let path = database(folder.path());
        let mut process = Process::start_in_zone("tells_the_difference_to_utc", &path, "", zone);
        assert_eq!(process.output().trim(), expected, "{zone}");
    }
}

#[test]
fn tells_the_difference_to_utc() {
    let Some((path, _)) = helper() else { return };
    let Look::Changed(reading) = reader(&path).look(now()) else {
        panic!("not read")
    };
    say(&reading.utc_offset.to_string());
}

const HELPER_PATH: &str = "AGENT_TEST_HELPER_PATH";
const HELPER_WORDS: &str = "AGENT_TEST_HELPER_WORDS";

fn row(user: &str, display: u32, status: &str) -> String {
    format!(
        "INSERT INTO sessions VALUES ('{user}-{display}-1_stRTERMINAL_dp24', {display}, '{user}', \
         's1', '10.77.0.20', '{status}', '2026-11-22 04:58:23', '2026-11-22 04:58:39', \
         '7f6f58b8d2090b344f5dfddadaf20900', 2245, 49024, 0, 49026, -1, -1);"
    )
}

fn database(folder: &Path) -> PathBuf {
    let path = folder.join("x2go_sessions");
    let writer = Connection::open(&path).unwrap();
    writer.execute_batch(SCHEMA).unwrap();
    writer.execute_batch(&row("alice", 50, "R")).unwrap();
    // Finished sessions, so that alice's and bob's rows are on different pages.
    let fill = "INSERT INTO sessions (session_id, display, uname, server, client, status) \
                WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) \
                SELECT 'old-' || i, 1000 + i, 'old', 's1', printf('%.400c', 'x'), 'F' FROM n";
    writer.execute(fill, []).unwrap();
    writer.execute_batch(&row("bob", 51, "S")).unwrap();
    path
}

fn reader(path: &Path) -> SessionDatabase {
    SessionDatabase::new(path.to_owned(), NodeId::parse("s1").unwrap())
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// What this process was started for, if it is a helper.
fn helper() -> Option<(PathBuf, String)> {
    Some((
        std::env::var_os(HELPER_PATH)?.into(),
        std::env::var(HELPER_WORDS).ok()?,
    ))
}

/// Past the test harness, which captures what `println` prints.
fn say(line: &str) {
    std::io::stderr()
        .write_all(format!("{line}\n").as_bytes())
        .unwrap();
}

/// A helper process; it ends with the test.
struct Process {
    child: Child,
}

impl Process {
    fn start(name: &str, path: &Path, words: &str) -> Self {
        Self::start_in_zone(name, path, words, "UTC")
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the writer must be a process of its own"
    )]
    fn start_in_zone(name: &str, path: &Path, words: &str, zone: &str) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(HELPER_PATH, path)
            .env(HELPER_WORDS, words)
            .env("TZ", zone)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self { child }
    }

    fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    fn wait_for_line(&mut self, expected: &str) {
        let mut lines = BufReader::new(self.child.stderr.as_mut().unwrap()).lines();
        assert!(
            lines.any(|line| line.unwrap() == expected),
            "the helper did not say {expected}"
        );
    }

    fn output(&mut self) -> String {
        let mut text = String::new();
        self.child
            .stderr
            .as_mut()
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        text
    }

    fn end(mut self) {
        drop(self.child.stdin.take());
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}
