//! What a replica knows of the farm at one moment.
//!
//! A [`FarmView`] is an immutable snapshot: requests read it without waiting for anybody,
//! and each of them decides on one consistent picture. The feed is its only writer; it
//! publishes a new snapshot after each change. Parts that did not change are shared
//! between snapshots, so a change costs what it touches, not the size of the farm.

pub mod feed;
mod links;
mod sessions;
mod state;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use proto::{HostNames, NodeId, NodeState, Session, SessionKind, Username};
use tokio::time::Instant;

pub use self::sessions::UserSessions;
use crate::agents::AgentLink;
use crate::names::{HostIndex, Resolved};
use crate::placement::{Averages, InFlight};
use crate::profiles::ProfileHost;
use sessions::SessionIndex;

/// One server, as this replica knows it.
#[derive(Clone, Debug)]
pub struct NodeView {
    /// Its name.
    pub node: NodeId,
    /// Where its agent listens.
    pub address: SocketAddr,
    /// The newest state that its agent told, by whatever way.
    pub state: NodeState,
    /// When something newer was last heard of it.
    pub refreshed_at: Instant,
    /// Whether the failure detector holds it for alive.
    pub live: bool,
    /// Whether its agent says that it installs keys.
    pub installs_keys: bool,
    /// Whether its sessions are followed at this moment. If not, what the view shows of
    /// them is stale.
    pub followed: bool,
    /// Set when it did not answer: log-ins pass it over until then, and on until it is
    /// heard of again.
    pub suspect_until: Option<Instant>,
}

impl NodeView {
    /// Whether it failed to answer and has not been heard of since.
    #[must_use]
    pub fn is_suspect(&self) -> bool {
        self.suspect_until.is_some()
    }
}

/// The farm at one moment.
#[derive(Clone, Debug, Default)]
pub struct FarmView {
    nodes: Vec<Arc<NodeView>>,
    index: Arc<HashMap<NodeId, usize>>,
    names: Arc<HashMap<NodeId, HostNames>>,
    hosts: Arc<HostIndex>,
    /// The names of servers that were there before and that gossip has forgotten.
    former_hosts: Arc<HostIndex>,
    /// Since when this replica has listened.
    started: Option<Instant>,
    heard_since: Option<Instant>,
    links: Arc<HashMap<NodeId, AgentLink>>,
    sessions: SessionIndex,
    in_flight: Arc<InFlight>,
    averages: Averages,
}

#[cfg(test)]
impl FarmView {
    /// Of a replica that began to listen just now.
    pub(crate) fn for_tests() -> Self {
        Self {
            started: Some(Instant::now()),
            ..Self::default()
        }
    }
}

impl FarmView {
    /// All servers, by name.
    #[must_use]
    pub fn nodes(&self) -> &[Arc<NodeView>] {
        &self.nodes
    }

    /// One server.
    #[must_use]
    pub fn node(&self, node: &NodeId) -> Option<&Arc<NodeView>> {
        self.nodes.get(*self.index.get(node)?)
    }

    /// The way to one server's agent, while it is alive.
    #[must_use]
    pub fn link(&self, node: &NodeId) -> Option<&AgentLink> {
        self.links.get(node)
    }

    /// Whether a host of a profile installs keys; none when it has no living agent.
    #[must_use]
    pub fn installs_keys(&self, host: &ProfileHost) -> Option<bool> {
        let node = self.hosts.resolve(host)?;
        let node = self.node(node).filter(|node| node.live)?;
        Some(node.installs_keys)
    }

    /// Which host name means which server.
    #[must_use]
    pub fn hosts(&self) -> &HostIndex {
        &self.hosts
    }

    /// Whether a host of a profile certainly has no agent: none is known by its name, none
    /// was, and the farm has been heard for `warm_up`, in which all of it would have shown
    /// itself. A replica that knows too little must not send anybody anywhere unasked; only
    /// where nobody expects agents is there no `warm_up`.
    #[must_use]
    pub fn has_no_agent(
        &self,
        host: &ProfileHost,
        warm_up: Option<Duration>,
        now: Instant,
    ) -> bool {
        let long = |warm_up| {
            let heard = self.heard_since;
            heard.is_some_and(|since| now.saturating_duration_since(since) >= warm_up)
        };
        warm_up.is_none_or(long) && self.is_stranger(host)
    }

    /// Whether a host of a profile counts as one outside of the mesh, for which an agent of
    /// x2gobroker 0.0.4.3 may speak: none of ours is known by its name, none was, and this
    /// replica has listened for `warm_up`, in which one would have shown itself. Other than
    /// for [`Self::has_no_agent`], nobody at all need have been heard: all may be old.
    #[must_use]
    pub fn is_outside(&self, host: &ProfileHost, warm_up: Duration, now: Instant) -> bool {
        let long = |since| now.saturating_duration_since(since) >= warm_up;
        self.started.is_some_and(long) && self.is_stranger(host)
    }

    /// Whether no agent of the mesh is known by this host's name now, and none was.
    fn is_stranger(&self, host: &ProfileHost) -> bool {
        let unknown = |hosts: &HostIndex| hosts.look_up(host) == Resolved::Unknown;
        unknown(&self.hosts) && unknown(&self.former_hosts)
    }

    /// The sessions and reservations of one user, on all servers.
    #[must_use]
    pub fn of_user(&self, user: &Username) -> &UserSessions {
        self.sessions.of_user(user)
    }

    /// Placements of this replica that no server has shown yet.
    #[must_use]
    pub fn in_flight(&self) -> &InFlight {
        &self.in_flight
    }

    /// What a session costs on average, as observed.
    #[must_use]
    pub fn averages(&self) -> Averages {
        self.averages
    }

    /// How many sessions are known.
    #[must_use]
    pub fn n_sessions(&self) -> usize {
        self.sessions.n_sessions()
    }
}

/// A session and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedSession {
    /// Its server.
    pub node: NodeId,
    /// The session.
    pub session: Session,
}

impl PlacedSession {
    /// Whether it only shows another one. Nobody is led to such a session: the agents don't
    /// offer it.
    #[must_use]
    pub fn is_shadow(&self) -> bool {
        self.session.kind() == Some(SessionKind::Shadow)
    }
}
