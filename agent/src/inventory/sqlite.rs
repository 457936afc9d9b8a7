//! How does the agent follow x2goserver's session database without getting in its way?
//!
//! A reader that opens the database the usual way locks it while it reads, and a writer
//! that comes in that moment must wait or fails. So this reader locks nothing:
//!
//! * Each look takes a [`Fingerprint`]: inode, size, time, and the file's header with the
//!   counter that SQLite raises in each transaction. While it stays the same, nothing is
//!   read.
//! * When it has changed, the file is copied into memory, and the fingerprint is taken
//!   again. If both are equal and nobody was writing, the copy is a committed state of the
//!   database and is opened there; else the copy is thrown away and taken again.
//!
//! Why this can't miss a write: in the journal modes delete, truncate and persist, SQLite
//! writes to the database only between making a journal with a magic number and removing
//! it, and raises the counter in between. A writer whose time of writing overlaps the copy
//! has a hot journal at one end of the copy, or has both begun and ended within it, and
//! then the counters differ. At each end the journal is looked at before and after the
//! header, so that nothing slips through between these two.
//!
//! A database in write-ahead mode is copied too while it has no log. When it has one, it
//! is read the usual way, for there readers never block writers. So is a database that was
//! written without a pause for [`STARVED_AFTER`].
//!
//! Closing any descriptor of a file drops all locks that its process holds on it, so this
//! process must not keep a connection to the database open while it takes a fingerprint.

mod fingerprint;
mod rows;

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use proto::NodeId;
use rusqlite::{Connection, MAIN_DB, OpenFlags};

use fingerprint::{Fingerprint, FingerprintError, HEADER_BYTES, Paths};
pub use rows::{Reading, RowsError, Skipped, StoredSession};

/// The session database of this server, followed by looking at it again and again.
#[derive(Debug)]
pub struct SessionDatabase {
    paths: Paths,
    node: NodeId,
    seen: Option<Fingerprint>,
    /// Who has been writing without a commit, at which count of changes, and since when.
    writer: Option<(i32, Option<u32>, Instant)>,
    unsettled_since: Option<Instant>,
}

/// What one look at the database gave.
#[derive(Debug)]
pub enum Look {
    /// The same as the last time.
    Unchanged,
    /// It has changed, and this is all of it.
    Changed(Reading),
    /// It can't be read.
    Failed(DatabaseError),
}

/// Why the session database can't be read.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// There is no such file.
    #[error("session database {} does not exist", path.display())]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// The agent's user may not read it.
    #[error("session database {} may not be read by the agent's user", path.display())]
    Forbidden {
        /// Where it is.
        path: PathBuf,
    },
    /// The file system fails.
    #[error("session database {} can't be read", path.display())]
    Io {
        /// Where it is.
        path: PathBuf,
        /// What failed.
        source: io::Error,
    },
    /// The file is something else, or destroyed from the start.
    #[error("session database {} is not an SQLite database", path.display())]
    NotSqlite {
        /// Where it is.
        path: PathBuf,
    },
    /// Its end is missing.
    #[error("session database {} is cut off: {size} of {stated} bytes", path.display())]
    CutOff {
        /// Where it is.
        path: PathBuf,
        /// Its size in bytes.
        size: u64,
        /// The size that its header states.
        stated: u64,
    },
    /// It would take too much memory.
    #[error("session database {} has {size} bytes, more than {MAX_BYTES}", path.display())]
    TooBig {
        /// Where it is.
        path: PathBuf,
        /// Its size in bytes.
        size: u64,
    },
    /// Somebody keeps x2goserver from writing.
    #[error("session database {} is locked by process {pid}", path.display())]
    Locked {
        /// Where it is.
        path: PathBuf,
        /// Who has locked it; 0 is unknown.
        pid: i32,
    },
    /// A writer died in the middle.
    #[error(
        "session database {} holds an unfinished transaction; x2goserver's next command \
         takes it back", path.display()
    )]
    Unfinished {
        /// Where it is.
        path: PathBuf,
    },
    /// SQLite can't read it, or it is not x2goserver's.
    #[error("session database {} can't be used", path.display())]
    Content {
        /// Where it is.
        path: PathBuf,
        /// What is wrong with it.
        source: RowsError,
    },
}

impl SessionDatabase {
    /// Follows the database at `path` for the sessions of `node`.
    #[must_use]
    pub fn new(path: PathBuf, node: NodeId) -> Self {
        Self {
            paths: Paths::new(path),
            node,
            seen: None,
            writer: None,
            unsettled_since: None,
        }
    }

    /// Looks whether the database has changed, and reads it if so. Blocks for some
    /// milliseconds at most.
    pub fn look(&mut self, now: Instant) -> Look {
        match self.try_look(now) {
            Ok(Some(reading)) => Look::Changed(reading),
            Ok(None) => Look::Unchanged,
            Err(error) => {
                // What is wrong with the content stays wrong until the file changes;
                // everything else is tried again.
                if !matches!(error, DatabaseError::Content { .. }) {
                    self.seen = None;
                }
                Look::Failed(error)
            }
        }
    }

    fn try_look(&mut self, now: Instant) -> Result<Option<Reading>, DatabaseError> {
        let (file, fingerprint) = self.fingerprint()?;
        let writer = fingerprint::writer(&file);
        drop(file);
        self.check_writer(writer, fingerprint.n_changes(), now)?;
        if !fingerprint.is_being_written() && self.seen.as_ref() == Some(&fingerprint) {
            self.unsettled_since = None;
            return Ok(None);
        }
        for _try in 0..MAX_TRIES {
            if let Some((connection, fingerprint)) = self.committed_state()? {
                self.unsettled_since = None;
                self.seen = Some(fingerprint);
                return self.rows(&connection).map(Some);
            }
            thread::sleep(RETRY_PAUSE);
        }
        self.starved(writer, now)
    }

