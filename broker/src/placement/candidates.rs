//! Which few servers does a user's log-in look at?
//!
//! Weighted rendezvous hashing: each server gets a number from the user's name and its
//! own, and the smallest numbers win. Replicas agree without talking; a larger server
//! wins more users, in proportion to its capacity; and when a server comes or goes, only
//! the users change that had it among theirs.

use std::fmt;
use std::hash::Hasher;

use proto::{Load, NodeId, Username};
use siphasher::sip::SipHasher24;

use super::Server;

/// The farm's secret for choosing candidates: nobody else can compute them.
///
/// All replicas must have the same, or their choices for one user differ (which costs
/// balance on a retry, nothing else).
#[derive(Clone, Copy)]
pub struct PlacementKey([u8; 16]);

impl PlacementKey {
    /// Takes the bytes of a key.
    #[must_use]
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The host that this user gets of hosts that nothing is known of: the same one on
    /// every replica and at every try.
    #[must_use]
    pub fn pick<'h>(
        &self,
        user: &Username,
        hosts: impl IntoIterator<Item = &'h str>,
    ) -> Option<usize> {
        let rendezvous = self.rendezvous(user);
        let draw = |host: &str| {
            let mut hasher = rendezvous.hasher;
            hasher.write(host.as_bytes());
            hasher.finish()
        };
        let draws = hosts.into_iter().map(draw).enumerate();
        draws.min_by_key(|&(_, draw)| draw).map(|(idx, _)| idx)
    }

    /// The rendezvous of this user with the servers.
    pub(super) fn rendezvous(&self, user: &Username) -> Rendezvous {
        let mut hasher = SipHasher24::new_with_key(&self.0);
        hasher.write(user.as_str().as_bytes());
        hasher.write_u8(BETWEEN_NAMES);
        Rendezvous { hasher }
    }
}

impl fmt::Debug for PlacementKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PlacementKey(…)")
    }
}

/// How near servers are to one user.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rendezvous {
    /// Has taken in the key and the user.
    hasher: SipHasher24,
}

impl Rendezvous {
    /// The distance of a server; the nearest are the candidates. Exponentially
    /// distributed over users, with a rate of the server's capacity.
    pub(super) fn distance(&self, node: &NodeId, load: Option<&Load>) -> f64 {
        distance(self.fraction(node), capacity(load))
    }

    fn fraction(&self, node: &NodeId) -> f64 {
        let mut hasher = self.hasher;
        hasher.write(node.as_str().as_bytes());
        unit(hasher.finish())
    }
}

fn distance(fraction: f64, capacity: f64) -> f64 {
    -(1.0 - fraction).ln() / capacity
}

fn capacity(load: Option<&Load>) -> f64 {
    load.map_or(1.0, Load::capacity)
}

/// A server by its place in the caller's list, with its distance.
#[derive(Clone, Copy, Debug)]
pub(super) struct Near {
    pub(super) server_idx: usize,
    pub(super) distance: f64,
}

/// The nearest of the servers, at most [`MAX_CANDIDATES`], nearest first.
pub(super) fn nearest<'s>(
    rendezvous: &Rendezvous,
    eligible: impl Iterator<Item = (usize, &'s Server<'s>)>,
) -> Vec<Near> {
    let mut nearest: Vec<(Near, &NodeId)> = Vec::with_capacity(MAX_CANDIDATES + 1);
    let mut farthest = f64::INFINITY;
    for (server_idx, server) in eligible {
        let fraction = rendezvous.fraction(server.node);
        let capacity = capacity(server.state.load.as_ref());
        // Since -ln(1 - x) >= x, most servers are known to be too far without a logarithm.
        if fraction / capacity > farthest {
            continue;
        }
        let distance = distance(fraction, capacity);
        let place = nearest.partition_point(|(near, node)| {
            (near.distance.total_cmp(&distance))
                .then_with(|| (*node).cmp(server.node))
                .is_lt()
        });
        let near = Near {
            server_idx,
            distance,
        };
        nearest.insert(place, (near, server.node));
        nearest.truncate(MAX_CANDIDATES);
        if nearest.len() == MAX_CANDIDATES {
            farthest = nearest
                .last()
                .map_or(f64::INFINITY, |(last, _)| last.distance);
        }
    }
    nearest.into_iter().map(|(near, _)| near).collect()
}

/// Maps a hash to [0, 1), with all 53 bits that fit.
#[expect(clippy::cast_precision_loss, reason = "53 bits fit a double exactly")]
fn unit(hash: u64) -> f64 {
    const BITS_THAT_FIT: u32 = 53;
    (hash >> (u64::BITS - BITS_THAT_FIT)) as f64 / (1_u64 << BITS_THAT_FIT) as f64
}

/// More would all find the same apparent minimum, fewer would balance worse.
pub(super) const MAX_CANDIDATES: usize = 8;

