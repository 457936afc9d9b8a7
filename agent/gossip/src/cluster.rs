//! Who keeps the gossip running? Starts it, and starts it anew as another generation
//! whenever it fails: some messages of a member make chitchat panic.

mod life;
mod push;
mod seeds;
mod setup;
mod tap;
mod view;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use proto::Generation;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::own::OwnKeys;
use crate::{ClusterConfig, ClusterError, ClusterHandle, Generations, Members, Transport};
use life::{Ended, Shared};

/// The membership of this node. [`Cluster::run`] does the work.
#[must_use = "nothing is gossiped until the cluster runs"]
pub struct Cluster {
    shared: Shared,
    generations: Generations,
    /// Keeps the keys when all handles are gone.
    _own: Arc<watch::Sender<OwnKeys>>,
}

impl Cluster {
    /// Prepares the membership. Nothing is sent before [`Cluster::run`].
    ///
    /// `generations` gives the generation of each restart; the first one is in `config`.
    ///
    /// # Errors
    /// When `config` can't be right.
    pub fn build(
        config: ClusterConfig,
        transport: impl Transport,
        generations: Generations,
    ) -> Result<(Self, ClusterHandle), ClusterError> {
        config.check()?;
        let (to_own, own) = watch::channel(OwnKeys::new(config.role));
        let (to_members, members) = watch::channel(Arc::new(Members::default()));
        let (to_pushed, pushed) = watch::channel(0);
        let to_own = Arc::new(to_own);
        let handle = ClusterHandle::new(Arc::clone(&to_own), members, pushed);
        let shared = Shared {
            config: Arc::new(config),
            transport: Arc::new(transport),
            own,
            members: Arc::new(to_members),
            pushed: Arc::new(to_pushed),
        };
        let cluster = Self {
            shared,
            generations,
            _own: to_own,
        };
        Ok((cluster, handle))
    }

    /// Gossips until `stop`, however often the gossip must be restarted.
    ///
    /// # Errors
    /// When the transport can't be opened the first time.
    pub async fn run(self, stop: CancellationToken) -> Result<(), ClusterError> {
        let settings = &self.shared.config.settings;
        let mut pause = settings.restart_first;
        let mut generation = self.shared.config.generation;
        let mut is_first = true;
        loop {
            let began = Instant::now();
            let mut lives = JoinSet::new();
            lives.spawn(life::run(self.shared.clone(), generation, stop.clone()));
            match lives.join_next().await {
                None | Some(Ok(Ended::Stopped)) => return Ok(()),
                Some(Ok(Ended::NotOpened(source))) if is_first => {
                    let advertise = self.shared.config.advertise;
                    return Err(ClusterError::Open { advertise, source });
                }
                Some(ended) => log_end(generation, ended),
            }
            is_first = false;
            if began.elapsed() > HEALTHY {
                pause = settings.restart_first;
            }
            let Some(next) = self.next_generation(pause, &stop).await else {
                return Ok(());
            };
            generation = next;
            pause = (pause * 2).min(settings.restart_most);
        }
    }

    /// Pauses, and then tries until there is a new generation; none when stopped.
    async fn next_generation(
        &self,
        pause: Duration,
        stop: &CancellationToken,
    ) -> Option<Generation> {
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return None,
                () = tokio::time::sleep(pause) => {}
            }
            let generations = self.generations.clone();
            match tokio::task::spawn_blocking(move || generations.next()).await {
                Ok(Ok(generation)) => {
                    tracing::info!(%generation, "the gossip starts again");
                    return Some(generation);
                }
                // With the old one, the others would keep our old state.
                Ok(Err(error)) => tracing::error!(
                    error = &error as &dyn Error,
                    "the gossip can't start again without a new generation"
                ),
                Err(error) => tracing::error!(%error, "taking a new generation panicked"),
            }
        }
    }
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster")
            .field("config", &self.shared.config)
            .finish_non_exhaustive()
    }
}

fn log_end(generation: Generation, ended: Result<Ended, JoinError>) {
    let error: Box<dyn Error + Send + Sync> = match ended {
        Ok(Ended::Stopped) => return,
        Ok(Ended::NotOpened(error) | Ended::Died(error)) => error,
        Ok(Ended::Forged) => "another member forged the version of our state".into(),
        Err(error) => error.into(),
    };
    tracing::error!(
        %generation,
        error = error.as_ref() as &dyn Error,
        "the gossip has failed and will be started again"
    );
}

/// A gossip that ran so long had no lasting trouble.
const HEALTHY: Duration = Duration::from_secs(60);
