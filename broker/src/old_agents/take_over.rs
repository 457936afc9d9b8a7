//! How is a running session of an old server suspended before it is handed out?
//!
//! The old agent only writes the state into the session database. x2gocleansessions reads
//! it there a few seconds later and suspends the session, which is done some 9 s after the
//! call (measured). Whoever lists sessions in between has the state written back, as the
//! session still runs, and the suspension is lost: asking again and again would undo it each
//! time. So there is one look, late enough, and what it shows is the truth: `S` only when the
//! session's own process says so. A session that still runs then is offered as running.

use std::time::Duration;

use proto::{SessionId, SessionRecord, Username};

use super::{Call, CallError, LIST_DEADLINE, OldAgent, OldAgents};

impl OldAgents {
    /// Has a session of the user suspended, and returns the user's sessions as they are
    /// then: with this one suspended, or still running.
    ///
    /// # Errors
    /// When the agent does not answer.
    pub async fn suspend(
        &self,
        agent: &OldAgent,
        user: &Username,
        session: &SessionId,
    ) -> Result<Vec<SessionRecord>, CallError> {
        let call = Call::Suspend(user.clone(), session.clone());
        self.call(agent, call, LIST_DEADLINE).await?;
        tokio::time::sleep(LOOK_AFTER).await;
        self.list(agent, user).await
    }
}

/// Measured at a load of seven for each core: suspended after 8.8 s.
const LOOK_AFTER: Duration = Duration::from_secs(11);
