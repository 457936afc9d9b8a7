//! Which sessions is the user offered, and are they in a state to be resumed?
//!
//! A session that runs is taken over: its agent suspends it and says when that has
//! happened. Then the agent is asked again, so that the client is told the truth whatever
//! came of it. A session that could not be suspended is offered as running: X2Go Client
//! suspends it itself before it resumes it.

use proto::{KeyOutcome, NodeId, SessionId, SessionRecord, SessionState};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{info, warn};

use super::{KeyOffer, LOGIN_LIMIT, Login, Offered};
use crate::agents::{Admission, AgentLink, Verdict};
use crate::names::{ServerAddress, address_for_client};
use crate::profiles::ProfileHost;
use crate::view::NodeView;

impl<'a> Login<'a> {
    /// Takes over the session that an agent offers, if it runs, and returns what the agent
    /// says then.
    pub(super) async fn suspended_first(
        &mut self,
        link: &AgentLink,
        node: &NodeId,
        forced: bool,
        offered: Admission,
    ) -> Admission {
        let Some(session) = self.to_take_over(&offered.verdict) else {
            return offered;
        };
        let user = self.user;
        match link.suspend(user, &session).await {
            Ok(()) => info!(%user, %session, %node, "a running session is taken over"),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                warn!(%user, %session, %node, error, "a running session could not be suspended");
            }
        }
        // The user has waited already; what follows may take its usual time.
        self.until = Instant::now() + LOGIN_LIMIT;
        // The same key again: it opens the account from now on for its whole time.
        let key = self.offer.map(KeyOffer::grant);
        match link.admit(user, &self.profile.id, forced, key).await {
            Ok(now) => now,
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                warn!(%user, %session, %node, error, "a session is offered as it was before");
                without_key(offered)
            }
        }
    }

    /// The session to suspend: the best one, if it runs. None where the user is to choose.
    fn to_take_over(&self, verdict: &Verdict) -> Option<SessionId> {
        let Verdict::Resume(records) = verdict else {
            return None;
        };
        self.runs_and_is_wanted(records)
    }

    /// The best one of these sessions, if it is to be suspended first.
    pub(super) fn runs_and_is_wanted(&self, records: &[SessionRecord]) -> Option<SessionId> {
        let best = records.first()?;
        let chosen_by_user = match self.offered {
            Offered::Best => false,
            Offered::All => records.len() > 1 || self.n_sessions() > 1,
        };
        let runs = best.state == SessionState::Running;
        (runs && !chosen_by_user && best.user == *self.user).then(|| best.id.clone())
    }

    /// How many sessions the user has on the profile's servers, as far as the view shows.
    fn n_sessions(&self) -> usize {
        let sessions = &self.view.of_user(self.user).sessions;
        let here = |node: &NodeId| self.hosts.iter().any(|(_, view)| view.node == *node);
        let on_old = self.old.iter().map(|old| old.sessions.len());
        let on_mesh = sessions.iter().filter(|placed| !placed.is_shadow());
        on_mesh.filter(|placed| here(&placed.node)).count() + on_old.sum::<usize>()
    }

    /// The records as the client needs them: X2Go Client resumes at the server that a
    /// record names, so that must be the address that is handed out.
    pub(super) async fn offer(
        &self,
        node: &NodeId,
        server: &ServerAddress,
        mut records: Vec<SessionRecord>,
    ) -> Vec<SessionRecord> {
        match self.offered {
            Offered::Best => records.truncate(1),
            Offered::All => {}
        }
        reach_at(server, &mut records);
        if matches!(self.offered, Offered::All) && !records.is_empty() {
            records.extend(self.elsewhere(node, server).await);
        }
        records
    }

    /// What waits on the profile's other servers. A server that does not answer is left
    /// out, as is one with another port: clients use the port of the first for all.
    async fn elsewhere(&self, but: &NodeId, server: &ServerAddress) -> Vec<SessionRecord> {
        let sessions = &self.view.of_user(self.user).sessions;
        let has_one = |node: &NodeId| sessions.iter().any(|placed| placed.node == *node);
        let others = self
            .hosts
            .iter()
            .filter(|(_, view)| view.live && view.node != *but && has_one(&view.node));
        let mut asked = JoinSet::new();
        for (place, (host, view)) in others.take(MAX_OTHERS).enumerate() {
            let at = self.address_of(host, view);
            if let Some((link, at)) = at.filter(|(_, at)| at.port == server.port) {
                let (link, user) = (link.clone(), self.user.clone());
                asked.spawn(async move { (place, at, link.resumable(&user).await) });
            }
        }
        let mut found = asked.join_all().await;
        found.sort_by_key(|(place, _, _)| *place);
        let mut records = self.elsewhere_on_old(but, server);
        for (_, at, answer) in found {
            match answer {
                Ok(mut theirs) => {
                    theirs.retain(|record| record.user == *self.user);
                    reach_at(&at, &mut theirs);
                    records.extend(theirs);
                }
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    warn!(user = %self.user, error, "a user's other sessions are not offered");
                }
            }
        }
        records
    }

    fn address_of(
        &self,
        host: &ProfileHost,
        view: &NodeView,
    ) -> Option<(&'a AgentLink, ServerAddress)> {
        let link = self.view.link(&view.node)?;
        Some((link, address_for_client(host, self.profile.sshport)))
    }
}

/// What the agent said before, but for the key: by now its time may be over.
fn without_key(offered: Admission) -> Admission {
    Admission {
        key: KeyOutcome::Failed,
        ..offered
    }
}

pub(super) fn reach_at(server: &ServerAddress, records: &mut [SessionRecord]) {
    for record in records {
        record.server.clone_from(&server.host);
    }
}

/// Nobody can choose among the sessions of more servers.
const MAX_OTHERS: usize = 8;

#[cfg(test)]
mod tests {
    use proto::{KeyOutcome, v1};

    use super::without_key;
    use crate::agents::{Admission, Verdict};

    #[test]
    fn a_key_that_was_not_confirmed_after_a_take_over_is_not_given() {
        let readiness = v1::Readiness {
            state: 1,
            ..v1::Readiness::default()
        };
        let state = v1::NodeState {
            counts: Some(v1::Counts::default()),
            readiness: Some(readiness),
            ..v1::NodeState::default()
        };
        let offered = Admission {
            state: state.try_into().unwrap(),
            verdict: Verdict::Admitted { confirmed: true },
            key: KeyOutcome::Installed,
        };
        let now = without_key(offered.clone());
        assert_eq!(now.key, KeyOutcome::Failed);
        assert_eq!(now.verdict, offered.verdict);
    }
}
