//! A session: what everybody may know of it, and the full record with its secrets.

mod kind;
mod record;
mod wire;

use std::fmt;
use std::sync::Arc;

pub use kind::SessionKind;
pub use record::{RecordError, SessionRecord};

use crate::Username;

/// The server's name of a session, such as `alice-50-1795323502_stRTERMINAL_dp24`.
///
/// Printable ASCII without blanks, `|`, quotes and slashes, at most 500 bytes (the width
/// of the column in x2goserver's database).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(Arc<str>);

/// A text that can't be a session ID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a session ID must be 1 to {MAX_ID_BYTES} ASCII letters, digits and _ . @ + - : , = %")]
pub struct SessionIdError;

impl SessionId {
    /// Checks and takes a session ID.
    ///
    /// # Errors
    /// When it is empty, too long or holds a character that no session ID holds.
    pub fn parse(text: &str) -> Result<Self, SessionIdError> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_.@+-:,=%".contains(&b);
        if text.is_empty() || text.len() > MAX_ID_BYTES || !text.bytes().all(allowed) {
            return Err(SessionIdError);
        }
        Ok(Self(text.into()))
    }

    /// The ID as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether somebody sits before the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SessionState {
    /// `R`: a client is connected, or the session is starting.
    Running,
    /// `S`: it waits to be resumed.
    Suspended,
}

impl SessionState {
    /// The letter of the session database and of session profiles.
    #[must_use]
    pub fn letter(self) -> char {
        match self {
            Self::Running => 'R',
            Self::Suspended => 'S',
        }
    }
}

/// What an operator wants the X2Go client of a session to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientOrder {
    /// Suspend it.
    Suspend,
    /// End it.
    Terminate,
}

/// A session as everybody in the mesh may know it: no secrets, nothing to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The server's name of it.
    pub id: SessionId,
    /// Whose it is.
    pub user: Username,
    /// Running or suspended.
    pub state: SessionState,
    /// Its server has not yet written pid, cookie and ports: it can't be resumed yet.
    pub starting: bool,
    /// What its client is to do, if an operator asked for it.
    pub client_order: Option<ClientOrder>,
}

const MAX_ID_BYTES: usize = 500;

#[cfg(test)]
mod tests {
    use super::SessionId;

    #[test]
    fn ids_of_x2goserver_are_taken() {
        for id in [
            "alice-50-1795323502_stRTERMINAL_dp24",
            "bob-51-1795323503_stDMATE_dp32",
            "carol-52-1795323504_stSSHADOWalice_dp24",
            "j.doe@example.org-53-1795323505_stRx2go-firefox_dp24",
        ] {
            assert_eq!(SessionId::parse(id).unwrap().as_str(), id);
        }
    }

    #[test]
    fn texts_that_would_break_a_record_or_a_path_are_refused() {
        for id in [
            "",
            "a|b",
            "a b",
            "a/b",
            "a\nb",
            "é",
            "$(id)",
            "a;b",
            &"x".repeat(501),
        ] {
            assert!(SessionId::parse(id).is_err(), "{id:?}");
        }
    }
}
