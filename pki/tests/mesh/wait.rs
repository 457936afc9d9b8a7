//! Waiting for something that becomes true, with a limit and a last word.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Asks `ready` until it gives a value. Its error says what is still missing.
pub(crate) async fn wait_for<T>(mut ready: impl FnMut() -> Result<T, String>) -> T {
    let end = Instant::now() + LIMIT;
    loop {
        match ready() {
            Ok(value) => return value,
            Err(missing) if Instant::now() >= end => panic!("after {LIMIT:?}: {missing}"),
            Err(_) => sleep(Duration::from_millis(2)).await,
        }
    }
}

/// The same for things that are asked with an await.
pub(crate) async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(LIMIT, work).await {
        Ok(value) => value,
        Err(_) => panic!("after {LIMIT:?}: {what}"),
    }
}

/// Far longer than anything here takes, also on a loaded machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);
