//! Which placements does the view of a server not show yet?
//!
//! A new session shows in the gossip of its server only seconds after the log-in. What
//! was placed meanwhile must be counted, or every log-in in between goes to the same
//! server. A record counts until the server's own state contains the reservation, so
//! that nothing is counted twice. It stays for 60 s all the same: a user who asks again,
//! here or at another replica, belongs where their place is held.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;
use std::time::Duration;

use proto::{Generation, NodeId, Username, Version};

/// One placement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Whose session.
    pub user: Username,
    /// The server that admitted it.
    pub node: NodeId,
    /// Of its agent.
    pub generation: Generation,
    /// The first state of the agent that contains the placement.
    pub visible_version: Version,
    /// When this replica learned of it, by its monotonic clock.
    pub placed_at: Duration,
}

/// The placements of the last 60 s, own ones and those of other replicas.
#[derive(Clone, Debug, Default)]
pub struct InFlight {
    records: BTreeMap<Place, Record>,
    /// Only those that still count.
    by_node: HashMap<NodeId, BTreeSet<Place>>,
    by_user: HashMap<Username, BTreeSet<Place>>,
    n_added: u64,
}

impl InFlight {
    /// How long a placement may take to become a session.
    pub const LIFETIME: Duration = Duration::from_secs(60);

    /// More log-ins than any farm can have under way. When they are exceeded the oldest
    /// go first: they are the most likely to be visible already.
    pub const MAX_RECORDS: usize = 100_000;

    /// Takes a record. An older one of the same user and node gives way to it.
    pub fn add(&mut self, record: Record) {
        self.cancel(&record.user, &record.node);
        if self.records.len() >= Self::MAX_RECORDS
            && let Some(oldest) = self.records.keys().next().copied()
        {
            self.remove(oldest);
        }
        let place = (record.placed_at, self.n_added);
        self.n_added = self.n_added.wrapping_add(1);
        self.by_node
            .entry(record.node.clone())
            .or_default()
            .insert(place);
        self.by_user
            .entry(record.user.clone())
            .or_default()
            .insert(place);
        self.records.insert(place, record);
    }

    /// Forgets the record of this user and node, if there is one.
    pub fn cancel(&mut self, user: &Username, node: &NodeId) {
        let of_node = |place: &&Place| self.records.get(place).is_some_and(|r| r.node == *node);
        let place = self
            .by_user
            .get(user)
            .and_then(|places| places.iter().find(of_node));
        if let Some(place) = place.copied() {
            self.remove(place);
        }
    }

    /// No longer counts what this state of the server contains, and nothing of other
    /// generations of it: its agent has started anew and has forgotten its reservations.
    pub fn settle(&mut self, node: &NodeId, generation: Generation, version: Version) {
        let Some(places) = self.by_node.get_mut(node) else {
            return;
        };
        places.retain(|place| {
            self.records.get(place).is_some_and(|record| {
                record.generation == generation && record.visible_version > version
            })
        });
        if places.is_empty() {
            self.by_node.remove(node);
        }
    }

    /// Whether [`settle`](Self::settle) would change anything. Who shares the records
    /// with readers needs no copy of them when it wouldn't.
    #[must_use]
    pub fn can_settle(&self, node: &NodeId, generation: Generation, version: Version) -> bool {
        let places = self.by_node.get(node).into_iter().flatten();
        let mut records = places.filter_map(|place| self.records.get(place));
        records.any(|record| record.generation != generation || record.visible_version <= version)
    }

    /// Whether [`expire`](Self::expire) would change anything.
    #[must_use]
    pub fn can_expire(&self, now: Duration) -> bool {
        self.records
            .first_key_value()
            .is_some_and(|(_, oldest)| oldest.placed_at.saturating_add(Self::LIFETIME) <= now)
    }

    /// Drops what is 60 s old. To be called before reading.
    pub fn expire(&mut self, now: Duration) {
        while self.can_expire(now) {
            let Some(oldest) = self.records.keys().next().copied() else {
                return;
            };
            self.remove(oldest);
        }
    }

