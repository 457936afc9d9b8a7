//! Who must wait before the next password, after too many wrong ones?
//!
//! Failures count for a user at an address, for an address, and for a user. After some
//! that are free, each doubles a delay in which further passwords are refused unread. The
//! delays of a user spare addresses that the user was let in from, so nobody keeps others
//! out for good by typing wrong passwords in their name.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

use proto::BrokerUser;

use crate::config::FailureLimits;

/// The failures of the last quarter of an hour. Times are milliseconds.
#[derive(Debug)]
pub struct Failures {
    counted: HashMap<Key, Counted>,
    most: usize,
}

/// What failures are counted for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    UserAt(BrokerUser, IpAddr),
    At(IpAddr),
    User(BrokerUser),
}

#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    n_failures: u32,
    last: u64,
    /// The user was let in at this address since.
    known: bool,
}

/// Too many wrong passwords; the next one is not looked at yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many wrong passwords; {wait} ms to wait")]
pub struct TooSoon {
    /// How long, in milliseconds.
    pub wait: u64,
}

impl Default for Failures {
    fn default() -> Self {
        Self::with_limit(MOST)
    }
}

impl Failures {
    /// Remembers so many counts; those that are older are forgotten first.
    #[must_use]
    pub fn with_limit(most: usize) -> Self {
        Self {
            counted: HashMap::new(),
            most,
        }
    }

    /// Whether a password of `user` may be looked at now.
    ///
    /// # Errors
    /// When too many were wrong.
    pub fn check(
        &self,
        limits: &FailureLimits,
        user: &BrokerUser,
        client: IpAddr,
        now: u64,
    ) -> Result<(), TooSoon> {
        let is_known = self.is_known(user, client);
        let waits = keys(user, client)
            .into_iter()
            .filter(|key| !(is_known && matches!(key, Key::User(_))))
            .filter_map(|key| {
                let counted = self.counted.get(&key)?;
                let delay = delay(limits, &key, counted.n_failures);
                // A clock that was set back must not make the wait longer than the delay.
                let waited = now.saturating_sub(counted.last);
                delay.checked_sub(waited).filter(|wait| *wait > 0)
            });
        match waits.max() {
            Some(wait) => Err(TooSoon { wait }),
            None => Ok(()),
        }
    }

    /// A password was wrong.
    pub fn failed(&mut self, user: &BrokerUser, client: IpAddr, now: u64) {
        self.make_room(now);
        for key in keys(user, client) {
            let counted = self.counted.entry(key).or_default();
            if now.saturating_sub(counted.last) > MEMORY {
                counted.n_failures = 0;
            }
            counted.n_failures = counted.n_failures.saturating_add(1);
            counted.last = counted.last.max(now);
        }
    }

    /// A password was right: what was typed wrong before, here, is forgiven. The address
    /// still counts, since whoever has one account must not guess at all others.
    pub fn let_in(&mut self, user: &BrokerUser, client: IpAddr, now: u64) {
        self.make_room(now);
        let here = Counted {
            n_failures: 0,
            last: now,
            known: true,
        };
        self.counted
            .insert(Key::UserAt(user.clone(), prefix(client)), here);
    }

    fn is_known(&self, user: &BrokerUser, client: IpAddr) -> bool {
        let here = self.counted.get(&Key::UserAt(user.clone(), prefix(client)));
        here.is_some_and(|counted| counted.known)
    }

    /// What is old goes first, and then what is less old, until there is much room again.
    fn make_room(&mut self, now: u64) {
        if self.counted.len() + KEYS <= self.most {
            return;
        }
        let mut memory = MEMORY;
        while self.counted.len() > self.most / 2 && memory > 0 {
            let is_young = |counted: &Counted| now.saturating_sub(counted.last) < memory;
            self.counted.retain(|_, counted| is_young(counted));
            memory /= 2;
        }
        if memory == 0 {
            self.counted.clear();
        }
    }
}

fn keys(user: &BrokerUser, client: IpAddr) -> [Key; KEYS] {
    let client = prefix(client);
    [
        Key::UserAt(user.clone(), client),
        Key::At(client),
        Key::User(user.clone()),
    ]
}

/// One site of IPv6 has a network of 64 bits, and all addresses in it.
pub(super) fn prefix(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => {
            let network = u128::from(address) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(network))
        }
        address @ IpAddr::V4(_) => address,
    }
}

