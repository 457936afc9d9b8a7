//! Whose number is this? The system knows (NSS), and it may take its time.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::unistd::{Uid, User};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

/// Asks for the name of an account; may block.
type LookUp = dyn Fn(u32) -> Result<Option<String>, nix::Error> + Send + Sync;

/// The accounts of this host. Cheap to clone.
#[derive(Clone)]
pub struct Accounts(Arc<Inner>);

struct Inner {
    look_up: Arc<LookUp>,
    limits: AccountLimits,
    /// Room for those that the system is asked about.
    room: Arc<Semaphore>,
    known: Mutex<HashMap<u32, Known>>,
}

struct Known {
    name: Option<String>,
    since: Instant,
}

/// Bounds of what is asked and remembered.
#[derive(Clone, Copy, Debug)]
pub struct AccountLimits {
    /// How long somebody waits for an answer.
    pub deadline: Duration,
    /// How long an answer counts.
    pub remember: Duration,
    /// How many are asked about at once.
    pub at_once: usize,
}

/// Why it is not known who somebody is.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// The system can't say.
    #[error("the system can't look up the account: {0}")]
    System(#[source] nix::Error),
    /// It did not say in time.
    #[error("the system does not tell the account in time")]
    Slow,
    /// The question itself failed.
    #[error("the account could not be asked for")]
    Failed,
}

impl Accounts {
    /// Those that the system knows.
    #[must_use]
    pub fn of_system(limits: AccountLimits) -> Self {
        Self::asking(limits, |uid| {
            let account = User::from_uid(Uid::from_raw(uid))?;
            Ok(account.map(|account| account.name))
        })
    }

    fn asking(
        limits: AccountLimits,
        look_up: impl Fn(u32) -> Result<Option<String>, nix::Error> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(Inner {
            look_up: Arc::new(look_up),
            limits,
            room: Arc::new(Semaphore::new(limits.at_once)),
            known: Mutex::default(),
        }))
    }

    /// The name of an account; none when there is no such account.
    ///
    /// # Errors
    /// When the system can't say, or not in time.
    pub async fn name_of(&self, uid: u32) -> Result<Option<String>, AccountError> {
        if let Some(name) = self.remembered(uid) {
            return Ok(name);
        }
        let asked = timeout(self.0.limits.deadline, self.ask(uid)).await;
        let name = asked.map_err(|_elapsed| AccountError::Slow)??;
        self.remember(uid, name.clone());
        Ok(name)
    }

    async fn ask(&self, uid: u32) -> Result<Option<String>, AccountError> {
        let room = Arc::clone(&self.0.room).acquire_owned().await;
        let room = room.map_err(|_closed| AccountError::Failed)?;
        let look_up = Arc::clone(&self.0.look_up);
        let asking = tokio::task::spawn_blocking(move || {
            let found = look_up(uid);
            // Not before the system lets go, whoever waits.
            drop(room);
            found
        });
        match asking.await {
            Ok(found) => found.map_err(AccountError::System),
            Err(_panic) => Err(AccountError::Failed),
        }
    }

    fn remembered(&self, uid: u32) -> Option<Option<String>> {
        let known = self.0.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.get(&uid)?;
        let is_fresh = known.since.elapsed() < self.0.limits.remember;
        is_fresh.then(|| known.name.clone())
    }

    fn remember(&self, uid: u32, name: Option<String>) {
        let mut known = self.0.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        let since = Instant::now();
        known.insert(uid, Known { name, since });
    }
}

impl fmt::Debug for Accounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accounts").finish_non_exhaustive()
    }
}

impl Default for AccountLimits {
    fn default() -> Self {
        Self {
            // A directory answers within milliseconds.
            deadline: Duration::from_secs(2),
            // A client asks two or three times to start a session.
            remember: Duration::from_secs(30),
            // Each is a thread that the system may hold for ever.
            at_once: 8,
        }
    }
}

/// Those who log in within the time that is remembered.
const MAX_KNOWN: usize = 10_000;

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::{AccountError, AccountLimits, Accounts};

    #[tokio::test]
    async fn accounts_are_those_of_the_system() {
        let accounts = Accounts::of_system(AccountLimits::default());
        assert_eq!(accounts.name_of(0).await.unwrap().as_deref(), Some("root"));
        assert_eq!(accounts.name_of(4_000_000_000).await.unwrap(), None);
    }

    #[tokio::test]
    async fn an_answer_is_remembered_and_an_error_is_not() {
        let n_asked = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&n_asked);
        let accounts = Accounts::asking(AccountLimits::default(), move |uid| {
            counter.fetch_add(1, Ordering::Relaxed);
            match uid {
                1 => Ok(Some("alice".to_owned())),
                _ => Err(nix::Error::EIO),
            }
        });
        for uid in [1, 1, 1] {
            let name = accounts.name_of(uid).await.unwrap();
            assert_eq!(name.as_deref(), Some("alice"));
        }
        assert_eq!(n_asked.load(Ordering::Relaxed), 1);
        for _ in 0..2 {
            let error = accounts.name_of(2).await.unwrap_err();
            assert!(matches!(error, AccountError::System(_)));
        }
        assert_eq!(n_asked.load(Ordering::Relaxed), 3);
    }

    #[tokio::test]
    async fn a_system_that_hangs_holds_nobody_for_long() {
        let limits = AccountLimits {
            deadline: Duration::from_millis(50),
            at_once: 1,
            ..AccountLimits::default()
        };
        let (hold, held) = std::sync::mpsc::channel::<()>();
        let held = std::sync::Mutex::new(held);
        let accounts = Accounts::asking(limits, move |_uid| {
            let _ended = held.lock().unwrap().recv();
            Ok(None)
        });
        for uid in [1, 2] {
            let error = accounts.name_of(uid).await.unwrap_err();
            assert!(matches!(error, AccountError::Slow), "{uid}");
        }
        drop(hold);
    }
}
