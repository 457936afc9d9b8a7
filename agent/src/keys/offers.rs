//! Which keys may sshd ask this agent for? Pure: each step is told the time.
//!
//! They are in no file, so nothing stays behind whatever happens: with the agent, all are
//! gone.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use proto::{KeyGrant, PublicKey, Username};

use super::ledger::{EXPIRY_SLACK, MAX_KEYS, MAX_KEYS_OF_USER, Now, TooMany};
use super::line::{self, LineRules, Parts};

/// All keys that are offered to sshd.
#[derive(Debug)]
pub(super) struct Offers {
    rules: LineRules,
    mark: String,
    next: u64,
    offers: Vec<Offer>,
}

#[derive(Debug)]
struct Offer {
    user: Username,
    key: PublicKey,
    from: Option<IpAddr>,
    until: Instant,
    line: Arc<str>,
}

impl Offers {
    pub(super) fn new(rules: LineRules, mark: String) -> Self {
        Self {
            rules,
            mark,
            next: 0,
            offers: Vec::new(),
        }
    }

    /// Offers a key from now on. The same one again has the later end.
    pub(super) fn add(
        &mut self,
        user: &Username,
        grant: &KeyGrant,
        now: Now,
    ) -> Result<(), TooMany> {
        self.expire(now.instant);
        let from = grant.client.filter(|_| self.rules.from);
        let same = |offer: &Offer| {
            offer.user == *user
                && offer.key.without_options() == grant.key.without_options()
                && offer.from == from
        };
        let until = now.instant + grant.life;
        let before = self.offers.iter().position(same);
        let before = before.map(|at| self.offers.swap_remove(at));
        let theirs = self.offers.iter().filter(|offer| offer.user == *user);
        if self.offers.len() >= MAX_KEYS || theirs.count() >= MAX_KEYS_OF_USER {
            return Err(TooMany);
        }
        let until = before.map_or(until, |before| before.until.max(until));
        let left = until.saturating_duration_since(now.instant);
        let mark = format!("{}:{}", self.mark, self.next);
        self.next += 1;
        let line = line::build(Parts {
            key: &grant.key,
            from,
            expires: self
                .rules
                .expiry
                .then(|| now.since_epoch + left + EXPIRY_SLACK),
            mark: &mark,
        });
        self.offers.push(Offer {
            user: user.clone(),
            key: grant.key.clone(),
            from,
            until,
            line: line.into(),
        });
        Ok(())
    }

    /// The lines that are good for a user now.
    pub(super) fn of(&self, user: &Username, now: Instant) -> Vec<Arc<str>> {
        let good = |offer: &&Offer| offer.user == *user && offer.until > now;
        let good = self.offers.iter().filter(good);
        good.map(|offer| Arc::clone(&offer.line)).collect()
    }

    /// Takes a key back; returns how many that were.
    pub(super) fn revoke(&mut self, user: &Username, key: &PublicKey) -> usize {
        let before = self.offers.len();
        self.offers.retain(|offer| {
            offer.user != *user || offer.key.without_options() != key.without_options()
        });
        before - self.offers.len()
    }

    /// Forgets those whose time is over.
    pub(super) fn expire(&mut self, now: Instant) {
        self.offers.retain(|offer| offer.until > now);
    }

    /// When the next one ends.
    pub(super) fn next_end(&self) -> Option<Instant> {
        self.offers.iter().map(|offer| offer.until).min()
    }

    pub(super) fn n_keys(&self) -> usize {
        self.offers.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proto::{KeyFile, KeyGrant, PublicKey, Username};

    use super::Offers;
    use crate::keys::ledger::{MAX_KEYS_OF_USER, Now, TooMany};
    use crate::keys::line::LineRules;

    fn user(name: &str) -> Username {
        Username::parse(name).unwrap()
    }

    fn grant(number: usize, seconds: u64) -> KeyGrant {
        let digits = format!("{number:041}");
        let data = format!("AAAAC3NzaC1lZDI1NTE5AAAAII{digits}I");
        KeyGrant {
            key: PublicKey::parse(&format!("no-pty ssh-ed25519 {data}")).unwrap(),
            client: None,
            file: KeyFile::default(),
            life: Duration::from_secs(seconds),
        }
    }

    #[test]
    fn a_key_is_offered_for_its_user_and_its_time_alone() {
        #[expect(clippy::disallowed_methods, reason = "any instant will do")]
        let begin = Instant::now();
        let at = |seconds| Now {
            instant: begin + Duration::from_secs(seconds),
            since_epoch: Duration::from_secs(1_795_323_502 + seconds),
        };
        let rules = LineRules {
            from: false,
            expiry: true,
        };
        let mut offers = Offers::new(rules, "x2gobroker-temporary:s1:7".to_owned());
        let alice = user("alice");
        offers.add(&alice, &grant(0, 20), at(0)).unwrap();
        let lines =
            |offers: &Offers, user: &Username, seconds| offers.of(user, at(seconds).instant);
        let [line] = lines(&offers, &alice, 19).try_into().unwrap();
        assert!(line.starts_with("no-X11-forwarding,no-user-rc,expiry-time=\"20261122045942Z\" "));
        assert!(lines(&offers, &alice, 20).is_empty());
        assert!(lines(&offers, &user("bob"), 0).is_empty());
        // Again: one line, the later end, also in the line.
        offers.add(&alice, &grant(0, 20), at(10)).unwrap();
        offers.add(&alice, &grant(0, 1), at(11)).unwrap();
        assert_eq!(lines(&offers, &alice, 29).len(), 1);
        assert!(lines(&offers, &alice, 29)[0].contains("\"20261122045952Z\""));
        assert_eq!(offers.next_end(), Some(at(30).instant));
        offers.expire(at(30).instant);
        assert_eq!(offers.n_keys(), 0);
    }

    #[test]
    fn a_user_can_not_have_all_the_room_and_keys_can_be_taken_back() {
        #[expect(clippy::disallowed_methods, reason = "any instant will do")]
        let instant = Instant::now();
        let now = Now {
            instant,
            since_epoch: Duration::from_secs(1_795_323_502),
        };
        let mut offers = Offers::new(LineRules::default(), "m".to_owned());
        let alice = user("alice");
        for number in 0..MAX_KEYS_OF_USER {
            offers.add(&alice, &grant(number, 20), now).unwrap();
        }
        let more = grant(MAX_KEYS_OF_USER, 20);
        assert_eq!(offers.add(&alice, &more, now), Err(TooMany));
        assert_eq!(offers.revoke(&user("bob"), &grant(0, 1).key), 0);
        assert_eq!(offers.revoke(&alice, &grant(0, 1).key), 1);
        offers.add(&alice, &more, now).unwrap();
        assert_eq!(offers.n_keys(), MAX_KEYS_OF_USER);
    }
}
