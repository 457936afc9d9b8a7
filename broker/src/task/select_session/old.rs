//! `selectsession` with servers that are not in the mesh.
//!
//! Their agents can't admit anybody: they are asked for the user's sessions in the moment of
//! the log-in, all at once. A server that answered is there, and counts as one that agrees.

use proto::{NodeId, SessionRecord, Username};
use tokio::time::Instant;
use tracing::{info, warn};

use super::resume::reach_at;
use super::{Answer, GivenKey, LOGIN_LIMIT, Login, Placing, Selected, Terms};
use crate::names::{ServerAddress, address_for_client};
use crate::old_agents::{OldServer, old_hosts};
use crate::placement::UserSession;
use crate::profiles::SessionProfile;
use crate::view::FarmView;

/// The profile's servers that are not in the mesh, with what their agents say now.
pub(super) async fn old_servers<'p>(
    placing: &Placing,
    profile: &'p SessionProfile,
    user: &Username,
    terms: Terms<'_>,
    view: &FarmView,
) -> Vec<OldServer<'p>> {
    let hosts = old_hosts(
        profile,
        terms.mode,
        terms.old_agents,
        view,
        placing.warm_up(),
    );
    if hosts.is_empty() {
        return Vec::new();
    }
    let round = placing.old_agents.ask(&hosts, user).await;
    placing.old_agents.servers(&hosts, &round)
}

impl<'a> Login<'a> {
    /// The user's sessions on old servers, as those that placement asks first.
    pub(super) fn sessions_on_old(&self) -> impl Iterator<Item = UserSession<'a>> + use<'a> {
        let old: &'a [OldServer<'a>] = self.old;
        old.iter().flat_map(|old| {
            old.sessions.iter().map(|record| UserSession {
                node: &old.view.node,
                state: record.state,
                starting: false,
                live: true,
            })
        })
    }

    /// What asking an agent of the mesh is: it takes the session, offers one, or is silent.
    pub(super) async fn ask_old(&mut self, old: &'a OldServer<'a>) -> Answer {
        let agents = &self.placing.old_agents;
        let (user, node) = (self.user, &old.view.node);
        let listed = if old.answered {
            Some(old.sessions.clone())
        } else {
            // It failed lately and was not asked with the others, or had no place for it.
            agents.list_on(old, user).await
        };
        let Some(sessions) = listed else {
            self.silent.insert(node);
            return Answer::Silent;
        };
        let sessions = self.suspended_first_on_old(old, sessions).await;
        if sessions.is_empty() {
            agents.placed(old);
        }
        let key = match self.offer {
            Some(offer) => {
                let (ticket, unwanted) = offer.lent.asking_old(node);
                let lent = agents.lend(&old.agent, user, offer.grant(), unwanted);
                let outcome = lent.await;
                offer.lent.answered(ticket, outcome);
                self.given(&old.view, outcome)
            }
            None => GivenKey::Nothing,
        };
        let server = address_for_client(old.host, self.profile.sshport);
        let resume = self.offer(node, &server, sessions).await;
        Answer::Taken(Selected {
            server,
            resume,
            key,
        })
    }

    /// The user's sessions there, of which the best one, if it runs, is taken over.
    async fn suspended_first_on_old(
        &mut self,
        old: &OldServer<'_>,
        offered: Vec<SessionRecord>,
    ) -> Vec<SessionRecord> {
        let Some(session) = self.runs_and_is_wanted(&offered) else {
            return offered;
        };
        let (user, node) = (self.user, &old.view.node);
        let suspended = self.placing.old_agents.suspend(&old.agent, user, &session);
        let now = match suspended.await {
            Ok(now) => now,
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                warn!(%user, %session, %node, error, "a session is offered as it was before");
                return offered;
            }
        };
        self.until = Instant::now() + LOGIN_LIMIT;
        // Of a farm with one database an agent lists the sessions of all servers.
        let here = |record: &SessionRecord| offered.iter().any(|known| known.id == record.id);
        let now: Vec<SessionRecord> = now.into_iter().filter(here).collect();
        info!(%user, %session, %node, n_sessions = now.len(), "a running session is taken over");
        now
    }

    /// What waits for the user on the profile's other old servers.
    pub(super) fn elsewhere_on_old(
        &self,
        but: &NodeId,
        server: &ServerAddress,
    ) -> Vec<SessionRecord> {
        let others = self.old.iter().filter(|old| old.view.node != *but);
        let mut records = Vec::new();
        for old in others {
            let at = address_for_client(old.host, self.profile.sshport);
            if at.port == server.port {
                let mut theirs = old.on_offer().to_vec();
                reach_at(&at, &mut theirs);
                records.extend(theirs);
            }
        }
        records
    }
}
