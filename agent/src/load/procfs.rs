//! What do the kernel's own texts say about load, memory and pressure?
//!
//! Pure parsers; each gives nothing when its text is not as expected.

/// Load averages of one and five minutes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct LoadAverages {
    pub(super) load1: f64,
    pub(super) load5: f64,
}

/// Memory in units of 10^6 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Memory {
    pub(super) total_mb: u64,
    pub(super) used_mb: u64,
}

/// Reads `/proc/loadavg`: proc_loadavg(5).
pub(super) fn load_averages(text: &str) -> Option<LoadAverages> {
    let mut words = text.split_ascii_whitespace().map(str::parse);
    let mut next = || {
        words
            .next()?
            .ok()
            .filter(|load: &f64| load.is_finite() && *load >= 0.0)
    };
    Some(LoadAverages {
        load1: next()?,
        load5: next()?,
    })
}

/// Reads `/proc/meminfo`: proc_meminfo(5). Kernels before 3.14 do not state what is
/// available; there, free memory and caches come closest.
pub(super) fn memory(text: &str) -> Option<Memory> {
    let kb = |name: &str| {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.trim()
            .strip_suffix("kB")?
            .trim_end()
            .parse::<u64>()
            .ok()
    };
    let total = kb("MemTotal")?;
    let free_and_caches = || {
        let caches = kb("Buffers")
            .unwrap_or(0)
            .checked_add(kb("Cached").unwrap_or(0))?;
        kb("MemFree")?.checked_add(caches)
    };
    let available = kb("MemAvailable").or_else(free_and_caches)?;
    let to_mb = |kb: u64| kb.checked_mul(1024).map(|bytes| bytes / 1_000_000);
    Some(Memory {
        total_mb: to_mb(total)?,
        used_mb: to_mb(total.saturating_sub(available))?,
    })
}

/// Reads the share of the last 10 s in which some task waited, from a file of
/// `/proc/pressure`: 0 to 1.
pub(super) fn pressure(text: &str) -> Option<f64> {
    let some = text.lines().find_map(|line| line.strip_prefix("some "))?;
    let percent = some
        .split_ascii_whitespace()
        .find_map(|word| word.strip_prefix("avg10="))?;
    let percent: f64 = percent.parse().ok()?;
    (0.0..=100.0).contains(&percent).then_some(percent / 100.0)
}

#[cfg(test)]
mod tests {
    use super::{LoadAverages, Memory, load_averages, memory, pressure};

    #[test]
    fn load_averages_are_the_first_two_words() {
        let rows = [
            ("0.23 0.31 0.24 1/91 17787\n", Some((0.23, 0.31))),
            ("181.50 96.00 44.02 97/4012 991\n", Some((181.5, 96.0))),
            ("", None),
            ("0.5", None),
            ("x y z", None),
            ("-1.0 0.5 0.5", None),
            ("inf nan 0.5", None),
        ];
        for (text, expected) in rows {
            let expected = expected.map(|(load1, load5)| LoadAverages { load1, load5 });
            assert_eq!(load_averages(text), expected, "{text:?}");
        }
    }

    #[test]
    fn memory_is_counted_in_millions_of_bytes() {
        let gb = |total_mb, used_mb| Some(Memory { total_mb, used_mb });
        let rows = [
            (
                "MemTotal: 16000000 kB\nMemFree: 1 kB\nMemAvailable: 12000000 kB\n",
                gb(16384, 4096),
            ),
            // Raspberry Pi OS, kernel 3.12
            (
                "MemTotal:  448736 kB\nMemFree: 200000 kB\nBuffers: 8736 kB\nCached: 100000 kB\n",
                gb(459, 143),
            ),
            ("MemTotal: 100 kB\nMemAvailable: 200 kB\n", gb(0, 0)),
            ("MemTotal: 100 kB\n", None),
            ("MemAvailable: 100 kB\n", None),
            (
                "MemTotal: 99999999999999999999 kB\nMemAvailable: 1 kB\n",
                None,
            ),
            (
                "MemTotal: 18446744073709551615 kB\nMemAvailable: 1 kB\n",
                None,
            ),
            ("", None),
        ];
        for (text, expected) in rows {
            assert_eq!(memory(text), expected, "{text:?}");
        }
    }

    #[test]
    fn pressure_is_a_share() {
        let full = "full avg10=9.00 avg60=0.00 avg300=0.00 total=0\n";
        let rows = [
            (
                "some avg10=12.50 avg60=1.25 avg300=1.49 total=20712357\n",
                Some(0.125),
            ),
            (
                "some avg10=100.00 avg60=1.25 avg300=1.49 total=20712357\n",
                Some(1.0),
            ),
            ("some avg10=100.01 avg60=0.00\n", None),
            ("some avg60=1.25\n", None),
            ("some avg10=x\n", None),
            ("", None),
        ];
        for (text, expected) in rows {
            assert_eq!(pressure(&format!("{text}{full}")), expected, "{text:?}");
        }
    }
}
