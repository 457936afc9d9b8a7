//! Why did a run end without doing what was asked, and how is the caller told?
//!
//! One line on standard error and an exit code. What the original refuses too has its code,
//! 255; what it does not know has one of sysexits.h. No text says whether an account exists.

use std::fmt;
use std::io;

use crate::caller::Stranger;
use crate::location::NoLocation;
use crate::own_file::Fault;
use crate::request::{CommandError, RequestError};
use crate::target::NoTarget;

/// Why a run ended without doing what was asked.
#[derive(Debug)]
pub enum Refusal {
    /// What was asked for is no request.
    Request(RequestError),
    /// There is no ordinary user of that name.
    NoTarget,
    /// The name of the key file leads nowhere.
    NoLocation,
    /// The program is not installed as packaged.
    Installation(Fault),
    /// The caller is neither root nor the broker's account.
    Stranger,
    /// The process could not be made safe, or could not give up root for good.
    Process(&'static str, io::Error),
    /// A system call gave root back after it had been given up.
    StillRoot,
    /// A key file could not be reached, read or made anew: no line came or went.
    Untouched(&'static str, io::Error),
    /// A key file could not be written: its new content may be there or not.
    KeyFile(&'static str, io::Error),
    /// The key file is one that is better left alone, and was.
    OddKeyFile(&'static str),
    /// Others kept the key file locked for too long.
    Busy,
    /// A program of x2goserver could not be run, or failed.
    Program(io::Error),
    /// The answer could not be written.
    Output(io::Error),
}

impl Refusal {
    /// The exit code. Of those that editing a key file ends with, only that of an I/O error
    /// leaves it open whether the line is there: the agent relies on that.
    #[must_use]
    pub fn code(&self) -> u8 {
        match self {
            Self::Request(_) | Self::NoTarget | Self::NoLocation => AS_THE_ORIGINAL,
            Self::Program(_) => UNAVAILABLE,
            Self::Process(..) | Self::StillRoot => OS_ERROR,
            Self::Untouched(..) | Self::OddKeyFile(_) => CANNOT_BE_MADE,
            Self::KeyFile(..) | Self::Output(_) => IO_ERROR,
            Self::Busy => TRY_AGAIN,
            Self::Stranger => NO_PERMISSION,
            Self::Installation(_) => CONFIGURATION,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request(error) => f.write_str(describe(*error)),
            Self::NoTarget => f.write_str("no ordinary user of that name"),
            Self::NoLocation => f.write_str("the key file's name leads nowhere for this user"),
            Self::Installation(fault) => f.write_str(match fault {
                Fault::NotRoot => "started without root's rights (mounted with nosuid?)",
                Fault::Owner => "this program's file does not belong to root",
                Fault::NoSetuid => "this program's file has no setuid bit",
                Fault::Writable => "others than root may write this program's file",
                Fault::OpenToAll => "others than the broker's group may run this program's file",
            }),
            Self::Stranger => f.write_str("only the account x2gobroker and root may call this"),
            Self::StillRoot => f.write_str("root's rights could not be given up for good"),
            Self::Process(step, error)
            | Self::Untouched(step, error)
            | Self::KeyFile(step, error) => write!(f, "{step}: {error}"),
            Self::OddKeyFile(why) => f.write_str(why),
            Self::Busy => f.write_str("the key file is locked; try again"),
            Self::Program(error) => write!(f, "a program of x2goserver failed: {error}"),
            Self::Output(error) => write!(f, "the answer can't be written: {error}"),
        }
    }
}

fn describe(error: RequestError) -> &'static str {
    match error {
        RequestError::TooFew => "usage: x2gobroker-agent USER TASK [ARGS]",
        RequestError::MissingOperand => "an operand of this task is missing",
        RequestError::TooMany => "this task takes fewer operands",
        RequestError::UserName => "that can't be the name of a user",
        RequestError::SessionId => "that can't be a session of this user",
        RequestError::KeyLine => "that is not one plain line with a public key",
        RequestError::KeyFile => "that can't be the name of a key file",
        RequestError::Command(error) => match error {
            CommandError::TooLong => "the SSH command is too long",
            CommandError::Character => "the SSH command has characters that mean more to a shell",
            CommandError::Quote => "the SSH command has a quote that is not closed",
            CommandError::Program => "the SSH command calls something else",
        },
    }
}

impl From<RequestError> for Refusal {
    fn from(error: RequestError) -> Self {
        Self::Request(error)
    }
}

impl From<NoTarget> for Refusal {
    fn from(NoTarget: NoTarget) -> Self {
        Self::NoTarget
    }
}

impl From<NoLocation> for Refusal {
    fn from(NoLocation: NoLocation) -> Self {
        Self::NoLocation
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self::Installation(fault)
    }
}

impl From<Stranger> for Refusal {
    fn from(Stranger: Stranger) -> Self {
        Self::Stranger
    }
}

/// What a Perl program ends with that dies.
const AS_THE_ORIGINAL: u8 = 255;
// sysexits.h
const UNAVAILABLE: u8 = 69;
const OS_ERROR: u8 = 71;
const CANNOT_BE_MADE: u8 = 73;
const IO_ERROR: u8 = 74;
const TRY_AGAIN: u8 = 75;
const NO_PERMISSION: u8 = 77;
const CONFIGURATION: u8 = 78;
