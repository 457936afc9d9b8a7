//! When may our news be pushed, and to whom?

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use pki::Role;
use tokio::time::Instant;

use crate::{Member, Members};

/// Lets the first push through at once, joins the next ones to one per [`GAP`], and slows
/// down who never stops.
#[derive(Debug)]
pub(crate) struct PushGate {
    tokens: u32,
    refilled: Instant,
    last: Option<Instant>,
}

impl PushGate {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            tokens: BURST,
            refilled: now,
            last: None,
        }
    }

    /// The earliest moment for the next push; it may have passed.
    pub(crate) fn next(&self) -> Instant {
        let after_last = self.last.map_or(self.refilled, |last| last + GAP);
        let after_refill = if self.tokens == 0 {
            self.refilled + REFILL
        } else {
            self.refilled
        };
        after_last.max(after_refill)
    }

    /// Notes a push at `now`.
    pub(crate) fn passed(&mut self, now: Instant) {
        let since = now.saturating_duration_since(self.refilled);
        let earned = u32::try_from(since.as_millis() / REFILL.as_millis()).unwrap_or(BURST);
        if earned > 0 {
            self.tokens = self.tokens.saturating_add(earned).min(BURST);
            self.refilled = now;
        }
        self.tokens = self.tokens.saturating_sub(1);
        self.last = Some(now);
    }
}

/// To whom a push goes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Targets {
    /// Every live broker, since brokers decide by it.
    pub(crate) brokers: BTreeSet<SocketAddr>,
    /// A few others, which spread it.
    pub(crate) others: Vec<SocketAddr>,
}

/// Chooses the targets; `turn` decides which others they are.
pub(crate) fn push_targets(members: &Members, own: &Member, turn: usize) -> Targets {
    let is_other = |member: &&Member| (member.role, &member.node) != (own.role, &own.node);
    let live = |role| members.live(role).map(AsRef::as_ref).filter(is_other);
    let n_agents = live(Role::Agent).count();
    let start = turn.checked_rem(n_agents).unwrap_or(0);
    let agents = live(Role::Agent)
        .skip(start)
        .chain(live(Role::Agent).take(start));
    Targets {
        brokers: live(Role::Broker)
            .take(MAX_BROKERS)
            .map(|member| member.address)
            .collect(),
        others: agents.take(FEW).map(|member| member.address).collect(),
    }
}

/// Changes within one request of an operator arrive closer together than this.
const GAP: Duration = Duration::from_millis(50);
/// As many pushes as an operator may cause in a hurry.
const BURST: u32 = 10;
/// One push per second costs no more than the gossip itself.
const REFILL: Duration = Duration::from_secs(1);
/// More replicas than a farm has; beyond, gossip does it in two rounds.
const MAX_BROKERS: usize = 16;
/// As many as a round of gossip has.
const FEW: usize = 3;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pki::Role::{Agent, Broker};
    use proto::{Generation, NodeId};
    use tokio::time::Instant;

    use super::{PushGate, push_targets};
    use crate::{Member, Members};

    #[tokio::test(start_paused = true)]
    async fn a_burst_of_pushes_is_joined_and_an_endless_one_slowed_down() {
        let start = Instant::now();
        let mut gate = PushGate::new(start);
        let mut pushes = Vec::new();
        let mut now = start;
        while now < start + Duration::from_secs(20) {
            now = now.max(gate.next());
            gate.passed(now);
            pushes.push(now.duration_since(start));
        }
        assert_eq!(pushes[0], Duration::ZERO);
        assert_eq!(pushes[1], Duration::from_millis(50));
        assert_eq!(pushes[9], Duration::from_millis(450));
        assert!(
            (25..=32).contains(&pushes.len()),
            "{} pushes in 20 s",
            pushes.len()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_pause_a_push_goes_at_once() {
        let start = Instant::now();
        let mut gate = PushGate::new(start);
        for _ in 0..10 {
            gate.passed(start);
        }
        assert_eq!(gate.next(), start + Duration::from_secs(1));
        gate.passed(start + Duration::from_secs(60));
        assert_eq!(gate.next(), start + Duration::from_millis(60_050));
    }

    #[test]
    fn brokers_are_always_told_and_agents_in_turn() {
        let member = |role, node: &str, port| {
            std::sync::Arc::new(Member {
                node: NodeId::parse(node).unwrap(),
                role,
                generation: Generation(1),
                address: ([10, 0, 0, 1], port).into(),
                live: port != 9,
                advert: proto::Advert::default(),
            })
        };
        let own = member(Agent, "a1", 1);
        let others = [2, 3, 4, 5].map(|port| member(Agent, &format!("a{port}"), port));
        let dead = member(Agent, "a9", 9);
        let broker = member(Broker, "a1", 7);
        let seen: Vec<_> = others
            .into_iter()
            .chain([own.clone(), dead, broker])
            .collect();
        let members = Members::of_generations(&seen);
        let ports = |turn| {
            let targets = push_targets(&members, &own, turn);
            let all = targets.brokers.iter().chain(&targets.others);
            all.map(std::net::SocketAddr::port).collect::<Vec<_>>()
        };
        assert_eq!(ports(0), [7, 2, 3, 4]);
        assert_eq!(ports(3), [7, 5, 2, 3]);
        let nobody = push_targets(&Members::default(), &own, 5);
        assert!(nobody.brokers.is_empty() && nobody.others.is_empty());
    }
}
