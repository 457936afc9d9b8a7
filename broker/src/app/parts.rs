//! The parts of a process that must all run: which of them ended first, and the wait for
//! all of them.

use std::collections::HashMap;
use std::time::Duration;

use tokio::task::{Id, JoinSet};
use tracing::{error, warn};

/// Running parts, each with its name.
#[derive(Debug, Default)]
pub(super) struct Parts {
    tasks: JoinSet<()>,
    names: HashMap<Id, &'static str>,
}

impl Parts {
    /// Starts a part.
    pub(super) fn add(
        &mut self,
        name: &'static str,
        part: impl Future<Output = ()> + Send + 'static,
    ) {
        let id = self.tasks.spawn(part).id();
        self.names.insert(id, name);
    }

    /// Waits until one ends, and tells which.
    pub(super) async fn first_end(&mut self) -> &'static str {
        let Some(ended) = self.tasks.join_next_with_id().await else {
            return std::future::pending().await;
        };
        let id = match &ended {
            Ok((id, ())) => *id,
            Err(panic) => panic.id(),
        };
        let name = self.names.get(&id).copied().unwrap_or("a part");
        if let Err(panic) = ended {
            error!(part = name, error = %panic, "a part ended in a panic");
        }
        name
    }

    /// Waits until all have ended after they were told to, and cuts those that don't.
    pub(super) async fn all_end(&mut self, limit: Duration) {
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(limit, all).await.is_err() {
            warn!(
                n_parts = self.tasks.len(),
                "parts did not end in time; they are cut"
            );
            self.tasks.shutdown().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Parts;

    #[tokio::test]
    async fn the_part_that_ends_first_is_named() {
        let mut parts = Parts::default();
        parts.add("one that runs", std::future::pending());
        parts.add("one that ends", async {});
        assert_eq!(parts.first_end().await, "one that ends");
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_that_does_not_end_is_cut() {
        let mut parts = Parts::default();
        parts.add("stubborn", std::future::pending());
        parts.all_end(Duration::from_secs(1)).await;
        assert!(parts.tasks.is_empty());
    }
}
