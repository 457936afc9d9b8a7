//! Which AUTHIDs were used already?

use std::collections::{BTreeMap, HashMap};

use super::authid::chain::{self, Chain, Owner};
use super::authid::{Facts, Nonce};
use super::decision::MAX_SKEW;

/// Up to which AUTHID each login was used, by the time of its end: what has run out goes
/// together, without a look at the rest. Requests take no room, logins do.
///
/// When there are too many, the older half of whoever has most is forgotten; where nobody
/// stands out, those that end first. All that could be among the forgotten are refused from
/// then on: none is ever good twice, and who logs in without end is who must do it again.
#[derive(Debug)]
pub struct Spent {
    used: BTreeMap<(Bucket, Chain), Last>,
    shares: HashMap<Owner, Share>,
    forgotten_until: Option<Bucket>,
    most: usize,
}

/// A few seconds in which AUTHIDs end.
type Bucket = u64;

/// The last of a chain that was used.
#[derive(Clone, Copy, Debug)]
struct Last {
    number: u32,
    issued: u64,
    forget: u64,
}

/// What one user has of all that is remembered.
#[derive(Clone, Copy, Debug, Default)]
struct Share {
    n_chains: usize,
    forgotten_until: Option<Bucket>,
}

/// An AUTHID that was used, and with it all before it in its chain. Times are milliseconds
/// since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Used {
    /// When it was made.
    pub issued: u64,
    /// What no other has.
    pub nonce: Nonce,
    /// When it need not be remembered any more.
    pub forget: u64,
}

/// It was used before, or could have been.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the AUTHID was used before")]
pub struct AlreadySpent;

impl Default for Spent {
    fn default() -> Self {
        Self::with_limit(MOST)
    }
}

impl Spent {
    /// Remembers at most so many logins.
    #[must_use]
    pub fn with_limit(most: usize) -> Self {
        Self {
            used: BTreeMap::new(),
            shares: HashMap::new(),
            forgotten_until: None,
            most,
        }
    }

    /// Whether it was used, or could have been.
    #[must_use]
    pub fn holds(&self, facts: &Facts) -> bool {
        self.is_known(&facts.nonce, forget(facts))
    }

    fn is_known(&self, nonce: &Nonce, forget: u64) -> bool {
        let bucket = bucket(forget);
        let (chain, number) = chain::split(nonce);
        let share = self.shares.get(&chain.owner);
        let of_owner = share.and_then(|share| share.forgotten_until);
        self.forgotten_until.max(of_owner) >= Some(bucket)
            || (self.used.get(&(bucket, chain))).is_some_and(|last| number <= last.number)
    }

    /// Uses it.
    ///
    /// # Errors
    /// When it was used before.
    pub fn spend(&mut self, facts: &Facts, now: u64) -> Result<Used, AlreadySpent> {
        if self.holds(facts) {
            return Err(AlreadySpent);
        }
        let used = Used {
            issued: facts.issued,
            nonce: facts.nonce,
            forget: forget(facts),
        };
        self.remember(used, now);
        Ok(used)
    }

    /// It was used elsewhere. What could not be an AUTHID of this time is left out.
    pub fn learn(&mut self, used: Used, now: u64) {
        let is_past = used.issued <= now.saturating_add(MAX_SKEW);
        let is_known = self.is_known(&used.nonce, used.forget);
        if is_past && used.forget >= now && !is_known {
            self.remember(used, now);
        }
    }

    /// All that are remembered.
    #[must_use]
    pub fn all(&self) -> Vec<Used> {
        let all = self.used.iter().map(|((_, chain), last)| Used {
            issued: last.issued,
            nonce: chain::joined(*chain, last.number),
            forget: last.forget,
        });
        all.collect()
    }

    fn remember(&mut self, used: Used, now: u64) {
        self.leave_out_past(now);
        let (chain, number) = chain::split(&used.nonce);
        let last = Last {
            number,
            issued: used.issued,
            forget: used.forget,
        };
        let before = self.used.insert((bucket(used.forget), chain), last);
        if before.is_none() {
            self.shares.entry(chain.owner).or_default().n_chains += 1;
        }
        while self.used.len() > self.most {
            self.make_room(now);
        }
    }

