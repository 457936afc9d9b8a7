//! What must a transport of the gossip be able to do?

use std::collections::BTreeSet;
use std::net::SocketAddr;

/// What carries chitchat's messages: [`MtlsTransport`](crate::MtlsTransport), or within
/// one process [`MemoryNetwork`](crate::MemoryNetwork).
pub trait Transport: chitchat::transport::Transport {
    /// Names those who must get themselves what is sent to them. An offer to compare notes
    /// with anybody else may go to another member: chitchat chooses at random anyway.
    fn prefer(&self, addresses: BTreeSet<SocketAddr>) {
        let _ = addresses;
    }
}
