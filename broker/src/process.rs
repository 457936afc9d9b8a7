//! How is the process tied to its host: its log, its PID file, and who waits until it serves?

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use sd_notify::NotifyState;
use tokio::net::TcpSocket;
use tracing::{error, warn};

use crate::log::Log;

/// What the command line prepared for a replica.
#[derive(Debug)]
pub struct Process {
    /// Its log.
    pub log: Log,
    /// Sockets that were bound with privileges which the process has no more.
    pub reserved: Vec<(SocketAddr, TcpSocket)>,
    /// The program that started it in the background waits until it serves.
    pub is_awaited: bool,
    /// Removed when the process ends.
    pub pid_file: Option<PidFile>,
}

/// A file with the process's ID. Its lock tells whether the process still runs.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    _locked: File,
}

/// Why there is no PID file.
#[derive(Debug, thiserror::Error)]
pub enum PidFileError {
    /// Somebody holds its lock.
    #[error("{path} belongs to a daemon that runs, with process ID {pid}")]
    Running {
        /// The file.
        path: PathBuf,
        /// What stands in it.
        pid: String,
    },
    /// It can't be written.
    #[error("the PID file {path} can't be written")]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Process {
    /// Says that clients are served, to systemd and to who waits.
    pub fn ready(&mut self) {
        tell_systemd(&[NotifyState::Ready]);
        if !std::mem::take(&mut self.is_awaited) {
            return;
        }
        if let Err(error) = let_go(&self.log) {
            error!(error = %error, "who started this process can't be told that it serves");
        }
    }

    /// What SIGHUP asks for, but for the configuration.
    pub fn reopen_log(log: &Log) {
        if let Err(error) = log.reopen() {
            error!(
                error = &error as &dyn std::error::Error,
                "the old log files are written on"
            );
        }
        if log.error_file().is_some()
            && let Err(error) = redirect_stderr(log)
        {
            error!(error = %error, "standard error still goes to the old log file");
        }
    }
}

/// Tells who waits, and lets go of the terminal.
fn let_go(log: &Log) -> io::Result<()> {
    let mut waiting = io::stdout();
    waiting.write_all(READY)?;
    waiting.flush()?;
    let nothing = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")?;
    nix::unistd::dup2_stdout(&nothing)?;
    redirect_stderr(log)
}

fn redirect_stderr(log: &Log) -> io::Result<()> {
    match log.error_file() {
        Some(file) => nix::unistd::dup2_stderr(&*file)?,
        None => nix::unistd::dup2_stderr(OpenOptions::new().write(true).open("/dev/null")?)?,
    }
    Ok(())
}

impl PidFile {
    /// Writes the file, unless a process that runs holds it.
    ///
    /// # Errors
    /// See [`PidFileError`].
    pub fn create(path: &Path) -> Result<Self, PidFileError> {
        let unwritable = |source| PidFileError::Unwritable {
            path: path.to_owned(),
            source,
        };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.mode(0o644).open(path).map_err(unwritable)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                // What can't be read is not told.
                let _ = (&file).take(MAX_PID).read_to_string(&mut pid);
                return Err(PidFileError::Running {
                    path: path.to_owned(),
                    pid: pid.trim().to_owned(),
                });
            }
            Err(TryLockError::Error(source)) => return Err(unwritable(source)),
        }
        file.set_len(0).map_err(unwritable)?;
        writeln!(file, "{}", std::process::id()).map_err(unwritable)?;
        Ok(Self {
            path: path.to_owned(),
            _locked: file,
        })
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            warn!(path = %self.path.display(), error = %error, "the PID file was not removed");
        }
    }
}

/// Tells systemd that the files are read again (sd_notify(3), `RELOADING=1`).
pub(crate) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell_systemd(&[NotifyState::Reloading, now]),
        Err(error) => warn!(error = %error, "systemd could not be told of a reload"),
    }
}

/// Tells systemd that a reload has ended, well or not.
pub(crate) fn reloaded() {
    tell_systemd(&[NotifyState::Ready]);
}

/// Tells systemd that the replica stops.
pub(crate) fn stopping() {
    tell_systemd(&[NotifyState::Stopping]);
}

fn tell_systemd(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!(error = %error, "systemd could not be told");
    }
}

/// What who waits reads when clients are served.
pub(crate) const READY: &[u8] = b".";

/// A process ID has ten digits at most.
const MAX_PID: u64 = 16;

#[cfg(test)]
mod tests {
    use super::{PidFile, PidFileError};

    #[test]
    fn a_pid_file_belongs_to_one_running_process_and_goes_with_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("daemon.pid");
        // One of a process that was killed is in nobody's way.
        std::fs::write(&path, "4194304000\n").unwrap();
        let first = PidFile::create(&path).unwrap();
        let own = format!("{}\n", std::process::id());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), own);
        let second = PidFile::create(&path).unwrap_err();
        assert!(matches!(second, PidFileError::Running { pid, .. } if pid == own.trim()));
        drop(first);
        assert!(!path.exists());
        let nowhere = PidFile::create(&directory.path().join("none/pid")).unwrap_err();
        assert!(matches!(nowhere, PidFileError::Unwritable { .. }));
    }
}
