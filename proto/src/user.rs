//! What counts as a user name.

use std::fmt;
use std::sync::Arc;

/// The name of a user, as X2Go servers know it.
///
/// Letters, digits and `_ . @ + -`; starts with a letter, a digit or `_`; at most 64
/// bytes. So it can stand in a session ID, a log line or a `|` record without quoting,
/// and never looks like an option or a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Username(Arc<str>);

/// Why a text is not a user name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UsernameError {
    /// Nothing was given.
    #[error("a user name is empty")]
    Empty,
    /// Longer than 64 bytes.
    #[error("a user name is longer than {MAX_BYTES} bytes")]
    TooLong,
    /// A character that no X2Go user name holds.
    #[error("a user name holds the character {0:?}; allowed are letters, digits and _ . @ + -")]
    Character(char),
    /// It starts like an option or a hidden file.
    #[error("a user name starts with {0:?}; it must start with a letter, a digit or _")]
    Start(char),
}

impl Username {
    /// Checks and takes a user name.
    ///
    /// # Errors
    /// When it is empty, too long or holds a character that no user name holds.
    pub fn parse(text: &str) -> Result<Self, UsernameError> {
        let first = text.chars().next().ok_or(UsernameError::Empty)?;
        if text.len() > MAX_BYTES {
            return Err(UsernameError::TooLong);
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || "_.@+-".contains(c);
        if let Some(bad) = text.chars().find(|&c| !allowed(c)) {
            return Err(UsernameError::Character(bad));
        }
        if !first.is_ascii_alphanumeric() && first != '_' {
            return Err(UsernameError::Start(first));
        }
        Ok(Self(text.into()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

const MAX_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use super::{Username, UsernameError};

    #[test]
    fn names_of_unix_and_directory_users_are_taken() {
        for name in [
            "alice",
            "a",
            "_apt",
            "j.doe",
            "doe@example.org",
            "x-1",
            "A+b",
            "7up",
        ] {
            assert_eq!(Username::parse(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn texts_that_could_be_more_than_a_name_are_refused() {
        let cases = [
            ("", UsernameError::Empty),
            ("-rf", UsernameError::Start('-')),
            (".ssh", UsernameError::Start('.')),
            ("a b", UsernameError::Character(' ')),
            ("a|b", UsernameError::Character('|')),
            ("../x", UsernameError::Character('/')),
            ("a\nb", UsernameError::Character('\n')),
            ("jürgen", UsernameError::Character('ü')),
            ("$(id)", UsernameError::Character('$')),
        ];
        for (text, error) in cases {
            assert_eq!(Username::parse(text), Err(error), "{text:?}");
        }
        assert_eq!(
            Username::parse(&"x".repeat(65)),
            Err(UsernameError::TooLong)
        );
    }
}
