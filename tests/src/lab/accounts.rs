//! Who has an account on the hosts of a lab?

use std::path::Path;

use anyhow::Context as _;

use super::files;
use crate::process::{command, run};

/// An account; it is the same on every host, with a home that each host has for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    /// The name of the user and of its group.
    pub(crate) name: String,
    /// The number of the user and of its group.
    pub(crate) id: u32,
    /// The home folder.
    pub(crate) home: String,
    /// Whether its password is [`password`]; else it can't log in by one.
    pub(crate) has_password: bool,
}

/// The people of a lab, who can log in by SSH.
pub const ACCOUNTS: [&str; 3] = ["alice", "bob", "carol"];
/// Who sits at the client host.
pub(crate) const DESK: &str = "desk";
/// Whom the programs under test run as.
pub const SERVICE: &str = "x2gobroker";

/// Returns the password of an account.
#[must_use]
pub fn password(user: &str) -> String {
    format!("pw-{user}")
}

/// Returns the name of the farm user `number` (from 1); these have accounts, but no password.
#[must_use]
pub fn farm_user(number: u32) -> String {
    format!("user{number:03}")
}

/// Returns the number of an account.
///
/// # Errors
/// When there is none of that name.
pub fn account_id(user: &str) -> anyhow::Result<u32> {
    find(user).map(|account| account.id)
}

/// Returns all accounts that a lab adds to those of the machine.
pub(crate) fn all() -> Vec<Account> {
    let person = |(id, name): (u32, &str)| Account {
        name: name.to_owned(),
        id,
        home: format!("/home/{name}"),
        has_password: ACCOUNTS.contains(&name),
    };
    let people = (2001..).zip(ACCOUNTS).chain([(2200, DESK)]).map(person);
    let users = (1..=N_FARM_USERS).map(|number| {
        let name = farm_user(number);
        Account {
            home: format!("/home/{name}"),
            name,
            id: 3000 + number,
            has_password: false,
        }
    });
    let home = "/var/lib/x2gobroker".to_owned();
    let service = Account {
        name: SERVICE.to_owned(),
        id: 990,
        home,
        has_password: false,
    };
    people.chain(users).chain([service]).collect()
}

/// Returns the account of `user`, root included.
pub(crate) fn find(user: &str) -> anyhow::Result<Account> {
    if user == "root" {
        let home = "/root".to_owned();
        return Ok(Account {
            name: user.to_owned(),
            id: 0,
            home,
            has_password: false,
        });
    }
    all()
        .into_iter()
        .find(|account| account.name == user)
        .with_context(|| format!("no {user}"))
}

/// Writes the accounts and their homes into `layer`, on top of those of this machine.
///
/// # Errors
/// When they can't be written.
pub fn write(layer: &Path) -> anyhow::Result<()> {
    let accounts = all();
    let hashes = hash_passwords(&accounts)?;
    let (mut passwd, mut group, mut shadow) = (String::new(), String::new(), String::new());
    for (account, hash) in accounts.iter().zip(hashes) {
        let Account { name, id, home, .. } = account;
        passwd += &format!("{name}:x:{id}:{id}::{home}:/bin/bash\n");
        group += &format!("{name}:x:{id}:\n");
        shadow += &format!("{name}:{hash}:20000:0:99999:7:::\n");
        let home = layer.join(home.trim_start_matches('/'));
        files::folder(&home, 0o700, *id)?;
    }
    for (name, id, members) in TEAMS {
        group += &format!("{name}:x:{id}:{members}\n");
    }
    // The service may read x2goserver's session database, as the package sets it up.
    let reads_sessions = |line: &str| match line.strip_prefix("x2gouser:") {
        Some(_) => format!(
            "{line}{}{SERVICE}",
            if line.ends_with(':') { "" } else { "," }
        ),
        None => line.to_owned(),
    };
    // A package of the original may have made the service's account here.
    let others = |text: &str| -> String {
        let known = |line: &&str| !accounts.iter().any(|account| is_of(line, &account.name));
        let lines = text.lines().filter(known);
        lines.map(|line| format!("{line}\n")).collect()
    };
    files::amend(layer, "etc/passwd", |text| others(text) + &passwd)?;
    files::amend(layer, "etc/shadow", |text| others(text) + &shadow)?;
    files::amend(layer, "etc/group", |text| {
        let lines: Vec<String> = others(text).lines().map(reads_sessions).collect();
        format!("{}\n{group}", lines.join("\n"))
    })
}

/// Whether a line of such a file is about this name.
fn is_of(line: &str, name: &str) -> bool {
    line.strip_prefix(name)
        .is_some_and(|rest| rest.starts_with(':'))
}

/// The groups that some of the people are in, beside their own.
const TEAMS: [(&str, u32, &str); 3] = [
    ("team-a", 2101, "alice,bob"),
    ("team-b", 2102, "carol"),
    // Who may use the broker over SSH; the service is in it to give them its socket.
    ("x2gobroker-users", 991, "alice,bob,x2gobroker"),
];

/// Returns the hash of each account's password, or `!`.
fn hash_passwords(accounts: &[Account]) -> anyhow::Result<Vec<String>> {
    // Few rounds: these passwords protect nothing, and logins are to be cheap.
    let script = "print crypt($_, '$6$rounds=1000$thelab$'), \"\\n\" for @ARGV";
    let known = accounts.iter().filter(|account| account.has_password);
    let passwords = known.map(|account| password(&account.name));
    let printed = run(command("perl").args(["-e", script]).args(passwords))?;
    let mut hashes = printed.lines();
    let hash = |account: &Account| {
        let known = account.has_password.then(|| hashes.next()).flatten();
        known.unwrap_or("!").to_owned()
    };
    Ok(accounts.iter().map(hash).collect())
}

/// Enough that a test can log in a new user each time.
const N_FARM_USERS: u32 = 400;
