//! How is the daemon of this host asked?

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::{Gid, Group};
use proto::{
    LOCAL_HEAD_BYTES, LocalAnswer, LocalMessageError, LocalRequest, MAX_LOCAL_ANSWER,
    local_message_length,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::{sleep, timeout};
use zeroize::Zeroizing;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    #[error("the session broker of this host does not run (nobody answers at {socket})")]
    NoDaemon { socket: PathBuf },
    #[error("only members of the group {group} may use the session broker of this host")]
    NotAllowed { group: String },
    #[error("the session broker did not answer in time")]
    Silent,
    #[error("the session broker hung up: {0}")]
    Broken(#[source] io::Error),
    #[error("the options are too long")]
    TooLong,
    #[error("the session broker's answer can't be read: {0}")]
    Misbehaved(#[source] LocalMessageError),
    #[error("nothing can be asked: {0}")]
    Runtime(#[source] io::Error),
}

/// Asks, and waits for the answer.
pub(super) fn ask(socket: &Path, request: &LocalRequest) -> Result<LocalAnswer, AskError> {
    let frame = request.to_frame().map_err(|_long| AskError::TooLong)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(AskError::Runtime)?;
    runtime.block_on(async {
        let stream = timeout(CONNECT_LIMIT, connect(socket)).await;
        let mut stream = stream.unwrap_or_else(|_elapsed| Err(no_daemon(socket)))?;
        let answered = timeout(ANSWER_LIMIT, exchange(&mut stream, &frame)).await;
        answered.unwrap_or(Err(AskError::Silent))
    })
}

async fn connect(socket: &Path) -> Result<UnixStream, AskError> {
    loop {
        match UnixStream::connect(socket).await {
            Ok(stream) => return Ok(stream),
            // unix(7): the daemon has not accepted those before this one.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(NEXT_TRY).await,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return Err(AskError::NotAllowed {
                    group: group_of(socket),
                });
            }
            Err(_nobody) => return Err(no_daemon(socket)),
        }
    }
}

async fn exchange(stream: &mut UnixStream, frame: &[u8]) -> Result<LocalAnswer, AskError> {
    // A daemon that refuses at once does not read; its answer tells why.
    let sent = stream.write_all(frame).await;
    let mut head = [0; LOCAL_HEAD_BYTES];
    let read = stream.read_exact(&mut head).await;
    read.map_err(|error| AskError::Broken(sent.err().unwrap_or(error)))?;
    let length = local_message_length(head, MAX_LOCAL_ANSWER).map_err(AskError::Misbehaved)?;
    let mut message = Zeroizing::new(vec![0; length]);
    let read = stream.read_exact(&mut message).await;
    read.map_err(AskError::Broken)?;
    LocalAnswer::read(&message).map_err(AskError::Misbehaved)
}

fn no_daemon(socket: &Path) -> AskError {
    AskError::NoDaemon {
        socket: socket.to_owned(),
    }
}

/// Whose members may connect, as far as that can be seen.
fn group_of(socket: &Path) -> String {
    let gid = std::fs::metadata(socket).map(|facts| Gid::from_raw(facts.gid()));
    let group = gid.ok().and_then(|gid| Group::from_gid(gid).ok().flatten());
    group.map_or_else(|| "of its socket".to_owned(), |group| group.name)
}

/// A daemon that runs accepts within milliseconds.
const CONNECT_LIMIT: Duration = Duration::from_millis(800);

/// Between tries while the daemon is busy.
const NEXT_TRY: Duration = Duration::from_millis(20);

/// Longer than the daemon takes for anything: a running session is suspended first, within
/// 15 s, and the operator's scripts have their say.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{AskError, ask};
    use crate::cli::ssh::options::{GivenBy, Options};

    #[test]
    fn without_a_daemon_there_is_an_error_within_a_second() {
        let folder = tempfile::tempdir().unwrap();
        let args = ["--task", "testcon"].map(str::to_owned);
        let options = Options::parse(&args, GivenBy::CommandLine).unwrap();
        let request = options.request("");
        let left_over = folder.path().join("left-over");
        drop(UnixListener::bind(&left_over).unwrap());
        let full = folder.path().join("full");
        let listener = UnixListener::bind(&full).unwrap();
        // Nobody accepts: the queue of the kernel fills up.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let waiting: Vec<_> = runtime.block_on(async {
            let mut waiting = Vec::new();
            while let Ok(stream) = tokio::net::UnixStream::connect(&full).await {
                waiting.push(stream);
                if waiting.len() > 10_000 {
                    break;
                }
            }
            waiting
        });
        for socket in [folder.path().join("none"), left_over, full] {
            let begun = Instant::now();
            let error = ask(&socket, &request).unwrap_err();
            assert!(matches!(error, AskError::NoDaemon { .. }), "{error}");
            assert!(begun.elapsed() < Duration::from_secs(1), "{socket:?}");
        }
        drop((waiting, listener));
    }
}
