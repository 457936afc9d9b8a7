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
    let number = local_accounts().and_then(|text| caller::number_in(&text, name));
    number.or_else(|| by_name(name).map(|account| account.user))
}

/// The accounts of this machine; none when they can't be read whole.
fn local_accounts() -> Option<String> {
    let mut text = String::new();
    let file = File::open("/etc/passwd").ok()?;
    let read = file.take(MAX_PASSWD_BYTES + 1).read_to_string(&mut text);
    let n_bytes = u64::try_from(read.ok()?).ok()?;
    (n_bytes <= MAX_PASSWD_BYTES).then_some(text)
}

fn account(user: User) -> Account {
    Account {
        name: user.name,
        user: user.uid.as_raw(),
        group: user.gid.as_raw(),
        home: user.dir,
    }
}

/// Far more than the accounts of one machine. Of a larger file nothing is believed, since its
/// last line would be cut: the name service is asked.
const MAX_PASSWD_BYTES: u64 = 1024 * 1024;
