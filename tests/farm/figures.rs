//! How long did logins take?

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use tests::lab::Call;

/// What became of many logins.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    took: Vec<Duration>,
    servers: BTreeMap<String, usize>,
    failures: Vec<String>,
}

impl Figures {
    /// Counts one login.
    pub(crate) fn add(&mut self, call: &Call) {
        self.took.push(call.took);
        match call.server() {
            Ok(server) => *self.servers.entry(server.to_owned()).or_default() += 1,
            Err(error) => self.failures.push(format!("{error:#}")),
        }
    }

    /// How many logins there were.
    pub(crate) fn count(&self) -> usize {
        self.took.len()
    }

    /// How many logins were sent to a server.
    pub(crate) fn at(&self, server: &str) -> usize {
        self.servers.get(server).copied().unwrap_or(0)
    }

    /// The texts of those that failed.
    pub(crate) fn failures(&self) -> &[String] {
        &self.failures
    }

    /// The time that half of them did not exceed.
    pub(crate) fn median(&self) -> Duration {
        let mut sorted = self.took.clone();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied().unwrap_or_default()
    }

    /// The time of the slowest.
    pub(crate) fn slowest(&self) -> Duration {
        self.took.iter().max().copied().unwrap_or_default()
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, failed) = (self.count(), self.failures.len());
        let (median, slowest) = (self.median(), self.slowest());
        let noticed = self.took.iter().filter(|took| **took > NOTICED).count();
        write!(f, "{count} logins, {failed} failed, p50 {median:.1?}")?;
        write!(f, ", slowest {slowest:.1?}, {noticed} over {NOTICED:?}")?;
        self.servers
            .iter()
            .try_for_each(|(server, count)| write!(f, ", {server} {count}"))
    }
}

/// What a person may notice.
const NOTICED: Duration = Duration::from_millis(100);
