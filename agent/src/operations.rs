//! What is done to the sessions of this server, and has it really happened?
//!
//! The setuid program acts; the session database says whether it has happened. An answer
//! is good only when the inventory has seen the change.

use std::time::Duration;

use proto::{Session, SessionId, SessionState, Username};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

use crate::inventory::{Change, InventoryGone, InventoryHandle, Subscription};
use crate::shim_client::{Act, ShimClient, ShimError};

/// Suspends and terminates sessions. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Operations {
    inventory: InventoryHandle,
    shim: ShimClient,
}

/// Why it has not happened.
#[derive(Debug, thiserror::Error)]
pub enum OperationError {
    /// There is none of this user.
    #[error("{user} has no session {session} here")]
    NoSuchSession {
        /// Whose it should be.
        user: Username,
        /// Which one.
        session: SessionId,
    },
    /// It has not started yet.
    #[error("the session {session} is just starting")]
    Starting {
        /// Which one.
        session: SessionId,
    },
    /// It is gone, so that it can't be suspended.
    #[error("the session {session} has ended")]
    Ended {
        /// Which one.
        session: SessionId,
    },
    /// The program did not do it.
    #[error(transparent)]
    NotDone(#[from] ShimError),
    /// The program did its part, and the session did not change.
    #[error("the session {session} did not change within {ACT_LIMIT:?}")]
    NotSeen {
        /// Which one.
        session: SessionId,
    },
    /// The inventory has ended.
    #[error(transparent)]
    Stopping(#[from] InventoryGone),
}

impl Operations {
    /// Acts by `shim`, and watches `inventory`.
    #[must_use]
    pub fn new(inventory: InventoryHandle, shim: ShimClient) -> Self {
        Self { inventory, shim }
    }

    /// Does it, and returns when it has happened. What was so before has happened.
    ///
    /// # Errors
    /// When it has not happened within [`ACT_LIMIT`], or can't happen.
    pub async fn bring_about(
        &self,
        act: Act,
        user: &Username,
        session: &SessionId,
    ) -> Result<(), OperationError> {
        let until = Instant::now() + ACT_LIMIT;
        self.inventory.look().await;
        let subscription = self.inventory.subscribe().await?;
        let known = find(&subscription, session).filter(|known| known.user == *user);
        let Some(known) = known else {
            return Err(OperationError::NoSuchSession {
                user: user.clone(),
                session: session.clone(),
            });
        };
        if known.starting {
            let session = session.clone();
            return Err(OperationError::Starting { session });
        }
        if let Some(done) = outcome(act, session, Some(known.state)) {
            return done;
        }
        let mut seen = std::pin::pin!(self.seen(act, session, subscription));
        tokio::select! {
            biased;
            seen = &mut seen => return seen,
            acted = self.shim.run(act, user, session) => match acted {
                Ok(()) | Err(ShimError::UnderWay) => self.inventory.look().await,
                Err(error) => return Err(error.into()),
            },
        }
        let seen = tokio::time::timeout_at(until, seen).await;
        seen.unwrap_or_else(|_elapsed| {
            let session = session.clone();
            Err(OperationError::NotSeen { session })
        })
    }

    /// Returns when the inventory has seen it.
    async fn seen(
        &self,
        act: Act,
        session: &SessionId,
        mut subscription: Subscription,
    ) -> Result<(), OperationError> {
        loop {
            let state = match subscription.changes.recv().await {
                Ok(change) => match state_after(&change, session) {
                    Some(state) => state,
                    None => continue,
                },
                Err(RecvError::Lagged(_)) => {
                    subscription = self.inventory.subscribe().await?;
                    find(&subscription, session).map(|known| known.state)
                }
                Err(RecvError::Closed) => return Err(InventoryGone.into()),
            };
            if let Some(done) = outcome(act, session, state) {
                return done;
            }
        }
    }
}

fn find<'a>(subscription: &'a Subscription, session: &SessionId) -> Option<&'a Session> {
    let mut sessions = subscription.snapshot.sessions.iter();
    sessions.find(|known| known.id == *session)
}

/// What a change makes of a session: none when it says nothing of it, and no state when
/// the session is gone.
#[expect(clippy::option_option, reason = "nothing said, or said to be gone")]
fn state_after(change: &Change, session: &SessionId) -> Option<Option<SessionState>> {
    if change.delta.removed.contains(session) {
        return Some(None);
    }
    let mut upserted = change.delta.upserted.iter();
    let changed = upserted.find(|known| known.id == *session)?;
    Some(Some(changed.state))
}

/// Whether that is what was wanted, or what makes it impossible; none to wait on.
fn outcome(
    act: Act,
    session: &SessionId,
    state: Option<SessionState>,
) -> Option<Result<(), OperationError>> {
    match (act, state) {
        (Act::Suspend, Some(SessionState::Suspended)) | (Act::Terminate, None) => Some(Ok(())),
        (Act::Suspend, None) => Some(Err(OperationError::Ended {
            session: session.clone(),
        })),
        (Act::Suspend, Some(SessionState::Running)) | (Act::Terminate, Some(_)) => None,
    }
}

/// From the request to the change that was seen. Whoever asked waits a little longer.
pub const ACT_LIMIT: Duration = Duration::from_secs(18);

#[cfg(test)]
mod tests;
