//! What is the name of a farm, or of a member?

mod subject;

use std::fmt;
use std::sync::Arc;

pub(crate) use subject::URI_SCHEME;
pub use subject::{Role, RoleError, Subject, SubjectError};

/// The name of a farm: 1 to 64 bytes of `[a-z0-9.-]`.
///
/// Cloning is cheap.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FarmName(Arc<str>);

/// The host name of a member, short or fully qualified, in lower case.
///
/// At most 253 bytes; labels of `[a-z0-9_-]` that neither begin nor end with a hyphen.
/// Cloning is cheap.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeName(Arc<str>);

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {given:?} {problem}")]
pub struct NameError {
    what: &'static str,
    given: String,
    problem: NameProblem,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum NameProblem {
    #[error("is empty")]
    Empty,
    #[error("is longer than {most} bytes")]
    TooLong { most: usize },
    #[error("holds {found:?}; allowed are {allowed}")]
    Character { found: char, allowed: &'static str },
    #[error("has an empty label, or one longer than {MAX_LABEL} bytes")]
    LabelLength,
    #[error("has a label that begins or ends with a hyphen")]
    LabelEdge,
}

impl FarmName {
    /// Takes `text` if it is the name of a farm.
    ///
    /// # Errors
    /// Says which rule `text` breaks.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let problem = if text.is_empty() {
            Some(NameProblem::Empty)
        } else if text.len() > MAX_FARM {
            Some(NameProblem::TooLong { most: MAX_FARM })
        } else {
            foreign_character(text, ".-", "a-z, 0-9, dot and hyphen")
        };
        match problem {
            None => Ok(Self(text.into())),
            Some(problem) => Err(name_error("farm name", text, problem)),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl NodeName {
    /// Takes `text`, lower-cased, if it is a host name.
    ///
    /// # Errors
    /// Says which rule `text` breaks.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let error = |problem| Err(name_error("node name", text, problem));
        if text.is_empty() {
            return error(NameProblem::Empty);
        }
        if text.len() > MAX_NODE {
            return error(NameProblem::TooLong { most: MAX_NODE });
        }
        let lower = text.to_ascii_lowercase();
        if let Some(problem) = foreign_character(&lower, "._-", NODE_CHARACTERS) {
            return error(problem);
        }
        for label in lower.split('.') {
            if label.is_empty() || label.len() > MAX_LABEL {
                return error(NameProblem::LabelLength);
            }
            if label.starts_with('-') || label.ends_with('-') {
                return error(NameProblem::LabelEdge);
            }
        }
        Ok(Self(lower.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FarmName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for FarmName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FarmName({})", self.0)
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeName({})", self.0)
    }
}

/// Fits the organisation field of a certificate (64 characters) and a gossip cluster ID.
const MAX_FARM: usize = 64;
/// The longest name that DNS can hold.
const MAX_NODE: usize = 253;
/// The longest label that DNS can hold.
const MAX_LABEL: usize = 63;
const NODE_CHARACTERS: &str = "a-z, 0-9, dot, hyphen and underscore";
/// How much of a wrong text an error repeats: enough to recognise it.
const SHOWN: usize = 80;

fn foreign_character(text: &str, extra: &str, allowed: &'static str) -> Option<NameProblem> {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || extra.contains(c);
    let found = text.chars().find(|&c| !good(c))?;
    Some(NameProblem::Character { found, allowed })
}

fn name_error(what: &'static str, given: &str, problem: NameProblem) -> NameError {
    NameError {
        what,
        given: beginning(given),
        problem,
    }
}

fn beginning(text: &str) -> String {
    text.chars().take(SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use super::{FarmName, NodeName};

    fn told<T, E: std::fmt::Display>(result: Result<T, E>, show: impl Fn(&T) -> String) -> String {
        match result {
            Ok(value) => show(&value),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn farm_names_are_lower_case_words_with_dots_and_hyphens() {
        let too_long = "x".repeat(65);
        let table = [
            ("office", "office"),
            ("x2go-2.example", "x2go-2.example"),
            ("7", "7"),
            ("", r#"farm name "" is empty"#),
            (
                "Office",
                r#"farm name "Office" holds 'O'; allowed are a-z, 0-9, dot and hyphen"#,
            ),
            (
                "a/b",
                r#"farm name "a/b" holds '/'; allowed are a-z, 0-9, dot and hyphen"#,
            ),
            (
                "a_b",
                r#"farm name "a_b" holds '_'; allowed are a-z, 0-9, dot and hyphen"#,
            ),
            (
                "fürth",
                r#"farm name "fürth" holds 'ü'; allowed are a-z, 0-9, dot and hyphen"#,
            ),
            (
                &too_long,
                &format!("farm name {too_long:?} is longer than 64 bytes"),
            ),
        ];
        for (given, expected) in table {
            assert_eq!(
                told(FarmName::parse(given), FarmName::to_string),
                expected,
                "{given:?}"
            );
        }
        assert!(FarmName::parse(&"x".repeat(64)).is_ok());
    }

    #[test]
    fn node_names_are_host_names_in_lower_case() {
        let long_label = format!("{}.example", "l".repeat(64));
        let too_long = "ab.".repeat(85);
        let shown: String = too_long.chars().take(80).collect();
        let allowed = "allowed are a-z, 0-9, dot, hyphen and underscore";
        let table = [
            ("web1", "web1".to_owned()),
            ("Web1.Example.ORG", "web1.example.org".to_owned()),
            ("x2go_old-3", "x2go_old-3".to_owned()),
            ("192.0.2.7", "192.0.2.7".to_owned()),
            ("", r#"node name "" is empty"#.to_owned()),
            ("a b", format!(r#"node name "a b" holds ' '; {allowed}"#)),
            (
                "a/../b",
                format!(r#"node name "a/../b" holds '/'; {allowed}"#),
            ),
            ("a\0", format!(r#"node name "a\0" holds '\0'; {allowed}"#)),
            (
                "\u{212a}",
                format!("node name \"\u{212a}\" holds '\u{212a}'; {allowed}"),
            ),
            (
                "..",
                r#"node name ".." has an empty label, or one longer than 63 bytes"#.to_owned(),
            ),
            (
                "a.",
                r#"node name "a." has an empty label, or one longer than 63 bytes"#.to_owned(),
            ),
            (
                &long_label,
                format!("node name {long_label:?} has an empty label, or one longer than 63 bytes"),
            ),
            (
                "-a.b",
                r#"node name "-a.b" has a label that begins or ends with a hyphen"#.to_owned(),
            ),
            (
                "a-.b",
                r#"node name "a-.b" has a label that begins or ends with a hyphen"#.to_owned(),
            ),
            (
                &too_long,
                format!("node name {shown:?} is longer than 253 bytes"),
            ),
        ];
        for (given, expected) in table {
            assert_eq!(
                told(NodeName::parse(given), NodeName::to_string),
                expected,
                "{given:?}"
            );
        }
    }
}
