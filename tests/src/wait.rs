//! How does a test wait? By asking again until the answer is there, with a limit.

use std::time::{Duration, Instant};

/// What one look at the world has shown.
#[derive(Debug)]
pub enum Progress<T> {
    /// It is there.
    Ready(T),
    /// Not yet, and what is missing ("node 3 still sees 2 members").
    NotYet(String),
    /// It can't come any more, and why; waiting ends at once.
    Failed(String),
}

impl<T> Progress<T> {
    /// Turns a result into progress: an error means "not yet".
    pub fn retry<E: std::fmt::Display>(result: Result<T, E>) -> Self {
        match result {
            Ok(value) => Self::Ready(value),
            Err(error) => Self::NotYet(format!("{error:#}")),
        }
    }
}

impl Progress<()> {
    /// Ready when `condition` holds, else not yet with the text of `status`.
    pub fn when(condition: bool, status: impl FnOnce() -> String) -> Self {
        if condition {
            Self::Ready(())
        } else {
            Self::NotYet(status())
        }
    }
}

/// Why waiting ended without a value. Its text carries the last status.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WaitError {
    /// The limit passed.
    #[error("still waiting after {limit:?}: {last}")]
    TimedOut {
        /// The limit that was given.
        limit: Duration,
        /// What the last look said was missing.
        last: String,
    },
    /// A look said that it can't come any more.
    #[error("gave up after {after:?}: {why}")]
    Failed {
        /// How long the wait had lasted.
        after: Duration,
        /// What the look said.
        why: String,
    },
}

/// Looks again and again until `probe` is ready, at least once, for at most about `limit`.
///
/// # Errors
/// With the last status when the limit passed or the probe failed.
pub fn wait_for<T>(
    limit: Duration,
    mut probe: impl FnMut() -> Progress<T>,
) -> Result<T, WaitError> {
    let mut round = Rounds::begin(limit);
    loop {
        match round.judge(probe()) {
            Verdict::Done(value) => return Ok(value),
            Verdict::GiveUp(error) => return Err(error),
            Verdict::Again(pause) => std::thread::sleep(pause),
        }
    }
}

/// [`wait_for`] for a test that runs inside tokio; `probe` itself must not block.
///
/// # Errors
/// As [`wait_for`].
pub async fn wait_for_async<T>(
    limit: Duration,
    mut probe: impl FnMut() -> Progress<T>,
) -> Result<T, WaitError> {
    let mut round = Rounds::begin(limit);
    loop {
        match round.judge(probe()) {
            Verdict::Done(value) => return Ok(value),
            Verdict::GiveUp(error) => return Err(error),
            Verdict::Again(pause) => tokio::time::sleep(pause).await,
        }
    }
}

/// Returns the time on the wall; the one place where the harness reads it.
#[expect(
    clippy::disallowed_methods,
    reason = "tests of real processes measure real time; nothing here runs on a paused clock"
)]
#[must_use]
pub fn now() -> Instant {
    Instant::now()
}

/// The rounds of one wait.
struct Rounds {
    limit: Duration,
    begun: Instant,
    pause: Duration,
}

enum Verdict<T> {
    Done(T),
    GiveUp(WaitError),
    Again(Duration),
}

impl Rounds {
    fn begin(limit: Duration) -> Self {
        Self {
            limit,
            begun: now(),
            pause: FIRST_PAUSE,
        }
    }

    fn judge<T>(&mut self, progress: Progress<T>) -> Verdict<T> {
        let after = self.begun.elapsed();
        match progress {
            Progress::Ready(value) => Verdict::Done(value),
            Progress::Failed(why) => Verdict::GiveUp(WaitError::Failed { after, why }),
            Progress::NotYet(last) if after >= self.limit => Verdict::GiveUp(WaitError::TimedOut {
                limit: self.limit,
                last,
            }),
            Progress::NotYet(_) => {
                let pause = self.pause;
                self.pause = (pause * 2).min(LONGEST_PAUSE);
                Verdict::Again(pause.min(self.limit.saturating_sub(after)))
            }
        }
    }
}

/// Short enough that a figure measured by waiting is off by little.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
/// Long enough that a minute of waiting costs the two cores nothing.
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_returns_the_value_of_the_first_look_that_is_ready() {
        let mut looks = 0;
        let found = wait_for(Duration::from_secs(5), || {
            looks += 1;
            if looks < 4 {
                Progress::NotYet(format!("look {looks}"))
            } else {
                Progress::Ready(looks)
            }
        });
        assert_eq!(found, Ok(4));
    }

    #[test]
    fn a_wait_that_times_out_says_what_was_missing_last() {
        let mut looks = 0;
        let limit = Duration::from_millis(20);
        let missed = wait_for::<()>(limit, || {
            looks += 1;
            Progress::NotYet(format!("look {looks}"))
        });
        assert!(looks > 1);
        assert_eq!(
            missed,
            Err(WaitError::TimedOut {
                limit,
                last: format!("look {looks}")
            })
        );
    }

    #[test]
    fn a_wait_without_time_still_looks_once() {
        assert_eq!(wait_for(Duration::ZERO, || Progress::Ready(1)), Ok(1));
    }

    #[test]
    fn a_failed_look_ends_the_wait_at_once() {
        let mut looks = 0;
        let failed = wait_for::<()>(Duration::from_secs(60), || {
            looks += 1;
            Progress::Failed("the process is gone".to_owned())
        });
        assert_eq!(looks, 1);
        assert!(failed.is_err_and(|error| error.to_string().contains("the process is gone")));
    }

    #[tokio::test]
    async fn the_async_wait_keeps_to_the_same_rules() {
        let limit = Duration::from_millis(10);
        let missed = wait_for_async::<()>(limit, || Progress::NotYet("a thing".to_owned())).await;
        assert_eq!(
            missed,
            Err(WaitError::TimedOut {
                limit,
                last: "a thing".to_owned()
            })
        );
    }
}
