//! Who must wait before the next password, after too many wrong ones?
//!
//! Failures count for a user at an address, for an address, and for a user. After some
//! that are free, each doubles a delay in which further passwords are refused unread, and
//! the counts halve again and again. Who was let in from an address waits there only for
//! their own failures. Anywhere else, what is done in a user's name from other addresses makes
//! that user wait no longer than the longest delay. Failures at the address itself are another
//! thing: while somebody goes on with them, those whom it does not know wait.
//!
//! Users and addresses are kept as digests, so that other replicas can be told of failures
//! and not of names.

use std::collections::HashMap;
use std::net::IpAddr;

use proto::BrokerUser;
use ring::digest::{Context, SHA256};

use crate::config::FailureLimits;
use crate::network::network_of;

/// The failures of late. Times are milliseconds.
#[derive(Debug)]
pub struct Failures {
    salt: [u8; 16],
    counted: HashMap<Key, Counted>,
    /// Who was let in from where, and when.
    known: HashMap<Key, u64>,
    /// How long until counts are halved; what was configured when a client last asked.
    halve_after: u64,
    most: usize,
}

/// What failures are counted for, as a digest.
pub type Key = [u8; 16];

/// What one failure is counted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keys {
    /// The user at this address.
    pub user_at: Key,
    /// The address.
    pub address: Key,
    /// The user.
    pub user: Key,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    n_failures: u32,
    last: u64,
    /// When they were last halved.
    halved: u64,
    /// Since when somebody waits who may be somebody else than who failed.
    waits_since: Option<u64>,
}

/// Too many wrong passwords; the next one is not looked at yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many wrong passwords; {wait} ms to wait")]
pub struct TooSoon {
    /// How long, in milliseconds.
    pub wait: u64,
}

impl Failures {
    /// Replicas with the same salt understand each other.
    #[must_use]
    pub fn new(salt: [u8; 16]) -> Self {
        Self::with_limit(salt, MOST)
    }

    /// Remembers so many counts; those that are older are forgotten first.
    #[must_use]
    pub fn with_limit(salt: [u8; 16], most: usize) -> Self {
        Self {
            salt,
            counted: HashMap::new(),
            known: HashMap::new(),
            halve_after: HALVE_AFTER,
            most,
        }
    }

    /// Whether a password of `user` may be looked at now.
    ///
    /// # Errors
    /// When too many were wrong.
    pub fn check(
        &mut self,
        limits: &FailureLimits,
        user: &BrokerUser,
        client: IpAddr,
        now: u64,
    ) -> Result<(), TooSoon> {
        self.halve_after = milliseconds(limits.halve_after);
        let keys = self.keys(user, client);
        let own = self.wait(limits, limits.free, &keys.user_at, now);
        let of_others = match self.is_known(&keys.user_at, now) {
            true => 0,
            false => {
                let here = self.wait(limits, limits.free_shared, &keys.address, now);
                here.max(self.wait_as_user(limits, &keys, now))
            }
        };
        match own.max(of_others) {
            0 => Ok(()),
            wait => Err(TooSoon { wait }),
        }
    }

    /// A password was wrong. Tells for what that counts.
    pub fn failed(&mut self, user: &BrokerUser, client: IpAddr, now: u64) -> Keys {
        let keys = self.keys(user, client);
        self.count(keys, now);
        keys
    }

    /// A password was wrong, here or elsewhere.
    pub fn count(&mut self, keys: Keys, now: u64) {
        make_room(&mut self.counted, self.most, |counted| counted.last);
        for key in [keys.user_at, keys.address, keys.user] {
            let counted = self.counted.entry(key).or_default();
            counted.halve(self.halve_after, now);
            counted.n_failures = counted.n_failures.saturating_add(1);
            counted.last = counted.last.max(now);
            counted.waits_since = None;
        }
    }

    /// A password was right: what was typed wrong before, here, is forgiven. The address
    /// still counts, since whoever has one account must not guess at all others.
    pub fn let_in(&mut self, user: &BrokerUser, client: IpAddr, now: u64) -> Key {
        let key = self.keys(user, client).user_at;
        self.forgive(key, now);
        key
    }

    /// A password was right, here or elsewhere.
    pub fn forgive(&mut self, user_at: Key, now: u64) {
        make_room(&mut self.known, self.most, |at| *at);
        self.counted.remove(&user_at);
        self.known.insert(user_at, now);
    }

