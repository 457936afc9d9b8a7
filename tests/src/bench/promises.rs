//! Was kept what was promised? Prints each figure beside its promise.
#![expect(clippy::print_stdout, reason = "a bench is there to print its figures")]

use std::fmt;
use std::process::ExitCode;
use std::time::Duration;

/// The promises of one bench, as they are looked at one after the other.
#[derive(Debug)]
pub struct Promises {
    source: &'static str,
    n_kept: usize,
    missed: Vec<String>,
}

impl Promises {
    /// Promises that were made in `source`.
    #[must_use]
    pub fn of(source: &'static str) -> Self {
        Self {
            source,
            n_kept: 0,
            missed: Vec::new(),
        }
    }

    /// Compares a time with the most that it may be.
    pub fn at_most(&mut self, what: &str, measured: Duration, promised: Duration) {
        let figure = format!("{} (promised: at most {})", ms(measured), ms(promised));
        self.note(what, &figure, measured <= promised);
    }

    /// Compares a memory size in KiB, as the kernel gives it, with the most that it may be
    /// in MB.
    pub fn at_most_mb(&mut self, what: &str, measured_kib: u64, promised_mb: u64) {
        let figure = format!("{} (promised: at most {promised_mb} MB)", mb(measured_kib));
        self.note(
            what,
            &figure,
            measured_kib * 1024 <= promised_mb * 1_000_000,
        );
    }

    /// Compares a rate with the least that it may be.
    pub fn at_least_per_second(&mut self, what: &str, measured: f64, promised: f64) {
        let figure = format!("{measured:.0}/s (promised: at least {promised:.0}/s)");
        self.note(what, &figure, measured >= promised);
    }

    /// Prints the verdict, and returns 0 when all was kept, else 1.
    #[must_use]
    pub fn verdict(self) -> ExitCode {
        let Self {
            source,
            n_kept,
            missed,
        } = self;
        println!();
        if missed.is_empty() {
            println!("all {n_kept} figures promised in {source} are kept");
            return ExitCode::SUCCESS;
        }
        println!("promised in {source} and MISSED:");
        for line in missed {
            println!("  {line}");
        }
        ExitCode::FAILURE
    }

    fn note(&mut self, what: &str, figure: &str, is_kept: bool) {
        let line = format!("{what}: {figure}");
        println!("  {} {line}", if is_kept { "kept  " } else { "MISSED" });
        if is_kept {
            self.n_kept += 1;
        } else {
            self.missed.push(line);
        }
    }
}

/// Prints a line that stands above others.
pub fn headline(text: impl fmt::Display) {
    println!("\n{text}");
}

/// Prints a line that explains, or a figure that nobody promised.
pub fn note(text: impl fmt::Display) {
    println!("  {text}");
}

/// What else the machine is doing, since it disturbs every figure.
#[must_use]
pub fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    format!("{cores} cores, load average {load} at the start")
}

/// A time in milliseconds, for people.
#[must_use]
pub fn ms(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1000.0)
}

/// A size in KiB as megabytes (10^6 bytes), for people.
#[must_use]
pub fn mb(kib: u64) -> String {
    let tenths = kib * 1024 / 100_000;
    format!("{}.{} MB", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_missed_promise_is_enough_to_fail() {
        let second = Duration::from_secs(1);
        let mut promises = Promises::of("a test");
        promises.at_most("a time at its bound", second, second);
        promises.at_most_mb("a size at its bound", 15_625, 16);
        promises.at_least_per_second("a rate at its bound", 5.0, 5.0);
        assert_eq!((promises.n_kept, promises.missed.len()), (3, 0));
        promises.at_most("a time above it", second * 2, second);
        promises.at_most_mb("a size above it", 15_626, 16);
        promises.at_least_per_second("a rate below it", 4.9, 5.0);
        assert_eq!((promises.n_kept, promises.missed.len()), (3, 3));
    }

    #[test]
    fn sizes_are_told_in_megabytes() {
        assert_eq!(mb(58_594), "60.0 MB");
        assert_eq!(mb(0), "0.0 MB");
    }
}
