//! Keeps the settings as the files have them.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::app::Reloads;
use crate::config::Config;
use crate::config::load::{self, Origin};
use crate::ini::Problem;
use crate::profiles::SessionProfiles;
use crate::settings::{Settings, SettingsWatch};

/// Publishes the settings anew whenever one of their files changed: all of them at once,
/// or, when a file can't be used, nothing. Profiles of which none can be used count as
/// such a file.
#[derive(Debug)]
pub struct SettingsReloader {
    origin: Origin,
    /// The configuration that counts.
    config: Config,
    /// The files as they were when they were read last; none to read them in any case.
    seen: Option<Fingerprints>,
    published: watch::Sender<Arc<Settings>>,
}

/// The three files: configuration, defaults, session profiles.
type Fingerprints = [Option<Fingerprint>; 3];

#[derive(Debug, PartialEq, Eq)]
struct Fingerprint {
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

impl SettingsReloader {
    /// Begins with a configuration that was read already. Without a file of profiles that
    /// can be used there are no profiles until there is one.
    #[must_use]
    pub fn open(origin: Origin, config: &Config) -> (Self, SettingsWatch) {
        let (published, settings) = watch::channel(Arc::new(Settings::new(config, Arc::default())));
        let mut reloader = Self {
            origin,
            config: config.clone(),
            seen: None,
            published,
        };
        reloader.load();
        (reloader, settings)
    }

    /// Looks for changes until told to stop, and at once when asked to.
    pub(crate) async fn run(mut self, mut reloads: Reloads, stop: CancellationToken) {
        let mut every = tokio::time::interval(LOOK_EVERY);
        loop {
            let mut is_asked = false;
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                asked = reloads.asked() => {
                    if asked.is_none() {
                        return;
                    }
                    is_asked = true;
                    self.seen = None;
                }
                _ = every.tick() => {}
            }
            // Off the async threads: the files may be on a slow disk.
            let looked = tokio::task::spawn_blocking(move || {
                self.look();
                self
            });
            match looked.await {
                Ok(reloader) => self = reloader,
                Err(panic) => {
                    error!(error = %panic, "reading the configuration ended in a panic");
                    return;
                }
            }
            if is_asked {
                reloads.done();
            }
        }
    }

    fn look(&mut self) {
        if self.seen.as_ref() != Some(&self.fingerprints(&self.config)) {
            self.load();
        }
    }

    fn load(&mut self) {
        let read = self.read();
        match read {
            Ok(Some((config, profiles, seen))) => {
                warn_of_restart(&self.config, &config);
                let n_profiles = profiles.len();
                info!(n_profiles, "configuration and session profiles read");
                let settings = Settings::new(&config, Arc::new(profiles));
                self.config = config;
                self.seen = Some(seen);
                self.published.send_replace(Arc::new(settings));
            }
            // Half of a file can be a good shorter one: what changed meanwhile is read again.
            Ok(None) => self.seen = None,
            Err(problems) => {
                report(&problems);
                let n_profiles = self
                    .published
                    .borrow()
                    .profiles()
                    .map_or(0, |all| all.len());
                error!(n_profiles, "the files can't be used; the old settings stay");
                self.seen = Some(self.fingerprints(&self.config));
            }
        }
    }

    /// Reads all files; none when one of them changed meanwhile.
    fn read(&self) -> Result<Option<(Config, SessionProfiles, Fingerprints)>, Vec<Problem>> {
        let before = self.fingerprints(&self.config);
        let (config, warnings) = self.origin.read()?;
        let before = match config.inifile.session_profiles == self.config.inifile.session_profiles {
            true => before,
            false => self.fingerprints(&config),
        };
        let profiles = load::session_profiles(&config.inifile);
        if before != self.fingerprints(&config) {
            return Ok(None);
        }
        match profiles {
            // Nobody takes all profiles away by a line that can't be read.
            Ok((profiles, problems)) if !(profiles.is_empty() && has_errors(&problems)) => {
                report(&warnings);
                report(&problems);
                Ok(Some((config, profiles, before)))
            }
            Ok((_, problems)) | Err(problems) => Err(problems),
        }
    }

    fn fingerprints(&self, config: &Config) -> Fingerprints {
        let files: [&PathBuf; 3] = [
            &self.origin.config_file,
            &self.origin.defaults_file,
            &config.inifile.session_profiles,
        ];
        files.map(|file| fingerprint(file))
    }
}

/// Tells what a reload can't change.
fn warn_of_restart(old: &Config, new: &Config) {
    let differing = [
        ("[mesh]", old.mesh != new.mesh),
        ("[limits]", old.limits != new.limits),
        ("where clients connect", old.http != new.http),
    ];
    for (what, _) in differing.iter().filter(|(_, differs)| *differs) {
        warn!(what, "this change takes effect at the next start");
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
mod tests;
