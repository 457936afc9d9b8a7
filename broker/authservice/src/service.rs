//! Who is answered, how many at once, and in which time?

use std::sync::Arc;
use std::time::Duration;

use proto::{PAM_HEAD_BYTES, PamQuestion, PamVerdict};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, error, info, warn};
use zeroize::Zeroizing;

use crate::conversation::Conversations;
use crate::socket::{Peers, Socket};

/// How many questions are taken.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Conversations with PAM at the same time, a process each.
    pub at_once: usize,
    /// Questions that wait for one of them; more are refused at once.
    pub waiting: usize,
}

/// Takes questions and has them answered. Cheap to clone.
#[derive(Clone, Debug)]
struct Service {
    conversations: Arc<Conversations>,
    peers: Peers,
    /// Room for all that wait or are answered.
    room: Arc<Semaphore>,
    /// Room for those that are answered.
    slots: Arc<Semaphore>,
    running: TaskTracker,
}

/// Takes connections until `stop`, and then waits a moment for those that are answered.
pub async fn run(
    socket: Socket,
    conversations: Conversations,
    limits: Limits,
    stop: CancellationToken,
) {
    let service = Service {
        conversations: Arc::new(conversations),
        peers: socket.peers(),
        room: Arc::new(Semaphore::new(limits.at_once + limits.waiting)),
        slots: Arc::new(Semaphore::new(limits.at_once)),
        running: TaskTracker::new(),
    };
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = socket.listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                error!(error = %error, "a connection could not be taken");
                tokio::time::sleep(AFTER_ERROR).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&connections).try_acquire_owned() else {
            warn!(
                most = MAX_CONNECTIONS,
                "too many connections; one was closed"
            );
            continue;
        };
        let (service, stop) = (service.clone(), stop.clone());
        let tracker = service.running.clone();
        tracker.spawn(async move {
            tokio::select! {
                biased;
                () = service.serve(stream) => {}
                () = stop.cancelled() => {}
            }
            drop(place);
        });
    }
    drop(socket);
    service.running.close();
    if tokio::time::timeout(GRACE, service.running.wait())
        .await
        .is_err()
    {
        warn!("conversations did not end in time; they are cut");
    }
}

impl Service {
    /// Answers the questions of one connection.
    async fn serve(&self, mut stream: UnixStream) {
        match stream.peer_cred() {
            Ok(peer) if self.peers.may_ask(&peer) => {}
            Ok(peer) => {
                warn!(
                    uid = peer.uid(),
                    gid = peer.gid(),
                    "somebody asked who may not"
                );
                return;
            }
            Err(error) => {
                warn!(error = %error, "it is not known who asks");
                return;
            }
        }
        loop {
            let read = tokio::time::timeout(PATIENCE, read_frame(&mut stream));
            let frame = match read.await {
                Ok(Ok(frame)) => frame,
                Ok(Err(error)) => {
                    debug!(error = %error, "a connection ended");
                    return;
                }
                Err(_) => return,
            };
            let Ok(verdict) = self.answer(frame).await else {
                return;
            };
            let answer = verdict.to_frame();
            let sent = tokio::time::timeout(PATIENCE, stream.write_all(&answer));
            if !matches!(sent.await, Ok(Ok(()))) {
                return;
            }
        }
    }

    /// The verdict on one question; an error when it is none.
    async fn answer(
        &self,
        frame: Zeroizing<Vec<u8>>,
    ) -> Result<PamVerdict, proto::PamMessageError> {
        let message = frame.get(PAM_HEAD_BYTES..).unwrap_or_default();
        let PamQuestion { user, client, .. } = PamQuestion::read(message)
            .inspect_err(|error| warn!(error = %error, "a question can't be read"))?;
        let Ok(room) = Arc::clone(&self.room).try_acquire_owned() else {
            warn!(user, client, "too many ask at once; one was refused");
            return Ok(PamVerdict::Busy);
        };
        let (slots, conversations) = (Arc::clone(&self.slots), Arc::clone(&self.conversations));
        // In a task of its own: a slot is free when its process is gone, whoever waits.
        let asked = self.running.spawn(async move {
            let slot = tokio::time::timeout(MOST_WAITING, slots.acquire_owned());
            let Ok(Ok(slot)) = slot.await else {
                return PamVerdict::Busy;
            };
            let verdict = conversations.ask(&frame).await;
            drop((slot, room));
            verdict
        });
        let verdict = asked.await.unwrap_or(PamVerdict::Unavailable);
        info!(user, client, ?verdict, "PAM was asked");
        Ok(verdict)
    }
}

/// Head and message, in memory that is wiped.
async fn read_frame(stream: &mut UnixStream) -> std::io::Result<Zeroizing<Vec<u8>>> {
    let mut head = [0; PAM_HEAD_BYTES];
    stream.read_exact(&mut head).await?;
    let length = proto::pam_message_length(head).map_err(std::io::Error::other)?;
    let mut frame = Zeroizing::new(vec![0; PAM_HEAD_BYTES + length]);
    if let Some((room, message)) = frame.split_first_chunk_mut() {
        *room = head;
        stream.read_exact(message).await?;
    }
    Ok(frame)
}

/// The daemon opens one for each login that PAM is asked about.
const MAX_CONNECTIONS: usize = 2048;

/// How long a question may wait for its turn. After that nobody waits for the verdict.
const MOST_WAITING: Duration = Duration::from_secs(20);

/// How long somebody who is connected may be silent.
const PATIENCE: Duration = Duration::from_secs(10);

/// Out of file descriptors, say: it passes.
const AFTER_ERROR: Duration = Duration::from_millis(100);

/// For conversations that run when the service is told to stop.
const GRACE: Duration = Duration::from_secs(5);
