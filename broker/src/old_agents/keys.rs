//! How does a key open an account on an old server for a while?
//!
//! An old agent adds a line and forgets it. So this replica removes it when its time is
//! over, as 0.0.4.3 does, tries again where that fails, and removes what is left when it
//! stops. What is not done then, because it was killed or the server is away, is not done by
//! anybody: servers of the mesh keep their keys' time themselves.

use std::time::Duration;

use proto::{KeyGrant, KeyOutcome, PublicKey, Username};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::{Call, CallError, OldAgent, OldAgents};

impl OldAgents {
    /// Puts a key where the grant says, and removes it when its time is over, or when it is
    /// unwanted before.
    pub async fn lend(
        &self,
        agent: &OldAgent,
        user: &Username,
        grant: KeyGrant,
        unwanted: CancellationToken,
    ) -> KeyOutcome {
        let Ok(line) = line(&grant.key) else {
            return KeyOutcome::Refused;
        };
        let add = Call::AddKey(user.clone(), line.clone(), grant.file.clone());
        let remove = Call::RemoveKey(user.clone(), line, grant.file);
        if add.checked_operands().is_err() || !self.note_lent(agent, &remove) {
            return KeyOutcome::Refused;
        }
        let (tell, told) = oneshot::channel();
        let (agents, agent) = (self.clone(), agent.clone());
        // Who asked may go away; what was begun ends all the same.
        self.shared.tasks.spawn(async move {
            let outcome = match agents.call(&agent, add, ADD_LIMIT).await {
                Ok(_) => KeyOutcome::Installed,
                Err(CallError::Refused { .. }) => KeyOutcome::Refused,
                Err(_logged) => KeyOutcome::Failed,
            };
            let _ = tell.send(outcome);
            if outcome == KeyOutcome::Installed {
                tokio::select! {
                    () = agents.shared.stopping.cancelled() => {}
                    () = unwanted.cancelled() => {}
                    () = tokio::time::sleep(grant.life) => {}
                }
            }
            agents.take_back(&agent, remove).await;
        });
        told.await.unwrap_or(KeyOutcome::Failed)
    }

    /// Removes the line, unless another login still needs that very line. One that may be
    /// there is removed as well.
    async fn take_back(&self, agent: &OldAgent, remove: Call) {
        if !self.is_last(agent, &remove) {
            self.note_ended(agent, &remove);
            return;
        }
        self.remove(agent, &remove).await;
        self.note_ended(agent, &remove);
    }

    async fn remove(&self, agent: &OldAgent, remove: &Call) {
        for _ in 0..MAX_TRIES {
            match self.call(agent, remove.clone(), REMOVE_LIMIT).await {
                Ok(_) => {
                    info!(%agent, "a key was removed from an old server");
                    return;
                }
                Err(_logged) if self.shared.stopping.is_cancelled() => break,
                Err(_logged) => tokio::time::sleep(TRY_AGAIN).await,
            }
        }
        let user = remove.operands().first().copied().unwrap_or_default();
        error!(%agent, user, "a key could not be removed from an old server, and stays there");
    }

    /// Notes that a line is needed once more; not when there are too many.
    fn note_lent(&self, agent: &OldAgent, remove: &Call) -> bool {
        let mut lent = self.lent();
        let has_room = lent.len() < MAX_LENT;
        if has_room {
            lent.push((agent.clone(), remove.clone()));
        }
        has_room
    }

    /// Notes that a line is needed once less.
    fn note_ended(&self, agent: &OldAgent, remove: &Call) {
        let mut lent = self.lent();
        let is_it = |(of, call): &(OldAgent, Call)| of == agent && call == remove;
        if let Some(idx) = lent.iter().position(is_it) {
            lent.swap_remove(idx);
        }
    }

    /// Whether one login alone needs the line.
    fn is_last(&self, agent: &OldAgent, remove: &Call) -> bool {
        let lent = self.lent();
        let same = lent
            .iter()
            .filter(|(of, call)| of == agent && call == remove);
        same.count() <= 1
    }
}

/// The key with the restrictions of the original, but for `no-pty`: X2Go Client checks its
/// log-in on one.
fn line(key: &PublicKey) -> Result<PublicKey, proto::PublicKeyError> {
    PublicKey::parse(&format!(
        "no-X11-forwarding,no-user-rc {}",
        key.without_options()
    ))
}

/// A login waits for it.
const ADD_LIMIT: Duration = Duration::from_secs(4);

/// Nobody waits for it.
const REMOVE_LIMIT: Duration = Duration::from_secs(8);
const TRY_AGAIN: Duration = Duration::from_secs(10);

/// Some two minutes; a server that is away longer keeps its key.
const MAX_TRIES: u32 = 8;

/// Keys at once: more logins than old servers take in 20 s.
const MAX_LENT: usize = 1024;

#[cfg(test)]
mod tests {
    use proto::{KeyFile, KeyGrant, KeyOutcome, PublicKey, Username};
    use tokio_util::sync::CancellationToken;

    use super::line;
    use crate::old_agents::agent::testing::{old_hosts_of, profile};
    use crate::old_agents::{Call, OldAgents};
    use crate::profiles::AgentQueryMode;

    const KEY: &str =
        "no-pty ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIII";

    #[test]
    fn the_line_has_our_restrictions_and_not_those_of_the_client() {
        let line = line(&PublicKey::parse(KEY).unwrap()).unwrap();
        let expected = KEY.replace("no-pty", "no-X11-forwarding,no-user-rc");
        assert_eq!(line.as_str(), expected);
    }

    #[test]
    fn a_line_that_two_logins_need_goes_with_the_second() {
        let profile = profile("host=s1");
        let agent = old_hosts_of(&profile, AgentQueryMode::Ssh)[0].agent.clone();
        let agents = OldAgents::new("/nonexistent/sockets".into());
        let user = Username::parse("alice").unwrap();
        let key = PublicKey::parse(KEY).unwrap();
        let remove = Call::RemoveKey(user, key, KeyFile::default());
        assert!(agents.note_lent(&agent, &remove));
        assert!(agents.note_lent(&agent, &remove));
        assert!(!agents.is_last(&agent, &remove));
        agents.note_ended(&agent, &remove);
        assert!(agents.is_last(&agent, &remove));
    }

    #[tokio::test]
    async fn a_file_that_a_shell_could_misread_gets_no_key() {
        let profile = profile("host=s1");
        let agent = old_hosts_of(&profile, AgentQueryMode::Ssh)[0].agent.clone();
        let agents = OldAgents::new("/nonexistent/sockets".into());
        let grant = KeyGrant {
            key: PublicKey::parse(KEY).unwrap(),
            client: None,
            file: KeyFile::parse("%h/$(id)").unwrap(),
            life: std::time::Duration::from_secs(20),
        };
        let user = Username::parse("alice").unwrap();
        let outcome = agents
            .lend(&agent, &user, grant, CancellationToken::new())
            .await;
        assert_eq!(outcome, KeyOutcome::Refused);
    }
}
