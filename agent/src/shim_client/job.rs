//! What can the setuid program be asked to do? Its command lines, each a closed type.

use std::fmt;
use std::sync::Arc;

use proto::{KeyFile, SessionId, Username};

/// What is done to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Act {
    /// `suspendsession`.
    Suspend,
    /// `terminatesession`.
    Terminate,
}

/// What is done to a key file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyAct {
    /// `addauthkey`.
    Add,
    /// `delauthkey`.
    Remove,
}

/// One line of one key file of one user.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyEdit {
    /// Whose file.
    pub user: Username,
    /// The whole line.
    pub line: Arc<str>,
    /// Which file.
    pub file: KeyFile,
}

/// One run of the program.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Job {
    Session {
        act: Act,
        user: Username,
        session: SessionId,
    },
    Key(KeyAct, KeyEdit),
    AvailableTasks,
    ListDesktops(Username),
}

impl Job {
    /// Whose process it becomes, so that the agent can't end it any more.
    pub(super) fn user(&self) -> Option<&Username> {
        match self {
            Self::Session { user, .. } | Self::ListDesktops(user) => Some(user),
            Self::Key(_, edit) => Some(&edit.user),
            Self::AvailableTasks => None,
        }
    }

    /// What the program is started with.
    pub(super) fn operands(&self) -> Vec<&str> {
        match self {
            Self::Session { act, user, session } => {
                let task = match act {
                    Act::Suspend => "suspendsession",
                    Act::Terminate => "terminatesession",
                };
                vec![user.as_str(), task, session.as_str()]
            }
            Self::Key(act, edit) => {
                let task = match act {
                    KeyAct::Add => "addauthkey",
                    KeyAct::Remove => "delauthkey",
                };
                vec![edit.user.as_str(), task, &edit.line, edit.file.as_str()]
            }
            // Any user may be named.
            Self::AvailableTasks => vec!["x2gobroker", "availabletasks"],
            Self::ListDesktops(user) => vec![user.as_str(), "listdesktops"],
        }
    }

    /// How much of what the program prints is read.
    pub(super) fn max_output(&self) -> u64 {
        match self {
            Self::ListDesktops(_) => MAX_DESKTOPS_BYTES,
            Self::Session { .. } | Self::Key(..) | Self::AvailableTasks => MAX_OUTPUT,
        }
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Suspend => "suspendsession",
            Self::Terminate => "terminatesession",
        })
    }
}

/// The program prints a line, or ten names.
const MAX_OUTPUT: u64 = 4096;
/// The largest listing of desktops with the longest names.
const MAX_DESKTOPS_BYTES: u64 = 128 * 1024;
