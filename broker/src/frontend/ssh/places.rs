//! How many requests does one user of this host have answered at once?

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// How many requests each user has open.
type ByUser = Arc<Mutex<HashMap<u32, usize>>>;

/// Hands out places for requests, so many to each user and so many in all.
#[derive(Clone, Debug)]
pub(super) struct Places {
    by_user: ByUser,
    per_user: usize,
    in_all: usize,
}

/// A place for one request; dropped, it is free again.
#[derive(Debug)]
pub(super) struct Place {
    uid: u32,
    by_user: ByUser,
}

impl Places {
    pub(super) fn new(per_user: usize, in_all: usize) -> Self {
        Self {
            by_user: Arc::default(),
            per_user,
            in_all,
        }
    }

    /// A place for this user, unless they have too many, or all together.
    pub(super) fn take(&self, uid: u32) -> Option<Place> {
        self.take_of(uid, self.per_user)
    }

    /// A place for the account that asks for others: it may have half of all.
    pub(super) fn take_for_others(&self, uid: u32) -> Option<Place> {
        self.take_of(uid, self.per_user.max(self.in_all / 2))
    }

    fn take_of(&self, uid: u32, most: usize) -> Option<Place> {
        let mut by_user = self.by_user.lock().unwrap_or_else(PoisonError::into_inner);
        let n_open = by_user.get(&uid).copied().unwrap_or_default();
        let n_in_all: usize = by_user.values().sum();
        if n_open >= most || n_in_all >= self.in_all {
            return None;
        }
        by_user.insert(uid, n_open + 1);
        Some(Place {
            uid,
            by_user: Arc::clone(&self.by_user),
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut by_user = self.by_user.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(n_open) = by_user.get_mut(&self.uid) {
            *n_open -= 1;
            if *n_open == 0 {
                by_user.remove(&self.uid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Places;

    #[test]
    fn one_user_can_not_take_the_places_of_others() {
        let places = Places::new(2, 3);
        let first = places.take(2001);
        let second = places.take(2001);
        assert!(first.is_some() && second.is_some());
        assert!(places.take(2001).is_none());
        let other = places.take(2002);
        assert!(other.is_some());
        assert!(places.take(2003).is_none(), "all are taken");
        drop(first);
        assert!(places.take(2003).is_some());
    }

    #[test]
    fn who_asks_for_others_may_have_half_of_all() {
        let places = Places::new(1, 6);
        let taken: Vec<_> = (0..3).filter_map(|_| places.take_for_others(64)).collect();
        assert_eq!(taken.len(), 3);
        assert!(places.take_for_others(64).is_none());
        assert!(places.take(2001).is_some());
    }

    #[test]
    fn places_that_were_given_back_leave_nothing_behind() {
        let places = Places::new(1, 1);
        for _ in 0..3 {
            drop(places.take(2001).unwrap());
        }
        assert!(places.by_user.lock().unwrap().is_empty());
    }
}
