//! How many connections are open at once: in all, and from one address.
//!
//! The bound per address keeps one client from taking the places of all others; the
//! bound in all keeps the memory of the process bounded.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many connections each address has open.
type ByAddress = Arc<Mutex<HashMap<IpAddr, usize>>>;

/// Hands out places for connections.
#[derive(Clone, Debug)]
pub struct Places {
    all: Arc<Semaphore>,
    by_address: ByAddress,
    per_address: usize,
}

/// A place for one connection; dropped, it is free again.
#[derive(Debug)]
pub struct Place {
    _permit: OwnedSemaphorePermit,
    counted: Option<(IpAddr, ByAddress)>,
}

impl Places {
    /// `in_all` places, of which one address gets at most `per_address`.
    #[must_use]
    pub fn new(in_all: usize, per_address: usize) -> Self {
        let in_all = in_all.min(Semaphore::MAX_PERMITS);
        Self {
            all: Arc::new(Semaphore::new(in_all)),
            by_address: Arc::default(),
            per_address,
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
        let Some(address) = address.map(|address| address.to_canonical()) else {
            return Some(Place {
                _permit: permit,
                counted: None,
            });
        };
        let mut by_address = self
            .by_address
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let n_open = by_address.entry(address).or_default();
        if *n_open >= self.per_address {
            return None;
        }
        *n_open += 1;
        let by_address = Arc::clone(&self.by_address);
        Some(Place {
            _permit: permit,
            counted: Some((address, by_address)),
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some((address, by_address)) = &self.counted else {
            return;
        };
        let mut by_address = by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(n_open) = by_address.get_mut(address) {
            *n_open -= 1;
            if *n_open == 0 {
                by_address.remove(address);
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
    async fn closed_connections_leave_nothing_behind() {
        let places = Places::new(1, 1);
        for _ in 0..3 {
            drop(take(&places, "10.0.0.1").await.unwrap());
        }
        assert!(places.by_address.lock().unwrap().is_empty());
        assert_eq!(places.all.available_permits(), 1);
    }
}
