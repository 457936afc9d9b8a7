//! `x2gobroker-ssh`, and `x2gobroker` in its SSH mode: passes one request of a client to the
//! daemon of this host, and prints its answer.
//!
//! sshd starts it as the user, and it has no rights but theirs: who asks is what the kernel
//! tells the daemon. Of the environment counts only what sshd sets.

mod ask;
mod options;
mod original_command;
mod usage;
mod words;

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use proto::{LocalAnswer, LocalRequest, Secret};
use zeroize::Zeroizing;

pub(super) use options::Value;
pub use options::{Options, OptionsError};
pub use original_command::{Frame, OriginalCommandError};
pub use words::WordsError;

use crate::config::SSH_SOCKET;
use ask::AskError;
use options::{GivenBy, Wants};
use original_command::Asked;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// The answer to X2Go Client's first command.
    Greeting,
    /// How the program is used.
    Help,
    /// Its version.
    Version,
    /// There is no task.
    NoTask,
    /// An event without a task; the original takes it in silence.
    Nothing,
    /// The daemon is to be asked.
    Ask {
        /// What.
        options: Options,
        /// What the client wants around the answer.
        frame: Option<Frame>,
    },
}

/// Why nothing is done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The options.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// The command that sshd did not run.
    #[error("SSH_ORIGINAL_COMMAND: {0}")]
    Original(#[from] OriginalCommandError),
    /// Neither can be read.
    #[error("the arguments are not UTF-8")]
    NotUtf8,
}

/// What sshd says of the client.
#[derive(Clone, Debug, Default)]
pub(super) struct Sshd {
    original_command: Option<OsString>,
    client: Option<String>,
}

impl Command {
    /// Reads the words behind the name of the program, and where they are no call by
    /// themselves, the command that sshd did not run.
    ///
    /// # Errors
    /// When it is none that is done here.
    pub fn read(args: &[String], original: Option<&str>) -> Result<Self, CommandError> {
        Self::of(Options::parse(args, GivenBy::CommandLine)?, original)
    }

    /// [`Self::read`] for options that were read already.
    fn of(own: Options, original: Option<&str>) -> Result<Self, CommandError> {
        let Some(original) = original.filter(|_| !own.are_a_call()) else {
            return Ok(Self::done(own, None));
        };
        match original_command::parse(original)? {
            Asked::Greeting => Ok(Self::Greeting),
            Asked::Broker { args, frame } => {
                let options = Options::parse(&args, GivenBy::Client)?;
                Ok(Self::done(own.over(options), frame))
            }
        }
    }

    fn done(options: Options, frame: Option<Frame>) -> Self {
        match options.wants() {
            Some(Wants::Help) => Self::Help,
            Some(Wants::Version) => Self::Version,
            None if options.has_task() => Self::Ask { options, frame },
            None if options.has_event() => Self::Nothing,
            None => Self::NoTask,
        }
    }
}

/// Runs `x2gobroker-ssh`.
#[must_use]
pub fn ssh() -> ExitCode {
    let args: Result<Vec<String>, OsString> = std::env::args_os()
        .skip(1)
        .map(OsString::into_string)
        .collect();
    let sshd = Sshd::of_environment();
    let read = sshd.original().and_then(|original| {
        let args = args.map_err(|_os| CommandError::NotUtf8)?;
        Command::read(&args, original)
    });
    end(read, &sshd)
}

/// Runs `x2gobroker` in its SSH mode.
#[must_use]
pub(super) fn of_options(options: Options) -> ExitCode {
    let sshd = Sshd::of_environment();
    let read = sshd.original();
    let read = read.and_then(|original| Command::of(options, original));
    end(read, &sshd)
}

fn end(command: Result<Command, CommandError>, sshd: &Sshd) -> ExitCode {
    let done = match command {
        Ok(command) => perform(command, sshd),
        Err(error) => Done {
            said: format!("{}{PROGRAM}: error: {error}\n", usage::SHORT),
            ..Done::with(WRONG_OPTIONS)
        },
    };
    done.print()
}

/// What is printed, and the exit code.
#[derive(Debug, PartialEq, Eq)]
struct Done {
    answer: String,
    said: String,
    code: u8,
}

impl Done {
    fn with(code: u8) -> Self {
        Self {
            answer: String::new(),
            said: String::new(),
            code,
        }
    }

    fn answered(answer: String) -> Self {
        Self {
            answer,
            ..Self::with(0)
        }
    }

    fn say(&mut self, text: impl std::fmt::Display) {
        self.said += &format!("{PROGRAM}: {text}\n");
    }

    fn print(self) -> ExitCode {
        // Nobody is left to tell if it fails.
        let _ = io::stderr().write_all(self.said.as_bytes());
        let mut out = io::stdout();
        let printed = out.write_all(self.answer.as_bytes());
        match printed.and_then(|()| out.flush()) {
            Ok(()) => ExitCode::from(self.code),
            Err(_gone) => ExitCode::FAILURE,
        }
    }
}

