//! Did an operator ask this server to take no new sessions, also before the last restart?

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use proto::{AtDeadline, Deadline, Drain};

/// The operator's wish, kept in a file. No file: no drain.
///
/// Its first line is the reason. A second one, if there is a deadline, says when it comes,
/// and what happens then: `deadline 1795888800 suspend`. An agent that knows of no
/// deadlines reads both as the reason.
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

    /// What was asked for. A file that can't be read, or not be understood, counts as a drain
    /// that nothing but an operator ends: nobody should get a session on a server that may be
    /// about to be shut down.
    pub(super) fn load(&self) -> Option<Drain> {
        let path = self.path.display();
        match fs::read(&self.path) {
            Ok(bytes) => {
                let text = String::from_utf8_lossy(&bytes);
                Some(parse(&text).unwrap_or_else(|| {
                    tracing::error!(%path, "drain file is not understood, draining without a deadline");
                    Drain::new(text.trim_end())
                }))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::error!(%path, %error, "drain file can't be read, draining");
                Some(Drain::new("the drain file can't be read"))
            }
        }
    }

    /// Writes or removes the file. Blocks.
    pub(super) fn store(&self, drain: Option<&Drain>) -> Result<(), DrainError> {
        let stored = match drain {
            Some(drain) => self.write(drain),
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

    fn write(&self, drain: &Drain) -> io::Result<()> {
        let new = self.path.with_extension("new");
        let mut file = File::create(&new)?;
        file.write_all(to_text(drain).as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, &self.path)
    }
}

/// How long until a drain has to be looked at again; none when it has no deadline. The
/// deadline is a date, and the clock may be put to another one meanwhile, so never long.
pub(crate) fn until_due(drain: &Drain, since_epoch: Duration) -> Option<Duration> {
    let deadline = Duration::from_secs(drain.deadline?.at);
    Some(deadline.saturating_sub(since_epoch).min(LOOK_AGAIN))
}

fn to_text(drain: &Drain) -> String {
    let mut text = format!("{}\n", drain.reason);
    if let Some(Deadline { at, then }) = drain.deadline {
        text += &format!("deadline {at} {then}\n");
    }
    text
}

fn parse(text: &str) -> Option<Drain> {
    let mut lines = text.lines();
    let drain = Drain::new(lines.next().unwrap_or_default());
    let deadline = match lines.next() {
        None => None,
        Some(line) => {
            let (at, then) = line.strip_prefix("deadline ")?.split_once(' ')?;
            Some(Deadline {
                at: at.parse().ok()?,
                then: AtDeadline::from_word(then)?,
            })
        }
    };
    let is_whole = lines.next().is_none();
    is_whole.then_some(Drain { deadline, ..drain })
}

/// A clock that was put right acts within this time.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use proto::{AtDeadline, Deadline, Drain};

    use super::{DrainFile, until_due};

    fn timed(at: u64, then: AtDeadline) -> Drain {
        Drain {
            deadline: Some(Deadline { at, then }),
            ..Drain::new("new disks")
        }
    }

    #[test]
    fn a_drain_comes_back_from_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = DrainFile::new(folder.path());
        let mut drains = AtDeadline::ALL.map(|then| timed(17, then)).to_vec();
        drains.extend([Drain::new("new disks"), Drain::default()]);
        for drain in drains {
            file.store(Some(&drain)).unwrap();
            assert_eq!(file.load(), Some(drain));
        }
        file.store(None).unwrap();
        assert_eq!(file.load(), None);
    }

    #[test]
    fn other_files_are_a_drain_without_a_deadline() {
        let folder = tempfile::tempdir().unwrap();
        let file = DrainFile::new(folder.path());
        // content, the reason that is made of it
        let rows: [(&[u8], &str); 10] = [
            // As the versions before this one wrote it.
            (b"new disks\n", "new disks"),
            (b"\n", ""),
            // By hand.
            (b"", ""),
            (b"new disks", "new disks"),
            (b"new\ndisks\n", "new disks"),
            (b"x\ndeadline 17\n", "x deadline 17"),
            (b"x\ndeadline 17 reboot\n", "x deadline 17 reboot"),
            (b"x\ndeadline -1 suspend\n", "x deadline -1 suspend"),
            (b"x\ndeadline 17 accept\ny\n", "x deadline 17 accept y"),
            (b"\xff\xfe", "\u{fffd}\u{fffd}"),
        ];
        for (content, reason) in rows {
            fs::write(folder.path().join("drain"), content).unwrap();
            let expected = Drain {
                reason: reason.to_owned(),
                deadline: None,
            };
            assert_eq!(file.load(), Some(expected));
        }
    }

    #[test]
    fn a_deadline_is_looked_at_when_it_comes_and_each_half_minute_before() {
        let at = Duration::from_secs;
        let drain = timed(1000, AtDeadline::Suspend);
        for (now, wait) in [(0, 30), (969, 30), (975, 25), (1000, 0), (2000, 0)] {
            assert_eq!(until_due(&drain, at(now)), Some(at(wait)), "{now}");
        }
        assert_eq!(until_due(&Drain::default(), at(0)), None);
    }
}
