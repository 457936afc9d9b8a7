//! Who is answered over the socket, how many at once, and in which time?

use std::io;
use std::time::Duration;

use nix::unistd::Uid;
use proto::{LOCAL_HEAD_BYTES, LocalAnswer, LocalRequest, MAX_LOCAL_REQUEST, local_message_length};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};
use zeroize::Zeroizing;

use super::SshFrontend;
use super::places::{Place, Places};
use super::refusals::Refusals;
use super::socket::SshSocket;

/// An open socket, ready to serve.
#[derive(Debug)]
pub struct SshListener {
    socket: SshSocket,
    frontend: SshFrontend,
}

impl SshListener {
    /// Answers those who ask at a socket.
    #[must_use]
    pub fn new(socket: SshSocket, frontend: SshFrontend) -> Self {
        Self { socket, frontend }
    }

    /// Serves until told to stop; then lets running requests end, for at most `grace`.
    pub async fn run(self, stop: CancellationToken, grace: Duration) {
        let Self { socket, frontend } = self;
        let places = Places::new(MAX_PER_USER, MAX_IN_ALL);
        let running = TaskTracker::new();
        let cut = CancellationToken::new();
        let mut refusals = Refusals::default();
        info!(path = %socket.path().display(), "listening for SSH");
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                accepted = socket.listener.accept() => accepted,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    warn!(error = %error, "a connection could not be accepted");
                    let pause = tokio::time::sleep(AFTER_ERROR);
                    let _ = stop.run_until_cancelled(pause).await;
                    continue;
                }
            };
            let Some((uid, place)) = admitted(&stream, &places, &mut refusals) else {
                continue;
            };
            let (frontend, cut) = (frontend.clone(), cut.clone());
            running.spawn(async move {
                let served = serve(&frontend, uid, stream);
                let _cut = cut.run_until_cancelled(served).await;
                drop(place);
            });
        }
        drop(socket);
        running.close();
        if timeout(grace, running.wait()).await.is_err() {
            warn!(
                n_open = running.len(),
                "requests over SSH did not end in time; they are cut"
            );
            cut.cancel();
        }
    }
}

/// Who asks, and a place for them.
fn admitted(stream: &UnixStream, places: &Places, refusals: &mut Refusals) -> Option<(u32, Place)> {
    let uid = match stream.peer_cred() {
        Ok(peer) => peer.uid(),
        Err(error) => {
            warn!(error = %error, "it is not known who connected");
            return None;
        }
    };
    // Our own account is the one that asks for others.
    let place = if uid == Uid::effective().as_raw() {
        places.take_for_others(uid)
    } else {
        places.take(uid)
    };
    if place.is_none() {
        refusals.tell(uid);
        // An empty socket takes these few bytes at once.
        if let Ok(frame) = LocalAnswer::Busy.to_frame() {
            let _ = stream.try_write(&frame);
        }
    }
    Some((uid, place?))
}

/// Answers one request.
async fn serve(frontend: &SshFrontend, uid: u32, mut stream: UnixStream) {
    let request = match timeout(PATIENCE, read_request(&mut stream)).await {
        Ok(Ok(request)) => request,
        Ok(Err(error)) => return debug!(uid, error = %error, "a request over SSH can't be read"),
        Err(_elapsed) => return debug!(uid, "a request over SSH does not end"),
    };
    // All that a task may need; a connection that waits for its request needs none of it.
    let answer = Box::pin(frontend.answer(uid, &request)).await;
    let frame = answer.to_frame().or_else(|error| {
        warn!(uid, error = %error, "an answer can't be sent");
        LocalAnswer::Unavailable.to_frame()
    });
    let Ok(frame) = frame else { return };
    match timeout(PATIENCE, stream.write_all(&frame)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(uid, error = %error, "an answer was not taken"),
        Err(_elapsed) => debug!(uid, "an answer was not taken in time"),
    }
}

async fn read_request(stream: &mut UnixStream) -> io::Result<LocalRequest> {
    let mut head = [0; LOCAL_HEAD_BYTES];
    stream.read_exact(&mut head).await?;
    let length = local_message_length(head, MAX_LOCAL_REQUEST).map_err(io::Error::other)?;
    let mut message = Zeroizing::new(vec![0; length]);
    stream.read_exact(&mut message).await?;
    LocalRequest::read(&message).map_err(io::Error::other)
}

/// A client asks for one thing at a time; some people have a few clients.
const MAX_PER_USER: usize = 16;

/// A busy morning: each request is answered within a second.
const MAX_IN_ALL: usize = 512;

/// How long the other end may be silent, or not take its answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Out of file descriptors, say: it passes.
const AFTER_ERROR: Duration = Duration::from_millis(100);