    /// Opens a state of the database that nobody was writing; none when somebody was.
    fn committed_state(&self) -> Result<Option<(Connection, Fingerprint)>, DatabaseError> {
        let (file, before) = self.fingerprint()?;
        if before.is_being_written() {
            return Ok(None);
        }
        if before.has_log() {
            drop(file);
            return Ok(Some((self.open_as_usual()?, before)));
        }
        let copy = self.copy(file, &before);
        let (_file, after) = self.fingerprint()?;
        if before != after {
            return Ok(None);
        }
        self.check_size(&after)?;
        Ok(Some((copy?, after)))
    }

    fn copy(&self, mut file: File, fingerprint: &Fingerprint) -> Result<Connection, DatabaseError> {
        let size = fingerprint.size();
        let small_enough = usize::try_from(size).ok().filter(|_| size <= MAX_BYTES);
        let Some(n_bytes) = small_enough else {
            return Err(DatabaseError::TooBig {
                path: self.path(),
                size,
            });
        };
        let mut connection = Connection::open_in_memory().map_err(|e| self.content(e))?;
        let header = fingerprint.header_for_copy();
        file.seek(SeekFrom::Start(HEADER_BYTES as u64))
            .map_err(|source| DatabaseError::Io {
                path: self.path(),
                source,
            })?;
        connection
            .deserialize_read_exact(MAIN_DB, header.chain(file), n_bytes, true)
            .map_err(|e| self.content(e))?;
        Ok(connection)
    }

    fn check_size(&self, fingerprint: &Fingerprint) -> Result<(), DatabaseError> {
        let size = fingerprint.size();
        match fingerprint.stated_size() {
            Some(stated) if stated > size => Err(DatabaseError::CutOff {
                path: self.path(),
                size,
                stated,
            }),
            _ => Ok(()),
        }
    }

    /// Opens the database with SQLite's own locks.
    fn open_as_usual(&self) -> Result<Connection, DatabaseError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.paths.database, flags)
            .map_err(|e| self.content(e))?;
        connection
            .busy_timeout(BUSY_LIMIT)
            .map_err(|e| self.content(e))?;
        Ok(connection)
    }

    fn rows(&self, connection: &Connection) -> Result<Reading, DatabaseError> {
        rows::read(connection, &self.node).map_err(|source| DatabaseError::Content {
            path: self.path(),
            source,
        })
    }

    /// x2goserver's transactions take milliseconds. One that lasts keeps it from starting
    /// sessions, even though they can still be read.
    fn check_writer(
        &mut self,
        writer: Option<i32>,
        n_changes: Option<u32>,
        now: Instant,
    ) -> Result<(), DatabaseError> {
        let Some(pid) = writer else {
            self.writer = None;
            return Ok(());
        };
        let since = match self.writer {
            Some((before, n_before, since)) if (before, n_before) == (pid, n_changes) => since,
            _ => now,
        };
        self.writer = Some((pid, n_changes, since));
        if now.saturating_duration_since(since) < LOCKED_AFTER {
            return Ok(());
        }
        Err(DatabaseError::Locked {
            path: self.path(),
            pid,
        })
    }

    /// No quiet moment was found: again with the next look, and after some time with
    /// SQLite's own locks.
    fn starved(
        &mut self,
        writer: Option<i32>,
        now: Instant,
    ) -> Result<Option<Reading>, DatabaseError> {
        let since = *self.unsettled_since.get_or_insert(now);
        if now.saturating_duration_since(since) < STARVED_AFTER {
            return Ok(None);
        }
        let (file, fingerprint) = self.fingerprint()?;
        drop(file);
        if fingerprint.is_being_written() && writer.is_none() {
            return Err(DatabaseError::Unfinished { path: self.path() });
        }
        tracing::debug!("session database was never quiet, reading it with a lock");
        let reading = self.rows(&self.open_as_usual()?)?;
        self.unsettled_since = None;
        self.seen = Some(fingerprint);
        Ok(Some(reading))
    }

    fn fingerprint(&self) -> Result<(File, Fingerprint), DatabaseError> {
        let path = self.path();
        Fingerprint::take(&self.paths).map_err(|error| match error {
            FingerprintError::NotSqlite => DatabaseError::NotSqlite { path },
            FingerprintError::Io(source) => match source.kind() {
                io::ErrorKind::NotFound => DatabaseError::Missing { path },
                io::ErrorKind::PermissionDenied => DatabaseError::Forbidden { path },
                _ => DatabaseError::Io { path, source },
            },
        })
    }

    fn content(&self, error: rusqlite::Error) -> DatabaseError {
        DatabaseError::Content {
            path: self.path(),
            source: RowsError::Sqlite(error),
        }
    }

    fn path(&self) -> PathBuf {
        self.paths.database.clone()
    }
}

/// A copy takes microseconds, so a quiet moment is nearly always among so many tries.
const MAX_TRIES: u32 = 20;
/// So that all tries together stay below the 50 ms that an admission waits for a look.
const RETRY_PAUSE: Duration = Duration::from_millis(1);
/// After so long without a quiet moment, freshness is worth a lock of a millisecond.
const STARVED_AFTER: Duration = Duration::from_secs(1);
/// How long that read waits for a writer.
const BUSY_LIMIT: Duration = Duration::from_millis(50);
/// A thousand times longer than x2goserver's own transactions.
const LOCKED_AFTER: Duration = Duration::from_secs(2);
/// Ten thousand sessions take some 5 MB.
const MAX_BYTES: u64 = 64 << 20;

#[cfg(test)]
mod tests;
