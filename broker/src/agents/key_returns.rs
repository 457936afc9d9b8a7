//! How is a key taken back that agents were asked for and no client was given?
//!
//! An agent removes each key itself when its time is over. Until then a key whose login came
//! to nothing would open an account for nobody's good, so the replica has it removed at
//! once. An agent that was too slow to answer may install the key later; therefore one that
//! has nothing to remove is asked again.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use proto::{NodeId, PublicKey, Username};
use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::AgentLink;

/// Takes keys back, in tasks of its own: whose login it was need not wait.
#[derive(Clone, Debug, Default)]
pub struct KeyReturns {
    tasks: TaskTracker,
    stopping: CancellationToken,
    uses: Arc<Mutex<VecDeque<Use>>>,
}

/// A login that relies on a key which another login may bring as well.
#[derive(Debug)]
struct Use {
    what: Lending,
    until: Instant,
}

/// A key that may open an account of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lending {
    /// The server.
    pub node: NodeId,
    /// Whose account.
    pub user: Username,
    /// The key.
    pub key: PublicKey,
}

impl KeyReturns {
    /// Notes that a login relies on a key for so long. Only for keys that clients bring:
    /// nobody else has a pair that was made for one login.
    pub fn note(&self, what: Lending, life: Duration) {
        let now = Instant::now();
        let mut uses = self.uses();
        uses.retain(|used| used.until > now);
        if uses.len() >= MAX_USES {
            uses.pop_front();
        }
        let until = now + life;
        uses.push_back(Use { what, until });
    }

    /// Has the key removed, unless another login relies on it. Never waits.
    pub fn take_back(&self, link: AgentLink, what: Lending) {
        if self.is_in_use(&what) {
            return;
        }
        let Lending { node, user, .. } = &what;
        let Ok(runtime) = Handle::try_current() else {
            warn!(%user, %node, "a key that nobody was given stays for its time");
            return;
        };
        if self.tasks.len() >= MAX_RETURNS {
            warn!(%user, %node, "a key that nobody was given stays for its time, as many do");
            return;
        }
        let stopping = self.stopping.clone();
        let _owned = self.tasks.spawn_on(removed(link, what, stopping), &runtime);
    }

    /// Waits until nothing is to be taken back any more, as long as `limit`.
    pub async fn finish(&self, limit: Duration) {
        self.stopping.cancel();
        self.tasks.close();
        if tokio::time::timeout(limit, self.tasks.wait())
            .await
            .is_err()
        {
            let n_keys = self.tasks.len();
            warn!(n_keys, "keys that nobody was given stay for their time");
        }
    }

    /// Forgets one use of the key, and says whether there are more.
    fn is_in_use(&self, what: &Lending) -> bool {
        let now = Instant::now();
        let mut uses = self.uses();
        if let Some(idx) = uses.iter().position(|used| used.what == *what) {
            uses.remove(idx);
        }
        uses.iter()
            .any(|used| used.what == *what && used.until > now)
    }

    fn uses(&self) -> MutexGuard<'_, VecDeque<Use>> {
        self.uses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn removed(link: AgentLink, what: Lending, stopping: CancellationToken) {
    let Lending { node, user, key } = &what;
    for _ in 0..MAX_TRIES {
        match link.remove_key(user, key).await {
            Ok(0) => {}
            Ok(_) => {
                info!(%user, %node, "a key that nobody was given was taken back");
                return;
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                warn!(%user, %node, error, "a key that nobody was given was not taken back");
            }
        }
        tokio::select! {
            biased;
            () = stopping.cancelled() => return,
            () = tokio::time::sleep(TRY_AGAIN) => {}
        }
    }
}

/// Keys on their way back at once. A replica with more is in a trouble in which agents
/// should not be asked even more; they remove the keys in time.
const MAX_RETURNS: usize = 1024;

/// Own keys in use at once: more clients with keys of their own than log in to a replica in
/// the time that a key lives. With more, the oldest is forgotten.
const MAX_USES: usize = 4096;

/// An agent that is too slow has answered by the last try, or has lost what it was asked.
const MAX_TRIES: u32 = 3;
const TRY_AGAIN: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proto::{NodeId, PublicKey, Username};

    use super::{KeyReturns, Lending, MAX_USES};

    fn lending(node: &str) -> Lending {
        let key =
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIII";
        Lending {
            node: NodeId::parse(node).unwrap(),
            user: Username::parse("alice").unwrap(),
            key: PublicKey::parse(key).unwrap(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_that_another_login_relies_on_stays_until_that_one_is_over() {
        let (returns, life) = (KeyReturns::default(), Duration::from_secs(20));
        returns.note(lending("s1"), life);
        returns.note(lending("s1"), life);
        returns.note(lending("s2"), life);
        assert!(returns.is_in_use(&lending("s1")));
        assert!(!returns.is_in_use(&lending("s1")), "it was the last one");
        returns.note(lending("s2"), life);
        tokio::time::advance(life).await;
        assert!(!returns.is_in_use(&lending("s2")), "its time is over");
    }

    #[tokio::test]
    async fn what_is_noted_has_a_bound() {
        let returns = KeyReturns::default();
        for _ in 0..=MAX_USES {
            returns.note(lending("s1"), Duration::from_secs(20));
        }
        assert_eq!(returns.uses().len(), MAX_USES);
    }
}
