//! How many passwords are looked at together, for one user and for one address?
//!
//! Whoever sends more waits for their own, not for others: a flood of passwords from one
//! place leaves room for everybody else. It also makes wrong ones count before the next
//! are looked at.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use proto::BrokerUser;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::network::network_of;
use crate::places::PlacesOfEach;

/// Places for passwords that are looked at.
#[derive(Debug)]
pub(super) struct Slots {
    users: PlacesOfEach<(String, IpAddr)>,
    addresses: PlacesOfEach<IpAddr>,
    patience: Duration,
    queue: Arc<Semaphore>,
    queued: PlacesOfEach<IpAddr>,
}

/// Leave to be looked at or to wait for it: clients that hang up leave theirs behind.
#[derive(Debug)]
pub(super) struct Queued {
    _in_all: OwnedSemaphorePermit,
    _of_client: OwnedSemaphorePermit,
}

/// A place; others may have it when it is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    _user: OwnedSemaphorePermit,
    _address: OwnedSemaphorePermit,
}

impl Default for Slots {
    fn default() -> Self {
        Self {
            users: PlacesOfEach::new(PER_USER),
            addresses: PlacesOfEach::new(PER_ADDRESS),
            patience: PATIENCE,
            queue: Arc::new(Semaphore::new(MAX_QUEUED)),
            queued: PlacesOfEach::new(MAX_QUEUED_OF_CLIENT),
        }
    }
}

impl Slots {
    /// Leave to wait; none where too many do already.
    pub(super) fn enter(&self, client: IpAddr) -> Option<Queued> {
        Some(Queued {
            _of_client: self.queued.try_take(network_of(client))?,
            _in_all: Arc::clone(&self.queue).try_acquire_owned().ok()?,
        })
    }

    /// Waits for a place; none when it takes too long.
    pub(super) async fn take(&self, user: &BrokerUser, client: IpAddr) -> Option<Slot> {
        let client = network_of(client);
        let taken = async {
            // First the narrow one, so that who waits there holds no other.
            let user = self.users.take((user.canonical(), client)).await;
            let address = self.addresses.take(client).await;
            Slot {
                _user: user,
                _address: address,
            }
        };
        tokio::time::timeout(self.patience, taken).await.ok()
    }
}

/// More would make nobody's login quicker.
const PER_USER: usize = 4;

/// Three quarters of what the authservice does at the same time.
const PER_ADDRESS: usize = 24;

/// As many as one client may have connections.
const MAX_QUEUED_OF_CLIENT: usize = 256;

/// With their passwords some 80 MB.
const MAX_QUEUED: usize = 4096;

/// As long as a client waits for its answer.
const PATIENCE: Duration = Duration::from_secs(25);

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use proto::BrokerUser;

    use super::{MAX_QUEUED_OF_CLIENT, PER_ADDRESS, PER_USER, Slots};

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

    #[test]
    fn a_client_that_sends_and_hangs_up_fills_its_own_queue_only() {
        let slots = Slots::default();
        let (here, beside) = (
            IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]),
            IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 2]),
        );
        let mut queued: Vec<_> = (0..MAX_QUEUED_OF_CLIENT)
            .map(|_| slots.enter(here).unwrap())
            .collect();
        assert!(slots.enter(beside).is_none());
        assert!(slots.enter(DESK).is_some());
        queued.pop();
        assert!(slots.enter(beside).is_some());
    }
}
