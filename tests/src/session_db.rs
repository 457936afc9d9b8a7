//! How does a session database get the rows that x2goserver would write?

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, ensure};
use rusqlite::{Connection, params};

/// A SQLite session database in x2goserver's schema, written as x2goserver writes it: each
/// step is one transaction in the default journal mode.
#[derive(Debug)]
pub struct SessionDatabase {
    connection: Connection,
    server: String,
}

/// What x2goserver knows of a session before it has started.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// The owner.
    pub user: String,
    /// The display number.
    pub display: u16,
    /// The command of the session profile (`TERMINAL`, `KDE`, …).
    pub command: String,
    /// The address of the client.
    pub client: String,
}

/// What x2goserver adds when the session's agent process runs.
#[derive(Clone, Debug)]
pub struct StartedSession {
    /// The pid of the session's agent process.
    pub pid: u32,
    /// The X authority cookie, 32 hexadecimal digits.
    pub cookie: String,
    /// The graphics port; sound and file sharing have the next two.
    pub graphics_port: u16,
}

impl SessionDatabase {
    /// Makes a new database at `path` for the X2Go server named `server`.
    ///
    /// # Errors
    /// When the file exists or can't be written.
    pub fn create(path: &Path, server: &str) -> anyhow::Result<Self> {
        ensure!(!path.exists(), "{} exists", path.display());
        let database = Self::open_any(path, server)?;
        database
            .connection
            .execute_batch(SCHEMA)
            .context("writing the schema")?;
        Ok(database)
    }

    /// Opens the existing database at `path`, of the X2Go server named `server`.
    ///
    /// # Errors
    /// When there is none.
    pub fn open(path: &Path, server: &str) -> anyhow::Result<Self> {
        ensure!(path.exists(), "no session database {}", path.display());
        Self::open_any(path, server)
    }

    /// Writes the row of a session that is about to start (no pid, cookie, client and ports
    /// yet) and returns its session ID.
    ///
    /// # Errors
    /// When the display number is taken or the database can't be written.
    pub fn begin(&self, session: &NewSession) -> anyhow::Result<String> {
        let id = session_id(session, unix_seconds());
        self.connection
            .execute(
                "INSERT INTO sessions (display, server, uname, session_id, init_time, last_time) \
                 VALUES (?1, ?2, ?3, ?4, datetime('now', 'localtime'), \
                 datetime('now', 'localtime'))",
                params![session.display, self.server, session.user, id],
            )
            .with_context(|| format!("writing session {id}"))?;
        Ok(id)
    }

    /// Completes the row of a session that has started: it is running now.
    ///
    /// # Errors
    /// When there is no such session.
    pub fn complete(&self, id: &str, client: &str, started: &StartedSession) -> anyhow::Result<()> {
        let port = started.graphics_port;
        for port in [port, port + 1, port + 2] {
            self.connection
                .execute(
                    "INSERT INTO used_ports (server, session_id, port) VALUES (?1, ?2, ?3)",
                    params![self.server, id, port],
                )
                .with_context(|| format!("reserving port {port}"))?;
        }
        self.change(
            id,
            "UPDATE sessions SET status = 'R', last_time = datetime('now', 'localtime'), \
             client = ?2, cookie = ?3, agent_pid = ?4, gr_port = ?5, sound_port = ?6, \
             fs_port = ?7, tekictrl_port = -1, tekidata_port = -1 WHERE session_id = ?1",
            params![
                id,
                client,
                started.cookie,
                started.pid,
                port,
                port + 1,
                port + 2
            ],
        )
    }

    /// Begins and completes a session: it is running. Cookie and ports follow from the
    /// display number.
    ///
    /// # Errors
    /// As [`Self::begin`] and [`Self::complete`].
    pub fn run(&self, session: &NewSession) -> anyhow::Result<String> {
        let id = self.begin(session)?;
        let started = StartedSession {
            pid: 20_000 + u32::from(session.display),
            cookie: format!("{:032x}", 0xc00c_1e00_u64 + u64::from(session.display)),
            graphics_port: 30_000 + 3 * session.display,
        };
        self.complete(&id, &session.client, &started)?;
        Ok(id)
    }

    /// Marks a session as suspended.
    ///
    /// # Errors
    /// When there is no such session.
    pub fn suspend(&self, id: &str) -> anyhow::Result<()> {
        self.set_status(id, "S")
    }

    /// Marks a session as running again, for a client at `client`.
    ///
    /// # Errors
    /// When there is no such session.
    pub fn resume(&self, id: &str, client: &str) -> anyhow::Result<()> {
        self.change(
            id,
            "UPDATE sessions SET status = 'R', client = ?2, \
             last_time = datetime('now', 'localtime') WHERE session_id = ?1",
            params![id, client],
        )
    }

    /// Marks a session as finished; x2gocleansessions deletes such rows.
    ///
    /// # Errors
    /// When there is no such session.
    pub fn finish(&self, id: &str) -> anyhow::Result<()> {
        self.set_status(id, "F")
    }

    /// Deletes the row of a session; its ports go with it.
    ///
    /// # Errors
    /// When there is no such session.
    pub fn delete(&self, id: &str) -> anyhow::Result<()> {
        self.change(
            id,
            "DELETE FROM sessions WHERE session_id = ?1",
            params![id],
        )
    }

