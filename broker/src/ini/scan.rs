//! Which section, key or continued value is each line of a file?

use super::{
    DEFAULT_SECTION, Entry, Ini, IniError, IniErrorKind, MAX_ERRORS, MAX_ERRORS_IN_SECTION,
    MAX_FILE_BYTES, MAX_LINE_BYTES, MAX_SECTIONS, Section,
};

/// The state between two lines.
pub(super) struct Scan {
    ini: Ini,
    errors: Vec<IniError>,
    current: Current,
    /// A key was read in this section, so that deeper lines continue it.
    in_value: bool,
    /// Indentation of the last line that was no continuation.
    indent: usize,
    line: u32,
    /// Since the last section header.
    n_errors_here: usize,
}

/// Which section takes the next key.
enum Current {
    None,
    Defaults,
    Section,
    /// It stood before, so its keys are read for their errors only.
    Duplicate(Box<Section>),
}

impl Scan {
    pub(super) fn run(text: &str) -> (Ini, Vec<IniError>) {
        let mut scan = Self {
            ini: Ini::empty(),
            errors: Vec::new(),
            current: Current::None,
            in_value: false,
            indent: 0,
            line: 0,
            n_errors_here: 0,
        };
        if text.len() > MAX_FILE_BYTES {
            scan.give_up(IniErrorKind::FileTooLarge);
            return (scan.ini, scan.errors);
        }
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        for line in Lines(Some(text)) {
            scan.line = scan.line.saturating_add(1);
            scan.take(line);
            if scan.errors.len() >= MAX_ERRORS {
                scan.give_up(IniErrorKind::TooManyErrors);
                break;
            }
            if scan.ini.sections.len() > MAX_SECTIONS {
                scan.give_up(IniErrorKind::TooManySections);
                break;
            }
        }
        scan.trim_values();
        (scan.ini, scan.errors)
    }

    fn take(&mut self, line: &str) {
        let content = line.trim_matches(is_blank);
        if line.len() > MAX_LINE_BYTES {
            self.in_value = false;
            return self.error(IniErrorKind::LineTooLong);
        }
        if content.starts_with(['#', ';']) {
            return;
        }
        if content.is_empty() {
            // An empty line belongs to the value if a deeper line follows.
            return self.continue_value("");
        }
        let indent = line.chars().take_while(|&c| is_blank(c)).count();
        if self.in_value && indent > self.indent {
            return self.continue_value(content);
        }
        self.indent = indent;
        match section_name(content) {
            Some(name) => self.start_section(name),
            None => self.take_key(content),
        }
    }

    fn start_section(&mut self, name: &str) {
        self.in_value = false;
        self.n_errors_here = 0;
        if name == DEFAULT_SECTION {
            if self.ini.defaults.line == 0 {
                self.ini.defaults.line = self.line;
            }
            self.current = Current::Defaults;
        } else if let Some(first) = self.ini.section(name) {
            let first_line = first.line;
            let duplicate = Section::new(name.to_owned(), self.line);
            self.current = Current::Duplicate(Box::new(duplicate));
            let name = name.to_owned();
            self.error(IniErrorKind::DuplicateSection { name, first_line });
        } else {
            let idx = self.ini.sections.len();
            self.ini.index.insert(name.into(), idx);
            let section = Section::new(name.to_owned(), self.line);
            self.ini.sections.push(section);
            self.current = Current::Section;
        }
    }

    fn take_key(&mut self, content: &str) {
        if matches!(self.current, Current::None) {
            return self.error(IniErrorKind::NoSection);
        }
        let Some((key, value)) = content.split_once(['=', ':']) else {
            self.in_value = false;
            return self.error(IniErrorKind::NoSeparator);
        };
        let (key, value) = (key.trim_end_matches(is_blank), value.trim_matches(is_blank));
        if key.is_empty() {
            self.in_value = false;
            return self.error(IniErrorKind::NoKey);
        }
        let line = self.line;
        let Some(section) = self.section_mut() else {
            return;
        };
        if let Some(first) = section.get(key) {
            let (key, first_line) = (key.to_owned(), first.line);
            self.in_value = false;
            return self.error(IniErrorKind::DuplicateKey { key, first_line });
        }
        section.index.insert(key.into(), section.entries.len());
        section.entries.push(Entry {
            key: key.to_owned(),
            value: value.to_owned(),
            line,
        });
        self.in_value = true;
    }

    fn continue_value(&mut self, content: &str) {
        if !self.in_value {
            return;
        }
        let entry = self.section_mut().and_then(|s| s.entries.last_mut());
        if let Some(entry) = entry {
            entry.value.push('\n');
            entry.value.push_str(content);
        }
    }

    fn section_mut(&mut self) -> Option<&mut Section> {
        match &mut self.current {
            Current::None => None,
            Current::Defaults => Some(&mut self.ini.defaults),
            Current::Section => self.ini.sections.last_mut(),
            Current::Duplicate(section) => Some(section),
        }
    }

    /// An error of the whole file.
    fn give_up(&mut self, kind: IniErrorKind) {
        let line = self.line.max(1);
        self.errors.push(IniError {
            line,
            section: None,
            kind,
        });
    }

    fn error(&mut self, kind: IniErrorKind) {
        self.n_errors_here += 1;
        if self.n_errors_here > MAX_ERRORS_IN_SECTION {
            return;
        }
        let section = self.section_mut().map(|section| section.name.clone());
        self.errors.push(IniError {
            line: self.line.max(1),
            section,
            kind,
        });
    }

    /// Empty lines behind a value were taken as its continuation: remove them.
    fn trim_values(&mut self) {
        let sections = self.ini.sections.iter_mut();
        for section in sections.chain([&mut self.ini.defaults]) {
            for entry in &mut section.entries {
                let length = entry.value.trim_end_matches(is_blank).len();
                entry.value.truncate(length);
            }
        }
    }
}

/// The lines of a text, ended as Python's text files are: by LF, CR LF or CR.
struct Lines<'a>(Option<&'a str>);

impl<'a> Iterator for Lines<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let text = self.0.take()?;
        let Some((line, rest)) = text.split_once(['\n', '\r']) else {
            return Some(text);
        };
        let ended_by_cr = text.as_bytes().get(line.len()) == Some(&b'\r');
        let rest = match rest.strip_prefix('\n') {
            Some(rest) if ended_by_cr => rest,
            _ => rest,
        };
        self.0 = Some(rest);
        Some(line)
    }
}

/// `[name]`, with anything behind the last bracket ignored, as Python does.
fn section_name(content: &str) -> Option<&str> {
    let (name, _) = content.strip_prefix('[')?.rsplit_once(']')?;
    (!name.is_empty()).then_some(name)
}

/// What Python's `str.strip` removes.
fn is_blank(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}
