//! `listsessions`: which session profiles are there for this user, and on which of them
//! does a session wait? A function of the view: no server is asked.

use proto::{SessionState, Username};

use super::may_use;
use crate::auth::Authenticated;
use crate::frontend::plain::{Listed, ListedSession};
use crate::profiles::{SessionProfile, SessionProfiles};
use crate::view::{FarmView, PlacedSession};

/// The profiles that whoever asks may use, by ID, each with the session that waits for
/// them there: a suspended one before a running one.
#[must_use]
pub fn list_sessions<'a>(
    profiles: &'a SessionProfiles,
    view: &'a FarmView,
    who: &Authenticated,
) -> Vec<Listed<'a>> {
    let sessions = who.user().map_or(&[][..], |user| sessions(view, user));
    let usable = profiles.iter().filter(|profile| may_use(profile, who));
    usable
        .map(|profile| Listed {
            profile,
            session: session_on(profile, view, sessions),
        })
        .collect()
}

fn sessions<'a>(view: &'a FarmView, user: &Username) -> &'a [PlacedSession] {
    &view.of_user(user).sessions
}

/// The session that waits on a host of the profile, shown with its server's own name.
fn session_on<'a>(
    profile: &SessionProfile,
    view: &FarmView,
    sessions: &'a [PlacedSession],
) -> Option<ListedSession<'a>> {
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
        server: best.node.as_str(),
    })
}

fn suspended_first(state: SessionState) -> u8 {
    match state {
        SessionState::Suspended => 0,
        SessionState::Running => 1,
    }
}