    fn leave_out_past(&mut self, now: u64) {
        while let Some(first) = self.used.first_entry()
            && first.key().0 < bucket(now)
        {
            let ((_, chain), _) = first.remove_entry();
            self.is_gone(chain.owner, now);
        }
    }

    /// A chain of this owner was left out.
    fn is_gone(&mut self, owner: Owner, now: u64) {
        if let Some(share) = self.shares.get_mut(&owner) {
            share.n_chains = share.n_chains.saturating_sub(1);
            if share.is_empty(now) {
                self.shares.remove(&owner);
            }
        }
    }

    fn make_room(&mut self, now: u64) {
        let largest = self.shares.iter().max_by_key(|(_, share)| share.n_chains);
        let stands_out = (self.most / STANDS_OUT).max(1);
        match largest {
            Some((owner, share)) if share.n_chains > stands_out => {
                self.forget_half_of(*owner, share.n_chains);
                self.shares.retain(|_, share| !share.is_empty(now));
            }
            _ => self.forget_first(now),
        }
    }

    fn forget_half_of(&mut self, owner: Owner, n_chains: usize) {
        let own = self.used.keys().filter(|(_, chain)| chain.owner == owner);
        let until = own.map(|(bucket, _)| *bucket).nth(n_chains / 2);
        let Some(until) = until else { return };
        self.used
            .retain(|(bucket, chain), _| chain.owner != owner || *bucket > until);
        let own = self.used.keys().filter(|(_, chain)| chain.owner == owner);
        let n_chains = own.count();
        if let Some(share) = self.shares.get_mut(&owner) {
            share.n_chains = n_chains;
            share.forgotten_until = share.forgotten_until.max(Some(until));
        }
    }

    fn forget_first(&mut self, now: u64) {
        let Some(((until, _), _)) = self.used.first_key_value() else {
            return;
        };
        let until = *until;
        while let Some(first) = self.used.first_entry()
            && first.key().0 <= until
        {
            let ((_, chain), _) = first.remove_entry();
            self.is_gone(chain.owner, now);
        }
        self.forgotten_until = self.forgotten_until.max(Some(until));
    }
}

impl Share {
    /// Whether it says nothing any more.
    fn is_empty(&self, now: u64) -> bool {
        self.n_chains == 0 && self.forgotten_until < Some(bucket(now))
    }
}

/// When an AUTHID need not be remembered any more.
fn forget(facts: &Facts) -> u64 {
    facts.expires.saturating_add(MAX_SKEW)
}

fn bucket(time: u64) -> Bucket {
    time / BUCKET
}

/// Logins. Takes some 50 MB; at ten hours a piece these are 14 logins a second, all day.
const MOST: usize = 500_000;

/// Who has more than one in so many of all logins is the one to forget.
const STANDS_OUT: usize = 100;

