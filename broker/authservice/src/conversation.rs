//! How is one question put to PAM, without harm to any other?
//!
//! Each runs in a process that is this program again, so a module that crashes, leaks or
//! hangs does so alone. The question goes to its standard input, the verdict comes from
//! its standard output; nothing of both stands in arguments or environment.

use std::io::{self, Read, Write};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use proto::{MAX_PAM_MESSAGE, PAM_HEAD_BYTES, PamMessageError, PamQuestion, PamVerdict};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tracing::{error, warn};
use zeroize::Zeroizing;

use crate::pam::{self, PamOptions};

/// How questions are put.
#[derive(Clone, Debug)]
pub struct Conversations {
    /// Whom to ask, and how.
    pub pam: PamOptions,
    /// How long PAM may take.
    pub deadline: Duration,
}

/// Why there is no verdict.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("its process can't be started")]
    Start(#[source] io::Error),
    #[error("its process can't be spoken with")]
    Pipe(#[from] io::Error),
    #[error("its process gave no verdict")]
    Verdict(#[from] PamMessageError),
}

impl Conversations {
    /// Puts the question of `frame` (head and message) to PAM. Returns when the process
    /// has ended, so that whoever counts processes can count calls.
    pub async fn ask(&self, frame: &[u8]) -> PamVerdict {
        let mut child = match self.start() {
            Ok(child) => child,
            Err(source) => return told(&Failure::Start(source)),
        };
        let verdict = match tokio::time::timeout(self.deadline, speak(&mut child, frame)).await {
            Ok(Ok(verdict)) => verdict,
            Ok(Err(failure)) => told(&failure),
            Err(_) => {
                warn!(deadline = ?self.deadline, "PAM did not answer in time");
                PamVerdict::Unavailable
            }
        };
        end(child).await;
        verdict
    }

    /// `/proc/self/exe` is this very program, also after an upgrade replaced the file.
    #[expect(
        clippy::disallowed_methods,
        reason = "each conversation is a process of its own"
    )]
    fn start(&self) -> io::Result<Child> {
        let mut command = Command::new("/proc/self/exe");
        command.args(["--conversation", "--pam-service", &self.pam.service]);
        if let Some(separator) = self.pam.code_separator {
            command.arg(format!("--code-separator={separator}"));
        }
        command
            .env_clear()
            .env("PATH", PATH)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
    }
}

async fn speak(child: &mut Child, frame: &[u8]) -> Result<PamVerdict, Failure> {
    let closed = || io::Error::from(io::ErrorKind::BrokenPipe);
    let (mut input, output) = (child.stdin.take(), child.stdout.take());
    let input = input.as_mut().ok_or_else(closed)?;
    let mut output = output.ok_or_else(closed)?.take(MAX_OUTPUT);
    input.write_all(frame).await?;
    let mut answer = Vec::new();
    output.read_to_end(&mut answer).await?;
    Ok(verdict_of(&answer)?)
}

/// The one message of the output. What a module prints beside it makes it none.
fn verdict_of(output: &[u8]) -> Result<PamVerdict, PamMessageError> {
    let Some((head, message)) = output.split_first_chunk::<PAM_HEAD_BYTES>() else {
        return Err(PamMessageError::Verdict(0));
    };
    if proto::pam_message_length(*head)? != message.len() {
        return Err(PamMessageError::Verdict(0));
    }
    PamVerdict::read(message)
}

/// Whatever still runs of it is ended, helpers of modules too.
async fn end(mut child: Child) {
    if let Some(id) = child.id() {
        for process in with_descendants(id) {
            // Gone already, when all is well.
            let _ = kill(Pid::from_raw(process), Signal::SIGKILL);
        }
    }
    if let Err(error) = child.wait().await {
        error!(error = %error, "the end of a conversation can't be seen");
    }
}

/// A process and those that it started, in whatever session or group they are
/// (`pam_exec` begins a session of its own).
fn with_descendants(id: u32) -> Vec<i32> {
    let mut found: Vec<i32> = i32::try_from(id).into_iter().collect();
    let mut next = 0;
    while let Some(id) = found.get(next).copied().filter(|_| next < MAX_HELPERS) {
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
        let children = children.unwrap_or_default();
        found.extend(
            children
                .split_whitespace()
                .filter_map(|id| id.parse::<i32>().ok()),
        );
        next += 1;
    }
    found
}

fn told(failure: &Failure) -> PamVerdict {
    error!(
        error = failure as &dyn std::error::Error,
        "a conversation with PAM failed"
    );
    PamVerdict::Unavailable
}

/// The other side: reads the question from standard input, asks PAM, and writes the
/// verdict.
///
/// # Errors
/// When there is no question, or nobody to tell.
pub fn answer(options: &PamOptions) -> io::Result<()> {
    let question = read_question(&mut io::stdin().lock())?;
    let verdict = pam::ask(options, &question);
    let mut output = io::stdout().lock();
    output.write_all(&verdict.to_frame())?;
    output.flush()
}

fn read_question(input: &mut impl Read) -> io::Result<PamQuestion> {
    let mut head = [0; PAM_HEAD_BYTES];
    input.read_exact(&mut head)?;
    let length = proto::pam_message_length(head).map_err(io::Error::other)?;
    let mut message = Zeroizing::new(vec![0; length]);
    input.read_exact(&mut message)?;
    PamQuestion::read(&message).map_err(io::Error::other)
}

/// What modules that start helpers find them by.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// Modules start one or two helpers; a flood of them is for the limits of systemd.
const MAX_HELPERS: usize = 64;

/// No verdict is longer than a question.
const MAX_OUTPUT: u64 = MAX_PAM_MESSAGE as u64;

#[cfg(test)]
mod tests {
    use proto::PamVerdict;

    use super::verdict_of;

    #[test]
    fn only_a_whole_verdict_is_one() {
        let granted = PamVerdict::Granted.to_frame();
        assert_eq!(verdict_of(&granted), Ok(PamVerdict::Granted));
        let printed = [&b"You have mail.\n"[..], &granted].concat();
        let twice = [&granted[..], &granted].concat();
        let cut = granted[..granted.len() - 1].to_vec();
        for output in [printed, twice, cut, Vec::new(), vec![0; 4]] {
            assert!(verdict_of(&output).is_err(), "{output:?}");
        }
    }
}
