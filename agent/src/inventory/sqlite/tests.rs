use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use proto::{NodeId, SessionState};
use rusqlite::{Connection, params};
use tempfile::TempDir;

use super::{DatabaseError, Look, Reading, SessionDatabase, Skipped};

// x2goserver 4.1.0.3, cut down to the table that matters.
const SCHEMA: &str = "CREATE TABLE sessions(
    session_id varchar(500) primary key, display integer not null,
    uname varchar(100) not null, server varchar(100) not null, client inet,
    status char(1) not null default 'R',
    init_time timestamp not null default CURRENT_TIMESTAMP,
    last_time timestamp not null default CURRENT_TIMESTAMP,
    cookie char(33), agent_pid int, gr_port int, sound_port int, fs_port int,
    tekictrl_port int, tekidata_port int, unique(display));";

struct Fixture {
    _folder: TempDir,
    path: PathBuf,
    database: SessionDatabase,
    start: Instant,
}

impl Fixture {
    fn empty() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x2go sessions?#%41");
        let node = NodeId::parse("s1").unwrap();
        let database = SessionDatabase::new(path.clone(), node);
        let start = tokio::time::Instant::now().into_std();
        Self {
            _folder: folder,
            path,
            database,
            start,
        }
    }

    fn with_schema() -> Self {
        let fixture = Self::empty();
        fixture.writer().execute_batch(SCHEMA).unwrap();
        fixture
    }

    fn writer(&self) -> Connection {
        Connection::open(&self.path).unwrap()
    }

    /// A complete row; `change` is SQL that then makes it odd.
    fn row(&self, id: &str, display: u32, change: &str) {
        let writer = self.writer();
        writer
            .execute(
                "INSERT INTO sessions VALUES (?1, ?2, 'alice', 's1', '10.77.0.20', 'S', \
                 '2026-11-22 04:58:23', '2026-11-22 04:58:39', \
                 '7f6f58b8d2090b344f5dfddadaf20900', 2245, 49024, 49025, 49026, -1, -1)",
                params![id, display],
            )
            .unwrap();
        if !change.is_empty() {
            let sql = format!("UPDATE sessions SET {change} WHERE session_id = ?1");
            writer.execute(&sql, [id]).unwrap();
        }
    }

    fn look_after(&mut self, since_start: Duration) -> Look {
        self.database.look(self.start + since_start)
    }

    #[track_caller]
    fn reading(&mut self) -> Reading {
        match self.look_after(Duration::ZERO) {
            Look::Changed(reading) => reading,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn error(&mut self) -> DatabaseError {
        match self.look_after(Duration::ZERO) {
            Look::Failed(error) => error,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn is_unchanged(&mut self) {
        let look = self.look_after(Duration::ZERO);
        assert!(matches!(look, Look::Unchanged), "{look:?}");
    }
}

fn ids(reading: &Reading) -> Vec<&str> {
    reading
        .sessions
        .iter()
        .map(|stored| stored.session.id.as_str())
        .collect()
}

#[test]
fn a_row_becomes_the_line_that_x2golistsessions_prints() {
    let mut fixture = Fixture::with_schema();
    fixture.row("alice-50-1795323502_stRTERMINAL_dp24", 50, "");
    let reading = fixture.reading();
    let stored = &reading.sessions[0];
    // 2026-11-22T04:58:57 in local seconds: x2golistsessions subtracts local times.
    let record = stored.record_at(stored.started.unwrap() + 34).unwrap();
    // Recorded from x2golistsessions of x2goserver 4.1.0.3.
    let expected = "2245|alice-50-1795323502_stRTERMINAL_dp24|50|s1|S|2026-11-22T04:58:23|\
        7f6f58b8d2090b344f5dfddadaf20900|10.77.0.20|49024|49025|2026-11-22T04:58:39|alice|34|\
        49026|-1|-1";
    assert_eq!(record.line_for("s1").to_string(), expected);
    assert_eq!(stored.started, Some(1_795_323_503));
    assert_eq!(stored.last_written, Some(1_795_323_519));
    assert_eq!(stored.record_at(0).unwrap().age_seconds, 0);
}

#[test]
fn nothing_is_read_twice_and_each_change_is_seen_once() {
    let mut fixture = Fixture::with_schema();
    assert_eq!(fixture.reading().sessions, []);
    fixture.is_unchanged();
    fixture.row("a-50-1", 50, "");
    assert_eq!(ids(&fixture.reading()), ["a-50-1"]);
    fixture.is_unchanged();
    // The same size, perhaps the same time stamp: the change counter tells.
    for n in 0..20 {
        let status = if n % 2 == 0 { "R" } else { "S" };
        fixture
            .writer()
            .execute("UPDATE sessions SET status = ?1", [status])
            .unwrap();
        fixture.reading();
        fixture.is_unchanged();
    }
}

#[test]
fn rows_are_read_as_loosely_as_sqlite_stores_them() {
    let mut fixture = Fixture::with_schema();
    // change, session is there, starts, has a record
    let rows = [
        ("", true, false),
        ("agent_pid = '2245', gr_port = ' 49024 '", true, false),
        (
            "agent_pid = NULL, cookie = NULL, gr_port = NULL, sound_port = NULL, client = NULL",
            true,
            true,
        ),
        (
            "agent_pid = '', cookie = '', gr_port = '', sound_port = '', client = ''",
            true,
            true,
        ),
        ("cookie = NULL", true, true),
        ("client = NULL", true, false),
        (
            "fs_port = NULL, tekictrl_port = NULL, tekidata_port = ''",
            true,
            false,
        ),
        ("status = 'R'", true, false),
        ("status = 'T'", false, false),
        ("status = 'F'", false, false),
        ("status = 'X'", false, false),
        ("status = ''", false, false),
        ("server = 'S1'", true, false),
        ("server = 's1.lab.test'", true, false),
        ("server = 's2'", false, false),
        ("server = 's1/x'", false, false),
        ("uname = '../root'", false, false),
        ("uname = x'ff00'", false, false),
        ("uname = CAST('alice' AS BLOB)", true, false),
        ("gr_port = 'x'", false, false),
        ("gr_port = 4.5", false, false),
        ("gr_port = -1", false, false),
        ("agent_pid = 99999999999", false, false),
        ("client = 'a|b'", false, false),
        ("client = 'a' || char(10) || 'SERVER:evil:22'", false, false),
        ("cookie = printf('%.1000c', 'x')", false, false),
        ("init_time = 'garbage'", true, false),
        (
            "init_time = '2026-11-22T04:58:23.25', last_time = 0",
            true,
            false,
        ),
    ];
    for (n, (change, there, starting)) in rows.iter().enumerate() {
        let n = u32::try_from(n).unwrap();
        fixture.row(&format!("alice-{n:02}"), n, change);
        let reading = fixture.reading();
        let id = format!("alice-{n:02}");
        let stored = reading
            .sessions
            .iter()
            .find(|stored| stored.session.id.as_str() == id);
        assert_eq!(stored.is_some(), *there, "{change}");
        let Some(stored) = stored else { continue };
        assert_eq!(stored.session.starting, *starting, "{change}");
        assert_eq!(stored.record.is_none(), *starting, "{change}");
        let state = if change.contains("'R'") {
            SessionState::Running
        } else {
            SessionState::Suspended
        };
        assert_eq!(stored.session.state, state, "{change}");
    }
    let expected = Skipped {
        unreadable: 10,
        column: Some("status"),
        foreign: 2,
        unknown_state: 1,
        too_many: false,
    };
    fixture.row("alice-last", 1000, "");
    assert_eq!(fixture.reading().skipped, expected);
}

#[test]
fn databases_of_older_x2goservers_lack_some_ports() {
    let mut fixture = Fixture::with_schema();
    fixture.row("alice-50-1", 50, "");
    let drop_columns = "ALTER TABLE sessions DROP COLUMN tekictrl_port;
        ALTER TABLE sessions DROP COLUMN tekidata_port; ALTER TABLE sessions DROP COLUMN fs_port;";
    fixture.writer().execute_batch(drop_columns).unwrap();
    let record = fixture.reading().sessions[0].record_at(0).unwrap();
    assert_eq!(
        (record.sshfs_port, record.tekictrl_and_tekidata_ports),
        (None, None)
    );
}

#[test]
fn a_runaway_database_is_read_up_to_its_bound() {
    let mut fixture = Fixture::with_schema();
    let fill = "INSERT INTO sessions (session_id, display, uname, server) \
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10001) \
        SELECT 'user' || (i / 100) || '-' || i, i, 'user' || (i / 100), 's1' FROM n";
    fixture.writer().execute(fill, []).unwrap();
    let reading = fixture.reading();
    assert_eq!(reading.sessions.len(), 10_000);
    assert!(reading.skipped.too_many);
}

#[test]
fn neither_one_users_many_sessions_nor_finished_ones_hide_anybody_elses() {
    let mut fixture = Fixture::with_schema();
    let fill = "INSERT INTO sessions (session_id, display, uname, server, status) \
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 15000) \
        SELECT 'alice-' || i, i, 'alice', 's1', \
            CASE WHEN i > 12000 THEN 'R' WHEN i % 2 THEN 'T' ELSE 'F' END FROM n";
    fixture.writer().execute(fill, []).unwrap();
    fixture.row("bob-20000-1", 20_000, "uname = 'bob'");
    let begun = tokio::time::Instant::now();
    let reading = fixture.reading();
    println!("15001 rows were read in {:?}", begun.elapsed());
    let of = |user: &str| {
        let sessions = reading.sessions.iter();
        sessions
            .filter(|stored| stored.session.user.as_str() == user)
            .count()
    };
    assert_eq!((of("alice"), of("bob")), (200, 1));
    assert!(reading.skipped.too_many);
    fixture
        .writer()
        .execute(
            "DELETE FROM sessions WHERE display > 12200 AND uname = 'alice'",
            [],
        )
        .unwrap();
    let reading = fixture.reading();
    assert_eq!(reading.sessions.len(), 201);
    assert!(reading.skipped.is_empty(), "{:?}", reading.skipped);
}

#[test]
fn each_way_to_be_unusable_has_its_reason_and_a_good_database_ends_it() {
    let mut fixture = Fixture::with_schema();
    fixture.row("alice-50-1", 50, "");
    let good = fs::read(&fixture.path).unwrap();
    assert_eq!(ids(&fixture.reading()), ["alice-50-1"]);

    let cut = good[..good.len() / 2].to_vec();
    let mut scribbled = good.clone();
    // Byte 100 begins the table of tables.
    scribbled[100..400].fill(0xa5);
    let noise: Vec<u8> = (0..8192u32)
        .map(|i| i.wrapping_mul(2_654_435_761).to_be_bytes()[0])
        .collect();
    let rows: [(&str, Option<&[u8]>, &str); 7] = [
        ("missing", None, "does not exist"),
        ("empty", Some(b""), "is not an SQLite database"),
        ("noise", Some(&noise), "is not an SQLite database"),
        ("text", Some(b"[sessions]\n"), "is not an SQLite database"),
        ("header only", Some(&good[..100]), "is cut off: 100 of"),
        ("cut", Some(&cut), "is cut off"),
        ("scribbled", Some(&scribbled), "can't be used"),
    ];
    for (name, content, expected) in rows {
        match content {
            Some(bytes) => fs::write(&fixture.path, bytes).unwrap(),
            None => fs::remove_file(&fixture.path).unwrap(),
        }
        let error = fixture.error().to_string();
        assert!(
            error.contains(expected) && !error.contains('\n'),
            "{name}: {error}"
        );
        fs::write(&fixture.path, &good).unwrap();
        assert_eq!(ids(&fixture.reading()), ["alice-50-1"], "{name}");
        fixture.is_unchanged();
    }
}

#[test]
fn a_database_of_another_program_is_told_apart() {
    let rows = [
        ("CREATE TABLE t(x)", "it has no table sessions"),
        (
            "CREATE TABLE sessions(session_id, status, init_time, last_time)",
            "no column display",
        ),
        ("CREATE TABLE sessions(session_id)", "no column display"),
        (
            "CREATE TABLE sessions(session_id, display, uname, server, client, status, cookie, \
             agent_pid, gr_port, sound_port)",
            "SQLite can't read it",
        ),
        (
            "CREATE VIEW sessions AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i FROM n) \
             SELECT i FROM n",
            "it has no table sessions",
        ),
    ];
    for (sql, expected) in rows {
        let mut fixture = Fixture::empty();
        fixture.writer().execute_batch(sql).unwrap();
        let DatabaseError::Content { source, .. } = fixture.error() else {
            panic!("{sql}")
        };
        assert!(source.to_string().contains(expected), "{sql}: {source}");
        // It stays wrong without being read again.
        fixture.is_unchanged();
    }
}

#[test]
fn a_folder_or_a_pipe_in_its_place_does_not_hang() {
    let mut fixture = Fixture::empty();
    fs::create_dir(&fixture.path).unwrap();
    assert!(matches!(fixture.error(), DatabaseError::NotSqlite { .. }));
    fs::remove_dir(&fixture.path).unwrap();
    nix::unistd::mkfifo(&fixture.path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(matches!(fixture.error(), DatabaseError::NotSqlite { .. }));
}

#[test]
fn write_ahead_mode_is_read_too_and_its_changes_are_seen() {
    let mut fixture = Fixture::with_schema();
    let writer = fixture.writer();
    writer
        .execute_batch("PRAGMA journal_mode = wal; PRAGMA wal_autocheckpoint = 0")
        .unwrap();
    let beside = |suffix| PathBuf::from(format!("{}{suffix}", fixture.path.display()));
    let (log, index) = (beside("-wal"), beside("-shm"));
    for n in 0..20 {
        let sql = "INSERT INTO sessions (session_id, display, uname, server) \
                   VALUES ('a-' || ?1, ?1, 'alice', 's1')";
        writer.execute(sql, [n]).unwrap();
        assert_eq!(
            fixture.reading().sessions.len(),
            usize::try_from(n).unwrap() + 1
        );
        fixture.is_unchanged();
    }
    assert!(log.exists() && index.exists());
    // The last one that closes it takes the log away; reading must not bring it back, for
    // it would then belong to the agent's user.
    drop(writer);
    assert_eq!(fixture.reading().sessions.len(), 20);
    fixture.is_unchanged();
    assert!(!log.exists() && !index.exists());
}

#[test]
fn every_journal_mode_shows_its_commits() {
    for mode in ["delete", "truncate", "persist", "memory", "off"] {
        let mut fixture = Fixture::with_schema();
        let writer = fixture.writer();
        writer
            .execute_batch(&format!("PRAGMA journal_mode = {mode}"))
            .unwrap();
        for display in 0..5 {
            let sql = "INSERT INTO sessions (session_id, display, uname, server) \
                       VALUES ('a-' || ?1, ?1, 'alice', 's1')";
            writer.execute(sql, [display]).unwrap();
            assert_eq!(
                fixture.reading().sessions.len(),
                usize::try_from(display).unwrap() + 1
            );
            fixture.is_unchanged();
        }
    }
}

#[test]
fn a_writer_that_died_in_the_middle_is_reported_and_its_half_is_never_read() {
    let mut fixture = Fixture::with_schema();
    fixture.row("alice-50-1", 50, "");
    assert_eq!(ids(&fixture.reading()), ["alice-50-1"]);
    let journal = PathBuf::from(format!("{}-journal", fixture.path.display()));
    // A hot journal without its writer; the page in the database may be half written.
    let magic = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];
    fs::write(&journal, [&magic[..], &[0; 504]].concat()).unwrap();
    assert!(matches!(
        fixture.look_after(Duration::ZERO),
        Look::Unchanged
    ));
    let look = fixture.look_after(Duration::from_secs(3));
    assert!(
        matches!(look, Look::Failed(DatabaseError::Unfinished { .. })),
        "{look:?}"
    );
    fs::remove_file(&journal).unwrap();
    assert_eq!(ids(&fixture.reading()), ["alice-50-1"]);
}

#[test]
fn a_forbidden_database_is_told_apart() {
    let mut fixture = Fixture::with_schema();
    fs::set_permissions(&fixture.path, fs::Permissions::from_mode(0o0)).unwrap();
    if fs::File::open(&fixture.path).is_ok() {
        // Root may read everything; the farm tests run the agent as its own user.
        return;
    }
    assert!(matches!(fixture.error(), DatabaseError::Forbidden { .. }));
}
