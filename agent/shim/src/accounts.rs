//! What does the name service say of an account?

use nix::unistd::{Uid, User};
use shim::target::Account;

/// Looks an account up by name; none also if the name service fails, for then nothing is
/// known of it.
pub(crate) fn by_name(name: &str) -> Option<Account> {
    User::from_name(name).ok().flatten().map(account)
}

/// Looks an account up by number.
pub(crate) fn by_number(number: u32) -> Option<Account> {
    User::from_uid(Uid::from_raw(number))
        .ok()
        .flatten()
        .map(account)
}

/// The number of an account.
pub(crate) fn number_of(name: &str) -> Option<u32> {
    by_name(name).map(|account| account.user)
}

fn account(user: User) -> Account {
    Account {
        name: user.name,
        user: user.uid.as_raw(),
        group: user.gid.as_raw(),
        home: user.dir,
    }
}
