//! How is the setuid program run, and how did it end?

use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};
use tokio::sync::oneshot;

use super::ShimError;
use super::job::Job;

/// A run that has not ended in time.
#[derive(Debug)]
pub(super) struct Slow(Child);

impl Slow {
    /// Waits until it has ended. As the user it has become it can't be killed by us, and a
    /// user who has stopped it decides when.
    pub(super) async fn end(mut self) {
        let _not_ours = self.0.start_kill();
        let _status = self.0.wait().await;
    }
}

/// Runs the program. Says so when it has ended, or takes too long; returns what has not
/// ended then.
pub(super) async fn to_end(
    program: &Path,
    job: &Job,
    done: oneshot::Sender<Result<Vec<u8>, ShimError>>,
) -> Option<Slow> {
    let mut child = match start(program, job) {
        Ok(child) => child,
        Err(source) => {
            let program = program.to_owned();
            let _given_up = done.send(Err(ShimError::Start { program, source }));
            return None;
        }
    };
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let limit = job.max_output();
    let reading = async { tokio::join!(read_some(out, limit), read_some(err, MAX_COMPLAINT)) };
    let mut reading = std::pin::pin!(reading);
    let ended = async {
        let status = tokio::select! {
            status = child.wait() => status,
            // More than the cap, or closed early: the end is waited for all the same.
            printed = &mut reading => return (child.wait().await, Some(printed)),
        };
        // Something that it started may hold its output open for long.
        let printed = tokio::time::timeout(LAST_WORDS, &mut reading).await.ok();
        (status, printed)
    };
    let result = match tokio::time::timeout(RUN_LIMIT, ended).await {
        Err(_elapsed) => {
            let program = program.to_owned();
            let _given_up = done.send(Err(ShimError::Slow { program }));
            return Some(Slow(child));
        }
        Ok((Err(source), _)) => Err(ShimError::Start {
            program: program.to_owned(),
            source,
        }),
        Ok((Ok(status), printed)) if status.success() => {
            Ok(printed.map(|(out, _)| out).unwrap_or_default())
        }
        Ok((Ok(status), printed)) => Err(ShimError::Failed {
            program: program.to_owned(),
            status,
            text: printed.map(|(_, err)| first_line(&err)).unwrap_or_default(),
        }),
    };
    let _given_up = done.send(result);
    None
}

#[expect(
    clippy::disallowed_methods,
    reason = "this module is the one of the agent that starts a program"
)]
fn start(program: &Path, job: &Job) -> io::Result<Child> {
    Command::new(program)
        .args(job.operands())
        .env_clear()
        .env("PATH", PATH)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
}

async fn read_some(from: Option<impl AsyncRead + Unpin>, limit: u64) -> Vec<u8> {
    let mut text = Vec::new();
    if let Some(from) = from {
        // What came before an error is all there is.
        let _broke = from.take(limit).read_to_end(&mut text).await;
    }
    text
}

/// What fits into a line of the log.
fn first_line(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let line = text.lines().next().unwrap_or_default();
    let printable = line.chars().filter(|c| !c.is_control());
    printable.take(MAX_WORDS).collect()
}

/// Where x2goserver's programs, and those that they call, are.
pub(super) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// x2gosuspend-session ends within a second or two; it starts a hundred processes, so on a
/// server that is overrun it takes ten.
pub(super) const RUN_LIMIT: Duration = Duration::from_secs(16);
/// The setuid program ends itself, and what it runs, after 60 s, unless the user stops it:
/// what it may still do then, it does to a file of that user, who can do the same.
pub const LINGERS: Duration = Duration::from_secs(75);
/// For what is still in the pipes.
const LAST_WORDS: Duration = Duration::from_millis(100);
/// The program complains in a line.
const MAX_COMPLAINT: u64 = 4096;
/// Characters of a complaint that are passed on.
pub(super) const MAX_WORDS: usize = 200;
