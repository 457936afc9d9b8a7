//! How many things of one kind may go on at the same time, for each of many keys?

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Places of each key, for as long as somebody has one or waits for one.
#[derive(Debug)]
pub(crate) struct PlacesOfEach<K> {
    each: usize,
    known: Mutex<HashMap<K, Weak<Semaphore>>>,
}

impl<K: Eq + Hash> PlacesOfEach<K> {
    /// `each` places for each key.
    pub(crate) fn new(each: usize) -> Self {
        Self {
            each,
            known: Mutex::default(),
        }
    }

    /// Waits for a place, behind those who came before. There is no bound on who waits: that
    /// is for the caller.
    #[expect(clippy::expect_used, reason = "`of` makes it, and nothing closes it")]
    pub(crate) async fn take(&self, key: K) -> OwnedSemaphorePermit {
        let place = self.of(key).acquire_owned().await;
        place.expect("the semaphore is never closed")
    }

    /// A place, if there is one now.
    pub(crate) fn try_take(&self, key: K) -> Option<OwnedSemaphorePermit> {
        self.of(key).try_acquire_owned().ok()
    }

    fn of(&self, key: K) -> Arc<Semaphore> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(places) = known.get(&key).and_then(Weak::upgrade) {
            return places;
        }
        // Those that nobody uses are as many as those in use at most.
        if known.len() == known.capacity() {
            known.retain(|_, places| places.strong_count() > 0);
        }
        let places = Arc::new(Semaphore::new(self.each));
        known.insert(key, Arc::downgrade(&places));
        places
    }
}

#[cfg(test)]
mod tests {
    use super::PlacesOfEach;

    #[tokio::test]
    async fn each_key_has_its_own_places() {
        let places = PlacesOfEach::new(2);
        let (first, second) = (places.take("a").await, places.try_take("a"));
        assert!(second.is_some() && places.try_take("a").is_none());
        assert!(places.try_take("b").is_some());
        drop(first);
        assert!(places.try_take("a").is_some());
    }

    #[tokio::test]
    async fn keys_that_nobody_uses_are_forgotten() {
        let places = PlacesOfEach::new(1);
        for n in 0..10_000 {
            drop(places.take(n).await);
        }
        assert!(places.known.lock().unwrap().len() < 100);
    }
}
