//! chitchat's side of the transport: takes every message at once and waits for nobody.

use std::collections::HashMap;
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
use crate::{frame, random};

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

    /// Sends an answer where it belongs, or not at all.
    fn answer(&self, to: SocketAddr, frame: Bytes) -> Result<(), NotSent> {
        if is_token(to) {
            let n_bytes = frame.len();
            if !self.hub.streams.reply(to, frame) {
                return Err(NotSent::StreamGone);
            }
            self.hub.traffic.sent(n_bytes);
            return Ok(());
        }
        match self.peers.get(&to).map(|queue| queue.add(frame)) {
            Some(Added::Taken) => Ok(()),
            Some(Added::InsteadOfOldest) => Err(NotSent::OldestLost),
            Some(Added::Closed) | None => Err(NotSent::StreamGone),
        }
    }

    /// Offers to compare notes, which is as good with one member as with another: while
    /// there is no connection to this one, a partner gets the offer (too). Not a broker that
    /// we happen to be connected to: it would get the offers of a whole farm.
    fn offer(&mut self, to: SocketAddr, frame: Bytes) -> Result<(), NotSent> {
        if is_token(to) {
            return self.answer(to, frame);
        }
        if to.port() == 0 || to.ip().is_unspecified() || to.ip().is_multicast() {
            return Err(NotSent::NoAddress);
        }
        self.peers.retain(|_, queue| !queue.is_closed());
        if let Some(queue) = self.peers.get(&to) {
            match queue.add(frame.clone()) {
                Added::Taken if queue.is_connected() => return Ok(()),
                Added::InsteadOfOldest if queue.is_connected() => return Err(NotSent::OldestLost),
                Added::Taken | Added::InsteadOfOldest | Added::Closed => {}
            }
        } else if self.has_room_for(to) {
            self.begin(to, frame.clone());
        }
        self.offer_any(frame)
    }

    fn has_room_for(&self, to: SocketAddr) -> bool {
        let preferred = self.hub.preferred();
        if preferred.contains(&to) {
            return self.peers.len() < self.hub.limits.peers;
        }
        let partners = self
            .peers
            .keys()
            .filter(|address| !preferred.contains(address));
        partners.count() < self.hub.limits.partners
    }

    fn begin(&mut self, to: SocketAddr, frame: Bytes) {
        let queue = Arc::new(FrameQueue::new());
        queue.add(frame);
        self.peers.insert(to, Arc::clone(&queue));
        let outbound = Outbound::new(Arc::clone(&self.hub), self.open.clone(), to, queue);
        self.open.tasks.spawn(outbound.run());
    }

    fn offer_any(&self, frame: Bytes) -> Result<(), NotSent> {
        let preferred = self.hub.preferred().clone();
        let connected = self.peers.iter().filter(|(_, queue)| queue.is_connected());
        let (others, mut partners): (Vec<_>, Vec<_>) =
            connected.partition(|(address, _)| preferred.contains(address));
        if partners.is_empty() {
            partners = others;
        }
        let partner = random::index(partners.len()).and_then(|any| partners.get(any));
        let n_bytes = frame.len();
        match partner.map(|(_, queue)| queue.add(frame.clone())) {
            Some(Added::Taken) => return Ok(()),
            Some(Added::InsteadOfOldest) => return Err(NotSent::OldestLost),
            Some(Added::Closed) | None => {}
        }
        if self.hub.streams.send_to_any(frame) {
            self.hub.traffic.sent(n_bytes);
        }
        // Else it waits for its own connection, which is being made.
        Ok(())
    }
}

#[async_trait]
impl Socket for MtlsSocket {
    async fn send(&mut self, to: SocketAddr, message: ChitchatMessage) -> anyhow::Result<()> {
        let is_offer = matches!(message, ChitchatMessage::Syn { .. });
        let sent = match frame::encode(&message) {
            Ok(frame) if is_offer => self.offer(to, frame),
            Ok(frame) => self.answer(to, frame),
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
}
