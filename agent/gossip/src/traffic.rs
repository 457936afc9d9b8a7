//! How much is gossiped? Counted for metrics and tests.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a transport has carried since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Messages sent.
    pub frames_sent: u64,
    /// Their bytes, without TLS and HTTP/2.
    pub bytes_sent: u64,
    /// Messages received, also dropped ones.
    pub frames_received: u64,
    /// Their bytes.
    pub bytes_received: u64,
    /// Messages that were lost on our side or could not be read.
    pub frames_dropped: u64,
    /// Connections that were tried.
    pub connects: u64,
}

#[derive(Debug, Default)]
pub(crate) struct TrafficCounters {
    frames_sent: AtomicU64,
    bytes_sent: AtomicU64,
    frames_received: AtomicU64,
    bytes_received: AtomicU64,
    frames_dropped: AtomicU64,
    connects: AtomicU64,
}

impl TrafficCounters {
    pub(crate) fn read(&self) -> Traffic {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Traffic {
            frames_sent: get(&self.frames_sent),
            bytes_sent: get(&self.bytes_sent),
            frames_received: get(&self.frames_received),
            bytes_received: get(&self.bytes_received),
            frames_dropped: get(&self.frames_dropped),
            connects: get(&self.connects),
        }
    }

    pub(crate) fn sent(&self, n_bytes: usize) {
        add(&self.frames_sent, 1);
        add(&self.bytes_sent, n_bytes);
    }

    pub(crate) fn received(&self, n_bytes: usize) {
        add(&self.frames_received, 1);
        add(&self.bytes_received, n_bytes);
    }

    pub(crate) fn dropped(&self) {
        add(&self.frames_dropped, 1);
    }

    pub(crate) fn connecting(&self) {
        add(&self.connects, 1);
    }
}

fn add(counter: &AtomicU64, n: usize) {
    counter.fetch_add(u64::try_from(n).unwrap_or(u64::MAX), Ordering::Relaxed);
}
