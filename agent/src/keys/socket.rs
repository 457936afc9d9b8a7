//! How does sshd hear of temporary keys? Its `AuthorizedKeysCommand` asks here.
//!
//! A line with the name of a user comes in; the lines of the keys that open that user's
//! account now go out, and that is the end. Only the agent's own account and root may ask.

use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use proto::Username;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::KeysHandle;

/// The socket, bound.
#[derive(Debug)]
pub struct KeysSocket {
    listener: UnixListener,
    own_user: u32,
}

/// The socket can't be had.
#[derive(Debug, thiserror::Error)]
#[error("the socket {} can't be had", path.display())]
pub struct KeysSocketError {
    /// Which one.
    pub path: PathBuf,
    /// What failed.
    pub source: io::Error,
}

impl KeysSocket {
    /// Binds the socket, for the agent's account and root alone. Takes the place of one that
    /// an agent has left behind.
    ///
    /// # Errors
    /// When something else is there, or it can't be made.
    pub fn bind(path: &Path) -> Result<Self, KeysSocketError> {
        let bound = || -> io::Result<UnixListener> {
            let before = std::fs::symlink_metadata(path);
            if before.is_ok_and(|before| before.file_type().is_socket()) {
                std::fs::remove_file(path)?;
            }
            let listener = UnixListener::bind(path)?;
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
            Ok(listener)
        };
        let listener = bound().map_err(|source| KeysSocketError {
            path: path.to_owned(),
            source,
        })?;
        let own_user = nix::unistd::geteuid().as_raw();
        Ok(Self { listener, own_user })
    }

    /// Answers until `stop`.
    pub async fn run(self, keys: KeysHandle, stop: CancellationToken) {
        let places = Arc::new(Semaphore::new(MAX_ASKERS));
        let mut askers = JoinSet::new();
        loop {
            while askers.try_join_next().is_some() {}
            // Who comes beyond that waits in the kernel's queue, and gives up after a second.
            let place = Arc::clone(&places).acquire_owned();
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                accepted = async { (place.await, self.listener.accept().await) } => accepted,
            };
            match accepted {
                (Ok(place), Ok((stream, _))) => {
                    let (keys, own_user) = (keys.clone(), self.own_user);
                    askers.spawn(async move {
                        let answered = answer(stream, own_user, keys);
                        let answered = tokio::time::timeout(ANSWER_LIMIT, answered).await;
                        tracing::debug!(?answered, "sshd asked for temporary keys");
                        drop(place);
                    });
                }
                (Err(_closed), _) => return,
                (_, Err(error)) => {
                    tracing::warn!(%error, "can't accept on the socket of temporary keys");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

async fn answer(mut stream: UnixStream, own_user: u32, keys: KeysHandle) -> io::Result<usize> {
    let asker = stream.peer_cred()?.uid();
    if asker != own_user && asker != 0 {
        tracing::warn!(uid = asker, "may not ask for temporary keys");
        return Ok(0);
    }
    let mut name = String::new();
    let mut question = (&mut stream).take(MAX_QUESTION);
    question.read_to_string(&mut name).await?;
    let Ok(user) = Username::parse(name.trim_end_matches('\n')) else {
        return Ok(0);
    };
    let lines = keys.offered(user).await.unwrap_or_default();
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    stream.write_all(text.as_bytes()).await?;
    stream.shutdown().await?;
    Ok(lines.len())
}

/// sshd asks once for each key that a client tries; a wave of log-ins fits.
const MAX_ASKERS: usize = 64;
/// The helper waits no longer than a second.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);
/// The longest user name, and more.
const MAX_QUESTION: u64 = 256;
/// What keeps a socket from accepting, such as too many open files, takes a while to pass.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