/// In milliseconds. Many people may share an address, and many addresses a user.
fn delay(limits: &FailureLimits, key: &Key, n_failures: u32) -> u64 {
    let free = match key {
        Key::UserAt(..) => limits.free,
        Key::At(_) | Key::User(_) => limits.free.saturating_mul(SHARED),
    };
    let Some(more) = n_failures.checked_sub(free).filter(|more| *more > 0) else {
        return 0;
    };
    let most = u64::try_from(limits.longest_delay.as_millis()).unwrap_or(u64::MAX);
    let doubled = 1_u64.checked_shl(more - 1).unwrap_or(u64::MAX);
    doubled.saturating_mul(FIRST_DELAY).min(most)
}

const KEYS: usize = 3;

/// A second, then two, four …
const FIRST_DELAY: u64 = 1000;

/// So many times the free failures, where many share what is counted.
const SHARED: u32 = 10;

/// How long a failure counts: a quarter of an hour.
const MEMORY: u64 = 15 * 60 * 1000;

/// Some 20 MB, with the longest names.
const MOST: usize = 60_000;

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::time::Duration;

    use proptest::prelude::*;
    use proto::BrokerUser;

    use super::{Failures, TooSoon};
    use crate::config::FailureLimits;

    const LIMITS: FailureLimits = FailureLimits {
        free: 3,
        longest_delay: Duration::from_secs(8),
    };

    fn user(name: &str) -> BrokerUser {
        BrokerUser::parse(name).unwrap()
    }

    fn at(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn each_failure_after_the_free_ones_doubles_the_delay_up_to_a_bound() {
        let mut failures = Failures::default();
        let (alice, desk) = (user("alice"), at("10.77.0.20"));
        let mut now = 1_000_000;
        for wait in [0, 0, 0, 1000, 2000, 4000, 8000, 8000, 8000] {
            failures.failed(&alice, desk, now);
            let found = failures.check(&LIMITS, &alice, desk, now);
            let expected = if wait == 0 {
                Ok(())
            } else {
                Err(TooSoon { wait })
            };
            assert_eq!(found, expected);
            now += wait;
            assert_eq!(failures.check(&LIMITS, &alice, desk, now), Ok(()));
        }
        // Others there, and she elsewhere, go on.
        failures.failed(&alice, desk, now);
        assert_eq!(failures.check(&LIMITS, &user("bob"), desk, now), Ok(()));
        assert_eq!(
            failures.check(&LIMITS, &alice, at("10.77.0.21"), now),
            Ok(())
        );
        // A right password, or a long time, forgives.
        failures.let_in(&alice, desk, now);
        assert_eq!(failures.check(&LIMITS, &alice, desk, now), Ok(()));
    }

    #[test]
    fn whoever_guesses_at_many_users_is_stopped_at_the_address() {
        let mut failures = Failures::default();
        let one_site = ["fd77::1", "fd77::2:0:0:1"];
        for n in 0..40_u32 {
            let client = at(one_site[n as usize % 2]);
            failures.failed(&user(&format!("u{n}")), client, 5000);
        }
        assert!(
            failures
                .check(&LIMITS, &user("alice"), at("fd77::ffff"), 5000)
                .is_err()
        );
        assert_eq!(
            failures.check(&LIMITS, &user("alice"), at("fd77:0:0:1::1"), 5000),
            Ok(())
        );
    }

    #[test]
    fn nobody_is_kept_out_for_good_by_the_failures_of_others() {
        let mut failures = Failures::default();
        let (alice, desk) = (user("alice"), at("10.77.0.20"));
        failures.let_in(&alice, desk, 0);
        for n in 0..200_u8 {
            failures.failed(&alice, IpAddr::from([192, 0, 2, n]), 1000);
        }
        // Strangers wait, she does not; and she waits nowhere for more than the bound.
        assert!(
            failures
                .check(&LIMITS, &alice, at("198.51.100.1"), 1000)
                .is_err()
        );
        assert_eq!(failures.check(&LIMITS, &alice, desk, 1000), Ok(()));
        assert_eq!(
            failures.check(&LIMITS, &alice, at("198.51.100.1"), 9001),
            Ok(())
        );
    }

    proptest! {
        #[test]
        fn memory_has_a_bound_and_delays_too(
            many in proptest::collection::vec((0..1000_u32, 0..2000_u64), 1..300),
        ) {
            let mut failures = Failures::with_limit(60);
            let mut now = 10_000;
            for (n, later) in many {
                let who = user(&format!("u{}", n % 50));
                failures.failed(&who, IpAddr::from(n.to_be_bytes()), now);
                now += later;
                prop_assert!(failures.counted.len() <= 60);
            }
            let latest = now + 8001;
            for n in 0..50_u32 {
                let (who, client) = (user(&format!("u{n}")), IpAddr::from(n.to_be_bytes()));
                prop_assert!(failures.check(&LIMITS, &who, client, latest).is_ok());
            }
        }
    }
}
