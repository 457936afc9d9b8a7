//! Does an agent that is passed over answer again? Asked in the background, so that no
//! log-in pays for it.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use super::OldAgents;

impl OldAgents {
    /// Asks the agents that are passed over, again and again. What they say is noted where
    /// all calls are.
    pub(super) async fn keep_probing(&self) -> Infallible {
        let mut tick = tokio::time::interval(EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            self.probe();
        }
    }

    /// Asks each of them once, side by side, unless the last call has not ended yet.
    fn probe(&self) {
        let slots: Vec<_> = {
            let slots = self.slots();
            let known = slots.iter();
            known
                .map(|(a, slot)| (a.clone(), Arc::clone(slot)))
                .collect()
        };
        for (agent, slot) in slots {
            // The last probe has it, or a call that hangs.
            let Some(held) = slot.places.own_if_free() else {
                continue;
            };
            let Some(call) = slot.next_probe() else {
                continue;
            };
            let agents = self.clone();
            self.shared.tasks.spawn(async move {
                // What was wrong was logged there.
                let _judged = agents.call_with(&agent, call, LIMIT, Some(held)).await;
            });
        }
    }
}

/// A server that is back is used soon, and a server that is away is asked for next to nothing.
const EVERY: Duration = Duration::from_secs(5);

/// Nobody waits for it. A listing that hangs leaves a process on the server until what it
/// waits for is there again: three in a minute, and each of them would tell that it is.
const LIMIT: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use proto::Username;

    use crate::config::OldAgentsConfig;
    use crate::old_agents::agent::testing::{config, program};
    use crate::old_agents::{Call, OldAgent, OldAgents};

    fn agents() -> OldAgents {
        OldAgents::new("/nonexistent/sockets".into())
    }

    fn agent(command: String) -> OldAgent {
        OldAgent::local(&OldAgentsConfig {
            command,
            ..config()
        })
    }

    fn is_passed_over(agents: &OldAgents, agent: &OldAgent) -> bool {
        agents.slot(agent).unwrap().is_passed_over()
    }

    async fn list(agents: &OldAgents, agent: &OldAgent, name: &str) -> bool {
        let call = Call::ListSessions(Username::parse(name).unwrap());
        let listed = agents.call(agent, call, Duration::from_millis(300));
        listed.await.is_ok()
    }

    /// Probes until it is so.
    async fn probe_until(agents: &OldAgents, what: &str, is_so: impl Fn() -> bool) {
        for _ in 0..500 {
            if is_so() {
                return;
            }
            agents.probe();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{what}: not so after 10 s");
    }

    fn lines(folder: &Path) -> Vec<String> {
        let calls = std::fs::read_to_string(folder.join("calls"));
        let calls = calls.unwrap_or_default();
        calls.lines().map(str::to_owned).collect()
    }

    /// Its listings hang while the folder has a file `hang`, and it notes its calls.
    const HANGS: &str = "cd \"$(dirname \"$0\")\"; echo \"$2 $1\" >>calls
[ \"$2\" = ping ] || while [ -e hang ]; do sleep 0.05; done; echo OK";

    #[tokio::test]
    async fn a_server_whose_homes_hang_is_back_with_the_first_listing_that_is_answered() {
        let (folder, command) = program(HANGS);
        let (agents, agent) = (agents(), agent(command));
        std::fs::write(folder.path().join("hang"), "").unwrap();
        assert!(!list(&agents, &agent, "alice").await);
        assert!(!list(&agents, &agent, "bob").await);
        assert!(is_passed_over(&agents, &agent));
        // Pings are answered all the time.
        agents.call(&agent, Call::Ping, LONG).await.unwrap();
        assert!(is_passed_over(&agents, &agent));
        let n_before = lines(folder.path()).len();
        let is_probed = || lines(folder.path()).len() > n_before;
        probe_until(&agents, "it is probed", is_probed).await;
        assert!(is_passed_over(&agents, &agent));
        assert_eq!(lines(folder.path()).last().unwrap(), "listsessions alice");
        std::fs::remove_file(folder.path().join("hang")).unwrap();
        let is_back = || !is_passed_over(&agents, &agent);
        probe_until(&agents, "it is back", is_back).await;
    }

    #[tokio::test]
    async fn a_server_that_is_away_is_back_with_the_first_ping_and_a_well_one_is_not_asked() {
        let (folder, command) = program(HANGS);
        let (agents, agent) = (agents(), agent(command));
        let (program, away) = (folder.path().join("agent"), folder.path().join("away"));
        std::fs::rename(&program, &away).unwrap();
        assert!(!list(&agents, &agent, "alice").await);
        assert!(is_passed_over(&agents, &agent));
        agents.probe();
        std::fs::rename(&away, &program).unwrap();
        let is_back = || !is_passed_over(&agents, &agent);
        probe_until(&agents, "it is back", is_back).await;
        assert_eq!(lines(folder.path()), ["ping foo"]);
        let slot = agents.slot(&agent).unwrap();
        assert_eq!(slot.next_probe(), None);
    }

    const LONG: Duration = Duration::from_secs(60);
}
