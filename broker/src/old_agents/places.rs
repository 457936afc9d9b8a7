//! How many calls are made at once?
//!
//! Each call is a process here and several on the server. Hanging servers must not take the
//! places of others, nor users whose homes hang those of other users.

use std::sync::Arc;
use std::time::Duration;

use proto::Username;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::places::PlacesOfEach;

/// The places that agents share.
#[derive(Debug)]
pub(super) struct SharedPlaces {
    all: Arc<Semaphore>,
    of_users: PlacesOfEach<Username>,
}

/// The places of one agent.
#[derive(Debug)]
pub(super) struct Places {
    at_once: Arc<Semaphore>,
    /// Beside those that are shared: it has this one whatever others do.
    own: Arc<Semaphore>,
    of_users: PlacesOfEach<Username>,
}

/// What a call has until it has ended.
#[derive(Debug)]
pub(super) struct Held {
    _places: Vec<OwnedSemaphorePermit>,
}

impl SharedPlaces {
    pub(super) fn new() -> Self {
        Self {
            all: Arc::new(Semaphore::new(MAX_SHARED_CALLS)),
            of_users: PlacesOfEach::new(MAX_SHARED_CALLS_OF_USER),
        }
    }

    #[cfg(test)]
    pub(super) fn n_free(&self) -> usize {
        self.all.available_permits()
    }

    async fn take(&self, user: Option<&Username>) -> Option<Vec<OwnedSemaphorePermit>> {
        let mut places = Vec::with_capacity(2);
        if let Some(user) = user {
            places.push(self.of_users.take(user.clone()).await);
        }
        places.push(Arc::clone(&self.all).acquire_owned().await.ok()?);
        Some(places)
    }
}

impl Places {
    pub(super) fn new() -> Self {
        Self {
            at_once: Arc::new(Semaphore::new(MAX_CALLS)),
            own: Arc::new(Semaphore::new(1)),
            of_users: PlacesOfEach::new(MAX_CALLS_OF_USER),
        }
    }

    /// The places for a call. None when there is none in [`QUEUE_LIMIT`]: that is nobody's
    /// silence.
    pub(super) async fn take(
        &self,
        shared: &SharedPlaces,
        user: Option<&Username>,
    ) -> Option<Held> {
        let places = async {
            let mut places = Vec::with_capacity(4);
            if let Some(user) = user {
                places.push(self.of_users.take(user.clone()).await);
            }
            places.push(Arc::clone(&self.at_once).acquire_owned().await.ok()?);
            tokio::select! {
                biased;
                own = Arc::clone(&self.own).acquire_owned() => places.push(own.ok()?),
                more = shared.take(user) => places.extend(more?),
            }
            Some(Held { _places: places })
        };
        timeout(QUEUE_LIMIT, places).await.ok()?
    }

    /// Whether a call would find a place at once, as far as the agent is concerned.
    pub(super) fn has_room(&self) -> bool {
        self.at_once.available_permits() > 0
    }

    #[cfg(test)]
    pub(super) fn has_some_for(&self, user: &Username) -> bool {
        self.of_users.try_take(user.clone()).is_some()
    }

    /// The agent's own place, for a call that nobody waits for.
    pub(super) fn own_if_free(&self) -> Option<Held> {
        let at_once = Arc::clone(&self.at_once).try_acquire_owned().ok()?;
        let own = Arc::clone(&self.own).try_acquire_owned().ok()?;
        Some(Held {
            _places: vec![at_once, own],
        })
    }
}

/// Calls at once beside one for each agent: there are never more of them than these and the
/// agents together, and a connection for each agent.
const MAX_SHARED_CALLS: usize = 64;

/// A quarter of them: a user whose home hangs on all servers leaves places to others.
const MAX_SHARED_CALLS_OF_USER: usize = 16;

/// sshd lets ten sessions use one connection (`MaxSessions`); two are left for operators.
const MAX_CALLS: usize = 8;

/// Half of them: a user whose home hangs leaves places to others.
const MAX_CALLS_OF_USER: usize = 4;

