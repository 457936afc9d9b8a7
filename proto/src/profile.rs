//! The name of a session profile.

use std::fmt;
use std::sync::Arc;

/// The section name of a session profile, by which clients ask for it.
///
/// Printable text without brackets, at most 256 bytes. X2Go Client does not encode it in
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
    /// When it is empty, too long, or holds a bracket or control character.
    pub fn parse(text: &str) -> Result<Self, SessionProfileIdError> {
        let printable = |c: char| !c.is_control() && c != '[' && c != ']';
        if text.is_empty() || text.len() > MAX_BYTES || !text.chars().all(printable) {
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
        for id in ["", "a\nb", "a]b", &"x".repeat(257)] {
            assert!(SessionProfileId::parse(id).is_err(), "{id:?}");
        }
    }
}
