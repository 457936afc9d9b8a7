//! What does a file in the INI dialect of Python's `configparser` say, and in which line?
//!
//! The rules are those of Python's `RawConfigParser` with its default settings: `=` or
//! `:` separates, full-line comments start with `#` or `;`, there are no inline comments,
//! lines that are indented deeper than their key continue its value, `[DEFAULT]` gives
//! values to all sections, nothing is interpolated. Keys are case sensitive. Beyond
//! Python, a byte order mark is tolerated, and everything is bounded.

mod problem;
mod scan;

use std::collections::HashMap;

pub use problem::{IniError, IniErrorKind, Problem, ProblemKind, Severity};

/// A parsed file: sections in file order, each value with its line.
#[derive(Clone, Debug)]
pub struct Ini {
    defaults: Section,
    sections: Vec<Section>,
    index: HashMap<Box<str>, usize>,
}

/// One section: its keys in file order.
#[derive(Clone, Debug)]
pub struct Section {
    name: String,
    line: u32,
    entries: Vec<Entry>,
    index: HashMap<Box<str>, usize>,
}

/// One key with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// As written; case counts.
    pub key: String,
    /// Without surrounding white space; continued lines are joined by line feeds.
    pub value: String,
    /// Where the key stands, counted from 1.
    pub line: u32,
}

impl Default for Ini {
    /// An empty file.
    fn default() -> Self {
        Self::empty()
    }
}

impl Ini {
    /// Reads a whole file.
    ///
    /// # Errors
    /// The first of all errors, with its line and what to do.
    pub fn parse(text: &str) -> Result<Self, IniError> {
        let (ini, errors) = Self::parse_leniently(text);
        match errors.into_iter().next() {
            Some(error) => Err(error),
            None => Ok(ini),
        }
    }

    /// Reads all that can be read, and tells every error. Of duplicates the first stays;
    /// the caller must decide what to do with a section that an error names.
    #[must_use]
    pub fn parse_leniently(text: &str) -> (Self, Vec<IniError>) {
        scan::Scan::run(text)
    }

    /// The section `[DEFAULT]`; empty if the file has none.
    #[must_use]
    pub fn defaults(&self) -> &Section {
        &self.defaults
    }

    /// All sections but `[DEFAULT]`, in file order.
    pub fn sections(&self) -> impl Iterator<Item = &Section> {
        self.sections.iter()
    }

    /// The section of that name; `[DEFAULT]` is not one.
    #[must_use]
    pub fn section(&self, name: &str) -> Option<&Section> {
        self.index.get(name).and_then(|&idx| self.sections.get(idx))
    }

    /// The key of a section, else of `[DEFAULT]`. A section that does not exist has the
    /// defaults, too.
    #[must_use]
    pub fn get(&self, section: &str, key: &str) -> Option<&Entry> {
        let own = self.section(section).and_then(|section| section.get(key));
        own.or_else(|| self.defaults.get(key))
    }

    /// A section's own keys in file order, then the keys of `[DEFAULT]` that it lacks.
    pub fn with_defaults<'a>(&'a self, section: &'a Section) -> impl Iterator<Item = &'a Entry> {
        let inherited = self.defaults.entries.iter();
        let inherited = inherited.filter(|entry| section.get(&entry.key).is_none());
        section.entries.iter().chain(inherited)
    }

    fn empty() -> Self {
        Self {
            defaults: Section::new(DEFAULT_SECTION.to_owned(), 0),
            sections: Vec::new(),
            index: HashMap::new(),
        }
    }
}

impl Section {
    fn new(name: String, line: u32) -> Self {
        Self {
            name,
            line,
            entries: Vec::new(),
            index: HashMap::new(),
        }
    }

    /// Its name as written between the brackets.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it starts, counted from 1.
    #[must_use]
    pub fn line(&self) -> u32 {
        self.line
    }

    /// Its own keys, in file order.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// One of its own keys.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.index.get(key).and_then(|&idx| self.entries.get(idx))
    }
}

/// Reads yes and no as Python's `configparser` does; case does not count.
#[must_use]
pub fn flag(text: &str) -> Option<bool> {
    let is = |words: &[&str]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    if is(&["1", "yes", "true", "on"]) {
        Some(true)
    } else if is(&["0", "no", "false", "off"]) {
        Some(false)
    } else {
        None
    }
}

/// The section whose keys all others inherit.
pub const DEFAULT_SECTION: &str = "DEFAULT";

/// 4 MB hold 10,000 long profiles; a larger file is a mistake or an attack.
pub const MAX_FILE_BYTES: usize = 4 << 20;

/// A client can't show more profiles than this, and each costs memory in each replica.
pub const MAX_SECTIONS: usize = 10_000;

/// A list of a thousand hosts with addresses fits; a longer line is no line of text.
pub const MAX_LINE_BYTES: usize = 64 << 10;

/// One section may be all wrong; its first errors say enough.
pub const MAX_ERRORS_IN_SECTION: usize = 10;

/// Every section may have an error; a file with more is none of ours.
pub const MAX_ERRORS: usize = 10_000;

#[cfg(test)]
mod tests;
