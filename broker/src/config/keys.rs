//! Which keys are known, and which of them have no effect?
//!
//! A key is known when something asks for it ([`super::raw::RawConfig`] remembers), or
//! when x2gobroker 0.0.4.3 has it and it means nothing here ([`WITHOUT_EFFECT`]).

use std::collections::BTreeSet;

use super::Sources;
use super::near::nearest;
use super::raw::Files;
use crate::ini::{DEFAULT_SECTION, Entry, Problem, ProblemKind, Section};

/// Keys and settings that something asked for.
#[derive(Debug, Default)]
pub(super) struct Known<'a> {
    keys: BTreeSet<(&'a str, &'static str)>,
    /// Sections whose keys are names that the operator chooses.
    free_sections: BTreeSet<&'static str>,
    settings: BTreeSet<&'static str>,
}

impl<'a> Known<'a> {
    /// A key of `x2gobroker.conf`.
    pub(super) fn add_key(&mut self, section: &'a str, key: &'static str) {
        self.keys.insert((section, key));
    }

    /// A name of the environment or of `defaults.conf`.
    pub(super) fn add_setting(&mut self, name: &'static str) {
        self.settings.insert(name);
    }

    /// A section whose keys are names that the operator chooses.
    pub(super) fn add_free_section(&mut self, section: &'static str) {
        self.free_sections.insert(section);
    }

    pub(super) fn extend(&mut self, other: Self) {
        self.keys.extend(other.keys);
        self.free_sections.extend(other.free_sections);
        self.settings.extend(other.settings);
    }

    /// Without the keys, whose sections may be borrowed.
    pub(super) fn only_settings(self) -> Known<'static> {
        Known {
            settings: self.settings,
            ..Known::default()
        }
    }

    /// What [`DEFAULT_SECTION`] gives to all sections counts wherever it is asked for.
    fn has(&self, section: &str, key: &str) -> bool {
        let is_it = |known: &&(&str, &str)| known.0 == section && known.1 == key;
        self.keys.iter().any(|known| is_it(&known))
            || self.free_sections.contains(section)
            || (section == DEFAULT_SECTION && self.keys.iter().any(|known| known.1 == key))
    }

    fn sections(&self) -> impl Iterator<Item = &str> {
        let asked = self.keys.iter().map(|(section, _)| *section);
        let asked = asked.chain(self.free_sections.iter().copied());
        asked.chain(UNUSED_SECTIONS.iter().map(|(section, _)| *section))
    }

    fn keys_of(&self, section: &str) -> impl Iterator<Item = &'static str> {
        let asked = self.keys.iter().filter(move |(s, _)| *s == section);
        asked.map(|(_, key)| *key)
    }

    fn settings(&self) -> impl Iterator<Item = &'static str> {
        let without = SETTINGS_WITHOUT_EFFECT.iter().map(|(name, _)| *name);
        self.settings.iter().copied().chain(without)
    }
}

/// A warning for each key of both files and each name of the environment that is not known
/// or has no effect.
pub(super) fn without_effect(
    known: &Known<'_>,
    sources: &Sources<'_>,
    files: &Files,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    for section in all_sections(&files.config) {
        if !section_is_known(known, section.name()) {
            problems.push(unknown_section(known, sources.config_file, section));
            continue;
        }
        let entries = section.entries();
        let entries = entries.filter(|entry| !known.has(section.name(), &entry.key));
        problems.extend(entries.map(|entry| {
            let (kind, text) = remark(known, section.name(), &entry.key);
            at(sources.config_file, section, entry, text).of_kind(kind)
        }));
    }
    for section in all_sections(&files.defaults) {
        let entries = section.entries();
        problems.extend(entries.filter_map(|entry| {
            let (kind, text) = setting_remark(known, section.name(), &entry.key)?;
            Some(at(sources.defaults_file, section, entry, text).of_kind(kind))
        }));
    }
    let ours = |name: &&String| name.starts_with(OUR_PREFIX);
    problems.extend(sources.environment.keys().filter(ours).filter_map(|name| {
        let (kind, text) = setting_remark(known, "common", name)?;
        let problem = Problem {
            key: Some(name.clone()),
            ..Problem::of_file("environment", text)
        };
        Some(problem.as_warning().of_kind(kind))
    }));
    problems
}

fn all_sections(ini: &crate::ini::Ini) -> impl Iterator<Item = &Section> {
    std::iter::once(ini.defaults()).chain(ini.sections())
}

fn section_is_known(known: &Known<'_>, section: &str) -> bool {
    section == DEFAULT_SECTION || known.sections().any(|known| known == section)
}

