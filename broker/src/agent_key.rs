//! Which line of authorized_keys lets a broker run the agent of an X2Go server, and nothing
//! else?
//!
//! `/pubkeys` shows such lines, and `x2gobroker-pubkeyauthorizer` takes them. What it writes
//! are not the words of the answer but ours, with the key of the answer in them: nobody who
//! can change the answer gets more than the agent.

use std::fmt;

use proto::{PublicKey, PublicKeyError};

/// A broker's key that may run the agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentKey {
    kind: String,
    data: String,
    owner: String,
}

/// Why a line is no such key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AgentKeyError {
    /// The key could do more than run the agent, or something else.
    #[error("it does not begin with command=\"{AGENT_COMMAND}\"")]
    Command,
    /// What follows is no key, or has options that are not only restrictions.
    #[error(transparent)]
    Key(#[from] PublicKeyError),
}

/// What a merge came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    /// The new content; none if the file stays as it is.
    pub content: Option<Vec<u8>>,
    /// Keys that are new.
    pub added: Vec<AgentKey>,
    /// Keys that the file has, with whatever options.
    pub present: Vec<AgentKey>,
    /// Those of them that may do more than run one command.
    pub free: Vec<AgentKey>,
}

/// Where the agent is on every X2Go server.
pub const AGENT_COMMAND: &str = "/usr/lib/x2go/x2gobroker-agent";

/// Writes a line: this key may run this command, and its owner stands behind it.
#[must_use]
pub fn line(command: &str, kind: &str, data: &str, owner: &str) -> String {
    format!("command=\"{command}\",{RESTRICTIONS} {kind} {data} {owner}")
}

impl AgentKey {
    /// Reads a line as `/pubkeys` shows it.
    ///
    /// # Errors
    /// When the line is not that of a key for the agent.
    pub fn parse(text: &str) -> Result<Self, AgentKeyError> {
        let rest = text.trim().strip_prefix("command=\"");
        let (command, rest) = rest
            .and_then(|rest| rest.split_once('"'))
            .ok_or(AgentKeyError::Command)?;
        if command != AGENT_COMMAND {
            return Err(AgentKeyError::Command);
        }
        let rest = rest.strip_prefix(',').unwrap_or(rest);
        let key = PublicKey::parse(rest)?;
        // Options if any, type and data, without the comment.
        let mut words = key.as_str().rsplit(' ');
        let (data, kind) = (words.next(), words.next());
        let (Some(data), Some(kind)) = (data, kind) else {
            return Err(PublicKeyError::Data.into());
        };
        Ok(Self {
            kind: kind.to_owned(),
            data: data.to_owned(),
            owner: owner(rest, data).to_owned(),
        })
    }

    /// Whether a line of authorized_keys has this key, whatever it may do there.
    fn is_in(&self, line: &[u8]) -> bool {
        let mut words = line.split(u8::is_ascii_whitespace);
        !line.starts_with(b"#") && words.any(|word| word == self.data.as_bytes())
    }
}

impl fmt::Display for AgentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&line(AGENT_COMMAND, &self.kind, &self.data, &self.owner))
    }
}

/// Adds the keys that a file of authorized keys does not have yet. Everything else in it
/// stays byte for byte as it was.
#[must_use]
pub fn merge(content: &[u8], keys: Vec<AgentKey>) -> Merged {
    let mut new = content.to_vec();
    let (mut added, mut present, mut free) = (Vec::new(), Vec::new(), Vec::new());
    for key in keys {
        let mut lines = new.split(|byte| *byte == b'\n');
        // sshd goes by the first line that has the key.
        if let Some(line) = lines.find(|line| key.is_in(line)) {
            if !has_command(line) {
                free.push(key.clone());
            }
            present.push(key);
            continue;
        }
        if !(new.is_empty() || new.ends_with(b"\n")) {
            new.push(b'\n');
        }
        new.extend_from_slice(format!("{key}\n").as_bytes());
        added.push(key);
    }
    Merged {
        content: (!added.is_empty()).then_some(new),
        added,
        present,
        free,
    }
}

/// Whether the options of a line name a command.
fn has_command(line: &[u8]) -> bool {
    let text = String::from_utf8_lossy(line).to_ascii_lowercase();
    let text = text.trim_start();
    text.starts_with("command=\"") || text.contains(",command=\"")
}

/// The comment behind the key, when it looks like `user@host`.
fn owner<'a>(text: &'a str, data: &str) -> &'a str {
    let mut words = text.split(' ').skip_while(|word| *word != data).skip(1);
    let is_good = |word: &&str| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "@._-".contains(c);
        !word.is_empty() && word.len() <= MAX_OWNER_BYTES && word.chars().all(allowed)
    };
    words.next().filter(is_good).unwrap_or("x2gobroker")
}

/// As x2gobroker 0.0.4.3 restricts its keys.
const RESTRICTIONS: &str = "no-port-forwarding,no-X11-forwarding,no-agent-forwarding,no-pty";

