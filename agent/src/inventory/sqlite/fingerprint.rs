//! Has the session database changed, and is somebody writing to it right now?

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

/// The paths of a database and of the files that SQLite keeps beside it.
#[derive(Clone, Debug)]
pub(super) struct Paths {
    pub(super) database: PathBuf,
    journal: PathBuf,
    wal: PathBuf,
    wal_index: PathBuf,
}

/// Everything that differs after a transaction has changed the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint {
    /// Device, inode, size, and the time of the last write in seconds and nanoseconds.
    file: (u64, u64, u64, i64, i64),
    /// Bytes 0 to 99 of the file; the change counter is at 24 to 27.
    header: [u8; HEADER_BYTES],
    /// Of a database in write-ahead mode.
    wal: Option<WriteAhead>,
    /// Whether a writer is between its first and its last write to the database.
    being_written: bool,
}

/// The write-ahead log, which is there while some process has the database open.
#[derive(Clone, Debug, PartialEq, Eq)]
struct WriteAhead {
    size: u64,
    modified: (i64, i64),
    /// The start of its index.
    index: Option<[u8; WAL_INDEX_BYTES]>,
}

/// Why there is no fingerprint.
#[derive(Debug)]
pub(super) enum FingerprintError {
    Io(io::Error),
    NotSqlite,
}

impl Paths {
    pub(super) fn new(database: PathBuf) -> Self {
        let beside = |suffix: &str| {
            let mut path = database.clone().into_os_string();
            path.push(suffix);
            PathBuf::from(path)
        };
        let (journal, wal, wal_index) = (beside("-journal"), beside("-wal"), beside("-shm"));
        Self {
            database,
            journal,
            wal,
            wal_index,
        }
    }
}

impl Fingerprint {
    /// Opens the database and takes its fingerprint.
    pub(super) fn take(paths: &Paths) -> Result<(File, Self), FingerprintError> {
        let file = open(&paths.database).map_err(FingerprintError::Io)?;
        let metadata = file.metadata().map_err(FingerprintError::Io)?;
        if !metadata.is_file() {
            return Err(FingerprintError::NotSqlite);
        }
        // The journal is looked at on both sides of the header, see the module sqlite.
        let hot_before = is_hot(&paths.journal)?;
        let mut header = [0; HEADER_BYTES];
        file.read_exact_at(&mut header, 0)
            .or(Err(FingerprintError::NotSqlite))?;
        if !header.starts_with(MAGIC) {
            return Err(FingerprintError::NotSqlite);
        }
        let hot_after = is_hot(&paths.journal)?;
        let wal = write_ahead(paths);
        // Without its index, nobody can have it open: it was left behind.
        let is_left_behind = wal
            .as_ref()
            .is_some_and(|wal| wal.size > 0 && wal.index.is_none());
        let fingerprint = Self {
            file: (
                metadata.dev(),
                metadata.ino(),
                metadata.size(),
                metadata.mtime(),
                metadata.mtime_nsec(),
            ),
            header,
            wal,
            being_written: hot_before || hot_after || is_left_behind,
        };
        Ok((file, fingerprint))
    }

    pub(super) fn is_being_written(&self) -> bool {
        self.being_written
    }

    pub(super) fn size(&self) -> u64 {
        self.file.2
    }

    /// Whether commits may be in the write-ahead log and not yet in the database.
    pub(super) fn has_log(&self) -> bool {
        self.wal.as_ref().is_some_and(|wal| wal.size > 0)
    }

    /// How often the database was written, as its writers count.
    pub(super) fn n_changes(&self) -> Option<u32> {
        self.number(24)
    }

    /// The header for a copy in memory, where write-ahead mode is not possible. SQLite
    /// file format: bytes 18 and 19 are 2 in that mode, else 1.
    pub(super) fn header_for_copy(&self) -> [u8; HEADER_BYTES] {
        let mut header = self.header;
        if let Some(versions) = header.get_mut(18..20) {
            versions.fill(1);
        }
        header
    }

    /// The size that the header states, if it is valid for this state of the file.
    pub(super) fn stated_size(&self) -> Option<u64> {
        if self.number(24)? != self.number(92)? {
            return None;
        }
        let page_size = match u16::from_be_bytes(self.header.get(16..18)?.try_into().ok()?) {
            1 => 65_536,
            size => u64::from(size),
        };
        u64::from(self.number(28)?).checked_mul(page_size)
    }

    fn number(&self, at: usize) -> Option<u32> {
        let bytes = self.header.get(at..at.checked_add(4)?)?;
        Some(u32::from_be_bytes(bytes.try_into().ok()?))
    }
}

/// Says which process may write to the database now, without locking anything: `Some(0)`
/// when it can't be told which one.
///
/// SQLite's writers lock one byte from the start of a transaction to its end.
pub(super) fn writer(file: &File) -> Option<i32> {
    let mut lock = libc::flock {
        l_type: as_short(libc::F_RDLCK),
        l_whence: as_short(libc::SEEK_SET),
        l_start: RESERVED_BYTE,
        l_len: 1,
        l_pid: 0,
    };
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut lock)).ok()?;
    (lock.l_type != as_short(libc::F_UNLCK)).then_some(lock.l_pid.max(0))
}

fn as_short(constant: i32) -> libc::c_short {
    libc::c_short::try_from(constant).unwrap_or_default()
}

/// Opens a file to read; a pipe in its place does not block.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
}

/// A journal that begins with the magic number: SQLite writes to the database only while
/// there is one, in each of the modes delete, truncate and persist.
fn is_hot(journal: &Path) -> Result<bool, FingerprintError> {
    let file = match open(journal) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        // Unreadable: then its length must do.
        Err(_) => {
            let length = std::fs::metadata(journal).map(|metadata| metadata.size());
            return Ok(length.is_ok_and(|length| length > 0));
        }
    };
    let mut start = [0; JOURNAL_MAGIC.len()];
    match file.read_exact_at(&mut start, 0) {
        Ok(()) => Ok(start == JOURNAL_MAGIC),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(FingerprintError::Io(error)),
    }
}

fn write_ahead(paths: &Paths) -> Option<WriteAhead> {
    let wal = std::fs::metadata(&paths.wal).ok()?;
    let index = open(&paths.wal_index).ok().map(|file| {
        let mut index = [0; WAL_INDEX_BYTES];
        // A shorter index stays zero; size and time of the log still tell of changes.
        let _short = file.read_exact_at(&mut index, 0);
        index
    });
    Some(WriteAhead {
        size: wal.size(),
        modified: (wal.mtime(), wal.mtime_nsec()),
        index,
    })
}

const MAGIC: &[u8] = b"SQLite format 3\0";
const JOURNAL_MAGIC: [u8; 8] = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];
pub(super) const HEADER_BYTES: usize = 100;
/// One of the two copies of the header of the write-ahead log's index.
const WAL_INDEX_BYTES: usize = 48;
/// SQLite's lock bytes start at 1 GiB; the second is the writer's.
const RESERVED_BYTE: i64 = 0x4000_0001;
