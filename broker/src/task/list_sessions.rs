//! `listsessions`: which session profiles are there for this user, and on which of them
//! does a session wait? A function of the view: no server is asked.

use proto::{NodeId, SessionState, Username};

use crate::old_agents::OldSessions;
use crate::profiles::{AgentQueryMode, SessionProfile};
use crate::view::{FarmView, PlacedSession};

/// A profile that whoever asks may use.
#[derive(Clone, Debug)]
pub struct Listed<'a> {
    /// The profile.
    pub profile: &'a SessionProfile,
    /// The user's session on one of its hosts: a suspended one before a running one.
    pub session: Option<ListedSession>,
    /// How many sessions the user has there; only when that is configured.
    pub counts: Option<SessionCounts>,
    /// Whether a key for the X2Go server will come with the answer to `selectsession`, so
    /// that the client need not ask for a password. Only what is kept may be promised.
    pub autologin: bool,
}

/// How many sessions a user has on the hosts of a profile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionCounts {
    /// Running ones.
    pub running: u32,
    /// Suspended ones.
    pub suspended: u32,
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

impl HostsShown {
    /// Which ones, where agents are asked in this way.
    #[must_use]
    pub fn of(mode: AgentQueryMode) -> Self {
        match mode {
            AgentQueryMode::None => Self::All,
            AgentQueryMode::Mesh | AgentQueryMode::Local | AgentQueryMode::Ssh => Self::One,
        }
    }
}

/// Each of these profiles with the session that waits for the user there. `profiles` are
/// those that the ACLs give whoever asks.
#[must_use]
pub fn list_sessions<'a>(
    profiles: impl Iterator<Item = &'a SessionProfile>,
    view: &FarmView,
    user: Option<&Username>,
    counted: bool,
) -> Vec<Listed<'a>> {
    list_all_sessions(profiles, view, &OldSessions::default(), user, counted)
}

/// [`list_sessions`], with what old servers said of the user.
#[must_use]
pub fn list_all_sessions<'a>(
    profiles: impl Iterator<Item = &'a SessionProfile>,
    view: &FarmView,
    old: &OldSessions,
    user: Option<&Username>,
    counted: bool,
) -> Vec<Listed<'a>> {
    let sessions = user.map_or(&[][..], |user| &view.of_user(user).sessions);
    profiles
        .map(|profile| {
            let mut on_hosts = sessions_on(profile, view, sessions);
            on_hosts.extend(old.of(&profile.id));
            Listed {
                profile,
                session: best_of(&on_hosts),
                counts: counted.then(|| count(&on_hosts)),
                autologin: false,
            }
        })
        .collect()
}

/// The sessions on the hosts of a profile, in the order of its hosts, each once.
fn sessions_on<'a>(
    profile: &SessionProfile,
    view: &FarmView,
    sessions: &'a [PlacedSession],
) -> Vec<&'a PlacedSession> {
    if sessions.is_empty() || profile.is_shadow() {
        return Vec::new();
    }
    let mut on_hosts: Vec<&PlacedSession> = Vec::new();
    for node in profile
        .hosts
        .iter()
        .filter_map(|host| view.hosts().resolve(host))
    {
        for placed in of_node(sessions, node) {
            // Two hosts of a profile may be two names of one server.
            if !on_hosts.iter().any(|known| std::ptr::eq(*known, placed)) {
                on_hosts.push(placed);
            }
        }
    }
    on_hosts
}

fn of_node<'a>(
    sessions: &'a [PlacedSession],
    node: &NodeId,
) -> impl Iterator<Item = &'a PlacedSession> {
    let own = sessions.iter().filter(|placed| !placed.is_shadow());
    own.filter(move |placed| placed.node == *node)
}

fn best_of(on_hosts: &[&PlacedSession]) -> Option<ListedSession> {
    let by_state = |placed: &&&PlacedSession| suspended_first(placed.session.state);
    let best = on_hosts.iter().min_by_key(by_state)?;
    Some(ListedSession {
        state: best.session.state,
        server: best.node.clone(),
    })
}

fn count(on_hosts: &[&PlacedSession]) -> SessionCounts {
    let mut counts = SessionCounts::default();
    for placed in on_hosts {
        match placed.session.state {
            SessionState::Running => counts.running += 1,
            SessionState::Suspended => counts.suspended += 1,
        }
    }
    counts
}

fn suspended_first(state: SessionState) -> u8 {
    match state {
        SessionState::Suspended => 0,
        SessionState::Running => 1,
    }
}
