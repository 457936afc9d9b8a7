//! What does the name service say of an account?

use std::fs::File;
use std::io::Read as _;

use nix::unistd::{Uid, User};
use shim::caller;
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

/// The number of the account of the broker's programs. It is nearly always one of this
/// machine, and then the name service, with a third of the time and memory of a ping, is
/// left out.
pub(crate) fn number_of(name: &str) -> Option<u32> {
    let local = File::open("/etc/passwd").and_then(|file| {
        let mut text = String::new();
        file.take(MAX_PASSWD_BYTES).read_to_string(&mut text)?;
        Ok(text)
    });
    let number = local.ok().and_then(|text| caller::number_in(&text, name));
    number.or_else(|| by_name(name).map(|account| account.user))
}

fn account(user: User) -> Account {
    Account {
        name: user.name,
        user: user.uid.as_raw(),
        group: user.gid.as_raw(),
        home: user.dir,
    }
}

/// Far more than the accounts of one machine; what is beyond is asked of the name service.
const MAX_PASSWD_BYTES: u64 = 1024 * 1024;
