//! When is a failed handshake worth a warning?

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

/// Counts failures per source, and lets one warning per source and second through.
#[derive(Debug, Default)]
pub(super) struct FailureLog {
    sources: HashMap<IpAddr, Failures>,
}

#[derive(Debug)]
struct Failures {
    warned: Instant,
    since: u64,
}

impl FailureLog {
    /// Notes a failure. Gives how many there were since the last warning, this one
    /// included, when a warning is due.
    pub(super) fn note(&mut self, source: IpAddr, now: Instant) -> Option<u64> {
        if let Some(known) = self.sources.get_mut(&source) {
            known.since = known.since.saturating_add(1);
            if now.duration_since(known.warned) < WARN_EVERY {
                return None;
            }
            known.warned = now;
            return Some(std::mem::take(&mut known.since));
        }
        if self.sources.len() >= MAX_SOURCES {
            self.sources
                .retain(|_, known| now.duration_since(known.warned) < FORGET_AFTER);
        }
        if self.sources.len() >= MAX_SOURCES {
            // So many sources at once are one event, and the table has told of it.
            return None;
        }
        self.sources.insert(
            source,
            Failures {
                warned: now,
                since: 0,
            },
        );
        Some(1)
    }
}

/// The log shows that a source goes on, without growing with what it sends.
const WARN_EVERY: Duration = Duration::from_secs(1);
/// A source that was quiet for so long starts anew.
const FORGET_AFTER: Duration = Duration::from_secs(60);
/// More than the hosts of a large farm; 64 KB.
const MAX_SOURCES: usize = 1024;

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{FailureLog, MAX_SOURCES};

    fn source(n: usize) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(n).unwrap()))
    }

    #[test]
    fn one_warning_per_second_and_source_tells_how_many_failed() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut log = FailureLog::default();
        let table = [
            (1, 0, Some(1)),
            (1, 10, None),
            (1, 999, None),
            (2, 999, Some(1)),
            (1, 1000, Some(3)),
            (1, 1001, None),
            (2, 3000, Some(1)),
            (1, 9000, Some(2)),
        ];
        for (n, millis, expected) in table {
            assert_eq!(
                log.note(source(n), at(millis)),
                expected,
                "source {n} at {millis} ms"
            );
        }
    }

    #[test]
    fn the_table_is_bounded_and_forgets_quiet_sources() {
        let start = Instant::now();
        let mut log = FailureLog::default();
        for n in 0..MAX_SOURCES {
            assert_eq!(log.note(source(n), start), Some(1));
        }
        for n in 0..1000 {
            assert_eq!(log.note(source(MAX_SOURCES + n), start), None);
        }
        assert_eq!(log.sources.len(), MAX_SOURCES);
        let later = start + Duration::from_secs(60);
        assert_eq!(log.note(source(MAX_SOURCES), later), Some(1));
        assert_eq!(log.sources.len(), 1);
    }
}
