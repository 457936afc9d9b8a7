//! Which tasks make the agent, and in which order do they end?

use std::time::Duration;

use gossip::ClusterHandle;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::AppError;
use crate::inventory::InventoryHandle;

/// The running parts, and the two steps in which they are told to end.
#[derive(Debug, Default)]
pub(super) struct Parts {
    tasks: JoinSet<Ended>,
    /// Ends the server and its streams.
    pub(super) serving: CancellationToken,
    /// Ends everything else.
    pub(super) rest: CancellationToken,
}

/// How a part has ended.
type Ended = (&'static str, Result<(), AppError>);

impl Parts {
    pub(super) fn add(
        &mut self,
        name: &'static str,
        part: impl Future<Output = ()> + Send + 'static,
    ) {
        self.tasks.spawn(async move {
            part.await;
            (name, Ok(()))
        });
    }

    pub(super) fn add_fallible(
        &mut self,
        name: &'static str,
        part: impl Future<Output = Result<(), AppError>> + Send + 'static,
    ) {
        self.tasks.spawn(async move { (name, part.await) });
    }

    pub(super) fn add_blocking(
        &mut self,
        name: &'static str,
        part: impl FnOnce() + Send + 'static,
    ) {
        self.tasks.spawn_blocking(move || {
            part();
            (name, Ok(()))
        });
    }

    /// Waits for `stop`, or for the first part that ends by itself.
    pub(super) async fn until(&mut self, stop: &CancellationToken) -> Result<(), AppError> {
        tokio::select! {
            biased;
            () = stop.cancelled() => Ok(()),
            ended = self.tasks.join_next() => match ended {
                None => Ok(()),
                Some(Ok((name, Ok(())))) => Err(AppError::EndedEarly(name)),
                Some(Ok((_, Err(error)))) => Err(error),
                Some(Err(panic)) => Err(AppError::Panicked(panic)),
            }
        }
    }

    /// Ends all parts: first tells the other members, then finishes requests.
    pub(super) async fn end(mut self, inventory: &InventoryHandle, cluster: &ClusterHandle) {
        let ending = async {
            // Gone when it was the part that failed.
            let _ended = inventory.leave().await;
            cluster.leave(LEAVE_LIMIT).await;
            self.serving.cancel();
            // The gossip's own streams keep the server busy, so it is not waited for longer.
            let _busy = tokio::time::timeout(FINISH_REQUESTS, self.join_one()).await;
            self.rest.cancel();
            while self.join_one().await {}
        };
        if tokio::time::timeout(GRACE, ending).await.is_err() {
            tracing::warn!("some parts did not end in time");
        }
        tracing::info!("agent ended");
    }

    /// Joins the next part that ends; false when there is none left.
    async fn join_one(&mut self) -> bool {
        match self.tasks.join_next().await {
            None => return false,
            Some(Ok((_, Ok(())))) => {}
            Some(Ok((part, Err(error)))) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(part, error, "part failed while ending");
            }
            Some(Err(error)) => tracing::warn!(%error, "part panicked while ending"),
        }
        true
    }
}

/// For everything from the signal to the end.
const GRACE: Duration = Duration::from_secs(5);
/// For telling the others.
const LEAVE_LIMIT: Duration = Duration::from_secs(1);
/// For the answers that are on their way.
const FINISH_REQUESTS: Duration = Duration::from_millis(500);
