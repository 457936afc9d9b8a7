//! Who has a session or a reservation, and where: an index by user.
//!
//! Split into shards that are shared between snapshots: a change copies the one shard
//! that it touches.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;

use proto::{NodeId, Session, SessionId, Username};

use super::PlacedSession;

/// What one user has on the farm.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserSessions {
    /// Sessions, in the order in which they became known.
    pub sessions: Vec<PlacedSession>,
    /// Servers that hold a place for the user.
    pub reservations: Vec<NodeId>,
}

impl UserSessions {
    const NONE: Self = Self {
        sessions: Vec::new(),
        reservations: Vec::new(),
    };

    fn is_empty(&self) -> bool {
        self.sessions.is_empty() && self.reservations.is_empty()
    }
}

type Shard = HashMap<Username, UserSessions>;

#[derive(Clone, Debug)]
pub(super) struct SessionIndex {
    shards: Vec<Arc<Shard>>,
    hasher: RandomState,
    n_sessions: usize,
}

impl Default for SessionIndex {
    fn default() -> Self {
        Self {
            shards: vec![Arc::default(); N_SHARDS],
            hasher: RandomState::new(),
            n_sessions: 0,
        }
    }
}

impl SessionIndex {
    pub(super) fn of_user(&self, user: &Username) -> &UserSessions {
        static NONE: UserSessions = UserSessions::NONE;
        let shard = self.shards.get(self.shard_idx(user));
        shard.and_then(|shard| shard.get(user)).unwrap_or(&NONE)
    }

    pub(super) fn n_sessions(&self) -> usize {
        self.n_sessions
    }

    /// Adds a session, or replaces what is known of it.
    pub(super) fn upsert(&mut self, node: &NodeId, session: Session) {
        let user = session.user.clone();
        let added = self.edit(&user, |of_user| {
            let known = of_user
                .sessions
                .iter_mut()
                .find(|placed| placed.node == *node && placed.session.id == session.id);
            if let Some(known) = known {
                known.session = session;
                return 0;
            }
            of_user.sessions.push(PlacedSession {
                node: node.clone(),
                session,
            });
            1
        });
        self.n_sessions += added;
    }

    /// Forgets a session.
    pub(super) fn remove(&mut self, node: &NodeId, user: &Username, id: &SessionId) {
        let removed = self.edit(user, |of_user| {
            let before = of_user.sessions.len();
            of_user
                .sessions
                .retain(|placed| placed.node != *node || placed.session.id != *id);
            before - of_user.sessions.len()
        });
        self.n_sessions = self.n_sessions.saturating_sub(removed);
    }

    /// Notes that a server holds a place for the user.
    pub(super) fn reserve(&mut self, node: &NodeId, user: &Username) {
        self.edit(user, |of_user| {
            if !of_user.reservations.contains(node) {
                of_user.reservations.push(node.clone());
            }
        });
    }

    /// Notes that it no longer does.
    pub(super) fn release(&mut self, node: &NodeId, user: &Username) {
        self.edit(user, |of_user| {
            of_user.reservations.retain(|reserved| reserved != node);
        });
    }

    fn edit<R>(&mut self, user: &Username, edit: impl FnOnce(&mut UserSessions) -> R) -> R {
        let idx = self.shard_idx(user);
        let mut of_user = UserSessions::default();
        let Some(shard) = self.shards.get_mut(idx).map(Arc::make_mut) else {
            return edit(&mut of_user);
        };
        of_user = shard.remove(user).unwrap_or_default();
        let result = edit(&mut of_user);
        if !of_user.is_empty() {
            shard.insert(user.clone(), of_user);
        }
        result
    }

    fn shard_idx(&self, user: &Username) -> usize {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(user.as_str().as_bytes());
        usize::try_from(hasher.finish() % N_SHARDS as u64).unwrap_or(0)
    }
}

/// 10,000 users make shards of some 40 entries: copying one takes microseconds.
const N_SHARDS: usize = 256;

#[cfg(test)]
mod tests {
    use proto::{NodeId, Session, SessionId, SessionState, Username};

    use super::SessionIndex;

    fn session(user: &str, id: &str, state: SessionState) -> Session {
        Session {
            id: SessionId::parse(id).unwrap(),
            user: Username::parse(user).unwrap(),
            state,
            starting: false,
            client_order: None,
        }
    }

    #[test]
    fn a_session_is_found_by_its_user_and_counted_once() {
        let mut index = SessionIndex::default();
        let s1 = NodeId::parse("s1").unwrap();
        let alice = Username::parse("alice").unwrap();
        index.upsert(&s1, session("alice", "alice-50", SessionState::Running));
        let before = index.clone();
        index.upsert(&s1, session("alice", "alice-50", SessionState::Suspended));
        assert_eq!(index.n_sessions(), 1);
        assert_eq!(
            index.of_user(&alice).sessions[0].session.state,
            SessionState::Suspended
        );
        assert_eq!(
            before.of_user(&alice).sessions[0].session.state,
            SessionState::Running
        );
    }

    #[test]
    fn what_ends_is_forgotten_wholly() {
        let mut index = SessionIndex::default();
        let s1 = NodeId::parse("s1").unwrap();
        let alice = Username::parse("alice").unwrap();
        index.upsert(&s1, session("alice", "alice-50", SessionState::Running));
        index.reserve(&s1, &alice);
        index.reserve(&s1, &alice);
        assert_eq!(
            index.of_user(&alice).reservations,
            std::slice::from_ref(&s1)
        );
        index.release(&s1, &alice);
        index.remove(&s1, &alice, &SessionId::parse("alice-50").unwrap());
        assert_eq!(index.n_sessions(), 0);
        assert!(index.of_user(&alice).is_empty());
        assert!(index.shards.iter().all(|shard| shard.is_empty()));
    }

    #[test]
    fn sessions_with_one_id_on_two_servers_are_two() {
        let mut index = SessionIndex::default();
        for node in ["s1", "s2"] {
            let node = NodeId::parse(node).unwrap();
            index.upsert(&node, session("alice", "alice-50", SessionState::Running));
        }
        assert_eq!(index.n_sessions(), 2);
        let alice = Username::parse("alice").unwrap();
        index.remove(
            &NodeId::parse("s1").unwrap(),
            &alice,
            &SessionId::parse("alice-50").unwrap(),
        );
        assert_eq!(index.of_user(&alice).sessions[0].node.as_str(), "s2");
    }
}
