//! `listsessions`: which session profiles are there for this user, and on which of them
//! does a session wait? A function of the view: no server is asked.

use proto::{NodeId, SessionState, Username};

use crate::profiles::SessionProfile;
use crate::view::{FarmView, PlacedSession};

/// A profile that whoever asks may use.
#[derive(Clone, Debug)]
pub struct Listed<'a> {
    /// The profile.
    pub profile: &'a SessionProfile,
    /// The user's session on one of its hosts: a suspended one before a running one.
    pub session: Option<ListedSession>,
}

/// The session that a profile shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedSession {
    /// Suspended or running.
    pub state: SessionState,
    /// Its server, by that server's own name.
    pub server: NodeId,
}

/// Which of a profile's hosts clients are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostsShown {
    /// All of them: when nobody asks agents (`NONE`).
    All,
    /// The host of the session, else the first.
    One,
}

/// Each of these profiles with the session that waits for the user there. `profiles` are
/// those that the ACLs give whoever asks.
#[must_use]
pub fn list_sessions<'a>(
    profiles: impl Iterator<Item = &'a SessionProfile>,
    view: &FarmView,
    user: Option<&Username>,
) -> Vec<Listed<'a>> {
    let sessions = user.map_or(&[][..], |user| &view.of_user(user).sessions);
    profiles
        .map(|profile| Listed {
            profile,
            session: session_on(profile, view, sessions),
        })
        .collect()
}

fn session_on(
    profile: &SessionProfile,
    view: &FarmView,
    sessions: &[PlacedSession],
) -> Option<ListedSession> {
    if sessions.is_empty() || profile.is_shadow() {
        return None;
    }
    let on_hosts = profile.hosts.iter().filter_map(|host| {
        let node = view.hosts().resolve(host)?;
        sessions
            .iter()
            .filter(|placed| placed.node == *node)
            .min_by_key(|placed| suspended_first(placed.session.state))
    });
    let best = on_hosts.min_by_key(|placed| suspended_first(placed.session.state))?;
    Some(ListedSession {
        state: best.session.state,
        server: best.node.clone(),
    })
}

fn suspended_first(state: SessionState) -> u8 {
    match state {
        SessionState::Suspended => 0,
        SessionState::Running => 1,
    }
}
