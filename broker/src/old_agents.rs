//! How are X2Go servers asked whose agent is that of x2gobroker 0.0.4.3?
//!
//! The original broker logs in at such a server with SSH and runs its agent, one log-in for
//! each question. Where `agent-query-mode` is `SSH`, this module does the same for hosts of
//! which the mesh has never heard, with the OpenSSH client: one connection a server, which
//! all calls use. In the mode `LOCAL` the program on this very host is run.
//!
//! * [`Call`]: the command lines, with nothing in them that a shell would read.
//! * [`answer`]: what comes back.
//! * [`old_hosts`]: which hosts of a profile are asked so.
//! * [`Round`]: what all old servers of a profile say of one user, asked side by side.
//! * [`Poller`]: load and session counts, and whether those that are passed over answer again,
//!   asked for in the background.
//!
//! Each call has a deadline, a place among those of its agent and its user (`places`), and a
//! limit of output. An agent that does not answer is passed over until it does (`health`), so
//! that only who noticed it has waited, and no longer than is usual there (`pace`).

mod agent;
pub mod answer;
mod call;
mod caller;
mod figures;
mod health;
mod keys;
mod local;
mod pace;
mod places;
mod poll;
mod probe;
mod round;
mod run;
mod slot;
mod ssh;
mod take_over;

use std::collections::HashMap;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use agent::{OldAgent, OldHost, old_hosts};
pub use call::{Call, OperandError};
pub use caller::CallError;
pub use poll::Poller;
pub use round::{OldServer, OldSessions, Round};

use caller::Calling;
use places::{Held, SharedPlaces};
use slot::Slot;

/// The way to all old agents. Clones share connections and bounds.
#[derive(Clone, Debug)]
pub struct OldAgents {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Where the sockets of connections are.
    sockets: PathBuf,
    slots: Mutex<HashMap<OldAgent, Arc<Slot>>>,
    places: Arc<SharedPlaces>,
    tasks: TaskTracker,
    n_slots: AtomicU64,
    /// What is to be called for each key that is somewhere, once for each login.
    lent: Mutex<Vec<(OldAgent, Call)>>,
    /// Keys are removed at once from then on.
    stopping: CancellationToken,
}

impl OldAgents {
    /// Begins with no connections. Their sockets will be in `sockets`, which nobody else may
    /// use; [`Self::prepare`] makes it.
    #[must_use]
    pub fn new(sockets: PathBuf) -> Self {
        let shared = Shared {
            sockets,
            slots: Mutex::default(),
            places: Arc::new(SharedPlaces::new()),
            tasks: TaskTracker::new(),
            n_slots: AtomicU64::default(),
            lent: Mutex::default(),
            stopping: CancellationToken::new(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Makes the folder of the sockets anew: what a process before this one left there is of
    /// no use.
    ///
    /// # Errors
    /// When it can't be made.
    pub fn prepare(&self) -> io::Result<()> {
        let folder: &Path = &self.shared.sockets;
        match std::fs::remove_dir_all(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
        std::fs::DirBuilder::new().mode(0o700).create(folder)
    }

    /// Calls an agent and returns what it says, `OK` first.
    ///
    /// # Errors
    /// When it does not say that within `limit`, or there is no place for the call.
    pub async fn call(
        &self,
        agent: &OldAgent,
        call: Call,
        limit: Duration,
    ) -> Result<String, CallError> {
        self.call_with(agent, call, limit, None).await
    }

    /// [`Self::call`], with the places that are there already.
    async fn call_with(
        &self,
        agent: &OldAgent,
        call: Call,
        limit: Duration,
        held: Option<Held>,
    ) -> Result<String, CallError> {
        let calling = Calling {
            agent: agent.clone(),
            slot: self.slot(agent)?,
            call,
            limit,
            held,
        };
        let places = Arc::clone(&self.shared.places);
        calling.make(places, &self.shared.tasks).await
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<OldAgent, Arc<Slot>>> {
        let slots = self.shared.slots.lock();
        slots.unwrap_or_else(PoisonError::into_inner)
    }

    fn lent(&self) -> MutexGuard<'_, Vec<(OldAgent, Call)>> {
        self.shared
            .lent
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn slot(&self, agent: &OldAgent) -> Result<Arc<Slot>, CallError> {
        let mut slots = self.slots();
        if let Some(slot) = slots.get(agent) {
            return Ok(Arc::clone(slot));
        }
        if slots.len() >= MAX_AGENTS {
            return Err(CallError::Busy);
        }
        // Short: the path of a socket has some hundred bytes, of which ssh needs a few.
        let number = self.shared.n_slots.fetch_add(1, Ordering::Relaxed);
        let socket = self.shared.sockets.join(number.to_string());
        let slot = Arc::new(Slot::new(socket));
        slots.insert(agent.clone(), Arc::clone(&slot));
        Ok(slot)
    }

    /// Ends the connections of agents that no profile names any more.
    fn keep_only(&self, agents: &[OldAgent]) {
        self.slots().retain(|agent, _| agents.contains(agent));
    }
}

/// Connections at once. A farm of more servers needs the mesh.
const MAX_AGENTS: usize = 512;

/// An old server has so long to list sessions: several times what a call takes on one that
/// is busy (0.3 s to 0.8 s, measured). A log-in may wait less, see `pace`.
pub const LIST_DEADLINE: Duration = Duration::from_secs(4);
