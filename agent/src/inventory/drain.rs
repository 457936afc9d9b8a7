//! Did an operator ask this server to take no new sessions, also before the last restart?

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use proto::Readiness;

/// The operator's wish, kept in a file that holds the reason. No file: no drain.
#[derive(Clone, Debug)]
pub(super) struct DrainFile {
    path: PathBuf,
}

/// The wish can't be kept.
#[derive(Debug, thiserror::Error)]
#[error("the drain file {} can't be written", path.display())]
pub struct DrainError {
    /// Which file.
    pub path: PathBuf,
    /// What failed.
    pub source: io::Error,
}

impl DrainFile {
    pub(super) fn new(state_directory: &Path) -> Self {
        Self {
            path: state_directory.join("drain"),
        }
    }

    /// The reason, if the server is to drain. A file that can't be read counts as one:
    /// nobody should get a session on a server that may be about to be shut down.
    pub(super) fn load(&self) -> Option<String> {
        match fs::read(&self.path) {
            Ok(bytes) => {
                let text = String::from_utf8_lossy(&bytes);
                Some(Readiness::reason_line(text.trim_end()))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                let path = self.path.display();
                tracing::error!(%path, %error, "drain file can't be read, draining");
                Some("the drain file can't be read".to_owned())
            }
        }
    }

    /// Writes or removes the file. Blocks.
    pub(super) fn store(&self, reason: Option<&str>) -> Result<(), DrainError> {
        let stored = match reason {
            Some(reason) => self.write(reason),
            None => match fs::remove_file(&self.path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                result => result,
            },
        };
        stored.map_err(|source| DrainError {
            path: self.path.clone(),
            source,
        })
    }

    fn write(&self, reason: &str) -> io::Result<()> {
        let new = self.path.with_extension("new");
        let mut file = File::create(&new)?;
        writeln!(file, "{reason}")?;
        file.sync_all()?;
        fs::rename(&new, &self.path)
    }
}
