//! How do other parts ask the inventory?

use proto::{ClientOrder, Drain, Load, NodeState, SessionId, SessionRecord, Username};
use tokio::sync::{mpsc, oneshot, watch};

use super::poller::Freshener;
use super::{ActiveSession, Admission, Command, DrainError, OrderError, Subscription};
use crate::admission::Request;

/// Asks the inventory. Cheap to clone.
#[derive(Clone, Debug)]
pub struct InventoryHandle {
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) published: watch::Receiver<NodeState>,
    pub(super) freshener: Freshener,
}

/// The inventory has ended: the agent is stopping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the agent is stopping")]
pub struct InventoryGone;

/// Why the drain was not changed.
#[derive(Debug, thiserror::Error)]
pub enum SetDrainError {
    /// It would be forgotten at the next restart.
    #[error(transparent)]
    NotKept(#[from] DrainError),
    /// The inventory has ended.
    #[error(transparent)]
    Gone(#[from] InventoryGone),
}

/// Why the client of a session can't be told.
#[derive(Debug, thiserror::Error)]
pub enum OrderClientError {
    /// There is no client to tell.
    #[error(transparent)]
    NoClient(#[from] OrderError),
    /// The inventory has ended.
    #[error(transparent)]
    Gone(#[from] InventoryGone),
}

impl InventoryHandle {
    /// May this user start or resume here now? Looks at the session database first.
    ///
    /// # Errors
    /// When the agent is stopping.
    pub async fn admit(&self, request: Request) -> Result<Admission, InventoryGone> {
        self.look().await;
        self.ask(|answer| Command::Admit(request, answer)).await
    }

    /// Gives a reservation back, and returns the state after it.
    ///
    /// # Errors
    /// When the agent is stopping.
    pub async fn cancel(&self, user: Username) -> Result<NodeState, InventoryGone> {
        self.ask(|answer| Command::Cancel(user, answer)).await
    }

    /// Begins or ends a drain, kept over a restart, and returns the state after it.
    ///
    /// # Errors
    /// When it can't be kept, or the agent is stopping.
    pub async fn set_drain(&self, drain: Option<Drain>) -> Result<NodeState, SetDrainError> {
        Ok(self
            .ask(|answer| Command::SetDrain(drain, answer))
            .await??)
    }

    /// Has the client of a user's running session told what to do: with the answer to its
    /// next event, within ten minutes, unless the session changes its state before.
    ///
    /// # Errors
    /// When the session has no client, or the agent is stopping.
    pub async fn order_client(
        &self,
        user: Username,
        session: SessionId,
        order: ClientOrder,
    ) -> Result<(), OrderClientError> {
        let ordered = self.ask(|answer| Command::OrderClient {
            user,
            session,
            order,
            answer,
        });
        Ok(ordered.await??)
    }

    /// The user's sessions that can be resumed, the best one first. Looks at the session
    /// database first.
    ///
    /// # Errors
    /// When the agent is stopping.
    pub async fn resumable(&self, user: Username) -> Result<Vec<SessionRecord>, InventoryGone> {
        self.look().await;
        self.ask(|answer| Command::Resumable(user, answer)).await
    }

    /// Has the session database looked at now, and returns soon after, at the latest.
    pub async fn look(&self) {
        self.freshener.freshen().await;
    }

    /// All sessions and reservations, and then each change.
    ///
    /// # Errors
    /// When the agent is stopping.
    pub async fn subscribe(&self) -> Result<Subscription, InventoryGone> {
        self.ask(Command::Subscribe).await
    }

    /// The running sessions.
    ///
    /// # Errors
    /// When the agent is stopping.
    pub async fn active_sessions(&self) -> Result<Vec<ActiveSession>, InventoryGone> {
        self.ask(Command::ActiveSessions).await
    }

    /// Notes a new load.
    ///
    /// # Errors
    /// When the agent is stopping.
    pub async fn set_load(&self, load: Load) -> Result<(), InventoryGone> {
        self.commands
            .send(Command::Load(load))
            .await
            .map_err(|_gone| InventoryGone)
    }

    /// From now on this server says that its agent is leaving.
    ///
    /// # Errors
    /// When the agent has stopped.
    pub async fn leave(&self) -> Result<NodeState, InventoryGone> {
        self.ask(Command::Leave).await
    }

    /// The state as it was published last.
    #[must_use]
    pub fn state(&self) -> NodeState {
        self.published.borrow().clone()
    }

    /// The state, to be watched.
    #[must_use]
    pub fn watch_state(&self) -> watch::Receiver<NodeState> {
        self.published.clone()
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, InventoryGone> {
        let (answer, asked) = oneshot::channel();
        self.commands
            .send(command(answer))
            .await
            .map_err(|_gone| InventoryGone)?;
        asked.await.map_err(|_gone| InventoryGone)
    }
}
