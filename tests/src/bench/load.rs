//! How many answers a second, and after how long each? Clients that ask without a pause,
//! each on a connection of its own.

use std::net::SocketAddr;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use anyhow::Context as _;

use super::https::{ClientTrust, HttpsClient};
use crate::wait::now;

/// A server under load.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where it listens.
    pub server: SocketAddr,
    /// How to trust it.
    pub trust: ClientTrust,
}

/// Answers as they were measured.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    latencies: Vec<Duration>,
    took: Duration,
}

impl Target {
    /// Lets `n_clients` ask for `time`. Client number N asks its own share of `requests`,
    /// over and over: every n-th from the N-th on, so that no two clients are one user.
    /// Each answer is looked at by `check`.
    ///
    /// # Errors
    /// With the first answer that is missing or that `check` refuses.
    pub fn ask_for(
        &self,
        time: Duration,
        n_clients: usize,
        requests: &[Vec<u8>],
        check: fn(&[u8]) -> anyhow::Result<()>,
    ) -> anyhow::Result<Answers> {
        let ready = Barrier::new(n_clients);
        let shares: Vec<Vec<&[u8]>> = (0..n_clients)
            .map(|first| {
                let share = requests.iter().skip(first).step_by(n_clients);
                share.map(Vec::as_slice).collect()
            })
            .collect();
        thread::scope(|scope| {
            let clients: Vec<_> = shares
                .iter()
                .map(|share| scope.spawn(|| self.one_client(time, share, check, &ready)))
                .collect();
            let mut all = Answers::default();
            for client in clients {
                let client = client.join().ok().context("a client panicked")??;
                all.latencies.extend(client.latencies);
                all.took = all.took.max(client.took);
            }
            Ok(all)
        })
    }

    /// Asks each of `requests` once, one after the other on one connection.
    ///
    /// # Errors
    /// With the first answer that is missing or that `check` refuses.
    pub fn ask_each(
        &self,
        requests: &[Vec<u8>],
        check: fn(&[u8]) -> anyhow::Result<()>,
    ) -> anyhow::Result<Answers> {
        let mut client = HttpsClient::connect(self.server, &self.trust)?;
        let (mut answers, begun) = (Answers::default(), now());
        for request in requests {
            answers.latencies.push(ask(&mut client, request, check)?);
        }
        answers.took = begun.elapsed();
        Ok(answers)
    }

    fn one_client(
        &self,
        time: Duration,
        share: &[&[u8]],
        check: fn(&[u8]) -> anyhow::Result<()>,
        ready: &Barrier,
    ) -> anyhow::Result<Answers> {
        let client = HttpsClient::connect(self.server, &self.trust);
        // The first answer on a connection has the handshake in it.
        let client = client.and_then(|mut client| {
            ask(&mut client, share.first().context("no requests")?, check)?;
            Ok(client)
        });
        // Also with an error: the others wait.
        ready.wait();
        let mut client = client?;
        let (mut answers, begun) = (Answers::default(), now());
        for request in share.iter().cycle() {
            if begun.elapsed() >= time {
                break;
            }
            answers.latencies.push(ask(&mut client, request, check)?);
        }
        answers.took = begun.elapsed();
        Ok(answers)
    }
}

fn ask(
    client: &mut HttpsClient,
    request: &[u8],
    check: fn(&[u8]) -> anyhow::Result<()>,
) -> anyhow::Result<Duration> {
    let begun = now();
    let answer = client.ask(request)?;
    let took = begun.elapsed();
    check(answer)?;
    Ok(took)
}

impl Answers {
    /// Answers that somebody else has measured.
    #[must_use]
    pub fn of(latencies: Vec<Duration>, took: Duration) -> Self {
        Self { latencies, took }
    }

    /// Adds the answers of another round of the same kind.
    pub fn add(&mut self, other: Self) {
        self.latencies.extend(other.latencies);
        self.took += other.took;
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.latencies.len()
    }

    /// Answers per second.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "no bench gets that many answers"
    )]
    pub fn per_second(&self) -> f64 {
        self.latencies.len() as f64 / self.took.as_secs_f64().max(f64::EPSILON)
    }

    /// The time within which `per_mille` of 1000 answers were there.
    #[must_use]
    pub fn quantile(&self, per_mille: usize) -> Duration {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        let last = sorted.len().saturating_sub(1);
        sorted
            .get((sorted.len() * per_mille / 1000).min(last))
            .copied()
            .unwrap_or(Duration::MAX)
    }

    /// The median.
    #[must_use]
    pub fn p50(&self) -> Duration {
        self.quantile(500)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_all_rounds_together() {
        let round = |ms: std::ops::RangeInclusive<u64>| Answers {
            latencies: ms.rev().map(Duration::from_millis).collect(),
            took: Duration::from_secs(1),
        };
        let mut answers = round(51..=100);
        answers.add(round(1..=50));
        assert_eq!(answers.p50(), Duration::from_millis(51));
        assert_eq!(answers.quantile(990), Duration::from_millis(100));
        assert_eq!(answers.quantile(1000), Duration::from_millis(100));
        assert!((answers.per_second() - 50.0).abs() < 1e-9);
        assert_eq!(Answers::default().p50(), Duration::MAX);
    }
}
