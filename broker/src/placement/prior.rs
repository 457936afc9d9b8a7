//! Where does this user already have a session or a place?

use std::collections::HashSet;
use std::fmt;

use proto::{NodeId, SessionState};

/// A session of the user on a server that the session may be placed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserSession<'a> {
    /// The server.
    pub node: &'a NodeId,
    /// Running or suspended.
    pub state: SessionState,
    /// It can't be resumed yet.
    pub starting: bool,
    /// The server's own word is current; otherwise the session was there when the server
    /// was last heard.
    pub live: bool,
}

/// A server to ask before all others, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prior<'a> {
    /// The server.
    pub node: &'a NodeId,
    /// Why.
    pub reason: Reason,
}

/// Why a server is asked before all others. In order of preference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// A session waits there to be resumed.
    Suspended,
    /// A session runs there.
    Running,
    /// A session starts there now.
    Starting,
    /// A place is held there since a log-in of the last 60 s.
    Held,
    /// A suspended session was there when the server was last heard; it may be gone.
    StaleSuspended,
    /// A running session was there when the server was last heard.
    StaleRunning,
}

/// Where the user belongs, the best server first and each once, judging by their sessions, and
/// by the servers that hold a place for them: newest first, from this replica's records in
/// flight that are younger than 60 s and from the reservations that the agents tell.
///
/// Where two sessions are alike, the smaller name of the server decides, so that
/// replicas agree.
#[must_use]
pub fn prior_servers<'a>(sessions: &[UserSession<'a>], held: &[&'a NodeId]) -> Vec<Prior<'a>> {
    let of_session = |session: &UserSession<'a>| Prior {
        node: session.node,
        reason: session.reason(),
    };
    let mut of_sessions: Vec<_> = sessions.iter().map(of_session).collect();
    of_sessions.sort_by_key(|prior| (prior.reason, prior.node));
    let of_held = held.iter().map(|&node| Prior {
        node,
        reason: Reason::Held,
    });
    let mut all: Vec<_> = of_sessions.into_iter().chain(of_held).collect();
    // Stable: the places stay as they are, the newest first.
    all.sort_by_key(|prior| prior.reason);
    let mut seen = HashSet::new();
    all.retain(|prior| seen.insert(prior.node));
    all
}

impl UserSession<'_> {
    fn reason(&self) -> Reason {
        match (self.live, self.starting, self.state) {
            (false, _, SessionState::Suspended) => Reason::StaleSuspended,
            (false, _, SessionState::Running) => Reason::StaleRunning,
            (true, true, _) => Reason::Starting,
            (true, false, SessionState::Suspended) => Reason::Suspended,
            (true, false, SessionState::Running) => Reason::Running,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Suspended => "has a suspended session",
            Self::Running => "has a running session",
            Self::Starting => "has a session that is starting",
            Self::Held => "holds a place since the last log-in",
            Self::StaleSuspended => "had a suspended session when last heard",
            Self::StaleRunning => "had a running session when last heard",
        })
    }
}

#[cfg(test)]
mod tests {
    use proto::{NodeId, SessionState};

    use super::{UserSession, prior_servers};
    use crate::placement::testing::node;

    /// Sessions are written `node:letters`: S or R, `*` starting, `?` stale.
    fn check(sessions: &str, held: &str, expected: &str) {
        let parsed: Vec<(NodeId, &str)> = sessions
            .split_whitespace()
            .map(|word| word.split_once(':').unwrap())
            .map(|(name, letters)| (node(name), letters))
            .collect();
        let sessions: Vec<UserSession<'_>> = parsed
            .iter()
            .map(|(node, letters)| UserSession {
                node,
                state: if letters.contains('S') {
                    SessionState::Suspended
                } else {
                    SessionState::Running
                },
                starting: letters.contains('*'),
                live: !letters.contains('?'),
            })
            .collect();
        let held: Vec<NodeId> = held.split_whitespace().map(node).collect();
        let held: Vec<&NodeId> = held.iter().collect();
        let found = prior_servers(&sessions, &held);
        let found: Vec<String> = found
            .iter()
            .map(|prior| format!("{} {}", prior.node, prior.reason))
            .collect();
        let found = match found.as_slice() {
            [] => "none".to_owned(),
            [first, ..] if !expected.contains(';') => first.clone(),
            all => all.join("; "),
        };
        assert_eq!(found, expected, "{sessions:?}, held {held:?}");
    }

    #[test]
    fn where_the_best_server_refuses_the_next_ones_are_known() {
        check(
            "s3:S s1:R s2:S",
            "s1 s5 s4",
            "s2 has a suspended session; s3 has a suspended session; s1 has a running session; \
             s5 holds a place since the last log-in; s4 holds a place since the last log-in",
        );
        check(
            "s1:S? s2:R*",
            "s1",
            "s2 has a session that is starting; s1 holds a place since the last log-in",
        );
    }

    #[test]
    fn a_user_goes_where_their_session_is() {
        check("", "", "none");
        check("s1:S", "", "s1 has a suspended session");
        check("s1:R", "", "s1 has a running session");
        check("s1:R*", "", "s1 has a session that is starting");
    }

    #[test]
    fn a_suspended_session_comes_before_a_running_one() {
        check("s1:R s2:S", "", "s2 has a suspended session");
        check("s2:S s1:R", "", "s2 has a suspended session");
        check("s1:R* s2:R", "", "s2 has a running session");
    }

    #[test]
    fn a_held_place_comes_after_live_sessions_and_before_stale_ones() {
        check("", "s2 s1", "s2 holds a place since the last log-in");
        check("s1:R", "s2", "s1 has a running session");
        check("s1:S?", "s2", "s2 holds a place since the last log-in");
        check(
            "s1:R? s2:S?",
            "",
            "s2 had a suspended session when last heard",
        );
        check("s1:S? s2:R", "", "s2 has a running session");
    }

    #[test]
    fn of_two_alike_the_smaller_name_decides() {
        check("s2:S s1:S", "", "s1 has a suspended session");
        check("s1:S s2:S", "", "s1 has a suspended session");
    }
}
