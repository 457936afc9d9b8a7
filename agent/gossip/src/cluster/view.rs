//! What does chitchat's state mean? Turns it into [`Members`], trusting none of it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chitchat::{Chitchat, ChitchatId, NodeState};
use pki::Role;
use proto::{Advert, Generation, KEY_ROLE, MAX_VALUE_BYTES, NodeId};
use tokio::time::Instant;

use crate::throttle::Throttle;
use crate::{Member, Members};

/// Reads members, and remembers what it has read.
#[derive(Debug)]
pub(crate) struct View {
    seen: HashMap<ChitchatId, Seen>,
    carried: Option<Carried>,
    odd: Throttle,
    crowded: Throttle,
}

/// One generation of a member as it was read last.
#[derive(Debug, Clone)]
struct Seen {
    version: u64,
    live: bool,
    member: Option<Arc<Member>>,
}

/// The members of before a restart of the gossip, shown until it has had time to hear them.
#[derive(Debug)]
struct Carried {
    members: Arc<Members>,
    until: Instant,
}

impl View {
    /// Begins with nothing but what was seen before a restart, until `until`.
    pub(crate) fn new(before: Arc<Members>, until: Instant) -> Self {
        let carried = Carried {
            members: before,
            until,
        };
        Self {
            seen: HashMap::new(),
            carried: (!carried.members.is_empty()).then_some(carried),
            odd: Throttle::new(Duration::from_secs(60)),
            crowded: Throttle::new(Duration::from_secs(600)),
        }
    }

    /// The members now, if they differ from the last time.
    pub(crate) fn read(&mut self, chitchat: &Chitchat, now: Instant) -> Option<Arc<Members>> {
        let mut seen = HashMap::with_capacity(self.seen.len());
        let mut changed = chitchat.node_states().len() != self.seen.len();
        let live: std::collections::HashSet<_> = chitchat.live_nodes().collect();
        for (id, state) in chitchat.node_states() {
            let (version, live) = (state.max_version(), live.contains(id));
            let known = self.seen.remove(id);
            let known = known.filter(|known| (known.version, known.live) == (version, live));
            let now_seen = known.unwrap_or_else(|| {
                changed = true;
                let member = read_member(id, state, live, &mut self.odd, now).map(Arc::new);
                Seen {
                    version,
                    live,
                    member,
                }
            });
            seen.insert(id.clone(), now_seen);
        }
        self.seen = seen;
        self.warn_when_crowded(now);
        let expired = self
            .carried
            .take_if(|carried| carried.until <= now)
            .is_some();
        (changed || expired).then(|| Arc::new(self.members()))
    }

    fn members(&self) -> Members {
        let seen: Vec<_> = self
            .seen
            .values()
            .filter_map(|seen| seen.member.clone())
            .collect();
        let mut members = Members::of_generations(&seen);
        if let Some(carried) = &self.carried {
            members.carry_over(&carried.members);
        }
        members
    }

    /// The moment at which the members change by themselves.
    pub(crate) fn carries_until(&self) -> Option<Instant> {
        self.carried.as_ref().map(|carried| carried.until)
    }

    fn warn_when_crowded(&mut self, now: Instant) {
        let n_generations = self.seen.len();
        if n_generations > CROWDED && self.crowded.may_log(now).is_some() {
            tracing::warn!(
                n_generations,
                "the gossip comes near its limit of 1000 members and dead generations"
            );
        }
    }
}

/// The name by which chitchat knows a member.
pub(crate) fn node_id(role: Role, node: &NodeId) -> String {
    format!("{role}/{node}")
}

/// Reads one generation, if it is a member at all: its name must be `ROLE/NODE` and its
/// role key say the same.
fn read_member(
    id: &ChitchatId,
    state: &NodeState,
    live: bool,
    odd: &mut Throttle,
    now: Instant,
) -> Option<Member> {
    let (role, node) = id.node_id.split_once('/')?;
    let role = Role::parse(role)
        .ok()
        .filter(|role| *role != Role::Operator)?;
    let node = NodeId::parse(node).ok()?;
    if state.get(KEY_ROLE) != Some(role.as_str()) || *id.node_id != node_id(role, &node) {
        return None;
    }
    let keys = state.key_values().take(MAX_KEYS);
    let keys = keys.filter(|(_, value)| value.len() < MAX_VALUE_BYTES);
    let advert = Advert::from_keys(keys, |error| {
        if let Some(n_silent) = odd.may_log(now) {
            tracing::warn!(%node, %role, key = error.key, n_silent, "a gossiped value can't be read");
        }
    });
    let generation = Generation(id.generation_id);
    let address = id.gossip_advertise_addr;
    Some(Member {
        node,
        role,
        generation,
        address,
        live,
        advert,
    })
}

/// An advert has six keys; a later version may have some more.
const MAX_KEYS: usize = 64;

/// chitchat fails at 1000; half of it is the digest of 32 KB at which to look why.
const CROWDED: usize = 500;
