//! What is wrong with a file, in which line, and what to do about it?

use std::fmt;

/// A line that Python's `configparser` would refuse, too, or a bound that was passed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {kind}")]
pub struct IniError {
    /// Counted from 1.
    pub line: u32,
    /// In which section; absent before the first one.
    pub section: Option<String>,
    /// What it is.
    pub kind: IniErrorKind,
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IniErrorKind {
    /// More than [`super::MAX_FILE_BYTES`].
    #[error("the file is larger than 4 MB; split it, or remove what is not needed")]
    FileTooLarge,
    /// More than [`super::MAX_SECTIONS`].
    #[error("the file has more than 10000 sections; remove what is not needed")]
    TooManySections,
    /// More than [`super::MAX_ERRORS`].
    #[error("too many lines can't be read; is this the right file?")]
    TooManyErrors,
    /// More than [`super::MAX_LINE_BYTES`].
    #[error("the line is longer than 64 KB; continue it on an indented line")]
    LineTooLong,
    /// A key before the first section.
    #[error("this stands before the first section; put a line like [global] above it")]
    NoSection,
    /// Neither `=` nor `:`.
    #[error("a key needs = or : and a value; comment the line out with # if it is no key")]
    NoSeparator,
    /// Nothing before the separator.
    #[error("there is no key before the separator; write key = value")]
    NoKey,
    /// The section was there before.
    #[error("the section [{name}] stands already in line {first_line}; rename or remove one")]
    DuplicateSection {
        /// Its name.
        name: String,
        /// Where it stands first.
        first_line: u32,
    },
    /// The key was there before, in this section.
    #[error("the key {key} stands already in line {first_line}; remove one of them")]
    DuplicateKey {
        /// The key.
        key: String,
        /// Where it stands first.
        first_line: u32,
    },
}

/// How much a [`Problem`] matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Something is ignored, or not done yet.
    Warning,
    /// A profile is left out, or the file is not used.
    Error,
}

/// What sort of mistake it is, for programs that read the output of `check-config`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProblemKind {
    /// A file or a line that can't be read.
    Unreadable,
    /// A key or a section that nobody knows.
    Unknown,
    /// A key that is known and has no effect.
    Ignored,
    /// A value that can't be used as it stands.
    Wrong,
}

impl ProblemKind {
    /// One word for it; never changes.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::Unknown => "unknown",
            Self::Ignored => "ignored",
            Self::Wrong => "wrong",
        }
    }
}

/// One thing that is wrong with a configuration file, for the log and `check-config`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// How much it matters.
    pub severity: Severity,
    /// What sort of mistake it is.
    pub kind: ProblemKind,
    /// The file as the caller calls it; or `environment`, `command line`.
    pub file: String,
    /// Counted from 1; absent when it is about the whole file.
    pub line: Option<u32>,
    /// In which section.
    pub section: Option<String>,
    /// About which key.
    pub key: Option<String>,
    /// What is wrong and what to do: one line without a full stop.
    pub text: String,
}

impl Problem {
    /// A problem of the whole file.
    #[must_use]
    pub fn of_file(file: &str, text: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            kind: ProblemKind::Wrong,
            file: file.to_owned(),
            line: None,
            section: None,
            key: None,
            text: text.into(),
        }
    }

    /// What [`super::Ini`] refused.
    #[must_use]
    pub fn of_ini(file: &str, error: &IniError) -> Self {
        Self {
            line: Some(error.line),
            section: error.section.clone(),
            kind: ProblemKind::Unreadable,
            ..Self::of_file(file, error.kind.to_string())
        }
    }

    /// The same as a warning.
    #[must_use]
    pub fn as_warning(self) -> Self {
        Self {
            severity: Severity::Warning,
            ..self
        }
    }

    /// The same as a mistake of that sort.
    #[must_use]
    pub fn of_kind(self, kind: ProblemKind) -> Self {
        Self { kind, ..self }
    }

    /// Whether a profile or the file is not used because of it.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        f.write_str(": ")?;
        if let Some(section) = &self.section {
            write!(f, "[{section}] ")?;
        }
        if let Some(key) = &self.key {
            write!(f, "{key}: ")?;
        }
        f.write_str(&self.text)
    }
}
