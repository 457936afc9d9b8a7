//! Which start of this member is this? The answer grows with each start, whatever the
//! clock does, because a generation that is used twice keeps the state of its first use.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pki::Clock;
use proto::Generation;

/// Gives a new generation whenever the gossip must be started again.
#[derive(Clone)]
pub struct Generations(Arc<dyn Fn() -> Result<Generation, GenerationError> + Send + Sync>);

/// Why there is no new generation.
#[derive(Debug, thiserror::Error)]
#[error("can't {act} {path}, where the last generation of the gossip is kept")]
pub struct GenerationError {
    act: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl Generations {
    /// Takes them from `next`, which must give a higher one each time. It may block.
    pub fn new(
        next: impl Fn() -> Result<Generation, GenerationError> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(next))
    }

    /// Takes them from [`next_generation`].
    #[must_use]
    pub fn stored(state_dir: &Path, clock: Clock) -> Self {
        let state_dir = state_dir.to_owned();
        Self::new(move || next_generation(&state_dir, &clock))
    }

    /// The next one. Blocks on the disk.
    pub(crate) fn next(&self) -> Result<Generation, GenerationError> {
        (self.0)()
    }
}

impl std::fmt::Debug for Generations {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Generations(..)")
    }
}

/// Takes the next generation: one more than the stored one, or the time in milliseconds
/// if that is higher. It is on the disk when this returns. Blocks.
///
/// A stored one that is no number counts as none, with a warning: then only a clock that
/// was also set back could repeat a generation.
///
/// # Errors
/// When the file in `state_dir` can't be read or replaced.
pub fn next_generation(state_dir: &Path, clock: &Clock) -> Result<Generation, GenerationError> {
    let path = state_dir.join(FILE);
    let failed = |act| {
        let path = path.clone();
        move |source| GenerationError { act, path, source }
    };
    let stored = match fs::read(&path) {
        Ok(bytes) => read_number(&bytes).unwrap_or_else(|| {
            tracing::warn!(path = %path.display(), "the stored generation is no number; ignored");
            0
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(failed("read")(error)),
    };
    let now = u64::try_from(clock.since_epoch().as_millis()).unwrap_or(u64::MAX);
    let next = stored.saturating_add(1).max(now);
    replace(state_dir, &path, next).map_err(failed("replace"))?;
    Ok(Generation(next))
}

fn read_number(bytes: &[u8]) -> Option<u64> {
    std::str::from_utf8(bytes).ok()?.trim_end().parse().ok()
}

fn replace(state_dir: &Path, path: &Path, number: u64) -> io::Result<()> {
    let draft = state_dir.join(DRAFT);
    let mut file = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)?;
    writeln!(file, "{number}")?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    File::open(state_dir)?.sync_all()
}

const FILE: &str = "gossip-generation";
const DRAFT: &str = "gossip-generation.new";

#[cfg(test)]
mod tests {
    use std::error::Error;
    use std::time::Duration;

    use pki::{Clock, UnixTime};
    use proto::Generation;

    use super::{FILE, next_generation};

    #[test]
    fn a_generation_grows_also_when_the_clock_goes_back() {
        let dir = tempfile::tempdir().unwrap();
        let (clock, hand) = Clock::manual(UnixTime::since_unix_epoch(Duration::from_secs(100)));
        let next = || next_generation(dir.path(), &clock).unwrap();
        assert_eq!(next(), Generation(100_000));
        assert_eq!(next(), Generation(100_001));
        hand.set(UnixTime::since_unix_epoch(Duration::from_secs(7)));
        assert_eq!(next(), Generation(100_002));
        hand.set(UnixTime::since_unix_epoch(Duration::from_secs(200)));
        assert_eq!(next(), Generation(200_000));
        let stored = std::fs::read_to_string(dir.path().join(FILE)).unwrap();
        assert_eq!(stored, "200000\n");
    }

    #[test]
    fn a_damaged_file_falls_back_to_the_clock() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), "\0\0\0").unwrap();
        let (clock, _hand) = Clock::manual(UnixTime::since_unix_epoch(Duration::from_secs(9)));
        assert_eq!(
            next_generation(dir.path(), &clock).unwrap(),
            Generation(9_000)
        );
    }

    #[test]
    fn without_its_directory_there_is_no_generation() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("missing");
        let error = next_generation(&missing, &Clock::system()).unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with("can't replace ") && text.contains(FILE),
            "{text}"
        );
        assert!(error.source().is_some());
    }
}