    fn is_known(&self, user_at: &Key, now: u64) -> bool {
        let let_in = self.known.get(user_at);
        let_in.is_some_and(|at| now.saturating_sub(*at) < KNOWN_FOR)
    }

    fn wait(&self, limits: &FailureLimits, free: u32, key: &Key, now: u64) -> u64 {
        let Some(mut counted) = self.counted.get(key).copied() else {
            return 0;
        };
        counted.halve(self.halve_after, now);
        // A clock that was set back must not make the wait longer than the delay.
        let waited = now.saturating_sub(counted.last);
        delay(limits, free, counted.n_failures).saturating_sub(waited)
    }

    /// What is left of the delay of a user, for this address: it ends with the longest
    /// delay after its first try, however many others try meanwhile.
    fn wait_as_user(&mut self, limits: &FailureLimits, keys: &Keys, now: u64) -> u64 {
        let wait = self.wait(limits, limits.free_shared, &keys.user, now);
        if wait == 0 {
            return 0;
        }
        make_room(&mut self.counted, self.most, |counted| counted.last);
        let here = self.counted.entry(keys.user_at).or_insert(Counted {
            last: now,
            halved: now,
            ..Counted::default()
        });
        let since = *here.waits_since.get_or_insert(now);
        let longest = milliseconds(limits.longest_delay);
        wait.min(longest.saturating_sub(now.saturating_sub(since)))
    }

    fn keys(&self, user: &BrokerUser, client: IpAddr) -> Keys {
        // Whatever the spelling: some directories tell small letters from capitals in no name.
        let user = user.canonical().to_ascii_lowercase();
        let client = network_of(client).to_string();
        Keys {
            user_at: self.key(b'b', &user, &client),
            address: self.key(b'a', "", &client),
            user: self.key(b'u', &user, ""),
        }
    }

    fn key(&self, kind: u8, user: &str, client: &str) -> Key {
        let mut digest = Context::new(&SHA256);
        digest.update(&self.salt);
        digest.update(&[kind]);
        // No user name holds a blank.
        for part in [user, " ", client] {
            digest.update(part.as_bytes());
        }
        let digest = digest.finish();
        let mut key = Key::default();
        for (to, from) in key.iter_mut().zip(digest.as_ref()) {
            *to = *from;
        }
        key
    }
}

impl Counted {
    fn halve(&mut self, every: u64, now: u64) {
        if self.n_failures == 0 {
            self.halved = now;
        }
        let times = now.saturating_sub(self.halved) / every.max(1);
        if times > 0 {
            let times = u32::try_from(times).unwrap_or(u32::MAX);
            self.n_failures = self.n_failures.checked_shr(times).unwrap_or(0);
            self.halved = now;
        }
    }
}

/// The older half goes when there is no room for another failure.
fn make_room<T>(map: &mut HashMap<Key, T>, most: usize, last: impl Fn(&T) -> u64) {
    if map.len() + KEYS <= most {
        return;
    }
    let mut times: Vec<u64> = map.values().map(&last).collect();
    let middle = times.len() / 2;
    let (_, pivot, _) = times.select_nth_unstable(middle);
    let pivot = *pivot;
    let mut room = most / 2;
    map.retain(|_, kept| {
        let stays = last(kept) >= pivot && room > 0;
        room -= usize::from(stays);
        stays
    });
}

/// In milliseconds.
fn delay(limits: &FailureLimits, free: u32, n_failures: u32) -> u64 {
    let Some(more) = n_failures.checked_sub(free).filter(|more| *more > 0) else {
        return 0;
    };
    let doubled = 1_u64.checked_shl(more - 1).unwrap_or(u64::MAX);
    let most = milliseconds(limits.longest_delay);
    doubled.saturating_mul(FIRST_DELAY).min(most)
}

fn milliseconds(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What one failure counts for.
const KEYS: usize = 3;

/// A second, then two, four …
const FIRST_DELAY: u64 = 1000;

/// Until a client asks, five minutes.
const HALVE_AFTER: u64 = 5 * 60 * 1000;

/// How long an address is one where a user was let in: a month.
const KNOWN_FOR: u64 = 30 * 24 * 3600 * 1000;

/// Some 10 MB, and as much again for addresses that users were let in from.
const MOST: usize = 100_000;

#[cfg(test)]
mod tests;
