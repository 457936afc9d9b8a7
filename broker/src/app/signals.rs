//! What do signals ask of a replica: to stop, or to read its files again?

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::log::Log;
use crate::process::{self, Process};

/// SIGTERM and SIGINT stop; SIGHUP opens the log anew and reads the files again.
pub(super) struct Signals {
    stop: watch::Receiver<bool>,
    reload: watch::Receiver<()>,
    n_reloaded: watch::Sender<usize>,
    _waiting: JoinSet<()>,
}

/// How a part learns that it should read its files again, and tells that it did.
#[derive(Debug)]
pub(crate) struct Reloads {
    asked: watch::Receiver<()>,
    n_reloaded: watch::Sender<usize>,
}

/// Who waits for signals.
struct Waiting {
    hup: Signal,
    log: Log,
    n_reloaders: usize,
    reloaded: watch::Sender<()>,
    n_reloaded: watch::Receiver<usize>,
}

impl Signals {
    /// A reload ends when all of so many reloaders have told that they did it.
    pub(super) fn new(log: Log, n_reloaders: usize) -> io::Result<Self> {
        let mut term = signal(SignalKind::terminate())?;
        let mut int = signal(SignalKind::interrupt())?;
        let hup = signal(SignalKind::hangup())?;
        let (stopped, stop) = watch::channel(false);
        let (reloaded, reload) = watch::channel(());
        let (n_reloaded, counted) = watch::channel(0);
        let mut hangups = Waiting {
            hup,
            log,
            n_reloaders,
            reloaded,
            n_reloaded: counted,
        };
        let mut waiting = JoinSet::new();
        waiting.spawn(async move {
            tokio::select! {
                _ = term.recv() => {}
                _ = int.recv() => {}
                () = hangups.serve() => {}
            }
            stopped.send_replace(true);
            // Keeps `reloaded` open until the process ends.
            std::future::pending::<()>().await;
            drop(hangups);
        });
        Ok(Self {
            stop,
            reload,
            n_reloaded,
            _waiting: waiting,
        })
    }

    pub(super) fn reloads(&self) -> Reloads {
        Reloads {
            asked: self.reload.clone(),
            n_reloaded: self.n_reloaded.clone(),
        }
    }

    pub(super) async fn stop(&mut self) {
        // An error means that nobody waits for signals any more: stop as well.
        let _ = self.stop.wait_for(|stop| *stop).await;
    }
}

impl Waiting {
    /// Never ends: signals go on for as long as the process.
    async fn serve(&mut self) {
        while self.hup.recv().await.is_some() {
            Process::reopen_log(&self.log);
            info!("reading the configuration again");
            process::reloading();
            let before = *self.n_reloaded.borrow();
            self.reloaded.send_replace(());
            let all = before.wrapping_add(self.n_reloaders);
            let done = self.n_reloaded.wait_for(|count| *count >= all);
            if tokio::time::timeout(RELOAD_LIMIT, done).await.is_err() {
                warn!("the files are still being read; the old settings stay until then");
            }
            process::reloaded();
        }
        std::future::pending::<()>().await;
    }
}

impl Reloads {
    /// Waits until somebody asks. None when nobody will any more.
    pub(crate) async fn asked(&mut self) -> Option<()> {
        self.asked.changed().await.ok()
    }

    /// Tells that what was asked for is done.
    pub(crate) fn done(&self) {
        self.n_reloaded
            .send_modify(|count| *count = count.wrapping_add(1));
    }
}

/// Reading takes milliseconds; systemd waits no longer for a disk that does not answer.
const RELOAD_LIMIT: Duration = Duration::from_secs(30);
