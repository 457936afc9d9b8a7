//! Who is in the cluster? One immutable answer at a time.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use pki::Role;
use proto::{Advert, Generation, NodeId};

/// A node as it is seen through gossip.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// Its host name.
    pub node: NodeId,
    /// Agent or broker.
    pub role: Role,
    /// Which start of its gossip this is. It may be higher than the one that the advert's
    /// state names, if only the gossip was started again.
    pub generation: Generation,
    /// Where it says that it can be reached. It becomes a fact only when the certificate
    /// at that address says so too.
    pub address: SocketAddr,
    /// Whether the failure detector hears it. Only live members count.
    pub live: bool,
    /// What it says about itself, as far as it could be read.
    pub advert: Advert,
}

/// All members at one moment: the highest generation of each role and node.
///
/// We are among them, always live. Dead members stay for a while, not live.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Members {
    members: BTreeMap<(Role, NodeId), Arc<Member>>,
}

impl Members {
    /// All members, also dead ones, by role and name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Member>> {
        self.members.values()
    }

    /// The member of this role and name, live or not.
    #[must_use]
    pub fn get(&self, role: Role, node: &NodeId) -> Option<&Arc<Member>> {
        self.members.get(&(role, node.clone()))
    }

    /// The live members of one role, by name.
    pub fn live(&self, role: Role) -> impl Iterator<Item = &Arc<Member>> {
        self.iter()
            .filter(move |member| member.live && member.role == role)
    }

    /// How many members there are, also dead ones.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there is none; so only before the gossip has started.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Takes the highest generation of each member, at most [`MAX_MEMBERS`], live ones
    /// first.
    pub(crate) fn of_generations(seen: &[Arc<Member>]) -> Self {
        let (live, dead): (Vec<_>, Vec<_>) = seen.iter().partition(|member| member.live);
        let mut members = Self::default();
        for member in live.into_iter().chain(dead) {
            members.take_if_newer(member);
        }
        members
    }

    /// Keeps showing members of `before` that are not live here (yet).
    pub(crate) fn carry_over(&mut self, before: &Self) {
        for member in before.iter().filter(|member| member.live) {
            let now = self.get(member.role, &member.node);
            if now.is_none_or(|now| !now.live && now.generation == member.generation) {
                let key = (member.role, member.node.clone());
                self.members.insert(key, Arc::clone(member));
            }
        }
    }

    fn take_if_newer(&mut self, member: &Arc<Member>) {
        let known = self.get(member.role, &member.node);
        let is_newer = match known {
            Some(known) => known.generation < member.generation,
            None => self.members.len() < MAX_MEMBERS,
        };
        if is_newer {
            let key = (member.role, member.node.clone());
            self.members.insert(key, Arc::clone(member));
        }
    }
}

/// Members as somebody else has counted them, for readers of [`Members`] and their tests.
impl FromIterator<Arc<Member>> for Members {
    fn from_iter<I: IntoIterator<Item = Arc<Member>>>(members: I) -> Self {
        let mut all = Self::default();
        for member in members {
            all.take_if_newer(&member);
        }
        all
    }
}

/// Ten times the largest farm that gossip can carry. A member that invents others fills no
/// more memory than this.
pub(crate) const MAX_MEMBERS: usize = 5000;

#[cfg(test)]
pub(crate) fn member(role: Role, node: &str, generation: u64, live: bool) -> Arc<Member> {
    Arc::new(Member {
        node: NodeId::parse(node).unwrap(),
        role,
        generation: Generation(generation),
        address: "10.0.0.1:7403".parse().unwrap(),
        live,
        advert: Advert::default(),
    })
}

#[cfg(test)]
mod tests {
    use pki::Role::{Agent, Broker};
    use proto::{Generation, NodeId};

    use super::{MAX_MEMBERS, Members, member};

    #[test]
    fn the_highest_generation_wins_whatever_the_order_and_life() {
        let s1 = NodeId::parse("s1").unwrap();
        for (old_lives, new_lives) in [(true, true), (true, false), (false, true), (false, false)] {
            let old = member(Agent, "s1", 1, old_lives);
            let new = member(Agent, "s1", 2, new_lives);
            let same_name = member(Broker, "s1", 9, true);
            for seen in [
                [old.clone(), new.clone(), same_name.clone()],
                [same_name.clone(), new.clone(), old.clone()],
            ] {
                let members = Members::of_generations(&seen);
                assert_eq!(members.len(), 2);
                let s1 = members.get(Agent, &s1).unwrap();
                assert_eq!((s1.generation, s1.live), (Generation(2), new_lives));
                assert_eq!(members.live(Agent).count(), usize::from(new_lives));
            }
        }
    }

    #[test]
    fn invented_members_are_bounded_and_do_not_push_out_live_ones() {
        let mut seen: Vec<_> = (0..MAX_MEMBERS + 10)
            .map(|n| member(Agent, &format!("a{n}"), 1, false))
            .collect();
        seen.push(member(Broker, "z", 1, true));
        let members = Members::of_generations(&seen);
        assert_eq!(members.len(), MAX_MEMBERS);
        assert_eq!(members.live(Broker).count(), 1);
    }

    #[test]
    fn members_of_before_a_restart_stay_until_they_are_heard_again() {
        let before = Members::of_generations(&[
            member(Agent, "unheard", 1, true),
            member(Agent, "seen-not-live", 1, true),
            member(Agent, "restarted", 1, true),
            member(Agent, "dead", 1, false),
        ]);
        let mut now = Members::of_generations(&[
            member(Agent, "seen-not-live", 1, false),
            member(Agent, "restarted", 2, false),
        ]);
        now.carry_over(&before);
        let shown: Vec<_> = now
            .iter()
            .map(|m| (m.node.as_str(), m.generation.0, m.live))
            .collect();
        assert_eq!(
            shown,
            [
                ("restarted", 2, false),
                ("seen-not-live", 1, true),
                ("unheard", 1, true)
            ]
        );
    }
}
