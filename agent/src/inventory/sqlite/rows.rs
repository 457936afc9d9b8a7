//! What do the rows of the session database mean?
//!
//! SQLite does not enforce column types, and rows of sessions that are still starting
//! lack most values, so each column is read by hand. A row that can't be read is left
//! out and counted; it never takes the others with it.

use proto::{
    NodeId, Secret, Session, SessionId, SessionKind, SessionRecord, SessionState, Username,
};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};

/// All sessions of this server at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Running and suspended sessions, in the order of their IDs.
    pub sessions: Vec<StoredSession>,
    /// Seconds that local time is ahead of UTC: x2goserver writes local times.
    pub utc_offset: i64,
    /// What was left out.
    pub skipped: Skipped,
}

/// One session of the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSession {
    /// What everybody may know of it.
    pub session: Session,
    /// What a client needs to resume it; none while it starts. Its age is 0: it is worked
    /// out when the record is handed out, by [`Self::record_at`].
    pub record: Option<SessionRecord>,
    /// When it started, in seconds of the server's local time.
    pub started: Option<i64>,
    /// When its state was last written, in the same seconds.
    pub last_written: Option<i64>,
}

/// Rows that were left out, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    /// A column that can't be right.
    pub unreadable: u32,
    /// The column at fault in the first of these.
    pub column: Option<&'static str>,
    /// Rows of other servers: the database was copied from elsewhere.
    pub foreign: u32,
    /// Letters that are no session state.
    pub unknown_state: u32,
    /// Whether there were more rows than are read.
    pub too_many: bool,
}

