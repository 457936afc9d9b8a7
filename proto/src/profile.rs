//! The name of a session profile.

use std::fmt;
use std::sync::Arc;

/// The section name of a session profile, by which clients ask for it.
///
/// Printable text in one line, without brackets and without white space at its ends, at
/// most 256 bytes. X2Go Client does not encode it in
/// its request, so IDs that work with every client are made of URL characters; others
/// are accepted here because the original accepts them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionProfileId(Arc<str>);

/// A text that can't be the ID of a session profile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a profile ID must be 1 to {MAX_BYTES} printable characters without [ and ]")]
pub struct SessionProfileIdError;

impl SessionProfileId {
    /// Checks and takes a profile ID.
    ///
    /// # Errors
    /// When it is empty, too long, holds a bracket, a control character or a line break,
    /// or has white space at an end: requests lose it on their way.
    pub fn parse(text: &str) -> Result<Self, SessionProfileIdError> {
        let printable = |c: char| !c.is_control() && !"[]\u{2028}\u{2029}".contains(c);
        let has_form = text.chars().all(printable) && text.trim() == text;
        if text.is_empty() || text.len() > MAX_BYTES || !has_form {
            return Err(SessionProfileIdError);
        }
        Ok(Self(text.into()))
    }

    /// The ID as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SessionProfileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

const MAX_BYTES: usize = 256;

#[cfg(test)]
mod tests {
    use super::SessionProfileId;

    #[test]
    fn ids_are_printable_and_bounded() {
        for id in ["farm", "a-one", "Büro 2", "x"] {
            assert_eq!(SessionProfileId::parse(id).unwrap().as_str(), id);
        }
        let long = "x".repeat(257);
        for id in [
            "",
            " ",
            " a",
            "a ",
            "a\nb",
            "a\rb",
            "a\0b",
            "a]b",
            "[a",
            "a\u{2028}b",
            "a\u{85}b",
            &long,
        ] {
            assert!(SessionProfileId::parse(id).is_err(), "{id:?}");
        }
    }
}
