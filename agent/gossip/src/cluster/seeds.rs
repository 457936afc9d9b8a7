//! Where are the seeds now? Names are resolved again and again, and the last good answer
//! stays in use.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

/// The seeds with their last known addresses, and the look-ups under way.
#[derive(Debug)]
pub(crate) struct Seeds {
    seeds: Vec<Seed>,
    lookups: JoinSet<(usize, Answer)>,
}

/// The addresses of a seed, or what the resolver said.
type Answer = Result<Vec<SocketAddr>, String>;

#[derive(Debug)]
struct Seed {
    host_and_port: String,
    addresses: Vec<SocketAddr>,
    failing: Option<String>,
}

/// What an operator should read about a look-up.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    Failed { seed: String, error: String },
    Works { seed: String },
}

impl Seeds {
    pub(crate) fn new(seeds: &[String]) -> Self {
        let seed = |text: &String| Seed {
            host_and_port: text.clone(),
            addresses: text.parse().into_iter().collect(),
            failing: None,
        };
        Self {
            seeds: seeds.iter().map(seed).collect(),
            lookups: JoinSet::new(),
        }
    }

    /// Begins to resolve all names, unless the last time is still under way.
    pub(crate) fn look_up(&mut self) {
        if !self.lookups.is_empty() {
            return;
        }
        for (seed_idx, seed) in self.seeds.iter().enumerate() {
            if seed.host_and_port.parse::<SocketAddr>().is_err() {
                let host_and_port = seed.host_and_port.clone();
                self.lookups
                    .spawn(async move { (seed_idx, look_up(host_and_port).await) });
            }
        }
    }

    /// Waits for the next answer. Never ends when no look-up is under way. Cancel safe.
    pub(crate) async fn answered(&mut self) -> Option<Notice> {
        match self.lookups.join_next().await {
            Some(Ok((seed_idx, answer))) => self.note(seed_idx, answer),
            // A look-up never panics, and one that did would only be missing.
            Some(Err(_)) => None,
            None => std::future::pending().await,
        }
    }

    /// All known addresses but our own.
    pub(crate) fn addresses(&self, own: SocketAddr) -> BTreeSet<SocketAddr> {
        let all = self.seeds.iter().flat_map(|seed| &seed.addresses);
        all.copied()
            .filter(|address| *address != own)
            .take(MAX_ADDRESSES)
            .collect()
    }

    fn note(&mut self, seed_idx: usize, answer: Answer) -> Option<Notice> {
        let seed = self.seeds.get_mut(seed_idx)?;
        let name = seed.host_and_port.clone();
        match answer {
            Ok(addresses) => {
                seed.addresses = addresses;
                let was_failing = seed.failing.take().is_some();
                was_failing.then_some(Notice::Works { seed: name })
            }
            Err(error) if seed.failing.as_ref() == Some(&error) => None,
            Err(error) => {
                seed.failing = Some(error.clone());
                Some(Notice::Failed { seed: name, error })
            }
        }
    }
}

async fn look_up(host_and_port: String) -> Answer {
    match timeout(LOOKUP_LIMIT, tokio::net::lookup_host(host_and_port)).await {
        Ok(Ok(addresses)) => {
            let addresses: Vec<_> = addresses.take(MAX_ADDRESSES).collect();
            if addresses.is_empty() {
                return Err("the name has no address".to_owned());
            }
            Ok(addresses)
        }
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {} s", LOOKUP_LIMIT.as_secs())),
    }
}

/// A resolver that is slower than this is as good as down; the next try follows soon.
const LOOKUP_LIMIT: Duration = Duration::from_secs(5);

/// All are contacted at once, so there must not be many.
const MAX_ADDRESSES: usize = 32;

#[cfg(test)]
mod tests {
    use super::{Notice, Seeds};

    const OWN: &str = "10.0.0.9:7403";

    #[test]
    fn a_failing_name_is_reported_once_per_change_and_keeps_its_addresses() {
        let seed = "brokers.lab.test:7403".to_owned();
        let mut seeds = Seeds::new(std::slice::from_ref(&seed));
        let addresses = vec!["10.0.0.1:7403".parse().unwrap(), OWN.parse().unwrap()];
        let no_name = || Err("no such name".to_owned());
        let failed = |error: &str| {
            Some(Notice::Failed {
                seed: seed.clone(),
                error: error.to_owned(),
            })
        };
        assert_eq!(seeds.note(0, no_name()), failed("no such name"));
        assert_eq!(seeds.note(0, no_name()), None);
        assert_eq!(
            seeds.note(0, Err("no server".to_owned())),
            failed("no server")
        );
        assert_eq!(
            seeds.note(0, Ok(addresses.clone())),
            Some(Notice::Works { seed: seed.clone() })
        );
        assert_eq!(seeds.note(0, Ok(addresses)), None);
        assert_eq!(seeds.note(0, no_name()), failed("no such name"));
        let known: Vec<_> = seeds.addresses(OWN.parse().unwrap()).into_iter().collect();
        assert_eq!(known, ["10.0.0.1:7403".parse().unwrap()]);
    }

    #[tokio::test]
    async fn names_and_addresses_can_be_mixed() {
        let given = ["localhost:7403".to_owned(), "192.0.2.1:7403".to_owned()];
        let mut seeds = Seeds::new(&given);
        let own = OWN.parse().unwrap();
        assert_eq!(seeds.addresses(own).len(), 1);
        seeds.look_up();
        assert_eq!(seeds.answered().await, None);
        let addresses = seeds.addresses(own);
        assert!(
            addresses.contains(&"192.0.2.1:7403".parse().unwrap()),
            "{addresses:?}"
        );
        assert!(
            addresses.iter().any(|address| address.ip().is_loopback()),
            "{addresses:?}"
        );
    }
}
