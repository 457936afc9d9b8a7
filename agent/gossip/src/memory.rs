//! A network within one process, for tests and simulations: follows paused time, and can
//! be cut and tampered with.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use chitchat::ChitchatMessage;
use chitchat::transport::{Socket, Transport};
use tokio::sync::mpsc;

use crate::frame;
use crate::traffic::{Traffic, TrafficCounters};

/// The network. Clones are the same network; who opens an address takes it over.
#[derive(Clone, Debug, Default)]
pub struct MemoryNetwork {
    wires: Arc<Mutex<Wires>>,
    traffic: Arc<TrafficCounters>,
}

#[derive(Debug, Default)]
struct Wires {
    inboxes: HashMap<SocketAddr, mpsc::Sender<(SocketAddr, Bytes)>>,
    cut: HashSet<(SocketAddr, SocketAddr)>,
}

impl crate::Transport for MemoryNetwork {}

impl MemoryNetwork {
    /// A network without anybody.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Loses everything between `a` and `b` from now on.
    pub fn cut(&self, a: SocketAddr, b: SocketAddr) {
        self.wires().cut.extend([(a, b), (b, a)]);
    }

    /// Repairs what [`MemoryNetwork::cut`] has cut.
    pub fn repair(&self, a: SocketAddr, b: SocketAddr) {
        let mut wires = self.wires();
        wires.cut.remove(&(a, b));
        wires.cut.remove(&(b, a));
    }

    /// Delivers any bytes to `to`, as a member at `from` could.
    pub fn inject(&self, from: SocketAddr, to: SocketAddr, frame: impl Into<Bytes>) {
        self.carry(from, to, frame.into());
    }

    /// What all members together have sent and received.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.traffic.read()
    }

    fn carry(&self, from: SocketAddr, to: SocketAddr, frame: Bytes) {
        self.traffic.sent(frame.len());
        let wires = self.wires();
        if wires.cut.contains(&(from, to)) {
            return;
        }
        if let Some(inbox) = wires.inboxes.get(&to) {
            // Lost when full, as datagrams are.
            let _ = inbox.try_send((from, frame));
        }
    }

    fn wires(&self) -> MutexGuard<'_, Wires> {
        self.wires.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Transport for MemoryNetwork {
    async fn open(&self, address: SocketAddr) -> anyhow::Result<Box<dyn Socket>> {
        let (to_inbox, inbox) = mpsc::channel(INBOX);
        self.wires().inboxes.insert(address, to_inbox);
        let network = self.clone();
        Ok(Box::new(MemorySocket {
            address,
            network,
            inbox,
        }))
    }
}

struct MemorySocket {
    address: SocketAddr,
    network: MemoryNetwork,
    inbox: mpsc::Receiver<(SocketAddr, Bytes)>,
}

#[async_trait]
impl Socket for MemorySocket {
    async fn send(&mut self, to: SocketAddr, message: ChitchatMessage) -> anyhow::Result<()> {
        match frame::encode(&message) {
            Ok(frame) => self.network.carry(self.address, to, frame),
            Err(error) => tracing::warn!(%to, %error, "a gossip message was not sent"),
        }
        Ok(())
    }

    async fn recv(&mut self) -> anyhow::Result<(SocketAddr, ChitchatMessage)> {
        loop {
            let Some((from, frame)) = self.inbox.recv().await else {
                // Another socket has taken our address; an error would end the gossip.
                return std::future::pending().await;
            };
            self.network.traffic.received(frame.len());
            match frame::decode(&frame) {
                Ok(message) => return Ok((from, message)),
                Err(error) => {
                    self.network.traffic.dropped();
                    tracing::debug!(%from, %error, "a gossip message was dropped");
                }
            }
        }
    }
}

/// A gossip loop that is slower than this loses messages, as it does on a real network.
const INBOX: usize = 256;
