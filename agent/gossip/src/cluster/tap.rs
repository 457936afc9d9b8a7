//! To whom has chitchat handed our news? Listens between chitchat and the real transport.

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use chitchat::ChitchatMessage;
use chitchat::transport::{Socket, Transport};
use tokio::sync::mpsc;

/// A transport that reports each ACK it sends. An ACK is what carries our state to a
/// member that we have gossiped to.
pub(crate) struct Tap {
    transport: Arc<dyn Transport>,
    acks: mpsc::Sender<SocketAddr>,
}

impl Tap {
    pub(crate) fn new(transport: Arc<dyn Transport>, acks: mpsc::Sender<SocketAddr>) -> Self {
        Self { transport, acks }
    }
}

#[async_trait]
impl Transport for Tap {
    async fn open(&self, listen_addr: SocketAddr) -> anyhow::Result<Box<dyn Socket>> {
        let socket = self.transport.open(listen_addr).await?;
        let acks = self.acks.clone();
        Ok(Box::new(TappedSocket { socket, acks }))
    }
}

struct TappedSocket {
    socket: Box<dyn Socket>,
    acks: mpsc::Sender<SocketAddr>,
}

#[async_trait]
impl Socket for TappedSocket {
    async fn send(&mut self, to: SocketAddr, message: ChitchatMessage) -> anyhow::Result<()> {
        let is_ack = matches!(message, ChitchatMessage::Ack { .. });
        self.socket.send(to, message).await?;
        if is_ack {
            // When the queue is full, a wait for this ACK ends with its limit.
            let _ = self.acks.try_send(to);
        }
        Ok(())
    }

    async fn recv(&mut self) -> anyhow::Result<(SocketAddr, ChitchatMessage)> {
        self.socket.recv().await
    }
}
