//! Who is answered, how many at once, and in which time?

use std::sync::Arc;
use std::time::Duration;

use proto::{PAM_HEAD_BYTES, PamQuestion, PamVerdict};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
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
    stop: CancellationToken,
}

/// Takes connections until `stop`, and then waits for those that are answered: no question
/// lasts longer than the deadline of PAM.
pub async fn run(
    socket: Socket,
    conversations: Conversations,
    limits: Limits,
    stop: CancellationToken,
) {
    let grace = conversations.deadline + GRACE_MARGIN;
    let service = Service {
        conversations: Arc::new(conversations),
        peers: socket.peers(),
        room: Arc::new(Semaphore::new(limits.at_once + limits.waiting)),
        slots: Arc::new(Semaphore::new(limits.at_once)),
        running: TaskTracker::new(),
        stop: stop.clone(),
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
        let service = service.clone();
        let tracker = service.running.clone();
        tracker.spawn(async move {
            service.serve(stream).await;
            drop(place);
        });
    }
    drop(socket);
    service.running.close();
    if tokio::time::timeout(grace, service.running.wait())
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
            let read = tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                read = read => read,
            };
            let frame = match read {
                Ok(Ok(frame)) => frame,
                Ok(Err(error)) => {
                    debug!(error = %error, "a connection ended");
                    return;
                }
                Err(_) => return,
            };
            let Some(verdict) = self.answer(frame, &stream).await else {
                return;
            };
            let answer = verdict.to_frame();
            let sent = tokio::time::timeout(PATIENCE, stream.write_all(&answer));
            if !matches!(sent.await, Ok(Ok(()))) {
                return;
            }
        }
    }

    /// The verdict on one question; none when it is none, or nobody waits for it.
    async fn answer(&self, frame: Zeroizing<Vec<u8>>, asker: &UnixStream) -> Option<PamVerdict> {
        let message = frame.get(PAM_HEAD_BYTES..).unwrap_or_default();
        let read = PamQuestion::read(message)
            .inspect_err(|error| warn!(error = %error, "a question can't be read"));
        let question = read.ok()?;
        let is_wish = question.new_password.is_some();
        let PamQuestion { user, client, .. } = question;
        let Ok(room) = Arc::clone(&self.room).try_acquire_owned() else {
            warn!(user, client, "too many ask at once; one was refused");
            return Some(PamVerdict::Busy);
        };
        let slot = match self.turn(asker).await {
            Turn::Now(slot) => slot,
            Turn::Refused(verdict) => return Some(verdict),
            Turn::HungUp => {
                info!(
                    user,
                    client, "a question was not asked: nobody waits any more"
                );
                return None;
            }
        };
        let conversations = Arc::clone(&self.conversations);
        // In a task of its own: a slot is free when its process is gone, whoever waits.
        let asked = self.running.spawn(async move {
            let verdict = conversations.ask(&frame).await;
            drop((slot, room));
            verdict
        });
        let verdict = asked.await.unwrap_or(PamVerdict::Unavailable);
        info!(user, client, change = is_wish, ?verdict, "PAM was asked");
        Some(verdict)
    }

    /// Waits for a slot, for as long as somebody waits for the verdict.
    async fn turn(&self, asker: &UnixStream) -> Turn {
        let slot = tokio::time::timeout(MOST_WAITING, Arc::clone(&self.slots).acquire_owned());
        tokio::pin!(slot);
        let mut look = tokio::time::interval(LOOK_AFTER_ASKER);
        let taken = loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return Turn::Refused(PamVerdict::Unavailable),
                taken = &mut slot => break taken,
                _ = look.tick() => if has_hung_up(asker).await {
                    return Turn::HungUp;
                },
            }
        };
        match taken {
            Ok(Ok(_)) if has_hung_up(asker).await => Turn::HungUp,
            Ok(Ok(slot)) => Turn::Now(slot),
            // Never closed, so that the time is over.
            Ok(Err(_)) | Err(_) => Turn::Refused(PamVerdict::Busy),
        }
    }
}

/// What became of a question that waited.
enum Turn {
    Now(OwnedSemaphorePermit),
    Refused(PamVerdict),
    HungUp,
}

/// Whether nobody could read an answer. Who only closed their own writing side still can.
async fn has_hung_up(asker: &UnixStream) -> bool {
    match asker.ready(Interest::WRITABLE).await {
        Ok(ready) => ready.is_write_closed(),
        Err(_) => true,
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

/// Beyond the deadline of PAM, when the service is told to stop.
const GRACE_MARGIN: Duration = Duration::from_secs(1);

/// How often a question that waits is looked after.
const LOOK_AFTER_ASKER: Duration = Duration::from_millis(500);
