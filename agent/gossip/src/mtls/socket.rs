//! chitchat's side of the transport: takes every message at once and waits for nobody.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use chitchat::ChitchatMessage;
use chitchat::transport::Socket;
use tokio::sync::mpsc;

use super::outbound::Outbound;
use super::queue::{Added, FrameQueue};
use super::streams::is_token;
use super::{Hub, Open};
use crate::frame;

/// What chitchat sends and receives by. Dropping it ends all streams.
pub(super) struct MtlsSocket {
    hub: Arc<Hub>,
    open: Open,
    inbox: mpsc::Receiver<(SocketAddr, ChitchatMessage)>,
    peers: HashMap<SocketAddr, Arc<FrameQueue>>,
}

impl MtlsSocket {
    pub(super) fn new(
        hub: Arc<Hub>,
        open: Open,
        inbox: mpsc::Receiver<(SocketAddr, ChitchatMessage)>,
    ) -> Self {
        Self {
            hub,
            open,
            inbox,
            peers: HashMap::new(),
        }
    }

    /// Queues a frame; whether it was the only one to be lost, or none.
    fn queue(&mut self, to: SocketAddr, frame: Bytes) -> Result<(), NotSent> {
        if is_token(to) {
            let n_bytes = frame.len();
            if !self.hub.streams.reply(to, frame) {
                return Err(NotSent::StreamGone);
            }
            self.hub.traffic.sent(n_bytes);
            return Ok(());
        }
        if to.port() == 0 || to.ip().is_unspecified() || to.ip().is_multicast() {
            return Err(NotSent::NoAddress);
        }
        if let Entry::Occupied(peer) = self.peers.entry(to) {
            match peer.get().add(frame.clone()) {
                Added::Taken => return Ok(()),
                Added::InsteadOfOldest => return Err(NotSent::OldestLost),
                Added::Closed => {
                    peer.remove();
                }
            }
        }
        self.begin(to, frame)
    }

    fn begin(&mut self, to: SocketAddr, frame: Bytes) -> Result<(), NotSent> {
        self.peers.retain(|_, queue| !queue.is_closed());
        if self.peers.len() >= self.hub.limits.peers {
            return Err(NotSent::TooManyPeers);
        }
        let queue = Arc::new(FrameQueue::new());
        queue.add(frame);
        self.peers.insert(to, Arc::clone(&queue));
        let outbound = Outbound::new(Arc::clone(&self.hub), self.open.clone(), to, queue);
        self.open.tasks.spawn(outbound.run());
        Ok(())
    }
}

#[async_trait]
impl Socket for MtlsSocket {
    async fn send(&mut self, to: SocketAddr, message: ChitchatMessage) -> anyhow::Result<()> {
        let sent = match frame::encode(&message) {
            Ok(frame) => self.queue(to, frame),
            Err(error) => {
                tracing::warn!(%to, %error, "a gossip message was not sent");
                return Ok(());
            }
        };
        if let Err(reason) = sent {
            self.hub.traffic.dropped();
            tracing::debug!(%to, %reason, "a gossip message was lost");
        }
        // An error would mean that nothing can be sent ever again.
        Ok(())
    }

    async fn recv(&mut self) -> anyhow::Result<(SocketAddr, ChitchatMessage)> {
        match self.inbox.recv().await {
            Some(received) => Ok(received),
            // Another socket has taken over; an error would be reported as a failure.
            None => std::future::pending().await,
        }
    }
}

impl Drop for MtlsSocket {
    fn drop(&mut self) {
        self.open.life.cancel();
        self.open.tasks.close();
    }
}

/// Why a frame was lost on our side.
#[derive(Debug, thiserror::Error)]
enum NotSent {
    #[error("its stream has ended, or its member does not read")]
    StreamGone,
    #[error("nobody can have this address")]
    NoAddress,
    #[error("too many wait for this member, the oldest was given up")]
    OldestLost,
    #[error("there are too many members")]
    TooManyPeers,
}
