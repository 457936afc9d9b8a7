//! How news change the view: a function of the view and the news, without I/O.
//!
//! Three sources speak of one server. Its own watch stream says what sessions and
//! reservations it has; its answers to log-ins say all; gossip says that it lives and how
//! loaded it is. The first two come from the server itself, over its own certificate.
//! Gossip is relayed by members that could change it, so it never overrules them: while
//! the stream is up, gossip only adds load and readiness, and what it claims of versions
//! is not used to judge what the server says.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use gossip::{Member, Members};
use pki::Role;
use proto::{Generation, HostNames, NodeId, NodeState, SessionId, Username, Version};
use tokio::time::Instant;
use tracing::{info, warn};

use super::links::{WatchUpdate, What};
use super::{FarmView, NodeView};
use crate::agents::AgentLink;
use crate::names::HostIndex;
use crate::placement::Record;

/// The view, and what only its writer needs to change it.
#[derive(Debug)]
pub(super) struct FarmState {
    view: FarmView,
    nodes: HashMap<NodeId, NodeBook>,
    /// Names of servers that gossip has forgotten.
    former: HashMap<NodeId, HostNames>,
    started: Instant,
    averaged_at: Instant,
}

/// What is known of one server beside the view: enough to undo it.
#[derive(Debug, Default)]
struct NodeBook {
    sessions: HashMap<SessionId, Username>,
    reserved: HashSet<Username>,
    /// What gossip said last.
    gossiped: Option<NodeState>,
    /// Of which state of the server its last answer told.
    answered: (Generation, Version),
}

/// Which servers came, moved or went: their links must follow.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Membership {
    pub(super) to_link: Vec<(NodeId, SocketAddr)>,
    pub(super) to_unlink: Vec<NodeId>,
}

