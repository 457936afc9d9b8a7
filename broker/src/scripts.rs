//! What do the operator's own scripts say to a request?
//!
//! A script is an executable in the configured directory. It is given the request as JSON
//! on its standard input, without passwords and AUTHIDs, and answers with JSON on its
//! standard output: what it wants changed, or that it refuses. A script that fails, takes
//! too long or says something odd refuses: nobody gets in because a check is broken.

mod message;
mod run;

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

pub use message::{Change, ChangeError, Facts, Server, Stage, Values};
pub use run::ScriptError;

use crate::network::network_of;
use crate::places::PlacesOfEach;

/// Which scripts run, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptsConfig {
    /// Where they lie.
    pub directory: PathBuf,
    /// How long each may take.
    pub deadline: Duration,
    /// Their names at each stage, in the order in which they run.
    pub names: HashMap<Stage, Vec<String>>,
}

/// Runs scripts; a bounded number of them at once, in all and for each client.
#[derive(Clone, Debug)]
pub struct Scripts {
    places: Arc<Semaphore>,
    of_client: Arc<PlacesOfEach<IpAddr>>,
    /// Scripts that run; each for its deadline at most.
    running: TaskTracker,
}

/// A script said no, or could not be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("refused by a script")]
pub struct Refused;

impl ScriptsConfig {
    /// The scripts of a stage.
    #[must_use]
    pub fn of(&self, stage: Stage) -> &[String] {
        self.names.get(&stage).map_or(&[], Vec::as_slice)
    }
}

impl Default for Scripts {
    fn default() -> Self {
        Self {
            places: Arc::new(Semaphore::new(MAX_AT_ONCE)),
            of_client: Arc::new(PlacesOfEach::new(MAX_OF_CLIENT)),
            running: TaskTracker::new(),
        }
    }
}

impl Scripts {
    /// Runs the scripts of a stage one after the other. Each sees what those before it
    /// changed; `facts` holds all changes in the end.
    ///
    /// # Errors
    /// When one refuses, or can't be asked.
    pub async fn run(
        &self,
        config: &ScriptsConfig,
        stage: Stage,
        facts: &mut Facts,
    ) -> Result<(), Refused> {
        for name in config.of(stage) {
            self.run_one(config, stage, name, facts).await?;
        }
        Ok(())
    }

    async fn run_one(
        &self,
        config: &ScriptsConfig,
        stage: Stage,
        name: &str,
        facts: &mut Facts,
    ) -> Result<(), Refused> {
        let output = match self.output(config, stage, name, facts).await {
            Ok(output) => output,
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                warn!(script = name, %stage, error, "a script failed; the request is refused");
                return Err(Refused);
            }
        };
        match Change::parse(stage, &output) {
            Ok(Change::Refuse(why)) => {
                info!(script = name, %stage, user = facts.user, why, "a script refused a request");
                Err(Refused)
            }
            Ok(Change::Apply(change)) => {
                if facts.apply(change) {
                    info!(script = name, %stage, user = facts.user, "a script changed a request");
                }
                Ok(())
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                warn!(script = name, %stage, error, "a script's answer can't be read; the request is refused");
                Err(Refused)
            }
        }
    }

    /// What a script says. Its deadline begins when it has its place, for which it waits as
    /// long at most. In a task of its own: the place is free again when the script is gone,
    /// also when nobody waits for its answer any more.
    async fn output(
        &self,
        config: &ScriptsConfig,
        stage: Stage,
        name: &str,
        facts: &Facts,
    ) -> Result<Vec<u8>, ScriptError> {
        let limit = config.deadline;
        let places = async {
            // First the narrow one, so that who waits there holds no other.
            let of_client = self.of_client.take(network_of(facts.client)).await;
            let place = Arc::clone(&self.places).acquire_owned().await;
            (of_client, place)
        };
        let places = tokio::time::timeout(limit, places).await;
        let places = places.or(Err(ScriptError::Busy(limit)))?;
        let (script, input) = (config.directory.join(name), facts.to_json(stage));
        let running = self.running.spawn(async move {
            let said = run::run(&script, input, limit).await;
            drop(places);
            said
        });
        running.await.unwrap_or(Err(ScriptError::Broken))
    }
}

/// Each is a process; more at once would be a way to fill the machine.
const MAX_AT_ONCE: usize = 16;

/// A quarter: whoever sends many requests waits for their own scripts, and not others.
const MAX_OF_CLIENT: usize = 4;

#[cfg(test)]
mod tests;
