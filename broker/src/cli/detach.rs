//! How does a daemon go to the background?
//!
//! The program starts itself again and waits until the new process says that it serves
//! clients, so that its exit code tells whether it does. Nothing is forked: a fork of a
//! running program keeps half of its state.

use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;

use crate::process::READY;

/// The option that tells the new process what it is.
pub(super) const DETACHED: &str = "--detached";

/// Starts this program again in the background, and ends as it does, or well when it serves.
pub(super) fn start_again() -> Result<ExitCode> {
    let program = std::env::current_exe().context("this program does not find itself")?;
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_else(|| program.clone().into());
    #[expect(clippy::disallowed_methods, reason = "it starts this very program")]
    let mut command = Command::new(&program);
    command.arg0(name).args(arguments).arg(DETACHED);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().context("the daemon can't be started")?;
    let Some(stdout) = child.stdout.take() else {
        bail!("the daemon can't say when it serves");
    };
    match says_ready(stdout) {
        Ok(true) => Ok(ExitCode::SUCCESS),
        Ok(false) => ended(&mut child),
        Err(mpsc::RecvTimeoutError::Timeout) => {
            bail!(
                "the daemon (process {}) does not serve yet; see its log",
                child.id()
            )
        }
        Err(mpsc::RecvTimeoutError::Disconnected) => bail!("the daemon can't say when it serves"),
    }
}

/// Whether the new process says that it serves, before it ends.
fn says_ready(mut stdout: ChildStdout) -> Result<bool, mpsc::RecvTimeoutError> {
    let (said, heard) = mpsc::sync_channel(1);
    // A read has no time limit of its own. The thread ends with this short-lived process.
    std::thread::spawn(move || {
        let mut word = [0; READY.len()];
        // Nobody hears it when the time is over.
        let _ = said.send(stdout.read_exact(&mut word).is_ok() && word == READY);
    });
    heard.recv_timeout(READY_LIMIT)
}

fn ended(child: &mut Child) -> Result<ExitCode> {
    let status = child.wait().context("the daemon ended")?;
    if let Some(signal) = status.signal() {
        bail!("the daemon was ended by signal {signal}");
    }
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

/// Leaves the terminal and the directory of who started the program.
pub(super) fn leave_terminal() -> Result<()> {
    match nix::unistd::setsid() {
        // Whoever leads a session has left already.
        Ok(_) | Err(Errno::EPERM) => {}
        Err(error) => return Err(error).context("the daemon can't leave its terminal"),
    }
    std::env::set_current_dir("/").context("the daemon can't leave its directory")
}

/// A start takes a second; on a busy host it takes longer, and one that hangs is a failure.
const READY_LIMIT: Duration = Duration::from_secs(60);
