//! Does any request make the setuid program's reader panic, or does one get through that
//! means more than it says? And does a forced command mean what its words mean?
#![no_main]

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use shim::Request;
use shim::authorized_keys::{Edit, add, remove};
use shim::location::Location;
use shim::request::{KeyFile, KeyLine, Task};
use shim::target::Account;

#[derive(Arbitrary, Debug)]
enum Input<'a> {
    /// What the program is started with.
    Words(Vec<&'a [u8]>),
    /// A task with an operand or two: most words are no task.
    Key { add: bool, line: &'a str, file: &'a str, content: &'a [u8] },
    Session(&'a str),
    /// What an SSH client asks for.
    Command(&'a [u8]),
}

fuzz_target!(|input: Input<'_>| match input {
    Input::Words(words) => check(&words, b""),
    Input::Key { add, line, file, content } => {
        let task: &[u8] = if add { b"addauthkey" } else { b"delauthkey" };
        check(&[b"alice", task, line.as_bytes(), file.as_bytes()], content);
    }
    Input::Session(id) => check(&[b"alice", b"suspendsession", id.as_bytes()], b""),
    Input::Command(text) => {
        if let Ok(request) = Request::read(&[], Some(OsStr::from_bytes(text))) {
            assert!(!text.iter().any(u8::is_ascii_control), "{text:?}");
            holds(&request, b"");
        }
    }
});

fn check(words: &[&[u8]], content: &[u8]) {
    let parsed = Request::parse(words);
    if let Ok(request) = &parsed {
        holds(request, content);
    }
    // In single quotes all but a quote means itself.
    let odd = |word: &&[u8]| word.iter().any(|b| b.is_ascii_control() || *b == b'\'');
    if !words.iter().any(odd) {
        let mut command = b"x2gobroker-agent".to_vec();
        for word in words {
            command.extend_from_slice(b" '");
            command.extend_from_slice(word);
            command.push(b'\'');
        }
        if command.len() <= 16 * 1024 {
            assert_eq!(Request::read(&[], Some(OsStr::from_bytes(&command))), parsed);
        }
    }
}

/// What must be true of everything that is let through.
fn holds(request: &Request, content: &[u8]) {
    let Request::AsUser(user, task) = request else { return };
    let user = user.as_str();
    assert!(!user.is_empty() && !user.starts_with(['-', '.', '~']), "{user:?}");
    assert!(!user.contains("..") && !user.contains(is_special), "{user:?}");
    match task {
        Task::SuspendSession(id) | Task::TerminateSession(id) => {
            assert!(id.as_str().starts_with(&format!("{user}-")), "{id:?}");
            assert!(!id.as_str().contains(is_special), "{id:?}");
        }
        Task::AddKey(line, file) | Task::RemoveKey(line, file) => {
            key_line_holds(line, content);
            key_file_holds(file);
        }
        _ => {}
    }
}

fn is_special(c: char) -> bool {
    c.is_control() || c.is_whitespace() || "/'\"`$\\;&|<>(){}[]*?!#~^".contains(c)
}

fn key_line_holds(line: &KeyLine, content: &[u8]) {
    let text = line.as_str();
    assert!(!text.contains(char::is_control), "{text:?}");
    // Options, if there are any, are the first word; a comment may hold such a text.
    let options = text.split(' ').next().unwrap_or_default();
    assert!(!options.to_ascii_lowercase().contains("command="), "{text:?}");
    assert!(!text.contains(['\'', '`', '$', '\\', ';', '&', '|', '<', '>']), "{text:?}");
    let lines = |content: &[u8]| -> Vec<Vec<u8>> {
        content.split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(<[u8]>::to_vec).collect()
    };
    let before = lines(content);
    let mut expected = before.clone();
    if !before.iter().any(|l| l == text.as_bytes()) {
        expected.push(text.as_bytes().to_vec());
    }
    let with = match add(content, line) {
        Edit::Nothing => content.to_vec(),
        Edit::Replace(new) => new,
    };
    assert_eq!(lines(&with), expected);
    let without = match remove(&with, line) {
        Edit::Nothing => panic!("a line that was added is not there"),
        Edit::Replace(new) => new,
    };
    let others: Vec<Vec<u8>> =
        before.into_iter().filter(|l| l != text.as_bytes()).collect();
    assert_eq!(lines(&without), others);
}

fn key_file_holds(file: &KeyFile) {
    let account = Account {
        name: "alice".to_owned(),
        user: 2001,
        group: 2001,
        home: "/home/alice".into(),
    };
    if let Ok(place) = Location::of(file, &account) {
        let parts = place.folders().iter().map(String::as_str);
        for part in parts.chain([place.name()]) {
            assert!(!part.is_empty() && part != "." && part != "..", "{file:?}");
            assert!(!part.contains(['/', '\0']), "{file:?}");
        }
    }
}
