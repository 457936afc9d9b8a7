//! How loaded are the old servers? Asked in the background, so that no log-in waits for it.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::agent::Way;
use super::{Call, OldAgent, OldAgents, answer, local, old_hosts};
use crate::settings::SettingsWatch;
use crate::task::select_session::Placing;
use crate::view::feed::FeedHandle;

/// Polls the old servers that the session profiles name.
#[derive(Debug)]
pub struct Poller {
    agents: OldAgents,
    /// Of each broker in this daemon.
    settings: Vec<SettingsWatch>,
    feed: FeedHandle,
    /// Nobody counts as outside of the mesh before that.
    warm_up: Duration,
}

impl Poller {
    /// Begins with what the settings say now.
    #[must_use]
    pub fn new(settings: Vec<SettingsWatch>, placing: &Placing) -> Self {
        Self {
            agents: placing.old_agents.clone(),
            settings,
            feed: placing.feed.clone(),
            warm_up: placing.warm_up(),
        }
    }

    /// Polls until told to stop, and ends the connections then.
    pub async fn run(self, stop: CancellationToken) {
        local::warn_where_it_cannot_work(&self.settings);
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = tokio::time::sleep(self.warm_up) => {
                debug!("servers of which the mesh has not heard count as old ones from now on");
            }
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            never = self.agents.keep_probing() => match never {},
            never = self.keep_polling() => match never {},
        }
        let shared = &self.agents.shared;
        shared.stopping.cancel();
        shared.tasks.close();
        // Connections have watchers among the tasks, so keys come first.
        let keys_gone = async {
            while !self.agents.lent().is_empty() {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        let _ = tokio::time::timeout(END_LIMIT, keys_gone).await;
        self.agents.keep_only(&[]);
        if tokio::time::timeout(END_LIMIT, shared.tasks.wait())
            .await
            .is_err()
        {
            debug!("calls of old agents did not end in time; they are left");
        }
    }

    async fn keep_polling(&self) -> Infallible {
        let mut tick = tokio::time::interval(EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let named = self.named();
            self.agents.keep_only(&named);
            self.poll(named).await;
        }
    }

    /// The agents that the profiles name, each once.
    fn named(&self) -> Vec<OldAgent> {
        let view = self.feed.view();
        let mut named: Vec<OldAgent> = Vec::new();
        for settings in &self.settings {
            let settings = Arc::clone(&settings.borrow());
            let Some(backend) = settings.backend("inifile") else {
                continue;
            };
            for profile in backend.profiles.iter() {
                let mode = profile.query_mode.unwrap_or(backend.query_mode);
                for host in old_hosts(profile, mode, &backend.old_agents, &view, self.warm_up) {
                    if !named.contains(&host.agent) {
                        named.push(host.agent);
                    }
                }
            }
        }
        named
    }

    async fn poll(&self, named: Vec<OldAgent>) {
        let places = Arc::new(Semaphore::new(AT_ONCE));
        let mut polls = JoinSet::new();
        // The load of this host says nothing of others.
        let others = |agent: &OldAgent| matches!(agent.way, Way::Ssh(_));
        for agent in named.into_iter().filter(others) {
            let (agents, places) = (self.agents.clone(), Arc::clone(&places));
            polls.spawn(async move {
                let _place = places.acquire().await;
                agents.poll(&agent).await;
            });
        }
        while polls.join_next().await.is_some() {}
    }
}

impl OldAgents {
    /// Asks one agent for its figures. That it did not answer was logged already.
    async fn poll(&self, agent: &OldAgent) {
        let Ok(slot) = self.slot(agent) else { return };
        // Those are probed, and the answer would change nothing.
        if slot.is_passed_over() {
            return;
        }
        let Ok(told) = self.call(agent, Call::CheckLoad, LIMIT).await else {
            return;
        };
        match answer::check_load(&told) {
            Some(load) => slot.change_figures(|figures| figures.take_load(load, Instant::now())),
            None => debug!(%agent, "an old agent told no load that can be read"),
        }
        if let Some(user) = slot.known_user() {
            self.count(agent, &user, LIMIT).await;
        }
    }
}

/// Each poll starts Perl twice on the server: some 0.3 s of CPU, so 1 to 2 % of one.
const EVERY: Duration = Duration::from_secs(20);

/// Nobody waits for it.
const LIMIT: Duration = Duration::from_secs(8);

/// Servers at once; log-ins have the other places.
const AT_ONCE: usize = 16;

/// Keys have this time to go, and programs to end: half of what parts of a replica have.
const END_LIMIT: Duration = Duration::from_millis(900);
const LOOK_EVERY: Duration = Duration::from_millis(20);
