//! When does an operator mean: after which time, or at which moment?

use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A moment, as it is written on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// After so long.
    After(Duration),
    /// At this moment, in seconds since 1970-01-01 UTC.
    At(u64),
}

/// A text that names no moment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("neither a time such as 90s, 30m, 2h or 1d, nor a moment such as 2026-12-01T18:00:00Z")]
pub(super) struct WhenError;

impl When {
    /// Reads a time or a moment.
    pub(super) fn parse(text: &str) -> Result<Self, WhenError> {
        let found = after(text).map(Self::After);
        found.or_else(|| at(text).map(Self::At)).ok_or(WhenError)
    }

    /// The moment, in seconds since 1970-01-01 UTC.
    pub(super) fn at(self, since_epoch: Duration) -> u64 {
        match self {
            Self::At(at) => at,
            // In whole seconds, and never before its time.
            Self::After(after) => {
                let at = since_epoch.saturating_add(after);
                at.as_secs()
                    .saturating_add(u64::from(at.subsec_nanos() > 0))
            }
        }
    }
}

fn after(text: &str) -> Option<Duration> {
    let unit = text.chars().last()?;
    let count = text.strip_suffix(unit)?;
    let seconds: u64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 24 * 3600,
        _ => return None,
    };
    // Numbers may begin with a sign, times may not.
    let is_number = count.bytes().all(|byte| byte.is_ascii_digit());
    let count: u64 = count.parse().ok().filter(|_| is_number)?;
    count.checked_mul(seconds).map(Duration::from_secs)
}

fn at(text: &str) -> Option<u64> {
    let moment = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    u64::try_from(moment.unix_timestamp()).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{When, WhenError};

    #[test]
    fn times_and_moments_are_read() {
        let after = |seconds| Ok(When::After(Duration::from_secs(seconds)));
        let rows = [
            ("90s", after(90)),
            ("30m", after(1800)),
            ("2h", after(7200)),
            ("1d", after(86400)),
            ("0s", after(0)),
            ("2026-11-22T07:30:00Z", Ok(When::At(1_795_332_600))),
            ("2026-11-22T08:30:00+01:00", Ok(When::At(1_795_332_600))),
            ("2026-11-22T07:30:00.9Z", Ok(When::At(1_795_332_600))),
        ];
        for (text, expected) in rows {
            assert_eq!(When::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        let texts = [
            "",
            "s",
            "90",
            "+90s",
            "-90s",
            "1.5h",
            "1h30m",
            "2w",
            "90 s",
            "90ä",
            "18446744073709551615d",
            "99999999999999999999s",
            "2026-11-22",
            "2026-11-22T07:30:00",
            "2026-11-22T07:30Z",
            "2026-13-22T07:30:00Z",
            "1969-12-31T23:59:59Z",
            "tomorrow",
        ];
        for text in texts {
            assert_eq!(When::parse(text), Err(WhenError), "{text}");
        }
    }

    #[test]
    fn a_time_is_counted_from_now_and_never_too_short() {
        let now = Duration::from_millis(1_000_001);
        let after = |seconds| When::After(Duration::from_secs(seconds));
        assert_eq!(after(90).at(now), 1091);
        assert_eq!(after(90).at(Duration::from_secs(1000)), 1090);
        assert_eq!(after(u64::MAX).at(now), u64::MAX);
        assert_eq!(When::At(7).at(now), 7);
    }
}
