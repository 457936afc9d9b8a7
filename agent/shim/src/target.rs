//! For whom may the program act? For ordinary users, never for root or a system account.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use crate::caller;
use crate::request::UserName;

/// An account as the name service tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The name as the name service writes it.
    pub name: String,
    /// The number of the user.
    pub user: u32,
    /// The number of the user's primary group.
    pub group: u32,
    /// The home directory.
    pub home: PathBuf,
}

/// An account that may be acted for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target(Account);

/// There is no ordinary user of that name. Callers don't learn more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoTarget;

impl Target {
    /// Accepts the account `found` under the name that was asked for, if `same`, the account
    /// found under its number, is the same one.
    ///
    /// # Errors
    /// When there is none, or it is not an ordinary user's.
    pub fn accept(
        asked: &UserName,
        found: Option<Account>,
        same: impl FnOnce(u32) -> Option<Account>,
    ) -> Result<Self, NoTarget> {
        let account = found.ok_or(NoTarget)?;
        let good = account.name == asked.as_str()
            && is_ordinary(&account.name, account.user, account.group)
            && account.home.is_absolute()
            && same(account.user).is_some_and(|other| other.user == account.user);
        good.then_some(Self(account)).ok_or(NoTarget)
    }

    /// The account.
    #[must_use]
    pub fn account(&self) -> &Account {
        &self.0
    }
}

/// Whether an account with these facts is an ordinary user's: neither root's nor the system's,
/// nor the broker's own, whatever its number. The agent decides by the same where it adds no
/// line to a file.
#[must_use]
pub fn is_ordinary(name: &str, user: u32, group: u32) -> bool {
    // A primary group below 1000 is common ("users" is 100), but root's gives rights.
    user >= FIRST_ORDINARY
        && !RESERVED.contains(&user)
        && user != NO_CHANGE
        && group != 0
        && group != NO_CHANGE
        && name != caller::ACCOUNT
}

/// As in the original, and the usual `UID_MIN` of login.defs(5).
const FIRST_ORDINARY: u32 = 1000;
/// What Debian gives packages from, to 64999, and systemd the services of dynamic users, to
/// 65519; and nobody, of both widths.
const RESERVED: RangeInclusive<u32> = 60000..=65535;
/// What setresuid(2) and setresgid(2) take for "no change".
const NO_CHANGE: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use super::{Account, NoTarget, Target};
    use crate::request::UserName;

    fn account(name: &str, user: u32, group: u32, home: &str) -> Account {
        Account {
            name: name.to_owned(),
            user,
            group,
            home: home.into(),
        }
    }

    #[test]
    fn only_ordinary_users_are_acted_for() {
        let asked = UserName::parse(b"alice").unwrap();
        let cases = [
            (Some(account("alice", 2001, 2001, "/home/alice")), true),
            (Some(account("alice", 1000, 100, "/home/alice")), true),
            (None, false),
            (Some(account("alice", 0, 0, "/root")), false),
            (Some(account("alice", 999, 999, "/home/alice")), false),
            (Some(account("alice", 65534, 65534, "/home/alice")), false),
            (Some(account("alice", u32::MAX, 100, "/home/alice")), false),
            (Some(account("alice", 2001, 0, "/home/alice")), false),
            (Some(account("alice", 2001, u32::MAX, "/home/alice")), false),
            (Some(account("alice", 59999, 100, "/home/alice")), true),
            (Some(account("alice", 60000, 100, "/home/alice")), false),
            (Some(account("alice", 61184, 100, "/home/alice")), false),
            (Some(account("alice", 64999, 100, "/home/alice")), false),
            (Some(account("alice", 65519, 100, "/home/alice")), false),
            (Some(account("alice", 65535, 100, "/home/alice")), false),
            (Some(account("alice", 65536, 100, "/home/alice")), true),
            // A directory that ignores case answers with another name.
            (Some(account("Alice", 2001, 2001, "/home/alice")), false),
            (Some(account("alice", 2001, 2001, "")), false),
            (Some(account("alice", 2001, 2001, "home")), false),
        ];
        for (found, accepted) in cases {
            let same = found.clone();
            let target = Target::accept(&asked, found.clone(), |_| same);
            assert_eq!(target.is_ok(), accepted, "{found:?}");
        }
    }

    #[test]
    fn the_account_of_the_broker_is_nobody_s_whatever_its_number() {
        let asked = UserName::parse(b"x2gobroker").unwrap();
        let found = Some(account("x2gobroker", 2001, 2001, "/var/lib/x2gobroker"));
        let same = found.clone();
        assert_eq!(Target::accept(&asked, found, |_| same), Err(NoTarget));
    }

    #[test]
    fn an_account_that_vanishes_between_two_look_ups_is_refused() {
        let asked = UserName::parse(b"alice").unwrap();
        let found = Some(account("alice", 2001, 2001, "/home/alice"));
        assert_eq!(Target::accept(&asked, found, |_| None), Err(NoTarget));
    }
}
