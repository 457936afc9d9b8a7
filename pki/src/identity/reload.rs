//! Notices that the files of a member were replaced, and publishes the new identity.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustls_pki_types::UnixTime;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::{Identity, IdentityError, IdentityPublisher, IdentityWatch, load_identity};
use crate::clock::{Clock, rfc3339};
use crate::error_chain::chain_text;
use crate::store::{LEAF_CERTIFICATE, LEAF_KEY, ROOTS};

/// Watches the directory of a member. [`Reloader::run`] does the work.
#[derive(Debug)]
pub struct Reloader {
    dir: PathBuf,
    clock: Clock,
    every: Duration,
    seen: Fingerprint,
    publisher: IdentityPublisher,
    warned_of_end: Option<Instant>,
}

/// What tells one set of files from another, without reading them.
type Fingerprint = [Option<FileMark>; 3];

#[derive(Debug, Clone, PartialEq, Eq)]
struct FileMark {
    device: u64,
    inode: u64,
    size: u64,
    mode: u32,
    owner: u32,
    changed: (i64, i64),
}

impl Reloader {
    /// Loads the identity in `dir`, which must be good now.
    ///
    /// # Errors
    /// As [`load_identity`].
    pub fn open(dir: &Path, clock: Clock) -> Result<(Self, IdentityWatch), IdentityError> {
        // Before reading: a file that is replaced meanwhile is then noticed later.
        let seen = fingerprint(dir);
        let (publisher, watch) = IdentityPublisher::new(load_identity(dir, &clock)?);
        let dir = dir.to_owned();
        Ok((
            Self {
                dir,
                clock,
                every: LOOK_EVERY,
                seen,
                publisher,
                warned_of_end: None,
            },
            watch,
        ))
    }

    /// Looks this often instead of every 10 seconds.
    #[must_use]
    pub fn every(mut self, every: Duration) -> Self {
        self.every = every.max(Duration::from_millis(1));
        self
    }

    /// Looks until `stop`. A new set that is not usable is reported once, and the identity
    /// in use stays.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut looks = tokio::time::interval(self.every);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                _ = looks.tick() => self.look().await,
            }
        }
    }

    /// Looks once. Everything that follows from a change happens in here, so that a
    /// dropped look is only made again.
    async fn look(&mut self) {
        let (dir, clock, seen) = (self.dir.clone(), self.clock.clone(), self.seen.clone());
        let read = move || {
            let now = fingerprint(&dir);
            (now != seen).then(|| (now, load_identity(&dir, &clock)))
        };
        // Files and signatures may take milliseconds that other tasks need.
        match tokio::task::spawn_blocking(read).await {
            Ok(None) => {}
            Ok(Some((now, loaded))) => {
                self.seen = now;
                self.take_up(loaded);
            }
            Err(error) => tracing::error!(%error, "looking for a new certificate failed"),
        }
        self.warn_of_end();
    }

    fn warn_of_end(&mut self) {
        let now = Instant::now();
        if self
            .warned_of_end
            .is_some_and(|warned| now.duration_since(warned) < WARN_OF_END_EVERY)
        {
            return;
        }
        let identity = self.publisher.current();
        if ends_soon(&identity, self.clock.now()) {
            let (dir, not_after) = (self.dir.display(), rfc3339(identity.not_after()));
            tracing::warn!(%dir, not_after, "the certificate ends soon, issue a new one");
            self.warned_of_end = Some(now);
        }
    }

    fn take_up(&self, loaded: Result<Identity, IdentityError>) {
        let dir = self.dir.display();
        match loaded {
            Ok(identity) if identity.subject() != self.publisher.current().subject() => {
                let (found, ours) = (identity.subject(), self.publisher.current());
                let ours = ours.subject();
                tracing::warn!(%dir, %found, %ours, "a certificate of somebody else refused");
            }
            Ok(identity) => {
                let (serial, not_after) = (identity.serial(), rfc3339(identity.not_after()));
                tracing::info!(%dir, serial, not_after, "new certificate in use");
                self.publisher.publish(identity);
            }
            Err(error) => {
                let reason = chain_text(&error);
                tracing::warn!(%dir, reason, "new certificate files refused, the old stay in use");
            }
        }
    }
}

/// Whether less than a fifth of the life is left.
fn ends_soon(identity: &Identity, now: UnixTime) -> bool {
    let (begin, end) = (
        identity.not_before().as_secs(),
        identity.not_after().as_secs(),
    );
    end.saturating_sub(now.as_secs()) < end.saturating_sub(begin) / 5
}

fn fingerprint(dir: &Path) -> Fingerprint {
    [LEAF_CERTIFICATE, LEAF_KEY, ROOTS].map(|name| {
        let found = fs::metadata(dir.join(name)).ok()?;
        Some(FileMark {
            device: found.dev(),
            inode: found.ino(),
            size: found.size(),
            mode: found.mode(),
            owner: found.uid(),
            changed: (found.mtime(), found.mtime_nsec()),
        })
    })
}

/// Renewals are rare and overlap by weeks; three stats every ten seconds cost nothing.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Often enough to be seen, seldom enough not to fill a log.
const WARN_OF_END_EVERY: Duration = Duration::from_secs(6 * 60 * 60);
