//! Where does a login get its key pair, and how long may it wait for it?
//!
//! Pairs are made ahead of need, one at a time on a thread of their own, as soon as
//! somebody was promised one. Each is handed out once.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use proto::Username;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::{KeyPair, PairError};

/// Makes one; takes its time.
type Make = dyn Fn() -> Result<KeyPair, PairError> + Send + Sync;

/// Owns the pairs that are ready.
pub struct KeyPairsOwner {
    make: Arc<Make>,
    asks: mpsc::Receiver<Ask>,
    ready: VecDeque<KeyPair>,
    waiting: VecDeque<Taker>,
    /// At most one runs: the rest of the processor is for those who ask.
    making: JoinSet<Result<KeyPair, PairError>>,
    is_wanted: bool,
}

/// Gives key pairs.
#[derive(Clone, Debug)]
pub struct KeyPairs {
    asks: mpsc::Sender<Ask>,
}

/// There is none now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoKeyPair {
    /// Too many wait already.
    #[error("too many logins wait for key pairs")]
    Crowded,
    /// None was ready in time.
    #[error("no key pair was made within {KEY_WAIT:?}")]
    TooSlow,
}

#[derive(Debug)]
enum Ask {
    /// Somebody will want one soon.
    Prepare,
    Take(Taker),
}

/// A login that waits.
#[derive(Debug)]
struct Taker {
    user: Username,
    pair: oneshot::Sender<KeyPair>,
}

impl KeyPairs {
    /// Has pairs made ready. Never waits.
    pub fn prepare(&self) {
        // A full queue means that pairs are wanted, and that is known then.
        let _ = self.asks.try_send(Ask::Prepare);
    }

    /// Takes a pair for a login of `user`, which nobody else gets.
    ///
    /// # Errors
    /// When there is none within [`KEY_WAIT`].
    pub async fn take(&self, user: &Username) -> Result<KeyPair, NoKeyPair> {
        let (sender, pair) = oneshot::channel();
        let taker = Taker {
            user: user.clone(),
            pair: sender,
        };
        let sent = self.asks.try_send(Ask::Take(taker));
        sent.or(Err(NoKeyPair::Crowded))?;
        match tokio::time::timeout(KEY_WAIT, pair).await {
            Ok(Ok(pair)) => Ok(pair),
            Ok(Err(_dropped)) => Err(NoKeyPair::Crowded),
            Err(_elapsed) => Err(NoKeyPair::TooSlow),
        }
    }
}

impl KeyPairsOwner {
    /// Sets the owner up. `make` makes a pair: [`KeyPair::generate`].
    #[must_use]
    pub fn new(
        make: impl Fn() -> Result<KeyPair, PairError> + Send + Sync + 'static,
    ) -> (Self, KeyPairs) {
        let (sender, asks) = mpsc::channel(MAX_ASKS);
        let owner = Self {
            make: Arc::new(make),
            asks,
            ready: VecDeque::new(),
            waiting: VecDeque::new(),
            making: JoinSet::new(),
            is_wanted: false,
        };
        (owner, KeyPairs { asks: sender })
    }

    /// Makes and hands out until told to stop. Pairs that nobody took are wiped then.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                Some(made) = self.making.join_next() => self.take_in(made),
                ask = self.asks.recv() => match ask {
                    Some(ask) => self.answer(ask),
                    None => return,
                },
            }
            self.hand_out();
            self.make_more();
        }
    }

    fn answer(&mut self, ask: Ask) {
        self.is_wanted = true;
        if let Ask::Take(taker) = ask {
            self.waiting.retain(|waiting| !waiting.pair.is_closed());
            let of_user = self.waiting.iter().filter(|other| other.user == taker.user);
            let has_room = of_user.count() < MAX_OF_USER && self.waiting.len() < MAX_WAITING;
            // Who is not taken in finds the answer dropped, and does not wait.
            if has_room {
                self.waiting.push_back(taker);
            }
        }
    }

    fn take_in(&mut self, made: Result<Result<KeyPair, PairError>, JoinError>) {
        match made {
            Ok(Ok(pair)) => self.ready.push_back(pair),
            // What fails once will fail again: it is tried anew when somebody asks.
            Ok(Err(error)) => {
                error!(
                    error = &error as &dyn std::error::Error,
                    "no key pair was made"
                );
                self.give_up();
            }
            Err(panic) => {
                error!(error = %panic, "the making of a key pair ended in a panic");
                self.give_up();
            }
        }
    }

    fn give_up(&mut self) {
        self.waiting.clear();
        self.is_wanted = false;
    }

    fn hand_out(&mut self) {
        while !self.waiting.is_empty()
            && let Some(pair) = self.ready.pop_front()
        {
            let taker = self.waiting.pop_front();
            // A pair that was not taken has been seen by nobody.
            if let Some(Err(pair)) = taker.map(|taker| taker.pair.send(pair)) {
                self.ready.push_front(pair);
            }
        }
    }

    fn make_more(&mut self) {
        let in_need = self.ready.len() < MAX_READY || !self.waiting.is_empty();
        if self.is_wanted && in_need && self.making.is_empty() {
            if !self.waiting.is_empty() {
                warn!(n_logins = self.waiting.len(), "logins wait for key pairs");
            }
            let make = Arc::clone(&self.make);
            self.making.spawn_blocking(move || make());
        }
    }
}

impl std::fmt::Debug for KeyPairsOwner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyPairsOwner")
            .field("n_ready", &self.ready.len())
            .field("n_waiting", &self.waiting.len())
            .finish_non_exhaustive()
    }
}

/// How long a login waits for its pair: some fifteen are made in that time. After it the
/// user types their password.
pub const KEY_WAIT: Duration = Duration::from_secs(1);

/// So many logins at one moment find a pair ready. They take two seconds of one processor
/// to make, once, and 50 KB.
const MAX_READY: usize = 32;

/// Who comes behind so many would wait longer than [`KEY_WAIT`] anyway.
const MAX_WAITING: usize = 32;

/// One user who logs in again and again leaves the pairs to others.
const MAX_OF_USER: usize = 2;

/// Asks are taken in at once; this is for a moment in which the owner does not run.
const MAX_ASKS: usize = 256;

#[cfg(test)]
mod tests;