/// Each key of an unknown section would be one more line that says the same.
fn unknown_section(known: &Known<'_>, file: &str, section: &Section) -> Problem {
    let near = nearest(section.name(), known.sections());
    let problem = Problem {
        line: Some(section.line()),
        section: Some(section.name().to_owned()),
        ..Problem::of_file(
            file,
            match near {
                Some(near) => format!("this section is not known; did you mean [{near}]?"),
                None => "this section is not known; its keys have no effect".to_owned(),
            },
        )
    };
    problem.as_warning().of_kind(ProblemKind::Unknown)
}

/// What to say of a key that nothing asked for.
fn remark(known: &Known<'_>, section: &str, key: &str) -> (ProblemKind, String) {
    let in_section = |s: &str| s == section || section == DEFAULT_SECTION;
    let mut without = WITHOUT_EFFECT.iter();
    if let Some((_, _, text)) = without.find(|(s, k, _)| in_section(s) && *k == key) {
        return (ProblemKind::Ignored, (*text).to_owned());
    }
    if let Some((_, text)) = UNUSED_SECTIONS.iter().find(|(s, _)| *s == section) {
        return (ProblemKind::Ignored, (*text).to_owned());
    }
    let without = WITHOUT_EFFECT.iter().filter(|(s, _, _)| *s == section);
    let candidates = known.keys_of(section).chain(without.map(|(_, k, _)| *k));
    let text = if let Some(near) = nearest(key, candidates) {
        format!("{UNKNOWN}; did you mean {near}?")
    } else if let Some((elsewhere, _)) = known.keys.iter().find(|(_, k)| *k == key) {
        format!("{UNKNOWN} here; it belongs into [{elsewhere}]")
    } else {
        UNKNOWN.to_owned()
    };
    (ProblemKind::Unknown, text)
}

/// What to say of a name in `defaults.conf` or the environment, if anything.
fn setting_remark(known: &Known<'_>, section: &str, name: &str) -> Option<(ProblemKind, String)> {
    let mut without = SETTINGS_WITHOUT_EFFECT.iter();
    match section {
        DEFAULT_SECTION | "common" | "daemon" if known.settings.contains(name) => None,
        // They are for the programs of that name.
        "authservice" | "loadchecker" if known.settings().any(|known| known == name) => None,
        DEFAULT_SECTION | "common" | "daemon" | "authservice" | "loadchecker" => {
            if let Some((_, text)) = without.find(|(n, _)| *n == name) {
                return Some((ProblemKind::Ignored, (*text).to_owned()));
            }
            let text = match nearest(name, known.settings()) {
                Some(near) => format!("{UNKNOWN}; did you mean {near}?"),
                None => UNKNOWN.to_owned(),
            };
            Some((ProblemKind::Unknown, text))
        }
        _ => {
            let text = "this section is not known; write [common] or [daemon]";
            Some((ProblemKind::Unknown, text.to_owned()))
        }
    }
}

/// Whether the environment and `defaults.conf` may hold this name.
pub(super) fn is_setting(name: &str) -> bool {
    let asked = super::Config::known_settings();
    asked.settings().any(|known| known == name)
}

/// What to say of a name that is none of them.
pub(super) fn unknown_setting(name: &str) -> Option<(ProblemKind, String)> {
    setting_remark(&super::Config::known_settings(), "common", name)
}

fn at(file: &str, section: &Section, entry: &Entry, text: String) -> Problem {
    let problem = Problem {
        line: Some(entry.line),
        section: Some(section.name().to_owned()),
        key: Some(entry.key.clone()),
        ..Problem::of_file(file, text)
    };
    problem.as_warning()
}

const UNKNOWN: &str = "this key is not known and has no effect";
const MESH: &str = "this has no effect: agents are asked through the mesh";
const OUR_PREFIX: &str = "X2GOBROKER_";

/// Keys of x2gobroker 0.0.4.3 that mean nothing here, each with its reason. A key that
/// something asks for needs no row.
const WITHOUT_EFFECT: &[(&str, &str, &str)] = &[
    (
        "global",
        "cookie-directory",
        "this has no effect: the broker writes no cookie files",
    ),
    ("global", "default-portscan-x2goservers", MESH),
    ("global", "default-use-load-checker", MESH),
    ("global", "load-checker-intervals", MESH),
    ("broker_inifile", "use-load-checker", MESH),
];

/// Sections of x2gobroker 0.0.4.3 of which nothing is read, unless something asks.
const UNUSED_SECTIONS: &[(&str, &str)] = &[
    (
        "authmech_pam",
        "this has no effect: PAM is set up in its own files",
    ),
    (
        "broker_ldap",
        "this has no effect: there is no backend ldap, here or in x2gobroker 0.0.4.3",
    ),
];

/// Names of the environment and `defaults.conf` that mean nothing here.
const SETTINGS_WITHOUT_EFFECT: &[(&str, &str)] = &[(
    "X2GOBROKER_LOADCHECKER_SOCKET",
    "this has no effect: write load-checker-socket into [http] of x2gobroker.conf",
)];
