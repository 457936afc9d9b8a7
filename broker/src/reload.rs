//! Keeps the session profiles as the file has them.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::config::load;
use crate::ini::Problem;
use crate::profiles::SessionProfiles;

/// Publishes the profiles anew whenever their file changed. A file that can't be used, or
/// in which no profile can be, leaves the profiles as they were.
#[derive(Debug)]
pub struct ProfilesReloader {
    path: PathBuf,
    seen: Option<Fingerprint>,
    published: watch::Sender<Arc<SessionProfiles>>,
}

#[derive(Debug, PartialEq, Eq)]
struct Fingerprint {
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

impl ProfilesReloader {
    /// Reads the file for the first time. Without a file that can be used there are no
    /// profiles until there is one.
    #[must_use]
    pub fn open(path: &Path) -> (Self, watch::Receiver<Arc<SessionProfiles>>) {
        let (published, profiles) = watch::channel(Arc::default());
        let mut reloader = Self {
            path: path.to_owned(),
            seen: None,
            published,
        };
        reloader.load();
        (reloader, profiles)
    }

    /// Looks for changes until told to stop, and at once when `look_now` changes.
    pub async fn run(mut self, mut look_now: watch::Receiver<()>, stop: CancellationToken) {
        let mut every = tokio::time::interval(LOOK_EVERY);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                asked = look_now.changed() => {
                    if asked.is_err() {
                        return;
                    }
                    self.seen = None;
                }
                _ = every.tick() => {}
            }
            // Off the async threads: the file may be on a slow disk.
            let looked = tokio::task::spawn_blocking(move || {
                self.look();
                self
            });
            match looked.await {
                Ok(reloader) => self = reloader,
                Err(panic) => {
                    error!(error = %panic, "reading the session profiles ended in a panic");
                    return;
                }
            }
        }
    }

    fn look(&mut self) {
        if self.seen != fingerprint(&self.path) || self.seen.is_none() && self.path.exists() {
            self.load();
        }
    }

    fn load(&mut self) {
        let before = fingerprint(&self.path);
        let read = load::session_profiles(&self.path);
        // Half of a file can be a good shorter one: what changed meanwhile is read again.
        if before != fingerprint(&self.path) {
            self.seen = None;
            return;
        }
        self.seen = before;
        let path = self.path.display();
        match read {
            // Nobody takes all profiles away by a line that can't be read.
            Ok((profiles, problems)) if !(profiles.is_empty() && has_errors(&problems)) => {
                report(&problems);
                info!(%path, n_profiles = profiles.len(), "session profiles read");
                self.published.send_replace(Arc::new(profiles));
            }
            Ok((_, problems)) | Err(problems) => {
                report(&problems);
                let n_profiles = self.published.borrow().len();
                error!(%path, n_profiles, "the session profiles can't be used; the old ones stay");
            }
        }
    }
}

/// Logs problems, each as what it is.
pub(crate) fn report(problems: &[Problem]) {
    for problem in problems {
        if problem.is_error() {
            error!("{problem}");
        } else {
            warn!("{problem}");
        }
    }
}

fn has_errors(problems: &[Problem]) -> bool {
    problems.iter().any(Problem::is_error)
}

fn fingerprint(path: &Path) -> Option<Fingerprint> {
    let metadata = std::fs::metadata(path).ok()?;
    let changed = (metadata.mtime(), metadata.mtime_nsec());
    Some(Fingerprint {
        inode: metadata.ino(),
        size: metadata.size(),
        changed,
    })
}

/// The original reads the file at each request, so admins expect a change to count soon.
const LOOK_EVERY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::ProfilesReloader;

    #[test]
    fn a_missing_file_means_no_profiles_until_it_comes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("profiles.conf");
        let (mut reloader, profiles) = ProfilesReloader::open(&path);
        assert!(profiles.borrow().is_empty());
        std::fs::write(&path, "[farm]\nname=Farm\nhost=s1\n").unwrap();
        reloader.look();
        assert_eq!(profiles.borrow().len(), 1);
    }

    #[test]
    fn a_file_in_which_every_profile_is_broken_leaves_the_old_ones() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("profiles.conf");
        std::fs::write(&path, "[farm]\nname=Farm\nhost=s1\n").unwrap();
        let (mut reloader, profiles) = ProfilesReloader::open(&path);
        std::fs::write(&path, "[farm]\nname=Farm\nhost=s1\nno separator here\n").unwrap();
        reloader.look();
        assert_eq!(profiles.borrow().len(), 1);
        // A file without profiles is one that somebody wanted.
        std::fs::write(&path, "# nothing for now\n").unwrap();
        reloader.look();
        assert!(profiles.borrow().is_empty());
    }

    #[test]
    fn a_file_that_can_not_be_used_leaves_the_old_profiles() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("profiles.conf");
        std::fs::write(&path, "[farm]\nname=Farm\nhost=s1\n").unwrap();
        let (mut reloader, profiles) = ProfilesReloader::open(&path);
        std::fs::write(&path, "this is not a session profile\n").unwrap();
        reloader.look();
        assert_eq!(profiles.borrow().len(), 1);
        std::fs::write(&path, "[a]\nname=A\nhost=s1\n\n[b]\nname=B\nhost=s2\n").unwrap();
        reloader.look();
        assert_eq!(profiles.borrow().len(), 2);
    }
}
