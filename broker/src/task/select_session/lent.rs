//! Where may the key of one login be by now, and where must it not stay?
//!
//! Servers are asked with the key, and only one of them is handed out, perhaps with a proxy;
//! sometimes none is. What was asked for and not handed out is taken back when the login is
//! over, also when it ended because its client went away.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use proto::{KeyOutcome, NodeId, PublicKey, Username};
use tokio_util::sync::CancellationToken;

use super::LOGIN_LIMIT;
use crate::agents::{AgentLink, KeyReturns, Lending, SUSPEND_DEADLINE};

/// The places of one login's key. Takes back what is not handed out when it is dropped.
#[derive(Debug)]
pub(super) struct Lent {
    returns: KeyReturns,
    user: Username,
    key: PublicKey,
    /// How long the key lives; none if no other login can bring the same.
    shared: Option<Duration>,
    places: Mutex<Vec<Place>>,
}

#[derive(Debug)]
struct Place {
    node: NodeId,
    way: Way,
    stand: Stand,
}

/// By whom the key is removed there.
#[derive(Debug)]
enum Way {
    Agent(AgentLink),
    /// By this replica, when it is told.
    Old(CancellationToken),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stand {
    /// Nobody knows.
    Asked,
    /// It is certainly not there.
    Absent,
    /// It is there, and wanted if the login succeeds.
    Chosen,
    HandedOut,
}

/// One question to one server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket(usize);

impl Lent {
    pub(super) fn new(
        returns: &KeyReturns,
        user: &Username,
        key: &PublicKey,
        shared: Option<Duration>,
    ) -> Self {
        Self {
            returns: returns.clone(),
            user: user.clone(),
            key: key.clone(),
            shared,
            places: Mutex::default(),
        }
    }

    /// Must be called before the server is asked: what happens then can't be missed.
    pub(super) fn asking(&self, node: &NodeId, link: &AgentLink) -> Ticket {
        if let Some(life) = self.shared {
            let longest = life + LOGIN_LIMIT + SUSPEND_DEADLINE;
            self.returns.note(self.lending(node), longest);
        }
        self.push(node, Way::Agent(link.clone()))
    }

    /// The same for a server that is not in the mesh, with what ends the key's time there.
    pub(super) fn asking_old(&self, node: &NodeId) -> (Ticket, CancellationToken) {
        let unwanted = CancellationToken::new();
        let ticket = self.push(node, Way::Old(unwanted.clone()));
        (ticket, unwanted)
    }

    /// Notes what became of the key there.
    pub(super) fn answered(&self, ticket: Ticket, outcome: KeyOutcome) {
        let stand = match outcome {
            KeyOutcome::Installed => Stand::Chosen,
            KeyOutcome::Refused | KeyOutcome::NotAsked => Stand::Absent,
            KeyOutcome::Failed => Stand::Asked,
        };
        if let Some(place) = self.places().get_mut(ticket.0) {
            place.stand = stand;
        }
    }

    /// Forgets an answer: the key may be there, and is not wanted there.
    pub(super) fn unwanted(&self, ticket: Ticket) {
        if let Some(place) = self.places().get_mut(ticket.0)
            && place.stand == Stand::Chosen
        {
            place.stand = Stand::Asked;
        }
    }

    /// The client is given the key for where it is wanted.
    pub(super) fn hand_out(&self) {
        for place in self.places().iter_mut() {
            if place.stand == Stand::Chosen {
                place.stand = Stand::HandedOut;
            }
        }
    }

    fn push(&self, node: &NodeId, way: Way) -> Ticket {
        let mut places = self.places();
        places.push(Place {
            node: node.clone(),
            way,
            stand: Stand::Asked,
        });
        Ticket(places.len() - 1)
    }

    fn lending(&self, node: &NodeId) -> Lending {
        Lending {
            node: node.clone(),
            user: self.user.clone(),
            key: self.key.clone(),
        }
    }

