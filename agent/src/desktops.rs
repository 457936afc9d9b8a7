//! Which desktops of this server may a user watch, or work on?
//!
//! x2golistdesktops(8) says so, run as that user: it alone knows what others have announced
//! to them. It also names the displays in which the user is watching already; these are left
//! out, since nothing is there to be watched.

use std::time::Duration;

use proto::{Desktop, DesktopListing, Session, SessionKind, Username};

use crate::inventory::{InventoryGone, InventoryHandle};
use crate::shim_client::{ShimClient, ShimError};

/// Lists desktops. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Desktops {
    inventory: InventoryHandle,
    shim: ShimClient,
}

/// Why they could not be listed.
#[derive(Debug, thiserror::Error)]
pub enum DesktopsError {
    /// The program did not do it.
    #[error(transparent)]
    NotListed(#[from] ShimError),
    /// It takes too long.
    #[error("the desktops were not listed within {LIST_LIMIT:?}")]
    Slow,
    /// The agent is stopping.
    #[error(transparent)]
    Stopping(#[from] InventoryGone),
}

impl Desktops {
    /// Of the server with these sessions, whose users `shim` can act as.
    #[must_use]
    pub fn new(inventory: InventoryHandle, shim: ShimClient) -> Self {
        Self { inventory, shim }
    }

    /// The desktops that `user` may watch, in the order of x2golistdesktops(8).
    ///
    /// # Errors
    /// When they can't be listed within five seconds.
    pub async fn of(&self, user: &Username) -> Result<Vec<Desktop>, DesktopsError> {
        let listed = tokio::time::timeout(LIST_LIMIT, self.shim.desktops(user));
        let DesktopListing {
            desktops,
            n_odd,
            n_left_out,
        } = listed.await.map_err(|_elapsed| DesktopsError::Slow)??;
        if n_odd > 0 || n_left_out > 0 {
            // Their texts are whatever somebody has made of them, so only their number is told.
            tracing::warn!(%user, n_odd, n_left_out, "lines of x2golistdesktops were left out");
        }
        let sessions = self.inventory.subscribe().await?.snapshot.sessions;
        Ok(without_watchers(desktops, &sessions))
    }
}

/// Leaves out the displays of shadow sessions.
fn without_watchers(mut desktops: Vec<Desktop>, sessions: &[Session]) -> Vec<Desktop> {
    let shadows = sessions
        .iter()
        .filter(|session| session.kind() == Some(SessionKind::Shadow));
    let shadows: Vec<(&Username, u32)> = shadows
        .filter_map(|session| Some((&session.user, session.display()?)))
        .collect();
    desktops.retain(|desktop| !shadows.contains(&(&desktop.user, desktop.display)));
    desktops
}

/// It takes 0.2 to 0.4 s, and brokers wait for two; what takes longer than this helps nobody.
const LIST_LIMIT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use proto::{Desktop, Session, SessionId, SessionState, Username};

    use super::without_watchers;

    #[test]
    fn the_display_of_a_shadow_session_is_no_desktop() {
        let session = |user: &str, id: &str| Session {
            id: SessionId::parse(id).unwrap(),
            user: Username::parse(user).unwrap(),
            state: SessionState::Running,
            starting: false,
            client_order: None,
        };
        // As the lab had them when alice watched her own desktop.
        let sessions = [
            session("alice", "alice-50-1795886231_stRxterm_dp24"),
            session("alice", "alice-51-1795886231_stDxterm_dp24"),
            session("alice", "alice-52-1795886378_stS1XSHADaliceXSHADPP51_dp24"),
        ];
        let listed = [
            "alice@:51",
            "alice@:52",
            "alice@:50",
            "bob@:52",
            "bob@:78.0",
        ];
        let listed = listed.map(|line| Desktop::parse(line).unwrap());
        let left = without_watchers(listed.to_vec(), &sessions);
        let left: Vec<String> = left.iter().map(Desktop::to_string).collect();
        assert_eq!(left, ["alice@:51", "alice@:50", "bob@:52", "bob@:78.0"]);
    }
}