/// A user name and a host name, each as long as they come.
const MAX_OWNER_BYTES: usize = 64 + 1 + 255;

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, proptest};

    use super::{AgentKey, AgentKeyError, line, merge};

    const ED25519: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    const MAY: &str = "command=\"/usr/lib/x2go/x2gobroker-agent\",no-port-forwarding,\
                       no-X11-forwarding,no-agent-forwarding,no-pty";

    fn key() -> AgentKey {
        AgentKey::parse(&format!("{MAY} ssh-ed25519 {ED25519} x2gobroker@broker")).unwrap()
    }

    #[test]
    fn what_is_written_is_ours_whatever_the_answer_says() {
        let ours = format!("{MAY} ssh-ed25519 {ED25519} x2gobroker@broker");
        let agent = "command=\"/usr/lib/x2go/x2gobroker-agent\"";
        for offered in [
            ours.clone(),
            format!("{agent} ssh-ed25519 {ED25519} x2gobroker@broker"),
            format!("{agent},no-pty ssh-ed25519 {ED25519} x2gobroker@broker"),
            format!("{agent},restrict ssh-ed25519 {ED25519} x2gobroker@broker and more\r"),
        ] {
            let key = AgentKey::parse(&offered);
            assert_eq!(
                key.map(|key| key.to_string()),
                Ok(ours.clone()),
                "{offered}"
            );
        }
        let key = AgentKey::parse(&format!("{MAY} ssh-ed25519 {ED25519} a;b")).unwrap();
        assert!(key.to_string().ends_with(" x2gobroker"), "{key}");
    }

    #[test]
    fn a_line_that_gives_more_than_the_agent_is_refused() {
        let agent = "command=\"/usr/lib/x2go/x2gobroker-agent\"";
        for offered in [
            format!("ssh-ed25519 {ED25519} me@here"),
            format!("no-pty ssh-ed25519 {ED25519}"),
            format!("command=\"/bin/sh\" ssh-ed25519 {ED25519}"),
            format!("command=\"/usr/lib/x2go/x2gobroker-agent; id\" ssh-ed25519 {ED25519}"),
            "<html>".to_owned(),
            String::new(),
        ] {
            let refused = AgentKey::parse(&offered);
            assert_eq!(refused, Err(AgentKeyError::Command), "{offered}");
        }
        for offered in [
            format!("{agent},pty ssh-ed25519 {ED25519}"),
            format!("{agent},command=\"/bin/sh\" ssh-ed25519 {ED25519}"),
            format!("{agent} ssh-dss {ED25519}"),
            format!("{agent} ssh-rsa {ED25519}"),
            format!("{agent} ssh-ed25519 {ED25519}\u{b}ssh-ed25519"),
            agent.to_owned(),
        ] {
            let refused = AgentKey::parse(&offered);
            assert!(matches!(refused, Err(AgentKeyError::Key(_))), "{offered}");
        }
    }

    #[test]
    fn a_key_that_is_there_without_a_command_is_told_apart() {
        let ours = key().to_string();
        let plain = format!("ssh-ed25519 {ED25519} me");
        for (content, is_free) in [
            (ours.clone(), false),
            (format!("restrict,Command=\"/bin/true\" {plain}"), false),
            (plain.clone(), true),
            (format!("no-pty {plain}"), true),
            // sshd goes by the first one.
            (format!("{plain}\n{ours}\n"), true),
            (format!("{ours}\n{plain}\n"), false),
            (format!("# {plain}\n"), false),
        ] {
            let merged = merge(content.as_bytes(), vec![key()]);
            assert_eq!(!merged.free.is_empty(), is_free, "{content}");
        }
    }

    #[test]
    fn a_key_is_added_once_and_nothing_else_changes() {
        let ours = key().to_string();
        let cases: &[(&str, Option<String>)] = &[
            ("", Some(format!("{ours}\n"))),
            ("other\n", Some(format!("other\n{ours}\n"))),
            ("no end", Some(format!("no end\n{ours}\n"))),
            (&format!("{ours}\n"), None),
            // With a restriction that the administrator has added.
            (&format!("from=\"10.0.0.1\",{ours}\n"), None),
            (&format!("# {ours}\n"), Some(format!("# {ours}\n{ours}\n"))),
        ];
        for (before, after) in cases {
            let merged = merge(before.as_bytes(), vec![key()]);
            let content = merged
                .content
                .map(|bytes| String::from_utf8(bytes).unwrap());
            assert_eq!(&content, after, "{before:?}");
            assert_eq!(merged.added.len() + merged.present.len(), 1);
        }
        let twice = merge(b"", vec![key(), key()]);
        assert_eq!(twice.content, Some(format!("{ours}\n").into_bytes()));
    }

    proptest! {
        #[test]
        fn no_answer_becomes_more_than_one_line(text in any::<String>()) {
            for text in [text.clone(), format!("{MAY} ssh-ed25519 {ED25519} {text}")] {
                if let Ok(key) = AgentKey::parse(&text) {
                    let written = key.to_string();
                    prop_assert!(!written.contains(char::is_control), "{:?}", written);
                    let start = line("/usr/lib/x2go/x2gobroker-agent", "ssh-ed25519", ED25519, "");
                    prop_assert!(written.starts_with(&start), "{:?}", written);
                }
            }
        }
    }
}