    fn places(&self) -> MutexGuard<'_, Vec<Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let places = std::mem::take(&mut *self.places());
        let stays = |node: &NodeId| {
            let mut places = places.iter();
            places.any(|place| place.node == *node && place.stand == Stand::HandedOut)
        };
        for place in &places {
            let may_be_there = matches!(place.stand, Stand::Asked | Stand::Chosen);
            if !may_be_there || stays(&place.node) {
                continue;
            }
            match &place.way {
                Way::Agent(link) => {
                    let what = self.lending(&place.node);
                    self.returns.take_back(link.clone(), what);
                }
                Way::Old(unwanted) => unwanted.cancel(),
            }
        }
    }
}

/// What is known of a key that a server was asked for twice: what it had at first, it may
/// still have.
pub(super) fn lasting(first: KeyOutcome, last: KeyOutcome) -> KeyOutcome {
    match (first, last) {
        (_, KeyOutcome::Installed) => KeyOutcome::Installed,
        (KeyOutcome::Installed | KeyOutcome::Failed, _) => KeyOutcome::Failed,
        (KeyOutcome::Refused | KeyOutcome::NotAsked, last) => last,
    }
}

#[cfg(test)]
mod tests {
    use proto::{KeyOutcome, NodeId, PublicKey, Username};

    use super::{Lent, lasting};
    use crate::agents::KeyReturns;

    fn lent() -> Lent {
        let key =
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIII";
        let key = PublicKey::parse(key).unwrap();
        let user = Username::parse("alice").unwrap();
        Lent::new(&KeyReturns::default(), &user, &key, None)
    }

    #[test]
    fn only_what_is_handed_out_stays() {
        use KeyOutcome::{Failed, Installed, NotAsked, Refused};
        // What the server said, whether something was handed out, taken back.
        for (outcome, handed_out, taken_back) in [
            (None, true, true),
            (None, false, true),
            (Some(Installed), true, false),
            (Some(Installed), false, true),
            (Some(Failed), true, true),
            (Some(Refused), false, false),
            (Some(NotAsked), false, false),
        ] {
            let lent = lent();
            let (ticket, unwanted) = lent.asking_old(&NodeId::parse("s1").unwrap());
            if let Some(outcome) = outcome {
                lent.answered(ticket, outcome);
            }
            if handed_out {
                lent.hand_out();
            }
            drop(lent);
            let found = unwanted.is_cancelled();
            assert_eq!(found, taken_back, "{outcome:?} {handed_out}");
        }
    }

    #[test]
    fn a_server_that_is_proxy_too_keeps_the_key() {
        let (lent, node) = (lent(), NodeId::parse("s1").unwrap());
        let (as_proxy, of_proxy) = lent.asking_old(&node);
        let (_silent, of_server) = lent.asking_old(&node);
        lent.answered(as_proxy, KeyOutcome::Installed);
        lent.hand_out();
        drop(lent);
        assert!(!of_proxy.is_cancelled() && !of_server.is_cancelled());
    }

    #[test]
    fn an_answer_that_is_not_believed_keeps_nothing() {
        let lent = lent();
        let (ticket, unwanted) = lent.asking_old(&NodeId::parse("s1").unwrap());
        lent.answered(ticket, KeyOutcome::Installed);
        lent.unwanted(ticket);
        lent.hand_out();
        drop(lent);
        assert!(unwanted.is_cancelled());
    }

    #[test]
    fn a_key_that_came_with_the_first_answer_is_not_forgotten() {
        use KeyOutcome::{Failed, Installed, NotAsked, Refused};
        for (first, last, expected) in [
            (Installed, Installed, Installed),
            (Refused, Installed, Installed),
            (Installed, NotAsked, Failed),
            (Installed, Failed, Failed),
            (Failed, Refused, Failed),
            (Refused, Refused, Refused),
            (NotAsked, NotAsked, NotAsked),
        ] {
            assert_eq!(lasting(first, last), expected, "{first:?} {last:?}");
        }
    }
}
