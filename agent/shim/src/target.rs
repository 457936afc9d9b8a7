//! For whom may the program act? For ordinary users, never for root or a system account.

use std::path::PathBuf;

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
        let ordinary = |id: u32| id >= FIRST_ORDINARY && !RESERVED.contains(&id);
        // A primary group below 1000 is common ("users" is 100), but root's gives rights.
        let good = account.name == asked.as_str()
            && ordinary(account.user)
            && account.group != 0
            && account.group != u32::MAX
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

/// As in the original, and the usual `UID_MIN` of login.defs(5).
const FIRST_ORDINARY: u32 = 1000;
/// nobody (both widths), and the two values that setresuid(2) takes for "no change".
const RESERVED: [u32; 3] = [65534, 65535, u32::MAX];

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
    fn an_account_that_vanishes_between_two_look_ups_is_refused() {
        let asked = UserName::parse(b"alice").unwrap();
        let found = Some(account("alice", 2001, 2001, "/home/alice"));
        assert_eq!(Target::accept(&asked, found, |_| None), Err(NoTarget));
    }
}