/// Longer than a call takes on a server that is busy; whoever waits longer is better off
/// with another server.
const QUEUE_LIMIT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use proto::Username;
    use tokio::time::Instant;

    use super::{
        Held, MAX_CALLS, MAX_CALLS_OF_USER, MAX_SHARED_CALLS, MAX_SHARED_CALLS_OF_USER, Places,
        QUEUE_LIMIT, SharedPlaces,
    };

    fn user(number: usize) -> Username {
        Username::parse(&format!("user{number}")).unwrap()
    }

    /// Places until there are no more.
    async fn take_all(
        places: &Places,
        shared: &SharedPlaces,
        user: Option<&Username>,
    ) -> Vec<Held> {
        let mut held = Vec::new();
        while let Some(more) = places.take(shared, user).await {
            held.push(more);
        }
        held
    }

    #[tokio::test(start_paused = true)]
    async fn agents_that_hang_leave_each_other_agent_a_place() {
        let shared = SharedPlaces::new();
        let hanging: Vec<Places> = (0..10).map(|_| Places::new()).collect();
        let mut held = Vec::new();
        for places in &hanging {
            let theirs = take_all(places, &shared, None).await;
            assert!(!theirs.is_empty() && theirs.len() <= MAX_CALLS);
            held.extend(theirs);
        }
        assert_eq!(held.len(), MAX_SHARED_CALLS + hanging.len());
        let well = Places::new();
        for _ in 0..3 {
            let begun = Instant::now();
            assert!(well.take(&shared, Some(&user(1))).await.is_some());
            assert!(begun.elapsed().is_zero());
        }
        // Its second call waits for its first one, and for no hanging agent.
        let first = well.take(&shared, None).await.unwrap();
        let second = well.take(&shared, None);
        let (second, ()) = tokio::join!(second, async {
            tokio::task::yield_now().await;
            drop(first);
        });
        assert!(second.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_user_has_a_quarter_of_the_shared_places_and_half_of_those_of_an_agent() {
        let (shared, alice) = (SharedPlaces::new(), user(1));
        let agents: Vec<Places> = (0..32).map(|_| Places::new()).collect();
        let mut held = Vec::new();
        for places in &agents {
            let theirs = take_all(places, &shared, Some(&alice)).await;
            assert!(!theirs.is_empty() && theirs.len() <= MAX_CALLS_OF_USER);
            held.extend(theirs);
        }
        assert_eq!(held.len(), agents.len() + MAX_SHARED_CALLS_OF_USER);
        let n_left = MAX_SHARED_CALLS - MAX_SHARED_CALLS_OF_USER;
        assert_eq!(shared.all.available_permits(), n_left);
        assert!(agents[0].take(&shared, Some(&user(2))).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn who_finds_no_place_in_a_second_is_told_so() {
        let (shared, places) = (SharedPlaces::new(), Places::new());
        let held = take_all(&places, &shared, None).await;
        assert_eq!(held.len(), MAX_CALLS);
        assert!(!places.has_room());
        let begun = Instant::now();
        assert!(places.take(&shared, Some(&user(1))).await.is_none());
        assert_eq!(begun.elapsed(), QUEUE_LIMIT);
        drop(held);
        assert!(places.take(&shared, Some(&user(1))).await.is_some());
        assert!(places.own_if_free().is_some());
        // Whoever waits in vain leaves nothing behind.
        assert_eq!(shared.all.available_permits(), MAX_SHARED_CALLS);
        assert_eq!(places.at_once.available_permits(), MAX_CALLS);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_nobody_waits_for_takes_no_shared_place() {
        let (shared, places) = (SharedPlaces::new(), Places::new());
        let own = places.own_if_free().unwrap();
        assert!(places.own_if_free().is_none());
        assert_eq!(shared.all.available_permits(), MAX_SHARED_CALLS);
        assert!(places.take(&shared, None).await.is_some());
        drop(own);
        assert!(places.own_if_free().is_some());
    }
}
