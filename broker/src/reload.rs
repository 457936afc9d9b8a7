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
    /// The session profiles that were looked for last, also when they could not be used.
    profiles_file: PathBuf,
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
            profiles_file: config.inifile.session_profiles.clone(),
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
        if self.seen.as_ref() != Some(&self.fingerprints()) {
            self.load();
        }
    }

    /// Reads all files. What changed meanwhile is read again: half of a file can be a good
    /// shorter one, or a broken one.
    fn load(&mut self) {
        let (read, before) = self.read();
        self.seen = Some(before).filter(|before| *before == self.fingerprints());
        if self.seen.is_none() {
            return;
        }
        match read {
            Ok((config, profiles)) => {
                warn_of_restart(&self.config, &config);
                let n_profiles = profiles.len();
                info!(n_profiles, "configuration and session profiles read");
                let settings = Settings::new(&config, Arc::new(profiles));
                self.config = config;
                self.published.send_replace(Arc::new(settings));
            }
            Err(problems) => {
                report(&problems);
                let settings = self.published.borrow();
                let n_profiles = settings.profiles().map_or(0, |all| all.len());
                error!(n_profiles, "the files can't be used; the old settings stay");
            }
        }
    }

    /// Reads all files, and tells how they were before that.
    fn read(
        &mut self,
    ) -> (
        Result<(Config, SessionProfiles), Vec<Problem>>,
        Fingerprints,
    ) {
        let mut before = self.fingerprints();
        let (config, warnings) = match self.origin.read() {
            Ok(read) => read,
            Err(problems) => return (Err(problems), before),
        };
        if self.profiles_file != config.inifile.session_profiles {
            self.profiles_file
                .clone_from(&config.inifile.session_profiles);
            before = self.fingerprints();
        }
        let read = match load::session_profiles(&config.inifile) {
            // Nobody takes all profiles away by a line that can't be read.
            Ok((profiles, problems)) if !(profiles.is_empty() && has_errors(&problems)) => {
                report(&warnings);
                report(&problems);
                Ok((config, profiles))
            }
            Ok((_, problems)) | Err(problems) => Err(problems),
        };
        (read, before)
    }

    fn fingerprints(&self) -> Fingerprints {
        let files: [&PathBuf; 3] = [
            &self.origin.config_file,
            &self.origin.defaults_file,
            &self.profiles_file,
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
        ("[brokers]", old.brokers != new.brokers),
        (
            "X2GOBROKER_AUTHSERVICE_SOCKET",
            old.authservice_socket != new.authservice_socket,
        ),
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
