//! How many passwords are looked at together, for one user and for one address?
//!
//! Whoever sends more waits for their own, not for others: a flood of passwords from one
//! place leaves room for everybody else. It also makes wrong ones count before the next
//! are looked at.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use proto::BrokerUser;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Places for passwords that are looked at.
#[derive(Debug)]
pub(super) struct Slots {
    users: Places<(String, IpAddr)>,
    addresses: Places<IpAddr>,
    patience: Duration,
}

/// A place; others may have it when it is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    _user: OwnedSemaphorePermit,
    _address: OwnedSemaphorePermit,
}

/// Places of each key, for as long as somebody has one or waits for one.
#[derive(Debug)]
struct Places<K> {
    each: usize,
    known: Mutex<HashMap<K, Weak<Semaphore>>>,
}

impl Default for Slots {
    fn default() -> Self {
        Self {
            users: Places::new(PER_USER),
            addresses: Places::new(PER_ADDRESS),
            patience: PATIENCE,
        }
    }
}

impl Slots {
    /// Waits for a place; none when it takes too long.
    pub(super) async fn take(&self, user: &BrokerUser, client: IpAddr) -> Option<Slot> {
        let taken = async {
            // First the narrow one, so that who waits there holds no other.
            let user = self.users.take((user.canonical(), client)).await?;
            let address = self.addresses.take(client).await?;
            Some(Slot {
                _user: user,
                _address: address,
            })
        };
        tokio::time::timeout(self.patience, taken).await.ok()?
    }
}

impl<K: Eq + Hash> Places<K> {
    fn new(each: usize) -> Self {
        Self {
            each,
            known: Mutex::default(),
        }
    }

    async fn take(&self, key: K) -> Option<OwnedSemaphorePermit> {
        self.of(key).acquire_owned().await.ok()
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

/// More would make nobody's login quicker.
const PER_USER: usize = 4;

/// Three quarters of what the authservice does at the same time.
const PER_ADDRESS: usize = 24;

/// As long as a client waits for its answer.
const PATIENCE: Duration = Duration::from_secs(25);

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use proto::BrokerUser;

    use super::{PER_ADDRESS, PER_USER, Slots};

    fn user(name: &str) -> BrokerUser {
        BrokerUser::parse(name).unwrap()
    }

    const DESK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[tokio::test(start_paused = true)]
    async fn a_flood_waits_for_itself_only() {
        let slots = Slots::default();
        let mut held = Vec::new();
        for _ in 0..PER_USER {
            held.push(slots.take(&user("alice"), DESK).await.unwrap());
        }
        assert!(slots.take(&user("alice"), DESK).await.is_none());
        held.push(slots.take(&user("bob"), DESK).await.unwrap());
        for n in held.len()..PER_ADDRESS {
            held.push(slots.take(&user(&format!("u{n}")), DESK).await.unwrap());
        }
        assert!(slots.take(&user("carol"), DESK).await.is_none());
        let elsewhere = IpAddr::from([192, 0, 2, 1]);
        assert!(slots.take(&user("alice"), elsewhere).await.is_some());
        held.clear();
        assert!(slots.take(&user("alice"), DESK).await.is_some());
    }

    #[tokio::test]
    async fn those_who_left_are_forgotten() {
        let slots = Slots::default();
        for n in 0..10_000 {
            drop(slots.take(&user(&format!("u{n}")), DESK).await);
        }
        assert!(slots.users.known.lock().unwrap().len() < 100);
    }
}