/// The table is not one of x2goserver's.
#[derive(Debug, thiserror::Error)]
pub enum RowsError {
    /// No table of that name, or something else that has its name.
    #[error("it has no table sessions")]
    NoTable,
    /// A column that every version of x2goserver has.
    #[error("its table sessions has no column {0}")]
    NoColumn(&'static str),
    /// SQLite can't go on.
    #[error("SQLite can't read it")]
    Sqlite(#[source] rusqlite::Error),
}

impl Skipped {
    /// Whether there is something to warn about.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl StoredSession {
    /// Whether it is the user's, and no shadow session, which only shows another one.
    /// x2golistsessions(8) has none of these either: X2Go Client would resume one in the
    /// place of a desktop.
    #[must_use]
    pub fn is_own_of(&self, user: &Username) -> bool {
        self.session.user == *user && self.session.kind() != Some(SessionKind::Shadow)
    }

    /// The record with its age at `local_now`, in seconds of the server's local time.
    ///
    /// x2golistsessions subtracts two local times, so the age jumps with daylight saving;
    /// clients see the same here. Times in the future give 0.
    #[must_use]
    pub fn record_at(&self, local_now: i64) -> Option<SessionRecord> {
        let mut record = self.record.clone()?;
        let age = self
            .started
            .map_or(0, |started| local_now.saturating_sub(started));
        record.age_seconds = u64::try_from(age).unwrap_or(0);
        Some(record)
    }
}

/// Reads the sessions of `node`.
///
/// # Errors
/// When the table is not x2goserver's, or SQLite can't read it.
pub(super) fn read(connection: &Connection, node: &NodeId) -> Result<Reading, RowsError> {
    check_table(connection)?;
    check_columns(connection)?;
    let mut statement = connection.prepare(QUERY).map_err(RowsError::Sqlite)?;
    let columns = Columns::find(&statement.column_names().collect::<Vec<_>>())?;
    let mut rows = statement.query([]).map_err(RowsError::Sqlite)?;
    let mut reading = Reading::default();
    let mut n_rows = 0;
    while let Some(row) = rows.next().map_err(RowsError::Sqlite)? {
        if row.get(NTH_OF_USER).unwrap_or(0) > MAX_OF_USER {
            reading.skipped.too_many = true;
            continue;
        }
        n_rows += 1;
        if n_rows > MAX_ROWS {
            reading.skipped.too_many = true;
            break;
        }
        reading.utc_offset = row.get(2).unwrap_or(0);
        match columns.session(row, node) {
            Ok(session) => reading.sessions.push(session),
            Err(Skip::Finished) => {}
            Err(Skip::Foreign) => reading.skipped.foreign += 1,
            Err(Skip::UnknownState) => reading.skipped.unknown_state += 1,
            Err(Skip::Odd(column)) => {
                reading.skipped.unreadable += 1;
                reading.skipped.column.get_or_insert(column);
            }
        }
    }
    Ok(reading)
}

/// A view or virtual table of this name could compute for ever.
fn check_table(connection: &Connection) -> Result<(), RowsError> {
    let sql = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' \
               AND name = 'sessions' AND rootpage > 0";
    let n_tables: i64 = connection
        .query_row(sql, [], |row| row.get(0))
        .map_err(RowsError::Sqlite)?;
    if n_tables == 1 {
        Ok(())
    } else {
        Err(RowsError::NoTable)
    }
}

/// The query names columns, and SQLite's word for one that is not there says less than ours.
fn check_columns(connection: &Connection) -> Result<(), RowsError> {
    let all = connection.prepare("SELECT * FROM sessions LIMIT 0");
    let all = all.map_err(RowsError::Sqlite)?;
    Columns::find(&all.column_names().collect::<Vec<_>>()).map(drop)
}

/// Where the columns are. `fs_port` and the last two came with later x2goservers.
struct Columns {
    id: usize,
    display: usize,
    user: usize,
    server: usize,
    client: usize,
    status: usize,
    cookie: usize,
    agent_pid: usize,
    graphics_port: usize,
    sound_port: usize,
    sshfs_port: Option<usize>,
    tekictrl_port: Option<usize>,
    tekidata_port: Option<usize>,
}

/// Why a row gives no session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Skip {
    Finished,
    Foreign,
    UnknownState,
    Odd(&'static str),
}

impl Columns {
    fn find(names: &[&str]) -> Result<Self, RowsError> {
        let find = |name: &str| names.iter().position(|column| *column == name);
        let need = |name: &'static str| find(name).ok_or(RowsError::NoColumn(name));
        Ok(Self {
            id: need("session_id")?,
            display: need("display")?,
            user: need("uname")?,
            server: need("server")?,
            client: need("client")?,
            status: need("status")?,
            cookie: need("cookie")?,
            agent_pid: need("agent_pid")?,
            graphics_port: need("gr_port")?,
            sound_port: need("sound_port")?,
            sshfs_port: find("fs_port"),
            tekictrl_port: find("tekictrl_port"),
            tekidata_port: find("tekidata_port"),
        })
    }

    fn session(&self, row: &Row<'_>, node: &NodeId) -> Result<StoredSession, Skip> {
        let state = match needed(row, self.status, "status")?.as_str() {
            "R" => SessionState::Running,
            "S" => SessionState::Suspended,
            "T" | "F" => return Err(Skip::Finished),
            _ => return Err(Skip::UnknownState),
        };
        let server = needed(row, self.server, "server")?;
        if !is_ours(&server, node) {
            return Err(Skip::Foreign);
        }
        let id = needed(row, self.id, "session_id")?;
        let id = SessionId::parse(&id).or(Err(Skip::Odd("session_id")))?;
        let user = needed(row, self.user, "uname")?;
        let user = Username::parse(&user).or(Err(Skip::Odd("uname")))?;
        let session = Session {
            id,
            user,
            state,
            starting: false,
            client_order: None,
        };
        let record = self.record(row, &session, server)?;
        Ok(StoredSession {
            session: Session {
                starting: record.is_none(),
                client_order: None,
                ..session
            },
            record,
            started: row.get(INIT_SECONDS).unwrap_or(None),
            last_written: row.get(LAST_SECONDS).unwrap_or(None),
        })
    }

    /// The record, if x2goserver has written all of it.
    fn record(
        &self,
        row: &Row<'_>,
        session: &Session,
        server: String,
    ) -> Result<Option<SessionRecord>, Skip> {
        let pid = number::<u32>(row, self.agent_pid, "agent_pid")?;
        let cookie = text(row, self.cookie, "cookie")?;
        let graphics_port = number::<u32>(row, self.graphics_port, "gr_port")?;
        let sound_port = number::<u32>(row, self.sound_port, "sound_port")?;
        let (Some(pid), Some(cookie), Some(graphics_port), Some(sound_port)) =
            (pid, cookie, graphics_port, sound_port)
        else {
            return Ok(None);
        };
        let optional = |idx: Option<usize>, name| match idx {
            Some(idx) => number::<i32>(row, idx, name).map(|port| Some(port.unwrap_or(-1))),
            None => Ok(None),
        };
        let tekictrl_port = optional(self.tekictrl_port, "tekictrl_port")?;
        let tekidata_port = optional(self.tekidata_port, "tekidata_port")?;
        let sshfs_port = match self.sshfs_port {
            Some(idx) => number::<u32>(row, idx, "fs_port")?,
            None => None,
        };
        Ok(Some(SessionRecord {
            session_agent_pid: pid,
            id: session.id.clone(),
            display: number(row, self.display, "display")?.ok_or(Skip::Odd("display"))?,
            server,
            state: session.state,
            started_at: text(row, INIT_TEXT, "init_time")?.unwrap_or_default(),
            cookie: Secret::new(cookie),
            client: text(row, self.client, "client")?.unwrap_or_default(),
            graphics_port,
            sound_port,
            last_seen_at: text(row, LAST_TEXT, "last_time")?.unwrap_or_default(),
            user: session.user.clone(),
            age_seconds: 0,
            sshfs_port,
            tekictrl_and_tekidata_ports: tekictrl_port.zip(tekidata_port),
        }))
    }
}

/// Whether the server column names this server, in full or in short.
fn is_ours(server: &str, node: &NodeId) -> bool {
    let Ok(server) = NodeId::parse(server) else {
        return false;
    };
    let one_is_short = !server.as_str().contains('.') || !node.as_str().contains('.');
    server == *node || (one_is_short && server.short() == node.short())
}

fn needed(row: &Row<'_>, idx: usize, name: &'static str) -> Result<String, Skip> {
    text(row, idx, name)?.ok_or(Skip::Odd(name))
}

/// The column as text, whatever SQLite made of it; none when it is null or empty.
fn text(row: &Row<'_>, idx: usize, name: &'static str) -> Result<Option<String>, Skip> {
    let odd = Skip::Odd(name);
    let text = match row.get_ref(idx).or(Err(odd))? {
        ValueRef::Null => return Ok(None),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
            std::str::from_utf8(bytes).or(Err(odd))?.to_owned()
        }
        ValueRef::Real(_) => return Err(odd),
    };
    if text.len() > MAX_TEXT_BYTES || text.chars().any(|c| c == '|' || c.is_control()) {
        return Err(odd);
    }
    Ok(Some(text).filter(|text| !text.is_empty()))
}

fn number<N: std::str::FromStr>(
    row: &Row<'_>,
    idx: usize,
    name: &'static str,
) -> Result<Option<N>, Skip> {
    let text = text(row, idx, name)?;
    text.map(|text| text.trim().parse())
        .transpose()
        .or(Err(Skip::Odd(name)))
}

/// The times as x2golistsessions prints them, and as seconds of local time; unreadable
/// ones give NULL. Sessions that have ended stay in the table for long, and a user can have
/// any number of rows: neither takes the place of anybody's session. So finished ones are
/// left out here, and of each user one more than [`MAX_OF_USER`] is asked for.
const QUERY: &str = "SELECT \
    strftime('%Y-%m-%dT%H:%M:%S', init_time), \
    strftime('%Y-%m-%dT%H:%M:%S', last_time), \
    CAST(strftime('%s', 'now', 'localtime') AS INTEGER) \
        - CAST(strftime('%s', 'now') AS INTEGER), \
    CAST(strftime('%s', init_time) AS INTEGER), \
    CAST(strftime('%s', last_time) AS INTEGER), \
    sessions.nth_of_user, \
    sessions.* FROM (SELECT *, \
            row_number() OVER (PARTITION BY uname ORDER BY session_id) AS nth_of_user \
        FROM sessions WHERE status IS NULL OR status NOT IN ('T', 'F')) AS sessions \
    WHERE nth_of_user <= 201 ORDER BY sessions.session_id";
const INIT_TEXT: usize = 0;
const LAST_TEXT: usize = 1;
const INIT_SECONDS: usize = 3;
const LAST_SECONDS: usize = 4;
const NTH_OF_USER: usize = 5;

/// Nobody has so many sessions on one server.
pub(super) const MAX_OF_USER: i64 = 200;

/// Far more sessions than one server can run; the rest of a runaway database is left out.
pub(super) const MAX_ROWS: usize = 10_000;

/// The widest column of x2goserver's schema holds 500 characters.
const MAX_TEXT_BYTES: usize = 512;
