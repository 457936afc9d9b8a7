//! Which keys open accounts of this server for a short while, and are they gone afterwards?
//!
//! One task owns them. A key is first noted on the disk ([`journal`](self)), then added to
//! the user's file by the setuid program, and removed when its time is over. Whatever ends
//! the agent in between, the next one finds the note and removes the key. What can't be
//! noted is not added. The line is the agent's own ([`LineRules`]), with a mark that no
//! other line has: so nothing is removed that was not added here.
//!
//! Or no file is touched, and sshd asks for the keys ([`KeysSocket`]).

mod engine;
mod journal;
mod ledger;
mod line;
mod look_ups;
mod offers;
mod program;
mod socket;

use std::path::PathBuf;
use std::sync::Arc;

use proto::{Generation, KEY_LIMIT, KeyGrant, KeyOutcome, NodeId, PublicKey, Username};
use tokio::sync::{mpsc, oneshot, watch};

pub use engine::Keys;
pub use line::LineRules;
pub use program::sshd_knows_utc_expiry;
pub use socket::{KeysSocket, KeysSocketError};

/// What the keys' owner must know beforehand.
#[derive(Clone, Debug)]
pub struct KeysSetup {
    /// Whether keys are installed at all.
    pub mode: KeysMode,
    /// How their lines look.
    pub rules: LineRules,
    /// Where the journal is kept.
    pub state_directory: PathBuf,
    /// The beginning of every mark: no other agent, and no other start of this one, has it.
    pub mark: String,
    /// Whose file the setuid program must be: root's, but for tests.
    pub program_owner: u32,
}

/// How keys get to sshd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeysMode {
    /// In the users' own files.
    Files,
    /// sshd asks the agent for them ([`KeysSocket`]).
    Command,
    /// Not at all.
    Off,
}

/// What others may know of the keys here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeysState {
    /// Whether keys can be asked for: as far as is known, they will be installed.
    pub installs: bool,
    /// Keys that are there, or that must still be removed.
    pub n_keys: u32,
}

/// Asks the owner of the keys. Cheap to clone.
#[derive(Clone, Debug)]
pub struct KeysHandle {
    commands: mpsc::Sender<Command>,
    state: watch::Receiver<KeysState>,
}

/// The owner of the keys has ended: the agent is stopping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the agent is stopping")]
pub struct KeysGone;

/// What the owner is asked.
#[derive(Debug)]
enum Command {
    Grant {
        user: Username,
        grant: KeyGrant,
        answer: oneshot::Sender<KeyOutcome>,
    },
    Revoke {
        user: Username,
        key: PublicKey,
        answer: oneshot::Sender<u32>,
    },
    Offered(Username, oneshot::Sender<Vec<Arc<str>>>),
}

/// The beginning of the marks of one agent in one of its starts: homes may be shared among
/// servers.
#[must_use]
pub fn mark(node: &NodeId, generation: Generation) -> String {
    format!("{}{node}:{generation}", journal::MARK)
}

impl KeysHandle {
    /// Has a key open the account of `user`. Answers within [`KEY_LIMIT`]; a key that was
    /// not there in time is removed as soon as may be.
    pub async fn grant(&self, user: Username, grant: KeyGrant) -> KeyOutcome {
        let asked = async {
            let (answer, asked) = oneshot::channel();
            let command = Command::Grant {
                user,
                grant,
                answer,
            };
            self.commands.send(command).await.ok()?;
            asked.await.ok()
        };
        let outcome = tokio::time::timeout(KEY_LIMIT, asked).await;
        outcome.ok().flatten().unwrap_or(KeyOutcome::Failed)
    }

    /// Has a key of `user` removed before its time; returns how many lines that concerns.
    ///
    /// # Errors
    /// When the agent is stopping.
    pub async fn revoke(&self, user: Username, key: PublicKey) -> Result<u32, KeysGone> {
        let (answer, asked) = oneshot::channel();
        let command = Command::Revoke { user, key, answer };
        self.commands
            .send(command)
            .await
            .map_err(|_gone| KeysGone)?;
        asked.await.map_err(|_gone| KeysGone)
    }

    /// The lines that open the account of `user` now, where sshd asks for them.
    ///
    /// # Errors
    /// When the agent is stopping.
    pub async fn offered(&self, user: Username) -> Result<Vec<Arc<str>>, KeysGone> {
        let (answer, asked) = oneshot::channel();
        let command = Command::Offered(user, answer);
        self.commands
            .send(command)
            .await
            .map_err(|_gone| KeysGone)?;
        asked.await.map_err(|_gone| KeysGone)
    }

    /// What may be told of the keys here.
    #[must_use]
    pub fn state(&self) -> KeysState {
        *self.state.borrow()
    }

    /// The same, to be watched.
    #[must_use]
    pub fn watch_state(&self) -> watch::Receiver<KeysState> {
        self.state.clone()
    }
}

/// Requests take microseconds each; askers beyond these wait for their turn.
const MAX_COMMANDS: usize = 256;

#[cfg(test)]
mod tests;
