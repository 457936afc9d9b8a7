//! Which programs are run as the user, and how?
//!
//! Five programs of x2goserver, by their fixed paths, with an environment that holds nothing
//! but a fixed `PATH`, since they call each other by name, and whose session it is.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use nix::unistd::{dup2_stdin, execve};
use shim::Refusal;
use shim::answer::OK;
use shim::target::Target;

use crate::privileges::Dropped;

/// A program of x2goserver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// x2golistsessions(8)
    ListSessions,
    /// x2golistdesktops(8)
    ListDesktops,
    /// x2gogetservers(8)
    GetServers,
    /// x2gosuspend-session(8): the session is suspended when it returns.
    SuspendSession,
    /// x2goterminate-session(8)
    TerminateSession,
}

impl Program {
    fn path(self) -> &'static str {
        match self {
            Self::ListSessions => "/usr/bin/x2golistsessions",
            Self::ListDesktops => "/usr/bin/x2golistdesktops",
            Self::GetServers => "/usr/bin/x2gogetservers",
            Self::SuspendSession => "/usr/bin/x2gosuspend-session",
            Self::TerminateSession => "/usr/bin/x2goterminate-session",
        }
    }

    /// Whether x2goserver has brought it.
    pub(crate) fn is_installed(self) -> bool {
        let metadata = std::fs::metadata(self.path());
        metadata.is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    }
}

/// Says OK and lets the program take this process's place.
///
/// `no_new_privs` is not set: with SQLite, x2goserver reaches its database through a
/// setgid program of its own, which that would forbid. The process is the user's by now,
/// with no more rights than the user has by a login.
///
/// `HOME` is needed: without it x2gosuspend-session finds nothing to suspend, and says
/// that all is well.
pub(crate) fn replace(
    _: &Dropped,
    target: &Target,
    program: Program,
    args: &[&str],
) -> Result<(), Refusal> {
    if !program.is_installed() {
        return Err(Refusal::Program(io::ErrorKind::NotFound.into()));
    }
    let path = c_string(program.path())?;
    let mut argv = vec![path.clone()];
    for arg in args {
        argv.push(c_string(*arg)?);
    }
    let account = target.account();
    let mut home = b"HOME=".to_vec();
    home.extend_from_slice(account.home.as_os_str().as_bytes());
    let environment = [
        c_string(home)?,
        c_string(format!("LOGNAME={}", account.name))?,
        c_string(format!("PATH={SEARCH_PATH}"))?,
        c_string(format!("USER={}", account.name))?,
    ];
    let nothing = File::open("/dev/null").map_err(Refusal::Program)?;
    dup2_stdin(&nothing).map_err(|error| Refusal::Program(error.into()))?;
    let mut out = io::stdout().lock();
    let written = out.write_all(OK.as_bytes()).and_then(|()| out.flush());
    written.map_err(Refusal::Output)?;
    match execve(&path, &argv, &environment) {
        Ok(never) => match never {},
        Err(error) => Err(Refusal::Program(error.into())),
    }
}

/// Runs the program to its end and returns what it prints.
pub(crate) fn output(_: &Dropped, program: Program) -> Result<String, Refusal> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the shim exists to start these few programs"
    )]
    let mut command = Command::new(program.path());
    command.env_clear().env("PATH", SEARCH_PATH);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(Refusal::Program)?;
    let mut bytes = Vec::new();
    if let Some(out) = child.stdout.take() {
        let read = out.take(MAX_OUTPUT_BYTES).read_to_end(&mut bytes);
        read.map_err(Refusal::Program)?;
    }
    let status = child.wait().map_err(Refusal::Program)?;
    if status.success() {
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    } else {
        Err(Refusal::Program(io::Error::other(status.to_string())))
    }
}

fn c_string(text: impl Into<Vec<u8>>) -> Result<CString, Refusal> {
    CString::new(text).map_err(|error| Refusal::Program(error.into()))
}

const SEARCH_PATH: &str = "/usr/bin:/bin";

/// A line for each of a thousand servers with long names.
const MAX_OUTPUT_BYTES: u64 = 256 * 1024;
