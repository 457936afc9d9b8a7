//! How do records reach their file, whatever the disk does?

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pki::Clock;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::record::Record;
use super::{AuditTarget, TARGET};
use crate::app::Reloads;
use crate::log;

/// Writes the records of a replica, until it stops.
#[derive(Debug)]
pub struct AuditWriter {
    pub(super) target: AuditTarget,
    pub(super) queued: mpsc::Receiver<String>,
    pub(super) n_lost: Arc<AtomicU64>,
    clock: Clock,
    file: Option<File>,
    /// When a failure was told last: a full disk would be told for each record.
    told: Option<Instant>,
}

impl AuditWriter {
    pub(super) fn new(
        target: AuditTarget,
        queued: mpsc::Receiver<String>,
        n_lost: Arc<AtomicU64>,
        clock: Clock,
    ) -> Self {
        Self {
            target,
            queued,
            n_lost,
            clock,
            file: None,
            told: None,
        }
    }

    /// Writes until told to stop, and then what is left. Opens its file anew when asked to
    /// read all files again.
    pub(crate) async fn run(mut self, mut reloads: Reloads, stop: CancellationToken) {
        let mut lines = Vec::new();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                asked = reloads.asked() => {
                    self.file = None;
                    match asked {
                        Some(()) => reloads.done(),
                        // The process ends.
                        None => break,
                    }
                }
                n_lines = self.queued.recv_many(&mut lines, AT_ONCE) => match n_lines {
                    // Nobody takes records.
                    0 => return stop.cancelled().await,
                    _ => self.write(std::mem::take(&mut lines)).await,
                },
            }
        }
        while let Ok(line) = self.queued.try_recv() {
            lines.push(line);
        }
        self.write(lines).await;
    }

    /// Writes lines. What can't be written is counted, and the next ones are tried again.
    pub(super) async fn write(&mut self, mut lines: Vec<String>) {
        let n_lost = self.n_lost.swap(0, Ordering::Relaxed);
        if n_lost > 0 {
            let lost = Record::lost(n_lost);
            lines.push(lost.into_line("", &self.clock));
        }
        let n_lines = lines.len();
        let path = match &self.target {
            AuditTarget::Off => return,
            AuditTarget::Log => None,
            AuditTarget::File(path) => Some(path.clone()),
        };
        let file = self.file.take();
        // Not on a thread that answers clients: a disk may take its time.
        let written = tokio::task::spawn_blocking(move || match path {
            Some(path) => append(file, &path, &lines).map(Some),
            None => {
                for line in &lines {
                    info!(target: TARGET, "{line}");
                }
                Ok(None)
            }
        });
        match written
            .await
            .unwrap_or_else(|panic| Err(io::Error::other(panic)))
        {
            Ok(file) => self.file = file,
            Err(error) => self.lost(n_lost, n_lines, &error),
        }
    }

    fn lost(&mut self, before: u64, n_lines: usize, error: &io::Error) {
        let n_lines = u64::try_from(n_lines).unwrap_or(u64::MAX);
        // A line that tells of lost ones is none of those.
        let n_lost = before + n_lines - u64::from(before > 0);
        let n_lost = self.n_lost.fetch_add(n_lost, Ordering::Relaxed) + n_lost;
        let now = Instant::now();
        if self.told.is_none_or(|told| now >= told + TELL_AGAIN) {
            self.told = Some(now);
            let AuditTarget::File(path) = &self.target else {
                return;
            };
            let path: &PathBuf = path;
            error!(path = %path.display(), error = %error, n_lost, "the audit log can't be written");
        }
    }
}

/// All lines in one write, so that others who append do not come between.
fn append(file: Option<File>, path: &Path, lines: &[String]) -> io::Result<File> {
    let mut file = match file {
        Some(file) => file,
        None => log::open(path).map_err(io::Error::other)?,
    };
    let mut text = lines.join("\n");
    text.push('\n');
    let before = file.metadata()?.len();
    if let Err(error) = file.write_all(text.as_bytes()) {
        // Half a line would spoil the next one.
        if let Err(error) = file.set_len(before) {
            warn!(error = %error, "half a record stays in the audit log");
        }
        return Err(error);
    }
    Ok(file)
}

/// Lines of one write: some 100 KB.
const AT_ONCE: usize = 256;

/// How often a failure is told.
const TELL_AGAIN: Duration = Duration::from_secs(60);
