//! In which state is the farm before a case?

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, bail};

use crate::case::Case;

/// What the notes of a case say of the farm.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// The sessions that users have.
    pub(crate) sessions: BTreeSet<KnownSession>,
    /// The servers that can't be reached.
    pub(crate) down: BTreeMap<&'static str, Down>,
}

/// A session that somebody has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct KnownSession {
    pub(crate) user: &'static str,
    pub(crate) suspended: bool,
    pub(crate) server: &'static str,
}

/// How a server can't be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Down {
    /// Connections are refused.
    Refuses,
    /// Nothing comes back.
    Silent,
}

impl State {
    /// Reads the words of a case; `cases` are those that it may point to.
    pub(crate) fn of(case: &Case, cases: &[Case]) -> anyhow::Result<Self> {
        let mut state = Self::default();
        for clause in case.notes.state.iter().flat_map(|text| text.split(',')) {
            state
                .add(clause, cases)
                .with_context(|| format!("{}: the state {clause:?}", case.name))?;
        }
        Ok(state)
    }

    fn add(&mut self, clause: &str, cases: &[Case]) -> anyhow::Result<()> {
        let words: Vec<&str> = clause
            .split_whitespace()
            .map(|word| word.trim_matches(['(', ')']))
            .collect();
        let has = |word: &str| words.contains(&word);
        let has_part = |part: &str| words.iter().any(|word| word.starts_with(part));
        let mut named: Vec<&str> = SERVERS.into_iter().filter(|server| has(server)).collect();
        if named.is_empty() && has("all") {
            named = SERVERS.to_vec();
        }
        if let Some(other) = words
            .iter()
            .find_map(|w| cases.iter().find(|c| c.name == **w))
        {
            self.sessions.extend(Self::of(other, cases)?.sessions);
        } else if has_part("refuse") {
            self.down
                .extend(named.into_iter().map(|s| (s, Down::Refuses)));
        } else if has_part("blackhole") || has_part("drop") || has_part("pulled") {
            self.down
                .extend(named.into_iter().map(|s| (s, Down::Silent)));
        } else if has("suspended") || has("running") {
            let user = USERS.into_iter().find(|user| has(user)).unwrap_or("alice");
            let suspended = has("suspended");
            let session = |server| KnownSession {
                user,
                suspended,
                server,
            };
            self.sessions.extend(named.into_iter().map(session));
        } else if !(has("no") && has_part("session") || has("up")) {
            bail!("nobody has told this test how to make it");
        }
        Ok(())
    }
}

/// The servers of the farm that the cases were recorded in.
pub(crate) const SERVERS: [&str; 3] = ["s1", "s2", "s3"];
/// Its users.
const USERS: [&str; 3] = ["alice", "bob", "carol"];

#[test]
fn each_recorded_state_is_understood() {
    let cases = crate::case::load_all(&crate::case::recorded()).unwrap();
    for case in &cases {
        State::of(case, &cases).unwrap();
    }
    if std::env::var_os("X2GOBROKER_COMPAT_CASES").is_some() {
        return;
    }
    let state = |name: &str| {
        let case = cases.iter().find(|case| case.name == name).unwrap();
        State::of(case, &cases).unwrap()
    };
    let on_s1 = |suspended| {
        [KnownSession {
            user: "alice",
            suspended,
            server: "s1",
        }]
        .into()
    };
    assert_eq!(state("ssh-select-running").sessions, on_s1(false));
    let down = state("ssh-select-suspended-server-down");
    assert_eq!(down.sessions, on_s1(true));
    assert_eq!(down.down, [("s1", Down::Refuses)].into());
    assert_eq!(state("ssh-select-other-user-busy").sessions, on_s1(true));
    assert_eq!(state("ssh-select-all-drop").down.len(), 3);
}
