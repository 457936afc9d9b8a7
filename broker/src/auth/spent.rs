//! Which AUTHIDs were used already?

use std::collections::{BTreeMap, HashMap};

use super::authid::{Facts, Nonce};
use super::decision::MAX_SKEW;

/// The AUTHIDs that were used and have not run out, by the time of their end: those that
/// have run out go together, without a look at the others.
///
/// When there are too many, those that end first are forgotten, and from then on all that
/// end no later are refused: none is ever good twice.
#[derive(Debug)]
pub struct Spent {
    used: BTreeMap<Bucket, HashMap<(u64, Nonce), u64>>,
    n_used: usize,
    forgotten_until: Option<Bucket>,
    most: usize,
}

/// A few seconds in which AUTHIDs end.
type Bucket = u64;

/// An AUTHID that was used. Times are milliseconds since 1970.
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
    /// Remembers at most so many.
    #[must_use]
    pub fn with_limit(most: usize) -> Self {
        Self {
            used: BTreeMap::new(),
            n_used: 0,
            forgotten_until: None,
            most,
        }
    }

    /// Whether it was used, or could have been.
    #[must_use]
    pub fn holds(&self, facts: &Facts) -> bool {
        self.is_known(facts.issued, facts.nonce, forget(facts))
    }

    fn is_known(&self, issued: u64, nonce: Nonce, forget: u64) -> bool {
        let bucket = bucket(forget);
        let used = self.used.get(&bucket);
        self.forgotten_until.is_some_and(|until| bucket <= until)
            || used.is_some_and(|used| used.contains_key(&(issued, nonce)))
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
        let is_known = self.is_known(used.issued, used.nonce, used.forget);
        if is_past && used.forget >= now && !is_known {
            self.remember(used, now);
        }
    }

    /// All that are remembered.
    #[must_use]
    pub fn all(&self) -> Vec<Used> {
        let all = self.used.values().flatten();
        all.map(|(&(issued, nonce), &forget)| Used {
            issued,
            nonce,
            forget,
        })
        .collect()
    }

    fn remember(&mut self, used: Used, now: u64) {
        while let Some(first) = self.used.first_entry()
            && *first.key() < bucket(now)
        {
            self.n_used -= first.remove().len();
        }
        let place = self.used.entry(bucket(used.forget)).or_default();
        place.insert((used.issued, used.nonce), used.forget);
        self.n_used += 1;
        while self.n_used > self.most
            && let Some((bucket, forgotten)) = self.used.pop_first()
        {
            self.n_used -= forgotten.len();
            self.forgotten_until = self.forgotten_until.max(Some(bucket));
        }
    }
}

/// When an AUTHID need not be remembered any more.
fn forget(facts: &Facts) -> u64 {
    facts.expires.saturating_add(MAX_SKEW)
}

fn bucket(time: u64) -> Bucket {
    time / BUCKET
}

/// Takes some 50 MB; at ten hours a piece these are 14 requests a second, all day.
const MOST: usize = 500_000;

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
        assert!(spent.n_used <= 10);
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
        assert_eq!(spent.n_used, 2);
        assert!(spent.holds(&soon) && spent.holds(&later) && spent.holds(&last));
        assert!(!spent.holds(&authid(4, 20, 900_000)));
        // It could have been used.
        assert!(spent.holds(&authid(5, 500_000, 100_000)));
    }

    proptest! {
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
                prop_assert!(spent.n_used <= most);
                prop_assert!(spent.holds(&authid));
            }
        }
    }
}
