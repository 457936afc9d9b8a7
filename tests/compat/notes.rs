//! What do the notes of a recorded case say?

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};

/// The notes of one case, as far as a replay needs them.
#[derive(Clone, Debug)]
pub(crate) struct Notes {
    /// What the case shows.
    pub(crate) title: String,
    /// The state of the farm before it, in words; see [`crate::state`].
    pub(crate) state: Option<String>,
    /// What is done, in order.
    pub(crate) steps: Vec<NotedStep>,
    /// What differs from one recording to the next.
    pub(crate) varies: Vec<Varying>,
    /// The keys of users afterwards; none where nobody looked.
    pub(crate) keys: Option<NotedKeys>,
}

/// Where keys were after the last answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NotedKeys {
    /// Server and file.
    pub(crate) files: Vec<(String, String)>,
    /// Whether somebody looked later, when there were none any more.
    pub(crate) all_go: bool,
}

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct NotedStep {
    /// The address of the client.
    pub(crate) from: Ipv4Addr,
    /// How long to wait after the answer.
    pub(crate) pause: Duration,
}

/// A part of an answer that differs from one recording to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Varying {
    /// The header `Date`.
    Date,
    /// The value after `AUTHID:`, `next-authid` in JSON.
    AuthId,
    /// Which of these hosts is handed out.
    Host(Vec<String>),
    /// The fields of `SESSION_INFO` that each session has of its own.
    SessionInfo,
    /// The private key of an automatic login.
    PrivateKey,
    /// The public key of the broker.
    PublicKey,
    /// The time in a body.
    Time,
    /// The ID of the one profile of the backend `zeroconf`.
    ProfileId,
}

impl Notes {
    /// Reads the notes. Lines that only tell a person something are passed over.
    pub(crate) fn parse(text: &str) -> anyhow::Result<Self> {
        let title = text.lines().next().context("the notes are empty")?;
        let mut notes = Self {
            title: title.to_owned(),
            state: None,
            steps: Vec::new(),
            varies: Vec::new(),
            keys: None,
        };
        for line in text.lines().skip(1) {
            let Some((key, value)) = line.split_once(':') else {
                continue;
            };
            let value = value.trim();
            match key {
                "state prepared before" => notes.state = Some(value.to_owned()),
                "bytes that vary between runs" => {
                    let parts: anyhow::Result<_> = value.split(';').map(Varying::parse).collect();
                    notes.varies = parts?;
                }
                "then" => {
                    let last = notes.steps.last_mut().context("a wait before any step")?;
                    last.pause = pause(value)?;
                }
                "after, the key files of the users" => notes.keys = Some(NotedKeys::default()),
                "after 24 s, the key files of the users" => {
                    let keys = notes.keys.as_mut().context("keys go that were not there")?;
                    keys.all_go = true;
                }
                "s1" | "s2" | "s3" => notes.add_key(key, value)?,
                _ if key.starts_with("step ") => notes.steps.push(NotedStep::parse(value)?),
                _ => {}
            }
        }
        Ok(notes)
    }

    fn add_key(&mut self, server: &str, text: &str) -> anyhow::Result<()> {
        let keys = self.keys.as_mut().context("a key where nobody looked")?;
        ensure!(!keys.all_go, "a key that does not go");
        let (file, _) = text.split_once(':').context("a file without a key")?;
        keys.files.push((server.to_owned(), file.to_owned()));
        Ok(())
    }
}

impl NotedStep {
    /// Reads `HTTP/1.1 200 OK  from 10.77.0.20  …`.
    fn parse(text: &str) -> anyhow::Result<Self> {
        let mut words = text.split_whitespace().skip_while(|word| *word != "from");
        let address = words.nth(1).context("a step without its client")?;
        Ok(Self {
            from: address.parse().context("the address of a client")?,
            pause: Duration::ZERO,
        })
    }
}

impl Varying {
    fn parse(text: &str) -> anyhow::Result<Self> {
        let text = text.trim();
        Ok(match text {
            "Date header" => Self::Date,
            "the private key" => Self::PrivateKey,
            "the key" => Self::PublicKey,
            "the time" => Self::Time,
            _ if text.starts_with("AUTHID") => Self::AuthId,
            _ if text.starts_with("the host of profiles with many hosts") => {
                Self::Host(["s1", "s2", "s3"].map(str::to_owned).to_vec())
            }
            _ if text.starts_with("the host (random choice") => Self::Host(hosts(text)),
            _ if text.starts_with("the profile id") => Self::ProfileId,
            _ if text.contains("SESSION_INFO") => Self::SessionInfo,
            _ => bail!("nobody has told this test how {text:?} varies"),
        })
    }
}

/// The host names in a sentence: a letter and digits, or something with dots.
fn hosts(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || "-.:".contains(c)));
    let words = words.map(|word| word.trim_end_matches([':', '.']));
    let is_host = |word: &&str| {
        word.contains('.')
            || word
                .strip_prefix('s')
                .is_some_and(|rest| rest.parse::<u8>().is_ok())
    };
    words.filter(is_host).map(str::to_owned).collect()
}

fn pause(text: &str) -> anyhow::Result<Duration> {
    let seconds = text
        .strip_prefix("wait ")
        .and_then(|rest| rest.strip_suffix(" s"));
    let seconds = seconds.with_context(|| format!("{text:?} is no wait"))?;
    Ok(Duration::from_secs(seconds.parse()?))
}

#[test]
fn notes_tell_clients_waits_and_what_varies() {
    let notes = Notes::parse(
        "title\nconfiguration: conf/x\nstate prepared before: alice has a suspended session on s1\n\
         step 1: HTTP/1.1 200 OK  from 10.77.0.20  152 ms\nthen: wait 2 s\n\
         step 2: HTTP/1.1 401 Unauthorized  from 10.77.0.21  11 ms  -- a word\n\
         bytes that vary between runs: Date header; AUTHID (random UUID4, new in every answer); \
         the host (random choice): 10.77.0.101:22, 10.77.0.102:2022 or s3.lab.test:3022\n\
         after, the key files of the users:\ns1:/home/alice/.x2go/authorized_keys:no-pty ssh-rsa AAAA\n\
         after 24 s, the key files of the users:\n\
         broker log lines:\n  access.log: 2026-11-22 05:29:03,383 - access - WARNING\n",
    )
    .unwrap();
    assert_eq!(
        notes.state.as_deref(),
        Some("alice has a suspended session on s1")
    );
    let steps: Vec<_> = notes
        .steps
        .iter()
        .map(|s| (s.from.octets()[3], s.pause.as_secs()))
        .collect();
    assert_eq!(steps, [(20, 2), (21, 0)]);
    let hosts = ["10.77.0.101:22", "10.77.0.102:2022", "s3.lab.test:3022"];
    let hosts = Varying::Host(hosts.map(str::to_owned).to_vec());
    assert_eq!(notes.varies, [Varying::Date, Varying::AuthId, hosts]);
    let file = "/home/alice/.x2go/authorized_keys";
    let keys = NotedKeys {
        files: vec![("s1".to_owned(), file.to_owned())],
        all_go: true,
    };
    assert_eq!(notes.keys, Some(keys));
}
