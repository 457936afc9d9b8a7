//! How is a running session of an old server suspended before it is handed out?
//!
//! The old agent only writes the state into the session database. x2gocleansessions reads
//! it there a few seconds later and suspends the session. Whoever lists sessions in between
//! has the state written back, as the session still runs, and the suspension is lost. So
//! nobody looks before x2gocleansessions has had its time, and what is seen then is the
//! truth: `S` only when the session's own process says so.

use std::time::Duration;

use proto::{SessionId, SessionRecord, SessionState, Username};
use tokio::time::{Instant, sleep_until};

use super::{Call, CallError, LIST_DEADLINE, OldAgent, OldAgents};

impl OldAgents {
    /// Has a session of the user suspended, and returns the user's sessions as they are
    /// then: with this one suspended, or still running when that takes too long.
    ///
    /// # Errors
    /// When the agent does not answer.
    pub async fn suspend(
        &self,
        agent: &OldAgent,
        user: &Username,
        session: &SessionId,
    ) -> Result<Vec<SessionRecord>, CallError> {
        let until = Instant::now() + SUSPEND_LIMIT;
        let call = Call::Suspend(user.clone(), session.clone());
        self.call(agent, call.clone(), LIST_DEADLINE).await?;
        let mut look_at = Instant::now() + FIRST_LOOK;
        loop {
            sleep_until(look_at).await;
            let listed = self.list(agent, user).await?;
            look_at = Instant::now() + LOOK_AGAIN;
            if !runs(&listed, session) || look_at >= until {
                return Ok(listed);
            }
            // That very look may have undone it.
            self.call(agent, call.clone(), LIST_DEADLINE).await?;
        }
    }
}

fn runs(listed: &[SessionRecord], session: &SessionId) -> bool {
    let mut records = listed.iter();
    records.any(|record| record.id == *session && record.state == SessionState::Running)
}

/// x2gocleansessions looks every 2 s and takes some time itself.
const FIRST_LOOK: Duration = Duration::from_secs(4);
const LOOK_AGAIN: Duration = Duration::from_secs(4);

/// As for servers of the mesh; X2Go Client suspends a session that runs itself.
const SUSPEND_LIMIT: Duration = crate::agents::SUSPEND_DEADLINE;