    /// How many placements on this server its state doesn't show.
    #[must_use]
    pub fn count(&self, node: &NodeId) -> u32 {
        let n = self.by_node.get(node).map_or(0, BTreeSet::len);
        u32::try_from(n).unwrap_or(u32::MAX)
    }

    /// The records of this user, newest first.
    pub fn of_user(&self, user: &Username) -> impl Iterator<Item = &Record> {
        let places = self.by_user.get(user).into_iter().flatten();
        places.rev().filter_map(|place| self.records.get(place))
    }

    /// How many records there are, counted or not.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    fn remove(&mut self, place: Place) {
        let Some(record) = self.records.remove(&place) else {
            return;
        };
        forget(&mut self.by_node, &record.node, place);
        forget(&mut self.by_user, &record.user, place);
    }
}

/// Where a record stands: its time, and a number that tells apart those of one time.
type Place = (Duration, u64);

fn forget<K: Eq + Hash>(index: &mut HashMap<K, BTreeSet<Place>>, key: &K, place: Place) {
    let Some(places) = index.get_mut(key) else {
        return;
    };
    places.remove(&place);
    if places.is_empty() {
        index.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::collection::vec;
    use proptest::prelude::{prop_assert_eq, proptest};
    use proto::{Generation, Version};

    use super::{InFlight, Record};
    use crate::placement::testing::{node, user};

    fn record(who: &str, at: &str, version: u64, seconds: u64) -> Record {
        Record {
            user: user(who),
            node: node(at),
            generation: Generation(1),
            visible_version: Version(version),
            placed_at: Duration::from_secs(seconds),
        }
    }

    fn holding(records: &[Record]) -> InFlight {
        let mut in_flight = InFlight::default();
        for record in records {
            in_flight.add(record.clone());
        }
        in_flight
    }

    fn nodes_of(in_flight: &InFlight, who: &str) -> Vec<String> {
        in_flight
            .of_user(&user(who))
            .map(|record| record.node.to_string())
            .collect()
    }

    #[test]
    fn records_are_counted_per_server_and_found_by_user() {
        let in_flight = holding(&[
            record("alice", "s1", 5, 1),
            record("bob", "s1", 6, 2),
            record("alice", "s2", 3, 3),
        ]);
        let counts = ["s1", "s2", "s3"].map(|name| in_flight.count(&node(name)));
        assert_eq!(counts, [2, 1, 0]);
        assert_eq!(nodes_of(&in_flight, "alice"), ["s2", "s1"]);
        assert_eq!(nodes_of(&in_flight, "carol"), [""; 0]);
    }

    #[test]
    fn a_retry_on_the_same_server_is_not_counted_twice() {
        let in_flight = holding(&[record("alice", "s1", 5, 1), record("alice", "s1", 7, 2)]);
        assert_eq!((in_flight.count(&node("s1")), in_flight.len()), (1, 1));
        let newest = in_flight.of_user(&user("alice")).next().unwrap();
        assert_eq!(newest.visible_version, Version(7));
    }

    #[test]
    fn a_record_counts_until_the_servers_state_contains_it() {
        let mut in_flight = holding(&[record("alice", "s1", 5, 1), record("bob", "s1", 6, 1)]);
        let s1 = node("s1");
        in_flight.settle(&node("s2"), Generation(1), Version(9));
        in_flight.settle(&s1, Generation(1), Version(4));
        assert_eq!(in_flight.count(&s1), 2);
        in_flight.settle(&s1, Generation(1), Version(5));
        assert_eq!(in_flight.count(&s1), 1);
        in_flight.settle(&s1, Generation(1), Version(100));
        assert_eq!(in_flight.count(&s1), 0);
    }

    #[test]
    fn a_user_is_still_known_when_their_record_no_longer_counts() {
        let mut in_flight = holding(&[record("alice", "s1", 5, 1)]);
        in_flight.settle(&node("s1"), Generation(1), Version(5));
        assert_eq!(nodes_of(&in_flight, "alice"), ["s1"]);
        in_flight.expire(Duration::from_secs(61));
        assert_eq!(nodes_of(&in_flight, "alice"), [""; 0]);
    }

    #[test]
    fn another_generation_of_the_agent_has_forgotten_all_reservations() {
        for generation in [0, 2] {
            let mut in_flight = holding(&[record("alice", "s1", 5, 1)]);
            in_flight.settle(&node("s1"), Generation(generation), Version(1));
            assert_eq!(in_flight.count(&node("s1")), 0, "{generation}");
        }
    }

    #[test]
    fn a_record_lives_sixty_seconds() {
        let mut in_flight = holding(&[record("bob", "s1", 5, 30), record("alice", "s1", 5, 10)]);
        in_flight.expire(Duration::from_secs(69));
        assert_eq!(in_flight.len(), 2);
        in_flight.expire(Duration::from_secs(70));
        assert_eq!(nodes_of(&in_flight, "bob"), ["s1"]);
        assert_eq!(in_flight.len(), 1);
    }

    #[test]
    fn a_cancelled_record_is_gone() {
        let mut in_flight = holding(&[record("alice", "s1", 5, 1), record("alice", "s2", 5, 1)]);
        in_flight.cancel(&user("alice"), &node("s1"));
        in_flight.cancel(&user("bob"), &node("s2"));
        assert_eq!(nodes_of(&in_flight, "alice"), ["s2"]);
    }

    #[test]
    fn when_it_is_full_the_oldest_go() {
        let mut in_flight = InFlight::default();
        let extra = 5;
        for i in 0..InFlight::MAX_RECORDS + extra {
            in_flight.add(record(&format!("u{i}"), "s1", 5, i as u64));
        }
        let n_on_s1 = in_flight.count(&node("s1")) as usize;
        assert_eq!(
            (in_flight.len(), n_on_s1),
            (InFlight::MAX_RECORDS, InFlight::MAX_RECORDS)
        );
        assert_eq!(nodes_of(&in_flight, "u4"), [""; 0]);
        assert_eq!(nodes_of(&in_flight, "u5"), ["s1"]);
    }

    proptest! {
        #[test]
        fn it_behaves_like_a_plain_list(ops in vec((0u8..4, 0u8..4, 0u8..3, 0u64..6, 0u64..2), 0..60)) {
            let mut in_flight = InFlight::default();
            let mut plain: Vec<(Record, bool)> = Vec::new();
            for (now, (op, who, at, version, generation)) in ops.into_iter().enumerate() {
                let now = Duration::from_secs(now as u64 * 5);
                let (who, at) = (user(&format!("u{who}")), node(&format!("s{at}")));
                let (generation, version) = (Generation(generation), Version(version));
                match op {
                    0 | 1 => {
                        let record = Record { user: who.clone(), node: at.clone(), generation, visible_version: version, placed_at: now };
                        plain.retain(|(r, _)| !(r.user == who && r.node == at));
                        plain.push((record.clone(), true));
                        in_flight.add(record);
                    }
                    2 => {
                        for (r, counts) in plain.iter_mut().filter(|(r, _)| r.node == at) {
                            *counts &= r.generation == generation && r.visible_version > version;
                        }
                        let before = in_flight.count(&at);
                        let can_settle = in_flight.can_settle(&at, generation, version);
                        in_flight.settle(&at, generation, version);
                        prop_assert_eq!(can_settle, in_flight.count(&at) < before);
                    }
                    _ => {
                        plain.retain(|(r, _)| r.placed_at + InFlight::LIFETIME > now);
                        in_flight.expire(now);
                    }
                }
                prop_assert_eq!(in_flight.len(), plain.len());
                for name in ["s0", "s1", "s2"] {
                    let expected = plain.iter().filter(|(r, counts)| *counts && r.node == node(name)).count();
                    prop_assert_eq!(in_flight.count(&node(name)) as usize, expected);
                }
                let expected: Vec<&Record> = plain.iter().rev().map(|(r, _)| r).filter(|r| r.user == who).collect();
                prop_assert_eq!(in_flight.of_user(&who).collect::<Vec<_>>(), expected);
            }
        }
    }
}
