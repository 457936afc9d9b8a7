//! Has somebody asked the demo to stop?

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

use crate::wait::{Progress, wait_for};

/// Whether SIGINT, SIGTERM or SIGHUP has come. The programs of the demo are in process
/// groups of their own, so that only the demo hears Ctrl-C and can stop them in order.
#[derive(Clone, Debug)]
pub(super) struct Interrupt(Arc<AtomicBool>);

/// The demo was asked to stop.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("interrupted")]
pub(super) struct Interrupted;

impl Interrupt {
    /// Listens from now on.
    ///
    /// # Errors
    /// When the system does not let it.
    pub(super) fn listen() -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .context("starting to listen for signals")?;
        let entered = runtime.enter();
        let listen = |kind| signal(kind).context("listening for signals");
        let mut interrupt = listen(SignalKind::interrupt())?;
        let mut terminate = listen(SignalKind::terminate())?;
        let mut hang_up = listen(SignalKind::hangup())?;
        drop(entered);
        let set = Self(Arc::default());
        let to_set = Arc::clone(&set.0);
        // It ends with the process.
        thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                    _ = hang_up.recv() => {}
                }
            });
            to_set.store(true, Ordering::Release);
        });
        Ok(set)
    }

    /// Goes on unless a signal has come.
    ///
    /// # Errors
    /// [`Interrupted`].
    pub(super) fn check(&self) -> Result<(), Interrupted> {
        if self.is_set() {
            Err(Interrupted)
        } else {
            Ok(())
        }
    }

    /// Waits as [`wait_for`], but no longer than until a signal comes.
    ///
    /// # Errors
    /// [`Interrupted`], or what was missing at the end of `limit`.
    pub(super) fn wait_for<T>(
        &self,
        limit: Duration,
        mut probe: impl FnMut() -> Progress<T>,
    ) -> anyhow::Result<T> {
        let waited = wait_for(limit, || {
            if self.is_set() {
                return Progress::Failed(Interrupted.to_string());
            }
            probe()
        });
        self.check()?;
        Ok(waited?)
    }

    /// Waits for a signal, however long that takes.
    pub(super) fn wait_until_set(&self) {
        // With this limit it can't time out.
        let _set = wait_for(Duration::MAX, || {
            Progress::when(self.is_set(), || "no signal yet".to_owned())
        });
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupt_ends_a_wait_at_once() {
        let interrupt = Interrupt(Arc::default());
        assert!(interrupt.check().is_ok());
        let mut looks = 0;
        let waited: anyhow::Result<()> = interrupt.wait_for(Duration::from_secs(60), || {
            looks += 1;
            interrupt.0.store(true, Ordering::Release);
            Progress::NotYet("the farm".to_owned())
        });
        assert_eq!(looks, 1);
        assert!(waited.is_err_and(|error| error.is::<Interrupted>()));
        interrupt.wait_until_set();
    }
}
