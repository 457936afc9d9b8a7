//! What stands in the files and the environment, before it means anything?

use std::cell::RefCell;
use std::ops::RangeInclusive;

use super::Sources;
use super::keys::Known;
use crate::ini::{Entry, Ini, Problem, Section, Severity, flag};

/// The keys as texts, each with its file and line, and the problems found so far. It
/// remembers what was asked for, so that nobody keeps a list of the keys that are known.
#[derive(Debug)]
pub(super) struct RawConfig<'a> {
    sources: Sources<'a>,
    config: &'a Ini,
    defaults: &'a Ini,
    problems: Vec<Problem>,
    asked: RefCell<Known<'a>>,
}

/// A value from the command line, the environment or `defaults.conf`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setting<'a> {
    pub(super) name: &'static str,
    pub(super) value: &'a str,
    file: &'a str,
    line: Option<u32>,
}

/// Both files, parsed. Without any, all has its default.
#[derive(Debug, Default)]
pub(super) struct Files {
    pub(super) config: Ini,
    pub(super) defaults: Ini,
}

impl Files {
    /// Parses both files as far as they can be read, with all lines that can't be.
    pub(super) fn parse(sources: &Sources<'_>) -> (Self, Vec<Problem>) {
        let (config, config_errors) = Ini::parse_leniently(sources.config);
        let (defaults, defaults_errors) = Ini::parse_leniently(sources.defaults);
        let in_config = config_errors.iter();
        let in_config = in_config.map(|e| Problem::of_ini(sources.config_file, e));
        let in_defaults = defaults_errors.iter();
        let in_defaults = in_defaults.map(|e| Problem::of_ini(sources.defaults_file, e));
        let problems = in_config.chain(in_defaults).collect();
        (Self { config, defaults }, problems)
    }
}

impl<'a> RawConfig<'a> {
    pub(super) fn new(sources: Sources<'a>, files: &'a Files) -> Self {
        Self {
            sources,
            config: &files.config,
            defaults: &files.defaults,
            problems: Vec::new(),
            asked: RefCell::default(),
        }
    }

    pub(super) fn sources(&self) -> Sources<'a> {
        self.sources
    }

    pub(super) fn n_problems(&self) -> usize {
        self.problems.len()
    }

    pub(super) fn forget_problems_after(&mut self, n_problems: usize) {
        self.problems.truncate(n_problems);
    }

    /// The problems, and all that was asked for.
    pub(super) fn into_parts(self) -> (Vec<Problem>, Known<'a>) {
        (self.problems, self.asked.into_inner())
    }

    /// A key of `x2gobroker.conf`.
    pub(super) fn entry(&self, section: &'a str, key: &'static str) -> Option<Key<'a>> {
        self.asked.borrow_mut().add_key(section, key);
        let entry = self.config.get(section, key)?;
        Some(Key { section, entry })
    }

    /// All keys of a section whose keys are names that the operator chooses.
    pub(super) fn keys_of(&self, section: &'static str) -> Vec<Key<'a>> {
        self.asked.borrow_mut().add_free_section(section);
        let config: &'a Ini = self.config;
        let entries = config.section(section).map(Section::entries);
        let keys = entries.into_iter().flatten();
        keys.map(|entry| Key { section, entry }).collect()
    }

    /// The text of a key; an empty one counts as absent.
    pub(super) fn text(&self, section: &'a str, key: &'static str) -> Option<&'a str> {
        let key = self.entry(section, key)?;
        (!key.value().is_empty()).then_some(key.value())
    }

    /// A yes or no.
    pub(super) fn flag(&mut self, section: &'a str, key: &'static str, default: bool) -> bool {
        let Some(key) = self.entry(section, key) else {
            return default;
        };
        flag(key.value()).unwrap_or_else(|| {
            self.error(key, "this is neither true nor false; write one of them");
            default
        })
    }

    /// A number within its bounds.
    pub(super) fn number(
        &mut self,
        section: &'a str,
        key: &'static str,
        range: RangeInclusive<u32>,
        default: u32,
    ) -> u32 {
        let Some(key) = self.entry(section, key) else {
            return default;
        };
        match key.value().parse() {
            Ok(number) if range.contains(&number) => number,
            _ => {
                let (least, most) = (range.start(), range.end());
                self.error(key, format!("this is not a number from {least} to {most}"));
                default
            }
        }
    }

    /// A value of the environment, else of `[daemon]`, else of `[common]` in
    /// `defaults.conf`. An empty one counts as absent.
    pub(super) fn setting(&self, name: &'static str) -> Option<Setting<'a>> {
        self.asked.borrow_mut().add_setting(name);
        if let Some(value) = self.sources.environment.get(name).filter(|v| !v.is_empty()) {
            let file = "environment";
            return Some(Setting {
                name,
                value,
                file,
                line: None,
            });
        }
        let sections = ["daemon", "common"].iter();
        let mut entries = sections.filter_map(|section| self.defaults.get(section, name));
        let entry = entries.find(|entry| !entry.value.is_empty())?;
        Some(Setting {
            name,
            value: &entry.value,
            file: self.sources.defaults_file,
            line: Some(entry.line),
        })
    }

    /// The value of `--bind`.
    pub(super) fn bind_option(&self) -> Option<Setting<'a>> {
        Some(Setting {
            name: "--bind",
            value: self.sources.bind?,
            file: "command line",
            line: None,
        })
    }

    pub(super) fn error(&mut self, key: Key<'_>, text: impl Into<String>) {
        let section = key.section.to_owned();
        self.problems.push(Problem {
            line: Some(key.entry.line),
            section: Some(section),
            key: Some(key.entry.key.clone()),
            ..Problem::of_file(self.sources.config_file, text)
        });
    }

    pub(super) fn warn(&mut self, key: Key<'_>, text: impl Into<String>) {
        self.error(key, text);
        self.soften_last();
    }

    pub(super) fn setting_error(&mut self, setting: Setting<'_>, text: impl Into<String>) {
        self.problems.push(Problem {
            line: setting.line,
            key: Some(setting.name.to_owned()),
            ..Problem::of_file(setting.file, text)
        });
    }

    /// A problem of a value that no line gives.
    pub(super) fn file_error(&mut self, text: impl Into<String>) {
        let problem = Problem::of_file(self.sources.config_file, text);
        self.problems.push(problem);
    }

    fn soften_last(&mut self) {
        if let Some(last) = self.problems.last_mut() {
            last.severity = Severity::Warning;
        }
    }
}

/// A key of `x2gobroker.conf` with its section.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key<'a> {
    section: &'a str,
    entry: &'a Entry,
}

impl<'a> Key<'a> {
    pub(super) fn value(self) -> &'a str {
        &self.entry.value
    }

    pub(super) fn name(self) -> &'a str {
        &self.entry.key
    }
}
