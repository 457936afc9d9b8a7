//! What time it is, for certificates and everything else that must be testable.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use rustls::time_provider::TimeProvider;
use rustls_pki_types::UnixTime;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The source of wall-clock time of a program.
///
/// Certificate checks of every connection follow it too. Cloning is cheap; clones of a
/// manual clock share its time.
#[derive(Debug, Clone)]
pub enum Clock {
    /// The time of the machine.
    System,
    /// The time that a test gives.
    Manual(ManualClock),
}

/// A clock that stands still until it is moved.
#[derive(Debug, Clone)]
pub struct ManualClock {
    millis: Arc<AtomicU64>,
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self::System
    }

    /// A clock that stands at `start`, and the handle that moves it.
    pub fn manual(start: UnixTime) -> (Self, ManualClock) {
        let clock = ManualClock::new(start);
        (Self::Manual(clock.clone()), clock)
    }

    /// The time now, in whole seconds.
    pub fn now(&self) -> UnixTime {
        UnixTime::since_unix_epoch(self.since_epoch())
    }

    /// The time that has passed since 1970-01-01 UTC; zero when the clock stands before it.
    pub fn since_epoch(&self) -> Duration {
        match self {
            Self::System => since_epoch_by_the_machine(),
            Self::Manual(manual) => Duration::from_millis(manual.millis.load(Ordering::SeqCst)),
        }
    }
}

impl ManualClock {
    /// A clock that stands at `start`.
    pub fn new(start: UnixTime) -> Self {
        let millis = start.as_secs().saturating_mul(1000);
        Self {
            millis: Arc::new(AtomicU64::new(millis)),
        }
    }

    /// Moves the clock forward, in whole milliseconds.
    pub fn advance(&self, by: Duration) {
        let by = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        let moved = |now: u64| Some(now.saturating_add(by));
        // The closure always gives a value, so the update can't fail.
        let _previous = self
            .millis
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, moved);
    }

    /// Puts the clock to `now`, which may be earlier than before.
    pub fn set(&self, now: UnixTime) {
        self.millis
            .store(now.as_secs().saturating_mul(1000), Ordering::SeqCst);
    }
}

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(self.now())
    }
}

/// Writes a time as people and scripts read it: `2026-11-22T07:30:00Z`.
pub fn rfc3339(time: UnixTime) -> String {
    let text = i64::try_from(time.as_secs())
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .and_then(|date| date.format(&Rfc3339).ok());
    // Only years past 9999 can't be written so.
    text.unwrap_or_else(|| format!("second {} of the epoch", time.as_secs()))
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place of the tree that reads the machine's clock"
)]
fn since_epoch_by_the_machine() -> Duration {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustls_pki_types::UnixTime;

    use super::{Clock, rfc3339};

    fn at(seconds: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(seconds))
    }

    #[test]
    fn a_manual_clock_moves_only_when_told_and_all_clones_see_it() {
        let (clock, hand) = Clock::manual(at(1000));
        let clone = clock.clone();
        assert_eq!(clock.now(), at(1000));
        hand.advance(Duration::from_millis(1500));
        assert_eq!(clone.now(), at(1001));
        assert_eq!(clone.since_epoch(), Duration::from_millis(1_001_500));
        hand.set(at(5));
        assert_eq!(clock.now(), at(5));
        hand.advance(Duration::MAX);
        assert_eq!(clock.since_epoch(), Duration::from_millis(u64::MAX));
    }

    #[test]
    fn times_are_written_as_in_rfc_3339() {
        assert_eq!(rfc3339(at(0)), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(at(1_795_332_600)), "2026-11-22T07:30:00Z");
        assert_eq!(
            rfc3339(at(u64::MAX)),
            "second 18446744073709551615 of the epoch"
        );
    }

    #[test]
    fn the_system_clock_is_past_the_year_2020() {
        assert!(Clock::system().now() > at(1_577_836_800));
    }
}
