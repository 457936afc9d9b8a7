//! Who was let in, who was not, what were they given, and why?
//!
//! One line of JSON for each authentication and one for each decision on a task: names and
//! results, never a secret. Lines go through a queue with a bound to one writer, so that a
//! disk that is full or slow never holds up a client; what did not fit is counted, and the
//! number is told as soon as there is room.

mod record;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use pki::Clock;
use tokio::sync::mpsc;

pub use record::{By, Decision, Record};
pub use writer::AuditWriter;

/// Where the records go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AuditTarget {
    /// The log of the program, with a target of their own: the journal, under systemd.
    #[default]
    Log,
    /// A file.
    File(PathBuf),
    /// Nowhere.
    Off,
}

/// Takes records. Clones write to the same place.
#[derive(Clone, Debug)]
pub struct Audit(Option<Arc<Queue>>);

#[derive(Debug)]
struct Queue {
    lines: mpsc::Sender<String>,
    n_lost: Arc<AtomicU64>,
    replica: String,
    clock: Clock,
}

impl Audit {
    /// Takes records of this replica, and the writer that must run.
    #[must_use]
    pub fn new(target: AuditTarget, replica: &str, clock: Clock) -> (Self, AuditWriter) {
        let (lines, queued) = mpsc::channel(MOST_QUEUED);
        let n_lost = Arc::new(AtomicU64::new(0));
        let is_on = target != AuditTarget::Off;
        let writer = AuditWriter::new(target, queued, Arc::clone(&n_lost), clock.clone());
        let queue = Queue {
            lines,
            n_lost,
            replica: replica.to_owned(),
            clock,
        };
        (Self(is_on.then(|| Arc::new(queue))), writer)
    }

    /// Takes records and forgets them.
    #[must_use]
    pub fn off() -> Self {
        Self(None)
    }

    /// Takes a record. Never waits.
    pub(crate) fn take(&self, record: Record) {
        let Some(queue) = &self.0 else { return };
        let line = record.into_line(&queue.replica, &queue.clock);
        if queue.lines.try_send(line).is_err() {
            queue.n_lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The target of the records in the log.
pub const TARGET: &str = "audit";

/// Some seconds of a busy replica, in a few MB.
const MOST_QUEUED: usize = 8192;

#[cfg(test)]
mod tests;
