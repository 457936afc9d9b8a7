//! What is known, and what is wrong, while one section of the file is read?

use super::options::NOT_SET;
use super::qt::PlainValues;
use crate::ini::{DEFAULT_SECTION, Entry, Ini, Problem, Section};

/// One section with all that it inherits, and the problems found so far.
pub(super) struct Reading<'a> {
    pub(super) ini: &'a Ini,
    pub(super) section: &'a Section,
    pub(super) problems: Vec<Problem>,
    pub(super) values: PlainValues,
    file: &'a str,
}

impl<'a> Reading<'a> {
    pub(super) fn new(
        file: &'a str,
        ini: &'a Ini,
        section: &'a Section,
        values: PlainValues,
    ) -> Self {
        Self {
            ini,
            section,
            problems: Vec::new(),
            values,
            file,
        }
    }

    /// A key of the section or of `[DEFAULT]`, unless it is `not-set`.
    pub(super) fn entry(&self, key: &str) -> Option<&'a Entry> {
        let entry = self.ini.get(self.section.name(), key);
        entry.filter(|entry| entry.value != NOT_SET)
    }

    /// All keys, own ones first.
    pub(super) fn entries(&self) -> impl Iterator<Item = &'a Entry> + use<'a> {
        self.ini.with_defaults(self.section)
    }

    /// The profile is left out because of this key.
    pub(super) fn error(&mut self, entry: &Entry, text: impl Into<String>) {
        let own = self.section.get(&entry.key).is_some();
        let section = if own {
            self.section.name()
        } else {
            DEFAULT_SECTION
        };
        self.problems.push(Problem {
            line: Some(entry.line),
            section: Some(section.to_owned()),
            key: Some(entry.key.clone()),
            ..Problem::of_file(self.file, text)
        });
    }

    /// The profile is there, but this key does not do what one may think.
    pub(super) fn warning(&mut self, entry: &Entry, text: impl Into<String>) {
        self.error(entry, text);
        let warning = self.problems.pop().map(Problem::as_warning);
        self.problems.extend(warning);
    }

    /// The profile is left out as a whole.
    pub(super) fn section_error(&mut self, text: impl Into<String>) {
        self.problems.push(Problem {
            line: Some(self.section.line()),
            section: Some(self.section.name().to_owned()),
            ..Problem::of_file(self.file, text)
        });
    }

    pub(super) fn is_broken(&self) -> bool {
        self.problems.iter().any(Problem::is_error)
    }
}