/// Four seconds: a client's AUTHIDs all end together, and two clients hardly ever.
const BUCKET: u64 = 4000;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::net::{IpAddr, Ipv4Addr};

    use proptest::prelude::*;

    use super::{AlreadySpent, Spent};
    use crate::auth::authid::Facts;

    /// Number `n`, made at `issued` and good for `life`.
    fn authid(n: u8, issued: u64, life: u64) -> Facts {
        Facts {
            user: None,
            client: IpAddr::V4(Ipv4Addr::LOCALHOST),
            first: issued,
            issued,
            expires: issued + life,
            nonce: [n; 12],
        }
    }

    #[test]
    fn an_authid_is_used_once() {
        let mut spent = Spent::default();
        let (a, b) = (authid(1, 10, 1000), authid(2, 10, 1000));
        assert!(!spent.holds(&a));
        assert!(spent.spend(&a, 11).is_ok());
        assert_eq!(spent.spend(&a, 12), Err(AlreadySpent));
        assert!(spent.holds(&a) && !spent.holds(&b));
        assert!(spent.spend(&b, 12).is_ok());
    }

    #[test]
    fn those_that_ran_out_make_room() {
        let mut spent = Spent::with_limit(10);
        for n in 0..100_u8 {
            let issued = u64::from(n) * 1_000_000;
            assert!(spent.spend(&authid(n, issued, 1000), issued).is_ok());
        }
        assert!(spent.used.len() <= 10);
        assert_eq!(spent.forgotten_until, None);
    }

    #[test]
    fn those_that_end_first_make_room_and_are_refused() {
        let mut spent = Spent::with_limit(2);
        let (soon, later, last) = (
            authid(1, 500_000, 100_000),
            authid(2, 10, 900_000),
            authid(3, 10, 910_000),
        );
        for authid in [&soon, &later, &last] {
            assert!(spent.spend(authid, 500_001).is_ok());
        }
        assert_eq!(spent.used.len(), 2);
        assert!(spent.holds(&soon) && spent.holds(&later) && spent.holds(&last));
        assert!(!spent.holds(&authid(4, 20, 900_000)));
        // It could have been used.
        assert!(spent.holds(&authid(5, 500_000, 100_000)));
    }

    fn of(owner: u8, login: u16, number: u8, end: u64) -> Facts {
        let [a, b] = login.to_be_bytes();
        Facts {
            nonce: [owner, owner, owner, a, b, 0, 0, 0, 0, 0, 0, number],
            ..authid(0, 10, end)
        }
    }

    #[test]
    fn a_login_takes_the_room_of_one_however_often_it_asks() {
        let mut spent = Spent::with_limit(10);
        for number in 0..200 {
            assert!(spent.spend(&of(1, 0, number, 1_000_000), 11).is_ok());
        }
        assert_eq!(spent.used.len(), 1);
        for number in 0..200 {
            assert!(spent.holds(&of(1, 0, number, 1_000_000)));
        }
        assert!(!spent.holds(&of(1, 0, 200, 1_000_000)));
        // Another replica learns them all with the last.
        let mut other = Spent::default();
        for used in spent.all() {
            other.learn(used, 11);
        }
        assert!(other.holds(&of(1, 0, 7, 1_000_000)));
        assert!(!other.holds(&of(1, 0, 200, 1_000_000)));
    }

    #[test]
    fn who_logs_in_without_end_is_forgotten_and_nobody_else() {
        let mut spent = Spent::with_limit(100);
        let first = of(1, 0, 0, 1_000_000);
        assert!(spent.spend(&first, 11).is_ok());
        for login in 0..5000 {
            let end = 1_000_100 + u64::from(login) * 50;
            let _ = spent.spend(&of(9, login, 0, end), 11);
            assert!(spent.used.len() <= 100);
        }
        assert_eq!(spent.forgotten_until, None);
        assert!(spent.holds(&first));
        // The next of the others, whose password is the oldest, goes on.
        assert!(spent.spend(&of(1, 0, 1, 1_000_000), 12).is_ok());
        // None of the one who did it is good twice.
        for login in 0..5000 {
            let end = 1_000_100 + u64::from(login) * 50;
            assert!(spent.holds(&of(9, login, 0, end)), "{login}");
        }
    }

    proptest! {
        /// With users who log in often, and logins that ask often.
        #[test]
        fn no_number_of_a_chain_is_ever_used_twice(
            uses in proptest::collection::vec((0..4_u8, 0..6_u16, 0..4_u8), 0..300),
            most in 1..20_usize,
        ) {
            let mut spent = Spent::with_limit(most);
            let mut used = HashSet::new();
            for (owner, login, number) in uses {
                let authid = of(owner, login, number, 1_000_000 + u64::from(login) * 3000);
                if spent.spend(&authid, 1000).is_ok() {
                    prop_assert!(used.insert((owner, login, number)));
                }
                prop_assert!(spent.used.len() <= most && spent.holds(&authid));
                let shares: usize = spent.shares.values().map(|share| share.n_chains).sum();
                prop_assert_eq!(shares, spent.used.len());
            }
        }

        /// However few are remembered, and in whatever order and however often they come.
        #[test]
        fn none_is_ever_used_twice(
            uses in proptest::collection::vec((0..40_u8, 0..5_u64), 0..300),
            most in 1..20_usize,
        ) {
            let mut spent = Spent::with_limit(most);
            let mut used = HashSet::new();
            let mut now = 1000;
            for (n, later) in uses {
                now += later;
                let authid = authid(n, 900 + u64::from(n), 1_000_000 + u64::from(n) * 3000);
                if spent.spend(&authid, now).is_ok() {
                    prop_assert!(used.insert(n), "{n} was used twice");
                }
                prop_assert!(spent.used.len() <= most);
                prop_assert!(spent.holds(&authid));
            }
        }
    }
}
