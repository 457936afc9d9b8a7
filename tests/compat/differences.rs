//! Where may ours differ from the original, and why? The one table of it.
//!
//! A difference says what the original did, what ours does, and why that is safer or
//! right. For each recorded answer that it changes it says exactly how: a text of the
//! recorded answer, and what stands there in ours. So a third behaviour is an error, and so
//! is a difference that is no more.

use std::collections::BTreeSet;

use anyhow::{Context as _, ensure};
use serde::Deserialize;

/// The whole table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Table {
    difference: Vec<Difference>,
    /// Folders that hold no HTTP.
    #[serde(default)]
    pub(crate) not_replayed: Vec<NotReplayed>,
}

/// One difference: a row of MIGRATION.md.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Difference {
    /// What the original does.
    pub(crate) original: String,
    /// What ours does.
    pub(crate) here: String,
    /// Why.
    pub(crate) reason: String,
    pub(crate) kind: Kind,
    /// The recorded answers that it changes.
    #[serde(default)]
    answer: Vec<Change>,
    /// The file of the test that shows it, if no recorded answer does.
    pub(crate) shown_by: Option<String>,
}

/// What makes a difference allowed.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// Ours is safer.
    Safer,
    /// Ours is right, the original plainly was not.
    Right,
    /// Ours will do it, in an issue that the reason names.
    NotYet,
}

/// How it changes recorded answers.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    /// The cases; `NAME/2` is the second answer of a case alone, and `ssh-broker/NAME` a
    /// command line.
    cases: Vec<String>,
    /// What the recorded answer has, wherever; the whole answer if this is missing.
    recorded: Option<String>,
    /// What ours has there. `{a|b}` is one of several texts, the line `{like [ID]}` the
    /// options of that profile, and `{...}` at the end whatever follows.
    ours: String,
}

/// A folder that is not replayed.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NotReplayed {
    pub(crate) folder: String,
    pub(crate) reason: String,
}

impl Allowed {
    /// Whether ours may answer so.
    pub(crate) fn allows(&self, ours: &str) -> bool {
        let fits = |text: &String| match text.strip_suffix("{...}") {
            Some(begin) => ours.starts_with(begin),
            None => ours == text,
        };
        self.texts.iter().any(fits)
    }
}

/// What the table makes of a recorded answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Allowed {
    /// The answers that ours may give.
    pub(crate) texts: Vec<String>,
    /// The changes that were made, by number of the difference and of its change.
    pub(crate) used: BTreeSet<(usize, usize)>,
}

impl Table {
    /// Reads the table.
    pub(crate) fn parse(text: &str) -> anyhow::Result<Self> {
        let table: Self = toml::from_str(text).context("the table of differences")?;
        for difference in &table.difference {
            let shown = !difference.answer.is_empty() || difference.shown_by.is_some();
            ensure!(
                shown,
                "{:?}: no answer and no test shows it",
                difference.here
            );
            ensure!(
                !difference.reason.is_empty(),
                "{:?}: no reason",
                difference.here
            );
        }
        Ok(table)
    }

    /// The rows, in order.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &Difference> {
        self.difference.iter()
    }

    /// What ours may answer where the original answered `recorded`.
    pub(crate) fn allowed(&self, case: &str, step: &str, recorded: &str) -> Allowed {
        let mut texts = vec![recorded.to_owned()];
        let mut used = BTreeSet::new();
        for (at, change) in self.changes() {
            if !change.names(case, step) {
                continue;
            }
            let is_there = |text: &String| {
                change
                    .recorded
                    .as_ref()
                    .is_none_or(|part| text.contains(part.as_str()))
            };
            if texts.iter().all(is_there) {
                texts = texts.iter().flat_map(|text| change.apply(text)).collect();
                used.insert(at);
            }
        }
        Allowed { texts, used }
    }

    /// The changes that name one of `cases` but are not in `used`.
    pub(crate) fn unused(&self, cases: &[&str], used: &BTreeSet<(usize, usize)>) -> Vec<String> {
        let ours = self.changes().filter(|(_, change)| {
            cases
                .iter()
                .any(|case| change.cases.iter().any(|name| of_case(name) == *case))
        });
        let unused = ours.filter(|(at, _)| !used.contains(at));
        unused
            .map(|((row, _), change)| {
                format!(
                    "{:?}, which {:?} should show",
                    self.difference[row].here, change.cases
                )
            })
            .collect()
    }

    /// The cases that the table names.
    pub(crate) fn cases(&self) -> BTreeSet<&str> {
        self.changes()
            .flat_map(|(_, change)| change.cases.iter().map(|name| of_case(name)))
            .collect()
    }

    fn changes(&self) -> impl Iterator<Item = ((usize, usize), &Change)> {
        self.difference
            .iter()
            .enumerate()
            .flat_map(|(row, difference)| {
                difference
                    .answer
                    .iter()
                    .enumerate()
                    .map(move |(idx, change)| ((row, idx), change))
            })
    }
}