/// In no user name, so that no two pairs of names run together to the same text.
const BETWEEN_NAMES: u8 = 0xff;

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proto::Username;

    use super::{MAX_CANDIDATES, nearest, unit};
    use crate::placement::testing::{KEY, Member, farm, servers, sized, user};

    fn candidates(name: &Username, members: &[Member]) -> Vec<String> {
        let servers = servers(members);
        let near = nearest(&KEY.rendezvous(name), servers.iter().enumerate());
        let names = near
            .iter()
            .map(|near| servers[near.server_idx].node.to_string());
        names.collect()
    }

    #[test]
    fn hashes_map_to_the_unit_interval() {
        assert_eq!(unit(0), 0.0);
        assert!(unit(u64::MAX) < 1.0);
        assert!((unit(1 << 63) - 0.5).abs() < 1e-12);
    }

    #[test]
    fn they_are_those_that_a_full_sort_finds_in_any_order() {
        let mut members = farm(100);
        for i in 0..200 {
            let name = user(&format!("u{i}"));
            let rendezvous = KEY.rendezvous(&name);
            let mut all: Vec<_> = members
                .iter()
                .map(|m| {
                    (
                        rendezvous.distance(&m.node, m.state.load.as_ref()),
                        m.node.to_string(),
                    )
                })
                .collect();
            all.sort_by(|a, b| a.0.total_cmp(&b.0));
            let expected: Vec<String> = all
                .into_iter()
                .take(MAX_CANDIDATES)
                .map(|(_, node)| node)
                .collect();
            assert_eq!(candidates(&name, &members), expected);
            members.rotate_left(7);
        }
    }

    #[test]
    fn a_small_farm_is_looked_at_as_a_whole() {
        let name = user("alice");
        assert_eq!(candidates(&name, &farm(3)).len(), 3);
        assert!(candidates(&name, &[]).is_empty());
    }

    #[test]
    fn users_differ_and_names_do_not_run_together() {
        let members = farm(50);
        assert_ne!(
            candidates(&user("alice"), &members),
            candidates(&user("bob"), &members)
        );
        let distance = |name: &str, node: &str| {
            let member = Member::new(node, sized(4, 0.0));
            let rendezvous = KEY.rendezvous(&user(name));
            rendezvous.distance(&member.node, member.state.load.as_ref())
        };
        assert!((distance("a", "bc") - distance("ab", "c")).abs() > 1e-9);
    }

    #[test]
    fn a_replica_of_another_version_finds_the_same() {
        // Changing how candidates are computed splits users while versions are mixed.
        let names = candidates(&user("alice"), &farm(20)).join(" ");
        expect_test::expect!["s12 s0 s8 s16 s9 s13 s6 s3"].assert_eq(&names);
    }

    #[test]
    fn larger_servers_are_nearest_to_more_users_in_proportion_to_capacity() {
        let cores = [4, 8, 16, 32, 60];
        let members: Vec<Member> = (cores.iter())
            .map(|&cores| Member::new(&format!("s{cores}"), sized(cores, 0.0)))
            .collect();
        let n_users = 20_000;
        let mut n_first: HashMap<String, u32> = HashMap::new();
        for i in 0..n_users {
            let names = candidates(&user(&format!("u{i}")), &members);
            *n_first.entry(names[0].clone()).or_default() += 1;
        }
        for share in cores {
            let found = f64::from(n_first[&format!("s{share}")]) / f64::from(n_users);
            let expected = f64::from(share) / 120.0;
            // Four standard errors are at most 0.0142.
            assert!(
                (found - expected).abs() < 0.0142,
                "s{share}: {found}, expected {expected}"
            );
        }
    }

    #[test]
    fn when_a_server_goes_only_its_users_change() {
        let members = farm(40);
        let without = &members[1..];
        for i in 0..500 {
            let name = user(&format!("u{i}"));
            let before = candidates(&name, &members);
            let after = candidates(&name, without);
            if !before.contains(&"s0".to_owned()) {
                assert_eq!(before, after);
            } else {
                let kept = before
                    .iter()
                    .filter(|name| *name != "s0")
                    .collect::<Vec<_>>();
                assert_eq!(kept, after[..MAX_CANDIDATES - 1].iter().collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn a_user_gets_the_same_unknown_host_wherever_it_stands_in_the_list() {
        let hosts = ["a.example", "b.example", "c.example"];
        let turned = ["c.example", "a.example", "b.example"];
        let mut found = std::collections::BTreeSet::new();
        for i in 0..50 {
            let name = user(&format!("u{i}"));
            let host = KEY.pick(&name, hosts).map(|idx| hosts[idx]);
            assert_eq!(host, KEY.pick(&name, turned).map(|idx| turned[idx]));
            found.extend(host);
        }
        assert_eq!(found.len(), 3);
        assert_eq!(KEY.pick(&user("alice"), []), None);
    }
}
