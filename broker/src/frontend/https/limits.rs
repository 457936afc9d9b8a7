//! How many connections are open at once: in all, and from one client.
//!
//! The bound per client, an address of IPv4 or a network of IPv6, keeps one from taking the
//! places of all others; the bound in all keeps the memory of the process bounded.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::network::network_of;

/// How many connections each client has open.
type ByClient = Arc<Mutex<HashMap<IpAddr, usize>>>;

/// Hands out places for connections.
#[derive(Clone, Debug)]
pub struct Places {
    all: Arc<Semaphore>,
    by_client: ByClient,
    per_client: usize,
}

/// A place for one connection; dropped, it is free again.
#[derive(Debug)]
pub struct Place {
    _permit: OwnedSemaphorePermit,
    counted: Option<(IpAddr, ByClient)>,
}

impl Places {
    /// `in_all` places, of which one client gets at most `per_client`.
    #[must_use]
    pub fn new(in_all: usize, per_client: usize) -> Self {
        let in_all = in_all.min(Semaphore::MAX_PERMITS);
        Self {
            all: Arc::new(Semaphore::new(in_all)),
            by_client: Arc::default(),
            per_client,
        }
    }

    /// Waits until some place is free, so that nothing is accepted that can't be served.
    /// Further connections wait in the kernel's queue.
    pub async fn wait(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.all).acquire_owned().await.ok()
    }

    /// Turns a free place into one for `address`; `None` when it has too many already.
    /// Without an address only the bound in all counts.
    #[must_use]
    pub fn take(&self, permit: OwnedSemaphorePermit, address: Option<IpAddr>) -> Option<Place> {
        let Some(client) = address.map(network_of) else {
            return Some(Place {
                _permit: permit,
                counted: None,
            });
        };
        let mut by_client = self
            .by_client
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let n_open = by_client.entry(client).or_default();
        if *n_open >= self.per_client {
            return None;
        }
        *n_open += 1;
        let by_client = Arc::clone(&self.by_client);
        Some(Place {
            _permit: permit,
            counted: Some((client, by_client)),
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some((client, by_client)) = &self.counted else {
            return;
        };
        let mut by_client = by_client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(n_open) = by_client.get_mut(client) {
            *n_open -= 1;
            if *n_open == 0 {
                by_client.remove(client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Place, Places};

    async fn take(places: &Places, address: &str) -> Option<Place> {
        let permit = places.wait().await.unwrap();
        places.take(permit, Some(address.parse().unwrap()))
    }

    #[tokio::test]
    async fn one_address_can_not_take_the_places_of_others() {
        let places = Places::new(10, 2);
        let first = take(&places, "10.0.0.1").await;
        let second = take(&places, "::ffff:10.0.0.1").await;
        assert!(first.is_some() && second.is_some());
        assert!(take(&places, "10.0.0.1").await.is_none());
        assert!(take(&places, "10.0.0.2").await.is_some());
        drop(first);
        assert!(take(&places, "10.0.0.1").await.is_some());
    }

    #[tokio::test]
    async fn a_host_with_a_network_of_ipv6_is_one_client() {
        let places = Places::new(10, 2);
        let first = take(&places, "2001:db8::1").await;
        let second = take(&places, "2001:db8::ffff:2").await;
        assert!(first.is_some() && second.is_some());
        assert!(take(&places, "2001:db8::3").await.is_none());
        assert!(take(&places, "2001:db8:0:1::1").await.is_some());
    }

    #[tokio::test]
    async fn closed_connections_leave_nothing_behind() {
        let places = Places::new(1, 1);
        for _ in 0..3 {
            drop(take(&places, "10.0.0.1").await.unwrap());
        }
        assert!(places.by_client.lock().unwrap().is_empty());
        assert_eq!(places.all.available_permits(), 1);
    }
}
