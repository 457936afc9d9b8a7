//! Are the keys of an automatic login where the original put them, and gone when its were?

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use tests::process::{command, run};
use tests::wait::{Progress, now, wait_for};

use crate::notes::NotedKeys;
use crate::servers::{KeyLine, Servers};

/// What to look for after an answer.
pub(crate) struct Looked<'a> {
    pub(crate) noted: &'a NotedKeys,
    pub(crate) request: &'a str,
    /// What the original answered.
    pub(crate) recorded: &'a str,
    pub(crate) ours: &'a str,
    /// The keys that were there before.
    pub(crate) before: &'a BTreeSet<KeyLine>,
}

/// What is wrong with the keys, if anything.
pub(crate) fn complaint(servers: &Servers, looked: &Looked<'_>) -> Option<String> {
    let new: BTreeSet<KeyLine> = &servers.keys() - looked.before;
    let places: BTreeSet<(&str, &str)> = new
        .iter()
        .map(|line| (line.server, line.file.as_str()))
        .collect();
    let expected = expected_places(looked);
    if places != expected {
        return Some(format!("keys in {places:?} and not in {expected:?}"));
    }
    if new.is_empty() {
        return None;
    }
    let Some(data) = key_data(looked) else {
        return Some("there are keys, and no answer tells of them".to_owned());
    };
    let is_it = |line: &KeyLine| line.text.split(' ').any(|word| word == data);
    if let Some(other) = new.iter().find(|line| !is_it(line)) {
        return Some(format!("{other:?} is not the key that was handed out"));
    }
    looked.noted.all_go.then_some(())?;
    let begun = now();
    let gone = wait_for(GONE_LIMIT, || {
        let left: Vec<KeyLine> = servers.keys().into_iter().filter(&is_it).collect();
        Progress::when(left.is_empty(), || format!("{left:?}"))
    });
    match gone {
        Err(error) => Some(error.to_string()),
        Ok(()) if begun.elapsed() < LIFE => Some(format!("gone after {:?}", begun.elapsed())),
        Ok(()) => None,
    }
}

/// The recorded places, on the server that ours has handed out. None for who is refused.
fn expected_places<'a>(looked: &Looked<'a>) -> BTreeSet<(&'a str, &'a str)> {
    if !looked.ours.starts_with("HTTP/1.1 200") {
        return BTreeSet::new();
    }
    let (theirs, ours) = (server(looked.recorded), server(looked.ours));
    let noted = looked.noted.files.iter();
    noted
        .map(|(server, file)| {
            let server = if server == theirs { ours } else { server };
            (server, file.as_str())
        })
        .collect()
}

/// The server in an answer.
fn server(answer: &str) -> &str {
    let found = |begin: &str, end: char| answer.split_once(begin)?.1.split(end).next();
    let found = found("\nSERVER:", ':').or_else(|| found("\"server\": \"", '"'));
    found.unwrap_or_default()
}

/// The data of the public key: of the one that the client sent, or of the other half of
/// what it was given.
fn key_data(looked: &Looked<'_>) -> Option<String> {
    if let Some((_, sent)) = looked.request.split_once("pubkey=") {
        return sent.split('+').nth(1).map(str::to_owned);
    }
    let answer = looked.ours.replace("\\n", "\n");
    let end = "-----END RSA PRIVATE KEY-----\n";
    let at = answer.find("-----BEGIN RSA PRIVATE KEY-----\n")?;
    let private = &answer[at..answer.find(end)? + end.len()];
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(file.path(), private).unwrap();
    // ssh-keygen(1): -y reads a private key and prints the public one.
    let public = run(command("ssh-keygen").args(["-y", "-f"]).arg(file.path())).unwrap();
    public.split(' ').nth(1).map(|data| data.trim().to_owned())
}

/// How long the original lets a key be: 20 s, less what the look took.
const LIFE: Duration = Duration::from_secs(18);
/// The recorder looked after 24 s.
const GONE_LIMIT: Duration = Duration::from_secs(24);