impl FarmState {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            view: FarmView {
                started: Some(now),
                ..FarmView::default()
            },
            nodes: HashMap::new(),
            former: HashMap::new(),
            started: now,
            averaged_at: now,
        }
    }

    pub(super) fn view(&self) -> &FarmView {
        &self.view
    }

    pub(super) fn set_links(&mut self, links: HashMap<NodeId, AgentLink>) {
        self.view.links = Arc::new(links);
    }

    /// Takes over who is in the farm, and the load that they tell.
    pub(super) fn members(&mut self, members: &Members, now: Instant) -> Membership {
        let mut changes = Membership::default();
        let mut seen = HashSet::new();
        let mut names_changed = false;
        for member in members.iter().filter(|member| member.role == Role::Agent) {
            seen.insert(member.node.clone());
            names_changed |= self.member(member, now, &mut changes);
        }
        let gone: Vec<NodeId> = self
            .nodes
            .keys()
            .filter(|node| !seen.contains(*node))
            .cloned()
            .collect();
        for node in gone {
            if self.view.node(&node).is_some_and(|known| known.live) {
                info!(%node, "member left");
            }
            self.forget_sessions(&node);
            self.nodes.remove(&node);
            self.remember(&node);
            self.view.nodes.retain(|view| view.node != node);
            changes.to_unlink.push(node);
            names_changed = true;
        }
        if names_changed {
            self.reindex(members);
        }
        changes
    }

    /// Takes over one member; tells whether the names of the farm changed.
    fn member(&mut self, member: &Member, now: Instant, changes: &mut Membership) -> bool {
        let Some(known) = self.view.node(&member.node).cloned() else {
            // A server counts from the moment that it is seen alive and has told its state.
            let Some(state) = member.advert.state.clone().filter(|_| member.live) else {
                return false;
            };
            self.add(member, state, now);
            changes.to_link.push((member.node.clone(), member.address));
            return true;
        };
        let mut next = NodeView::clone(&known);
        if known.live && !member.live {
            info!(node = %member.node, "member left");
            self.forget_sessions(&member.node);
            changes.to_unlink.push(member.node.clone());
            next.followed = false;
        }
        if !known.live && member.live {
            info!(node = %member.node, "member joined");
            changes.to_link.push((member.node.clone(), member.address));
        } else if member.live && known.address != member.address {
            changes.to_link.push((member.node.clone(), member.address));
            next.followed = false;
        }
        next.live = member.live;
        next.installs_keys = member.advert.installs_keys;
        next.address = member.address;
        self.replace(next);
        if let Some(state) = &member.advert.state {
            self.gossiped(&member.node, state, now);
        }
        let names_changed = self.view.names.get(&member.node) != Some(&member.advert.names);
        names_changed && member.live
    }

    /// Keeps the names of a server that is forgotten, so that it is not taken for a host
    /// that never had an agent.
    fn remember(&mut self, node: &NodeId) {
        if self.former.len() >= MAX_FORMER {
            self.former.clear();
        }
        let names = self.view.names.get(node).cloned();
        self.former.insert(node.clone(), names.unwrap_or_default());
        self.view.former_hosts = Arc::new(HostIndex::build(self.former.iter()));
    }

    fn add(&mut self, member: &Member, state: NodeState, now: Instant) {
        self.view.heard_since.get_or_insert(now);
        info!(node = %member.node, address = %member.address, "member joined");
        let book = NodeBook {
            gossiped: Some(state.clone()),
            ..NodeBook::default()
        };
        self.nodes.insert(member.node.clone(), book);
        let node = NodeView {
            node: member.node.clone(),
            address: member.address,
            state,
            refreshed_at: now,
            live: true,
            installs_keys: member.advert.installs_keys,
            followed: false,
            suspect_until: None,
        };
        let place = self
            .view
            .nodes
            .partition_point(|view| view.node < node.node);
        self.view.nodes.insert(place, Arc::new(node));
        self.number();
    }

    fn number(&mut self) {
        let index = self.view.nodes.iter().enumerate();
        self.view.index = Arc::new(index.map(|(idx, view)| (view.node.clone(), idx)).collect());
    }

    /// Takes over the names by which profiles may call the servers.
    fn reindex(&mut self, members: &Members) {
        self.number();
        let names = members.iter().filter(|member| member.role == Role::Agent);
        let known = names.filter(|member| self.view.index.contains_key(&member.node));
        let names: HashMap<NodeId, _> = known
            .map(|member| (member.node.clone(), member.advert.names.clone()))
            .collect();
        let hosts = HostIndex::build(names.iter());
        self.view.hosts = Arc::new(hosts);
        self.view.names = Arc::new(names);
    }

    /// Takes over what gossip says of a server, when it says something else than before.
    fn gossiped(&mut self, node: &NodeId, told: &NodeState, now: Instant) {
        let Some(mut next) = self.node(node) else {
            return;
        };
        let Some(book) = self.nodes.get_mut(node) else {
            return;
        };
        if book.gossiped.as_ref() == Some(told) {
            return;
        }
        let before = book.gossiped.replace(told.clone());
        let at = (told.generation, told.version);
        if !next.followed && at >= (next.state.generation, next.state.version) {
            (next.state.generation, next.state.version) = at;
            next.state.counts = told.counts;
        }
        if at >= book.answered {
            next.state.load = told.load.or(next.state.load);
        }
        // Readiness is pushed ahead of the next load, so it has no version of its own.
        let is_news = before.is_none_or(|before| before.readiness != told.readiness);
        if is_news || at > book.answered {
            next.state.readiness = told.readiness.clone();
        }
        next.refreshed_at = now;
        clear_suspicion(&mut next, now);
        self.replace(next);
    }

    /// Takes over the state that came with a server's answer.
    pub(super) fn answered(&mut self, node: &NodeId, told: &NodeState, now: Instant) {
        let Some(mut next) = self.node(node) else {
            return;
        };
        let at = (told.generation, told.version);
        if at >= (next.state.generation, next.state.version) {
            let load = told.load.or(next.state.load);
            next.state = NodeState {
                load,
                ..told.clone()
            };
            if let Some(book) = self.nodes.get_mut(node) {
                book.answered = at;
            }
        }
        next.refreshed_at = now;
        clear_suspicion(&mut next, now);
        self.replace(next);
        self.settle(node, (told.generation, told.version));
    }

    /// Records in flight are shared with snapshots, so they are only touched, and copied
    /// for that, when there is something to settle.
    fn settle(&mut self, node: &NodeId, at: (Generation, Version)) {
        if self.view.in_flight.can_settle(node, at.0, at.1) {
            Arc::make_mut(&mut self.view.in_flight).settle(node, at.0, at.1);
        }
    }

    fn node(&self, node: &NodeId) -> Option<NodeView> {
        self.view.node(node).map(|known| NodeView::clone(known))
    }

    fn replace(&mut self, next: NodeView) {
        let idx = self.view.index.get(&next.node).copied();
        if let Some(slot) = idx.and_then(|idx| self.view.nodes.get_mut(idx)) {
            let readiness = &next.state.readiness;
            if slot.state.readiness != *readiness {
                info!(node = %next.node, %readiness, "a server's readiness changed");
            }
            *slot = Arc::new(next);
        }
    }

    /// Takes over what a server's own stream says of its sessions.
    pub(super) fn watched(&mut self, node: &NodeId, update: WatchUpdate, now: Instant) {
        // What a stream that was left said last is not news of a server that is gone.
        let Some(mut next) = self.node(node).filter(|known| known.live) else {
            return;
        };
        let at = (update.generation, update.version);
        let is_snapshot = matches!(update.what, What::Snapshot { .. });
        if is_snapshot {
            self.forget_sessions(node);
            next.followed = true;
        }
        if is_snapshot || at >= (next.state.generation, next.state.version) {
            (next.state.generation, next.state.version) = at;
            next.state.counts = update.counts;
        }
        next.refreshed_at = now;
        clear_suspicion(&mut next, now);
        self.replace(next);
        self.apply_sessions(node, update.what);
        self.settle(node, at);
    }

    fn apply_sessions(&mut self, node: &NodeId, what: What) {
        let Some(book) = self.nodes.get_mut(node) else {
            return;
        };
        let (sessions, removed, reserved, released) = match what {
            What::Snapshot { sessions, reserved } => (sessions, Vec::new(), reserved, Vec::new()),
            What::Changes {
                upserted,
                removed,
                reserved,
                released,
            } => (upserted, removed, reserved, released),
        };
        for id in removed {
            if let Some(user) = book.sessions.remove(&id) {
                self.view.sessions.remove(node, &user, &id);
            }
        }
        let mut n_more = 0;
        for session in sessions {
            let is_known = book.sessions.contains_key(&session.id);
            if !is_known && book.sessions.len() >= MAX_SESSIONS_PER_NODE {
                n_more += 1;
                continue;
            }
            book.sessions
                .insert(session.id.clone(), session.user.clone());
            self.view.sessions.upsert(node, session);
        }
        if n_more > 0 {
            warn!(%node, n_more, "too many sessions; some are not shown");
        }
        for user in released {
            if book.reserved.remove(&user) {
                self.view.sessions.release(node, &user);
            }
        }
        for user in reserved {
            if book.reserved.len() >= MAX_SESSIONS_PER_NODE {
                break;
            }
            self.view.sessions.reserve(node, &user);
            book.reserved.insert(user);
        }
    }

    /// The stream of a server broke: what it showed is stale until it is back, and log-ins
    /// try others first.
    pub(super) fn watch_broke(&mut self, node: &NodeId, now: Instant) {
        let Some(mut next) = self.node(node) else {
            return;
        };
        if next.followed {
            next.followed = false;
            next.suspect_until = Some(now + SUSPICION);
            self.replace(next);
        }
    }

    /// A server did not answer a log-in.
    pub(super) fn silent(&mut self, node: &NodeId, now: Instant) {
        if let Some(mut next) = self.node(node) {
            next.suspect_until = Some(now + SUSPICION);
            self.replace(next);
        }
    }

    /// This replica placed a user; it counts until the server shows it itself.
    pub(super) fn placed(
        &mut self,
        user: Username,
        node: &NodeId,
        at: (Generation, Version),
        now: Instant,
    ) {
        let Some(known) = self.view.node(node) else {
            return;
        };
        let known_at = (known.state.generation, known.state.version);
        let in_flight = Arc::make_mut(&mut self.view.in_flight);
        in_flight.add(Record {
            user,
            node: node.clone(),
            generation: at.0,
            visible_version: at.1,
            placed_at: now.saturating_duration_since(self.started),
        });
        // Where the server has shown it already it no longer counts, but a retry of the
        // user still finds it.
        self.settle(node, known_at);
    }

    /// Time passes: old placements are forgotten, averages follow, and a server whose
    /// stream is up is fresh even when it has nothing to say.
    pub(super) fn tick(&mut self, now: Instant) {
        let since_start = now.saturating_duration_since(self.started);
        if self.view.in_flight.can_expire(since_start) {
            Arc::make_mut(&mut self.view.in_flight).expire(since_start);
        }
        let alive: Vec<NodeView> = self
            .view
            .nodes
            .iter()
            .filter(|node| node.live && node.followed)
            .map(|node| NodeView {
                refreshed_at: now,
                ..NodeView::clone(node)
            })
            .collect();
        for next in alive {
            self.replace(next);
        }
        let elapsed = now.saturating_duration_since(self.averaged_at);
        if elapsed >= AVERAGES_EVERY {
            self.averaged_at = now;
            let states = self
                .view
                .nodes
                .iter()
                .filter(|node| node.live)
                .map(|node| &node.state);
            self.view.averages = self.view.averages.updated(states, elapsed);
        }
    }

    fn forget_sessions(&mut self, node: &NodeId) {
        let Some(book) = self.nodes.get_mut(node) else {
            return;
        };
        for (id, user) in book.sessions.drain() {
            self.view.sessions.remove(node, &user, &id);
        }
        for user in book.reserved.drain() {
            self.view.sessions.release(node, &user);
        }
    }
}

/// News of a suspect clear it, but not in its first seconds: what arrives then was
/// often sent before it fell silent.
fn clear_suspicion(node: &mut NodeView, now: Instant) {
    if node.suspect_until.is_some_and(|until| until <= now) {
        node.suspect_until = None;
    }
}

/// As in the placement algorithm: a suspect is passed over for at least this long.
const SUSPICION: Duration = Duration::from_secs(5);

/// How often the averages take in a new sample; they move over 300 s.
const AVERAGES_EVERY: Duration = Duration::from_secs(5);

/// Many times what a farm ever takes out of service while a replica runs.
const MAX_FORMER: usize = 5000;

/// Ten times what one server holds; a claim beyond it is a fault.
const MAX_SESSIONS_PER_NODE: usize = 10_000;

#[cfg(test)]
mod tests;