fn perform(command: Command, sshd: &Sshd) -> Done {
    match command {
        Command::Greeting => Done::answered("LOGIN OK\n".to_owned()),
        Command::Help => Done::answered(usage::LONG.to_owned()),
        Command::Version => Done::answered(format!("{PROGRAM} {}\n", env!("CARGO_PKG_VERSION"))),
        Command::Nothing => Done::with(0),
        Command::NoTask => Done {
            answer: format!("\n{}No task specified, doing nothing...\n\n", usage::SHORT),
            ..Done::with(NO_TASK)
        },
        Command::Ask { options, frame } => {
            let mut done = Done::with(0);
            for option in options.without_effect() {
                done.say(format_args!(
                    "{option} is for the daemon and has no effect here"
                ));
            }
            let socket = options
                .socket()
                .unwrap_or_else(|| PathBuf::from(SSH_SOCKET));
            match with_password(options.request(sshd.client())) {
                Ok(request) => answer(&mut done, &socket, &request),
                Err(error) => {
                    done.say(format_args!("the new password can't be read: {error}"));
                    done.code = WRONG_OPTIONS;
                }
            }
            if let Some(frame) = frame {
                done.answer = format!("{}\n{}{}\n", frame.begin(), done.answer, frame.end());
            }
            done
        }
    }
}

/// Asks the daemon. Each outcome has its exit code here, and nowhere else.
fn answer(done: &mut Done, socket: &Path, request: &LocalRequest) {
    let (code, text) = match ask::ask(socket, request) {
        Ok(LocalAnswer::Answered { text, notice }) => {
            // The original prints its answer with the end of a line behind it.
            done.answer = text + "\n";
            (0, notice)
        }
        Ok(LocalAnswer::Refused { notice }) => {
            let text = match notice.as_str() {
                "" => "access denied".to_owned(),
                notice => format!("access denied; {notice}"),
            };
            (0, text)
        }
        Ok(LocalAnswer::BackendOff) => (0, "this backend is switched off".to_owned()),
        Ok(LocalAnswer::UnknownBackend) => {
            let backend = request.backend.escape_debug();
            (FAILED, format!("there is no backend {backend}"))
        }
        Ok(LocalAnswer::NoAccount) => (
            NOT_ALLOWED,
            "your account can't be used with this session broker".to_owned(),
        ),
        Ok(LocalAnswer::Busy) => (TRY_AGAIN, "too many ask at once; try again".to_owned()),
        Ok(LocalAnswer::Unavailable) => {
            let text = "the session broker can't answer now; try again";
            (TRY_AGAIN, text.to_owned())
        }
        Err(error) => (code_of(&error), error.to_string()),
    };
    done.code = code;
    if !text.is_empty() {
        done.say(text);
    }
}

fn code_of(error: &AskError) -> u8 {
    match error {
        AskError::NoDaemon { .. } => UNAVAILABLE,
        AskError::NotAllowed { .. } => NOT_ALLOWED,
        AskError::Silent | AskError::Broken(_) => TRY_AGAIN,
        AskError::TooLong => WRONG_OPTIONS,
        AskError::Misbehaved(_) | AskError::Runtime(_) => FAILED,
    }
}

/// With the new password from standard input, where `-` stands for it: the options of a
/// process can be seen by everybody on its host.
fn with_password(mut request: LocalRequest) -> io::Result<LocalRequest> {
    if request.new_password.expose() == FROM_INPUT {
        let mut read = Zeroizing::new(String::with_capacity(MAX_PASSWORD));
        let limit = u64::try_from(MAX_PASSWORD).unwrap_or(u64::MAX);
        io::stdin().take(limit).read_to_string(&mut read)?;
        let line = read.strip_suffix('\n').unwrap_or(&read);
        request.new_password = Secret::new(line.to_owned());
    }
    Ok(request)
}

impl Sshd {
    fn of_environment() -> Self {
        let client = |name| std::env::var(name).ok();
        Self {
            original_command: std::env::var_os("SSH_ORIGINAL_COMMAND"),
            client: client("SSH_CLIENT").or_else(|| client("SSH_CONNECTION")),
        }
    }

    fn original(&self) -> Result<Option<&str>, CommandError> {
        let original = self.original_command.as_deref();
        let text = original.map(|text| text.to_str().ok_or(CommandError::NotUtf8));
        text.transpose()
    }

    /// sshd(8): the address stands first in both variables.
    fn client(&self) -> &str {
        let client = self.client.as_deref().unwrap_or_default();
        client.split(' ').next().unwrap_or_default()
    }
}

const PROGRAM: &str = "x2gobroker-ssh";

/// Stands for a password that comes through standard input.
const FROM_INPUT: &str = "-";
const MAX_PASSWORD: usize = 4096;

/// Exit codes of the original.
const FAILED: u8 = 1;
const WRONG_OPTIONS: u8 = 2;
const NO_TASK: u8 = 254;
/// What a shell says of a program that may not be run: the original's may not.
const NOT_ALLOWED: u8 = 126;
/// `EX_UNAVAILABLE` and `EX_TEMPFAIL` of sysexits.h.
const UNAVAILABLE: u8 = 69;
const TRY_AGAIN: u8 = 75;

#[cfg(test)]
mod tests;
