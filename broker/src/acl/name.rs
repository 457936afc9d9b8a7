//! Does an entry of a user or group list mean this user?

use std::fmt;
use std::sync::Arc;

use super::{ALL, Asker, Groups, Match};

/// An entry of a user or group list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamePattern {
    /// `ALL`.
    Any,
    /// This name; a domain in the name of a user has no case. Whether the user's name has one
    /// is not known.
    Name(String),
}

/// The name of a group, as the system knows it. Directories have groups with spaces and
/// domains in their names, so nearly everything is one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupName(Arc<str>);

/// A text that is no group name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a group name must be 1 to {MAX_BYTES} bytes without control characters")]
pub struct GroupNameError;

impl NamePattern {
    /// Reads an entry: `ALL` or a name.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text {
            ALL => Self::Any,
            name => Self::Name(name.to_owned()),
        }
    }

    pub(super) fn matches_user(&self, user: Option<&str>) -> Match {
        match self {
            Self::Any => Match::Yes,
            Self::Name(own) => match user {
                // However the domain is written.
                Some(user) if proto::is_same_user(user, own) => Match::Yes,
                // Some directories take a name in any case, others have two users there: a
                // deny entry must not be missed.
                Some(user) if user.eq_ignore_ascii_case(own) => Match::Unknown,
                Some(_) | None => Match::No,
            },
        }
    }

    pub(super) fn matches_groups(&self, asker: &Asker<'_>) -> Match {
        match (self, asker.user, asker.groups) {
            (Self::Any, _, _) => Match::Yes,
            // Nobody is in no group.
            (Self::Name(_), None, _) => Match::No,
            (Self::Name(_), Some(_), Groups::Unknown) => Match::Unknown,
            (Self::Name(own), Some(_), Groups::Known(groups)) => {
                groups.iter().any(|group| group.as_str() == own).into()
            }
        }
    }
}

impl GroupName {
    /// Checks and takes the name of a group.
    ///
    /// # Errors
    /// When it is empty, too long, or holds a control character.
    pub fn parse(text: &str) -> Result<Self, GroupNameError> {
        if text.is_empty() || text.len() > MAX_BYTES || text.chars().any(char::is_control) {
            return Err(GroupNameError);
        }
        Ok(Self(text.into()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Distinguished names of directories fit.
const MAX_BYTES: usize = 256;