    /// Returns the session IDs and their states, in the order of the session IDs.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn states(&self) -> anyhow::Result<Vec<(String, String)>> {
        let query = "SELECT session_id, status FROM sessions ORDER BY session_id";
        let mut statement = self.connection.prepare(query).context("reading sessions")?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
        rows.and_then(Iterator::collect).context("reading sessions")
    }

    /// Runs any SQL, for rows that x2goserver would never write, or to hold a lock.
    ///
    /// # Errors
    /// When SQLite refuses it.
    pub fn execute(&self, sql: &str) -> anyhow::Result<()> {
        self.connection
            .execute_batch(sql)
            .with_context(|| sql.to_owned())
    }

    fn open_any(path: &Path, server: &str) -> anyhow::Result<Self> {
        let open = || {
            let connection = Connection::open(path)?;
            connection.busy_timeout(BUSY_LIMIT)?;
            Ok::<_, rusqlite::Error>(connection)
        };
        let connection = open().with_context(|| format!("opening {}", path.display()))?;
        Ok(Self {
            connection,
            server: server.to_owned(),
        })
    }

    fn set_status(&self, id: &str, status: &str) -> anyhow::Result<()> {
        self.change(
            id,
            "UPDATE sessions SET status = ?2, last_time = datetime('now', 'localtime') \
             WHERE session_id = ?1",
            params![id, status],
        )
    }

    fn change(&self, id: &str, sql: &str, values: impl rusqlite::Params) -> anyhow::Result<()> {
        let changed = self
            .connection
            .execute(sql, values)
            .context("changing a session")?;
        ensure!(changed == 1, "no session {id}");
        Ok(())
    }
}

impl NewSession {
    /// A rootless terminal session of `user` on display `display`, from the client host of
    /// the lab.
    #[must_use]
    pub fn terminal(user: &str, display: u16) -> Self {
        Self {
            user: user.to_owned(),
            display,
            command: "TERMINAL".to_owned(),
            client: "10.77.0.20".to_owned(),
        }
    }
}

/// Composes a session ID: user, display, time of the start, type and command, colour depth.
fn session_id(session: &NewSession, unix_seconds: u64) -> String {
    // x2goserver(lab): stR is a rootless session (a single application), stD a desktop.
    let kind = if session.command == "TERMINAL" {
        'R'
    } else {
        'D'
    };
    let NewSession {
        user,
        display,
        command,
        ..
    } = session;
    format!("{user}-{display}-{unix_seconds}_st{kind}{command}_dp24")
}

#[expect(
    clippy::disallowed_methods,
    reason = "x2goserver puts the wall time into the session ID"
)]
fn unix_seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

const SCHEMA: &str = include_str!("../golden/x2goserver-sqlite.sql");
/// The reader under test never holds a lock for long.
const BUSY_LIMIT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    fn database() -> (tempfile::TempDir, SessionDatabase) {
        let folder = tempfile::tempdir().unwrap();
        let database = SessionDatabase::create(&folder.path().join("x2go_sessions"), "s1").unwrap();
        (folder, database)
    }

    #[test]
    fn a_session_id_tells_user_display_time_and_command() {
        let session = NewSession::terminal("alice", 50);
        assert_eq!(
            session_id(&session, 1_795_323_502),
            "alice-50-1795323502_stRTERMINAL_dp24"
        );
    }

    #[test]
    fn a_session_goes_through_its_whole_life() {
        let (_folder, database) = database();
        let check = |expected: &[&str]| {
            let states = database.states().unwrap();
            let states: Vec<&str> = states.iter().map(|(_, state)| state.as_str()).collect();
            assert_eq!(states, expected);
        };
        let id = database.begin(&NewSession::terminal("alice", 50)).unwrap();
        let begun: (Option<u32>, String) = database
            .connection
            .query_row("SELECT agent_pid, status FROM sessions", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .unwrap();
        assert_eq!(begun, (None, "R".to_owned()));
        let started = StartedSession {
            pid: 7,
            cookie: "ab".repeat(16),
            graphics_port: 30_001,
        };
        database.complete(&id, "10.77.0.20", &started).unwrap();
        check(&["R"]);
        database.suspend(&id).unwrap();
        check(&["S"]);
        database.resume(&id, "10.77.0.21").unwrap();
        check(&["R"]);
        database.finish(&id).unwrap();
        check(&["F"]);
        database.delete(&id).unwrap();
        check(&[]);
        let ports = "SELECT count(*) FROM used_ports";
        let count: u32 = database
            .connection
            .query_row(ports, [], |row| row.get(0))
            .unwrap();
        assert_eq!(count, 0);
    }

    #[test]
    fn a_display_is_used_once() {
        let (_folder, database) = database();
        database.run(&NewSession::terminal("alice", 50)).unwrap();
        assert!(database.begin(&NewSession::terminal("bob", 50)).is_err());
    }

    #[test]
    fn a_change_of_a_session_that_is_not_there_is_an_error() {
        let (_folder, database) = database();
        assert!(database.suspend("alice-50-1_stRTERMINAL_dp24").is_err());
    }
}
