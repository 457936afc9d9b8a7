//! What the program logged during a test.

use std::cell::RefCell;
use std::io;
use std::sync::Once;

use tracing_subscriber::filter::LevelFilter;

use crate::wait::wait_for;

/// The lines logged on this thread since it was made. Each test runs on a thread of its own.
pub(crate) struct Logs;

/// Keeps what is logged with the thread that logs it.
struct OfThisThread;

thread_local! {
    static TEXT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

static SUBSCRIBED: Once = Once::new();

impl Logs {
    pub(crate) fn capture() -> Self {
        SUBSCRIBED.call_once(|| {
            let subscriber = tracing_subscriber::fmt()
                .with_writer(|| OfThisThread)
                .with_max_level(LevelFilter::DEBUG)
                .with_ansi(false)
                .without_time()
                .finish();
            tracing::subscriber::set_global_default(subscriber).unwrap();
        });
        TEXT.with_borrow_mut(Vec::clear);
        Self
    }

    /// The lines of our own crate.
    #[expect(clippy::unused_self, reason = "lines are kept only after capture()")]
    pub(crate) fn lines(&self) -> Vec<String> {
        let text = TEXT.with_borrow(|bytes| String::from_utf8(bytes.clone()).unwrap());
        text.lines()
            .filter(|line| line.contains("pki::"))
            .map(str::to_owned)
            .collect()
    }

    pub(crate) fn count(&self, part: &str) -> usize {
        self.lines()
            .iter()
            .filter(|line| line.contains(part))
            .count()
    }

    /// Waits for a line that holds `part`.
    pub(crate) async fn wait_for(&self, part: &str) -> String {
        wait_for(|| {
            let lines = self.lines();
            let found = lines.iter().find(|line| line.contains(part)).cloned();
            found.ok_or_else(|| format!("no line with {part:?} in {lines:#?}"))
        })
        .await
    }
}

impl io::Write for OfThisThread {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        TEXT.with_borrow_mut(|text| text.extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
