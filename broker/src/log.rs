//! Where do log messages go: to standard error, or to the files of a directory?
//!
//! The files are those of x2gobroker 0.0.4.3: `broker.log` holds all, `error.log` what
//! somebody must act on, `access.log` what is told with the target [`ACCESS`]. Nobody but
//! their owner and group reads them.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, reload};

/// The log of this process. Clones are the same log.
#[derive(Clone, Debug)]
pub struct Log {
    level: reload::Handle<EnvFilter, Registry>,
    sink: Sink,
}

/// A file of the log that can't be used.
#[derive(Debug, thiserror::Error)]
#[error("the log file {path} can't be opened")]
pub struct LogError {
    /// Which.
    pub path: PathBuf,
    source: io::Error,
}

#[derive(Clone, Debug, Default)]
struct Sink(Arc<RwLock<Option<Files>>>);

#[derive(Clone, Debug)]
struct Files {
    directory: PathBuf,
    broker: Arc<File>,
    access: Arc<File>,
    error: Arc<File>,
}

/// Where one message goes.
#[derive(Debug)]
struct Message {
    files: [Option<Arc<File>>; 2],
}

impl Log {
    /// Begins to log to standard error: at this level, unless `RUST_LOG` says otherwise.
    #[must_use]
    pub fn start(level: &str) -> Self {
        let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
        let (filter, level) = reload::Layer::new(filter);
        let sink = Sink::default();
        let messages = tracing_subscriber::fmt::layer()
            .with_writer(sink.clone())
            .with_ansi(io::stderr().is_terminal());
        tracing_subscriber::registry()
            .with(filter)
            .with(messages)
            .init();
        Self { level, sink }
    }

    /// Says more from now on, unless `RUST_LOG` is set.
    pub fn debug(&self) {
        if std::env::var_os(EnvFilter::DEFAULT_ENV).is_none() {
            // It fails only when the log has ended.
            let _ = self.level.reload(EnvFilter::new("debug"));
        }
    }

    /// Writes to the files of this directory from now on.
    ///
    /// # Errors
    /// When one of them can't be opened; all stays as it was then.
    pub fn to_files(&self, directory: &Path) -> Result<(), LogError> {
        self.sink.open(directory)
    }

    /// Opens the files anew, after somebody moved them away. Without files it does nothing.
    ///
    /// # Errors
    /// When one of them can't be opened; the old ones are written on then.
    pub fn reopen(&self) -> Result<(), LogError> {
        match self.sink.files() {
            Some(files) => self.sink.open(&files.directory),
            None => Ok(()),
        }
    }

    /// The file that takes what is written to standard error, if there are files.
    #[must_use]
    pub fn error_file(&self) -> Option<Arc<File>> {
        self.sink.files().map(|files| files.error)
    }
}

impl Sink {
    fn open(&self, directory: &Path) -> Result<(), LogError> {
        let open = |name| open(&directory.join(name)).map(Arc::new);
        let files = Files {
            directory: directory.to_owned(),
            broker: open("broker.log")?,
            access: open("access.log")?,
            error: open("error.log")?,
        };
        if let Ok(mut current) = self.0.write() {
            *current = Some(files);
        }
        Ok(())
    }

    fn files(&self) -> Option<Files> {
        self.0.read().ok()?.clone()
    }
}

impl<'a> MakeWriter<'a> for Sink {
    type Writer = Message;

    fn make_writer(&'a self) -> Message {
        let files = self.files();
        Message {
            files: [files.map(|files| files.broker), None],
        }
    }

    fn make_writer_for(&'a self, message: &Metadata<'_>) -> Message {
        let Some(files) = self.files() else {
            return Message {
                files: [None, None],
            };
        };
        let files = match (message.target(), *message.level()) {
            (ACCESS, _) => [Some(files.access), None],
            (_, Level::ERROR) => [Some(files.broker), Some(files.error)],
            _ => [Some(files.broker), None],
        };
        Message { files }
    }
}

impl Write for Message {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.files.iter().all(Option::is_none) {
            return io::stderr().write(bytes);
        }
        for file in self.files.iter().flatten() {
            (&**file).write_all(bytes)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Appends to a file, which is made when it is not there. One that everybody may read, as
/// the original leaves them, is closed to them.
pub(crate) fn open(path: &Path) -> Result<File, LogError> {
    let error = |source| LogError {
        path: path.to_owned(),
        source,
    };
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(FILE_MODE);
    let file = options.open(path).map_err(error)?;
    let metadata = file.metadata().map_err(error)?;
    let mode = metadata.mode();
    // A device that a link leads to, /dev/null say, belongs to everybody.
    if metadata.is_file() && mode & OTHERS != 0 {
        let closed = std::fs::Permissions::from_mode(mode & 0o7777 & !OTHERS);
        file.set_permissions(closed).map_err(error)?;
    }
    Ok(file)
}

/// The target of messages that tell of a client's request.
pub const ACCESS: &str = "access";

/// Logs name users and their sessions.
const FILE_MODE: u32 = 0o640;
const OTHERS: u32 = 0o007;

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;

    use super::Sink;

    #[test]
    fn logs_are_not_world_readable_even_if_the_original_left_them_so() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::write(path("broker.log"), "old\n").unwrap();
        let open = std::fs::Permissions::from_mode(0o644);
        std::fs::set_permissions(path("broker.log"), open).unwrap();
        Sink::default().open(directory.path()).unwrap();
        for name in ["broker.log", "access.log", "error.log"] {
            let mode = std::fs::metadata(path(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o640, "{name}");
        }
        assert_eq!(
            std::fs::read_to_string(path("broker.log")).unwrap(),
            "old\n"
        );
    }

    #[test]
    fn a_log_that_was_moved_away_is_begun_anew_when_it_is_opened_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let sink = Sink::default();
        sink.open(directory.path()).unwrap();
        let write = |text: &str| {
            let files = sink.files().unwrap();
            (&*files.broker).write_all(text.as_bytes()).unwrap();
        };
        write("one\n");
        std::fs::rename(path("broker.log"), path("broker.log.1")).unwrap();
        write("two\n");
        sink.open(directory.path()).unwrap();
        write("three\n");
        let text = |name: &str| std::fs::read_to_string(path(name)).unwrap();
        assert_eq!(text("broker.log.1"), "one\ntwo\n");
        assert_eq!(text("broker.log"), "three\n");
    }

    #[test]
    fn a_directory_that_can_not_be_used_leaves_the_old_files() {
        let directory = tempfile::tempdir().unwrap();
        let sink = Sink::default();
        sink.open(directory.path()).unwrap();
        let error = sink.open(&directory.path().join("none")).unwrap_err();
        assert!(error.path.ends_with("none/broker.log"));
        assert_eq!(sink.files().unwrap().directory, directory.path());
    }
}