impl Change {
    fn names(&self, case: &str, step: &str) -> bool {
        self.cases.iter().any(|name| match name.split_once('/') {
            Some((name, number)) => name == case && number == step,
            None => name == case,
        })
    }

    /// All that may stand in ours.
    fn apply(&self, text: &str) -> Vec<String> {
        let spelled = alternatives(&self.ours);
        let spelled = spelled.into_iter().map(|ours| with_profiles(&ours, text));
        match &self.recorded {
            None => spelled.collect(),
            Some(part) => spelled.map(|ours| text.replace(part, &ours)).collect(),
        }
    }
}

/// Replaces the line `{like [ID]}` by the options of that profile in `text`, without its ID
/// and name.
fn with_profiles(ours: &str, text: &str) -> String {
    let Some((before, rest)) = ours.split_once("{like ") else {
        return ours.to_owned();
    };
    let (id, after) = rest.split_once("}\n").unwrap_or_default();
    let (_, profile) = text.split_once(&format!("\n{id}\n")).unwrap_or_default();
    let (options, _) = profile.split_once("\n\n").unwrap_or_default();
    let (_name, options) = options.split_once('\n').unwrap_or_default();
    format!("{before}{options}\n\n{after}")
}

fn of_case(name: &str) -> &str {
    name.split('/').next().unwrap_or(name)
}

/// Spells out `{a|b}`; braces without a bar are text.
fn alternatives(text: &str) -> Vec<String> {
    let mut spelled = vec![String::new()];
    let mut rest = text;
    while let Some((at, choices, after)) = first_choice(rest) {
        let before = &rest[..at];
        spelled = spelled
            .iter()
            .flat_map(|text| {
                choices
                    .split('|')
                    .map(move |choice| format!("{text}{before}{choice}"))
            })
            .collect();
        rest = after;
    }
    spelled.iter().map(|text| format!("{text}{rest}")).collect()
}

fn first_choice(text: &str) -> Option<(usize, &str, &str)> {
    for (at, _) in text.match_indices('{') {
        let (inside, after) = text[at + 1..].split_once('}')?;
        if inside.contains('|') && !inside.contains(['{', '\n']) {
            return Some((at, inside, after));
        }
    }
    None
}

#[test]
fn a_change_says_exactly_what_ours_has() {
    let table = Table::parse(
        "[[difference]]\noriginal = 'o'\nhere = 'h'\nreason = 'r'\nkind = 'safer'\n\
         [[difference.answer]]\ncases = ['a', 'b/2']\nrecorded = 'SERVER:s1'\n\
         ours = 'SERVER:{s1|s2}'\n\
         [[difference.answer]]\ncases = ['whole']\nours = 'no {...}'\n",
    )
    .unwrap();
    let texts = |case, step, text| table.allowed(case, step, text).texts;
    assert_eq!(
        texts("a", "1", "x SERVER:s1:22"),
        ["x SERVER:s1:22", "x SERVER:s2:22"]
    );
    assert_eq!(texts("b", "1", "x SERVER:s1:22"), ["x SERVER:s1:22"]);
    assert_eq!(texts("b", "2", "SERVER:s1").len(), 2);
    let whole = table.allowed("whole", "1", "yes");
    assert!(whole.allows("no matter") && !whole.allows("yes"));
    let list = "\n[p]\nname=P\nhost=s1\nuser=u\n\nEND";
    assert_eq!(
        with_profiles("[q]\n{like [p]}\nEND", list),
        "[q]\nhost=s1\nuser=u\n\nEND"
    );
    let used = table.allowed("a", "1", "SERVER:s1").used;
    assert!(table.unused(&["a", "b"], &used).is_empty());
    assert_eq!(table.unused(&["whole"], &used).len(), 1);
}
