//! What is asked for? An argument vector becomes a closed type, or is refused.
//!
//! Pure, and the only place where the caller's bytes are read.

mod command;
mod key_line;
mod operand;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

pub use command::CommandError;
pub use key_line::KeyLine;
pub use operand::{KeyFile, SessionId, UserName};

/// What a run of the program is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Says that the agent is there. Any user may be named, also one that does not exist.
    Ping,
    /// Names the tasks that this server can do.
    AvailableTasks,
    /// Says how loaded this server is.
    CheckLoad,
    /// Acts as a user of this server.
    AsUser(UserName, Task),
}

/// What is done as the target user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// Lists the user's sessions.
    ListSessions,
    /// Lists the desktops that the user may watch. No task of the original.
    ListDesktops,
    /// Says which share of all sessions each server has.
    FindBusyServers,
    /// The same; the original has two names for it.
    FindBusyServersBySessionStats,
    /// Lists the servers of the session database.
    GetServers,
    /// Suspends a session of the user.
    SuspendSession(SessionId),
    /// Ends a session of the user.
    TerminateSession(SessionId),
    /// Adds a line to the user's file of authorized keys.
    AddKey(KeyLine, KeyFile),
    /// Removes that very line from it.
    RemoveKey(KeyLine, KeyFile),
    /// Nothing: the name of the task is not one of ours. The original answers this with
    /// silence, and only if the user exists.
    Unknown,
}

/// Why something is no request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestError {
    /// No user or no task was named.
    TooFew,
    /// The task needs an operand that is not there.
    MissingOperand,
    /// The task takes fewer operands.
    TooMany,
    /// The first operand can't be a user name.
    UserName,
    /// The operand can't be a session ID of that user.
    SessionId,
    /// The operand is not one plain line with a public key.
    KeyLine,
    /// The operand can't be the name of a key file.
    KeyFile,
    /// The command that the SSH client asked for is not a call of this program.
    Command(CommandError),
}

impl Request {
    /// Reads what the program was started with: its operands, or when there are none (as in
    /// a forced command of sshd), the command that the SSH client asked for.
    ///
    /// # Errors
    /// When that is not exactly one of the requests.
    pub fn read(operands: &[&OsStr], asked: Option<&OsStr>) -> Result<Self, RequestError> {
        match (operands, asked) {
            ([], Some(asked)) => {
                let words = command::operands(asked.as_bytes()).map_err(RequestError::Command)?;
                let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
                Self::parse(&words)
            }
            (operands, _) => {
                let operands: Vec<&[u8]> = operands.iter().map(|word| word.as_bytes()).collect();
                Self::parse(&operands)
            }
        }
    }

    /// Reads `USER TASK [ARGS]`.
    ///
    /// # Errors
    /// When that is not exactly one of the requests.
    pub fn parse(operands: &[&[u8]]) -> Result<Self, RequestError> {
        let (user, task, rest) = match operands {
            [user, task, rest @ ..] => (UserName::parse(user)?, *task, rest),
            _ => return Err(RequestError::TooFew),
        };
        let request = match task {
            b"ping" => none(rest, Self::Ping)?,
            b"availabletasks" => none(rest, Self::AvailableTasks)?,
            b"checkload" => none(rest, Self::CheckLoad)?,
            _ => {
                let task = Task::parse(&user, task, rest)?;
                Self::AsUser(user, task)
            }
        };
        Ok(request)
    }
}

impl Task {
    fn parse(user: &UserName, name: &[u8], rest: &[&[u8]]) -> Result<Self, RequestError> {
        match name {
            b"listsessions" => none(rest, Self::ListSessions),
            b"listdesktops" => none(rest, Self::ListDesktops),
            b"findbusyservers" => none(rest, Self::FindBusyServers),
            b"findbusyservers_by_sessionstats" => none(rest, Self::FindBusyServersBySessionStats),
            b"getservers" => none(rest, Self::GetServers),
            b"suspendsession" => {
                let [id] = exactly(rest)?;
                Ok(Self::SuspendSession(SessionId::parse(user, id)?))
            }
            b"terminatesession" => {
                let [id] = exactly(rest)?;
                Ok(Self::TerminateSession(SessionId::parse(user, id)?))
            }
            b"addauthkey" => {
                let [line, file] = exactly(rest)?;
                Ok(Self::AddKey(KeyLine::parse(line)?, KeyFile::parse(file)?))
            }
            b"delauthkey" => {
                let [line, file] = exactly(rest)?;
                Ok(Self::RemoveKey(
                    KeyLine::parse(line)?,
                    KeyFile::parse(file)?,
                ))
            }
            _ => Ok(Self::Unknown),
        }
    }
}

fn none<T>(rest: &[&[u8]], value: T) -> Result<T, RequestError> {
    exactly(rest).map(|[]| value)
}

fn exactly<'a, const N: usize>(rest: &[&'a [u8]]) -> Result<[&'a [u8]; N], RequestError> {
    <[&[u8]; N]>::try_from(rest).map_err(|_mismatch| {
        if rest.len() < N {
            RequestError::MissingOperand
        } else {
            RequestError::TooMany
        }
    })
}

#[cfg(test)]
mod tests;
