//! What does a client ask, whatever front end it came by?

use proto::{PublicKey, Secret};

use crate::auth::{Credentials, Renewal};

/// What a client wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// `listsessions`: which session profiles are there for me?
    ListSessions,
    /// `selectsession`: on which X2Go server may I start or resume one?
    SelectSession,
    /// `setpass`: a new password.
    SetPassword,
    /// `testcon`: are you there?
    TestConnection,
    /// `clientevent`: this happened to my session.
    ClientEvent,
    /// Any other word, or none: only the credentials are checked.
    Other,
}

/// One request, cleaned but not yet checked: nobody is authenticated, and names may be of
/// any form.
#[derive(Clone, Debug)]
pub struct Request {
    /// What to do.
    pub task: Task,
    /// The same as it was sent; `json` repeats it.
    pub task_word: String,
    /// Who asks, and how that is proven.
    pub credentials: Credentials,
    /// The ID of a session profile, or of a session in a `clientevent`; may be empty.
    pub sid: String,
    /// The key that the client wants to log in with; none where it sent none, or something
    /// that is no key.
    pub pubkey: Option<PublicKey>,
    /// The new password of `setpass`.
    pub new_password: Secret,
    /// What a `clientevent` tells.
    pub event: EventFields,
}

/// The fields of a `clientevent`, as sent; each may be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFields {
    /// `CONNECTING`, `CONNECTED`, `ALIVE`, `SUSPENDING`, `TERMINATING`, `FINISHED`.
    pub event: String,
    /// The X2Go server, as the client was told it.
    pub server: String,
    /// The name of the client; X2Go Client 4.1.2 leaves it empty.
    pub client: String,
    /// What the session runs; empty before the first `ALIVE`.
    pub command: String,
    /// The number of the display.
    pub display: String,
    /// When the client began, in its own clock: `22.11.26 05:02:23`.
    pub started: String,
    /// Seconds since then.
    pub elapsed: String,
}

impl Request {
    /// Asks for the session profiles.
    #[must_use]
    pub fn list_sessions(credentials: Credentials) -> Self {
        Self {
            task: Task::ListSessions,
            task_word: "listsessions".to_owned(),
            credentials,
            sid: String::new(),
            pubkey: None,
            new_password: Secret::new(String::new()),
            event: EventFields::default(),
        }
    }
}

impl Task {
    /// Reads the word that clients send.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text {
            "listsessions" => Self::ListSessions,
            "selectsession" => Self::SelectSession,
            "setpass" => Self::SetPassword,
            "testcon" => Self::TestConnection,
            "clientevent" => Self::ClientEvent,
            _ => Self::Other,
        }
    }

    /// Whether the answer tells the client its next AUTHID; that of `testcon` does not.
    #[must_use]
    pub fn renewal(self) -> Renewal {
        match self {
            Self::TestConnection => Renewal::Keep,
            // X2Go Client sends the next one before it has the answer to the last.
            Self::ClientEvent => Renewal::Unspent,
            Self::ListSessions | Self::SelectSession | Self::SetPassword | Self::Other => {
                Renewal::Next
            }
        }
    }
}
