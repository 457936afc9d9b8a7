//! Who looks at the session database, and when?
//!
//! One thread of its own, since reading files blocks: every [`INTERVAL`], and at once when
//! an admission asks for it. What it finds goes into the inventory's command queue, before
//! the admission that asked, so that the decision sees it.

use std::sync::mpsc as thread_mpsc;
use std::time::{Duration, Instant};

use proto::Readiness;
use tokio::sync::{mpsc, oneshot};

use super::Command;
use super::sqlite::{Look, SessionDatabase, Skipped};

/// Looks at the session database until the inventory or all its handles are gone.
#[derive(Debug)]
pub struct Poller {
    database: SessionDatabase,
    requests: thread_mpsc::Receiver<oneshot::Sender<()>>,
    inventory: mpsc::Sender<Command>,
    warned: Option<(Skipped, Instant)>,
    trouble: Option<String>,
}

/// Asks the poller to look now.
#[derive(Clone, Debug)]
pub(super) struct Freshener(thread_mpsc::SyncSender<oneshot::Sender<()>>);

impl Poller {
    pub(super) fn build(
        database: SessionDatabase,
        inventory: mpsc::Sender<Command>,
    ) -> (Self, Freshener) {
        let (sender, requests) = thread_mpsc::sync_channel(MAX_REQUESTS);
        let poller = Self {
            database,
            requests,
            inventory,
            warned: None,
            trouble: None,
        };
        (poller, Freshener(sender))
    }

    /// Runs on a thread that may block. Ends soon after the inventory's end.
    pub fn run(mut self) {
        let mut waiting = Vec::new();
        while self.look() {
            // Whoever asked before the look is served by it; some may have given up.
            for request in waiting.drain(..) {
                let _given_up: Result<(), ()> = oneshot::Sender::send(request, ());
            }
            match self.requests.recv_timeout(INTERVAL) {
                Ok(request) => {
                    waiting.push(request);
                    waiting.extend(self.requests.try_iter());
                }
                Err(thread_mpsc::RecvTimeoutError::Timeout) => {}
                Err(thread_mpsc::RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Passes on what is new. Says whether the inventory still listens.
    fn look(&mut self) -> bool {
        let now = tokio::time::Instant::now().into_std();
        let command = match self.database.look(now) {
            Look::Unchanged => return !self.inventory.is_closed(),
            Look::Changed(reading) => {
                self.warn_of(reading.skipped, now);
                if self.trouble.take().is_some() {
                    tracing::info!("session database can be read again");
                }
                Command::Reading(reading)
            }
            Look::Failed(error) => {
                let reason = Readiness::reason_line(&with_causes(&error));
                if self.trouble.as_ref() == Some(&reason) {
                    return !self.inventory.is_closed();
                }
                tracing::error!(reason, "session database can't be read");
                self.trouble = Some(reason.clone());
                Command::Trouble(reason)
            }
        };
        self.inventory.blocking_send(command).is_ok()
    }

    fn warn_of(&mut self, skipped: Skipped, now: Instant) {
        let quiet = self.warned.is_some_and(|(before, at)| {
            before == skipped || now.saturating_duration_since(at) < WARN_INTERVAL
        });
        if skipped.is_empty() || quiet {
            return;
        }
        self.warned = Some((skipped, now));
        tracing::warn!(
            n_unreadable = skipped.unreadable,
            column = skipped.column,
            n_foreign = skipped.foreign,
            n_unknown_state = skipped.unknown_state,
            too_many = skipped.too_many,
            "rows of the session database were left out"
        );
    }
}

impl Freshener {
    /// Waits until the database was looked at, at most [`FRESH_LIMIT`].
    pub(super) async fn freshen(&self) {
        let (done, looked) = oneshot::channel();
        // A full queue means that looks take long already; the last reading must do.
        if self.0.try_send(done).is_ok() {
            let _late_or_gone = tokio::time::timeout(FRESH_LIMIT, looked).await;
        }
    }
}

/// The whole chain of an error in one line.
pub(super) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line.push_str(": ");
        line.push_str(&error.to_string());
        cause = error.source();
    }
    line
}

/// Changes are to be seen within 250 ms, also when the processors are busy; a look without
/// a change takes some 10 µs.
const INTERVAL: Duration = Duration::from_millis(50);
/// A login waits no longer than this for fresher news.
const FRESH_LIMIT: Duration = Duration::from_millis(50);
/// Admissions that wait at the same time; all are served by one look.
const MAX_REQUESTS: usize = 256;
/// A user who writes odd rows again and again fills no disk with log lines.
const WARN_INTERVAL: Duration = Duration::from_secs(60);
