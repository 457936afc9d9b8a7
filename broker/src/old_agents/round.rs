//! What do the old servers of a profile say of one user, at this moment?

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use proto::{NodeId, SessionProfileId, SessionRecord, Username};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tracing::debug;

use super::agent::{OldAgent, OldHost, Way, is_called};
use super::{Call, CallError, LIST_DEADLINE, OldAgents, answer, figures};
use crate::profiles::ProfileHost;
use crate::view::{NodeView, PlacedSession};

/// The answers of all agents that were asked, side by side.
#[derive(Debug, Default)]
pub struct Round {
    answers: HashMap<OldAgent, Answer>,
}

/// What became of asking one agent.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Sessions(Vec<SessionRecord>),
    /// There were too many calls: nothing is known of the user, nor against the agent.
    Busy,
    /// It does not answer at present, and was not asked.
    PassedOver,
    Failed,
}

impl Answer {
    pub(super) fn sessions(self) -> Option<Vec<SessionRecord>> {
        match self {
            Self::Sessions(records) => Some(records),
            Self::Busy | Self::PassedOver | Self::Failed => None,
        }
    }
}

/// An old server as one log-in sees it.
#[derive(Debug)]
pub struct OldServer<'p> {
    /// The host.
    pub host: &'p ProfileHost,
    /// Who speaks for it.
    pub agent: OldAgent,
    /// What placement takes it for.
    pub view: NodeView,
    /// The user's sessions on it, suspended ones first.
    pub sessions: Vec<SessionRecord>,
    /// Whether its agent did not answer in this round.
    pub failed: bool,
    /// Whether its agent answered, and so agrees.
    pub answered: bool,
}

impl OldServer<'_> {
    /// The user's sessions that a client can be offered without another question: those of a
    /// server that is there. Others may list those of one that is down, from a common database.
    #[must_use]
    pub fn on_offer(&self) -> &[SessionRecord] {
        if self.answered { &self.sessions } else { &[] }
    }

    /// Whether a session that this server's agent lists is here.
    fn is_here(&self, record: &SessionRecord) -> bool {
        let own = matches!(self.agent.way, Way::Ssh(_));
        is_on(record, self.host, own)
    }
}

/// The sessions of a user on old servers, by the profiles of which these are hosts.
#[derive(Clone, Debug, Default)]
pub struct OldSessions {
    by_profile: HashMap<SessionProfileId, Vec<PlacedSession>>,
}

impl OldSessions {
    /// Those on the hosts of this profile.
    #[must_use]
    pub fn of(&self, profile: &SessionProfileId) -> &[PlacedSession] {
        self.by_profile.get(profile).map_or(&[], Vec::as_slice)
    }

    /// Takes in what a round said of the hosts of a profile.
    pub fn add(&mut self, profile: &SessionProfileId, hosts: &[OldHost<'_>], round: &Round) {
        let placed = hosts.iter().flat_map(|host| {
            let sessions = round.sessions(host, hosts);
            sessions.into_iter().map(|record| PlacedSession {
                node: host.node.clone(),
                session: record.summary(),
            })
        });
        let placed: Vec<PlacedSession> = placed.collect();
        if !placed.is_empty() {
            self.by_profile.insert(profile.clone(), placed);
        }
    }
}

impl Round {
    /// The user's sessions on one of the hosts of a profile. Its own agent is believed. Only
    /// where that gave no answer, agents of the profile's other hosts are, as far as they
    /// speak for a database of the whole farm.
    #[must_use]
    pub fn sessions(&self, host: &OldHost<'_>, of_profile: &[OldHost<'_>]) -> Vec<SessionRecord> {
        let is_ssh = matches!(host.agent.way, Way::Ssh(_));
        let mut found: Vec<SessionRecord> = Vec::new();
        if let Some(records) = self.listed(&host.agent) {
            let here = records.iter().filter(|r| is_on(r, host.host, is_ssh));
            add_new(&mut found, here);
        } else {
            let others = of_profile.iter().filter(|other| other.agent != host.agent);
            for records in others.filter_map(|other| self.listed(&other.agent)) {
                let of_farm = records.iter().filter(|r| !is_of_own_database(r));
                add_new(&mut found, of_farm.filter(|r| is_on(r, host.host, false)));
            }
        }
        found.sort_by(|a, b| {
            (a.state.letter() == 'R', &a.id).cmp(&(b.state.letter() == 'R', &b.id))
        });
        found
    }

    fn listed(&self, agent: &OldAgent) -> Option<&[SessionRecord]> {
        match self.answers.get(agent)? {
            Answer::Sessions(records) => Some(records),
            Answer::Busy | Answer::PassedOver | Answer::Failed => None,
        }
    }

    fn is_failed(&self, agent: &OldAgent) -> bool {
        matches!(self.answers.get(agent), Some(Answer::Failed))
    }

    fn is_passed_over(&self, agent: &OldAgent) -> bool {
        matches!(self.answers.get(agent), Some(Answer::PassedOver))
    }
}

/// Whether a session is on this host, judging by the record; `own` is one that the host's
/// own agent listed.
fn is_on(record: &SessionRecord, host: &ProfileHost, own: bool) -> bool {
    if own && is_of_own_database(record) {
        return true;
    }
    NodeId::parse(&record.server).is_ok_and(|server| is_called(host, &server))
}

/// x2golistsessions(8): two more fields with SQLite, which knows of its own server only. With
/// PostgreSQL each agent lists the whole farm.
fn is_of_own_database(record: &SessionRecord) -> bool {
    record.tekictrl_and_tekidata_ports.is_some()
}

fn add_new<'r>(found: &mut Vec<SessionRecord>, more: impl Iterator<Item = &'r SessionRecord>) {
    for record in more {
        if !found.iter().any(|known| known.id == record.id) {
            found.push(record.clone());
        }
    }
}

impl OldAgents {
    /// Asks the agents of these hosts for the user's sessions, each agent once and all side
    /// by side. Agents that failed lately are not asked.
    pub async fn ask(&self, hosts: &[OldHost<'_>], user: &Username) -> Round {
        let (mut asking, mut round) = (JoinSet::new(), Round::default());
        for host in hosts {
            if round.answers.contains_key(&host.agent) {
                continue;
            }
            let slot = self.slot(&host.agent);
            if slot.is_ok_and(|slot| slot.is_passed_over()) {
                round.answers.insert(host.agent.clone(), Answer::PassedOver);
                continue;
            }
            // Until it answers.
            round.answers.insert(host.agent.clone(), Answer::Failed);
            let (agents, agent, user) = (self.clone(), host.agent.clone(), user.clone());
            asking.spawn(async move {
                let listed = agents.list_joined(&agent, &user).await;
                (agent, listed)
            });
        }
        while let Some(asked) = asking.join_next().await {
            let Ok((agent, listed)) = asked else { continue };
            round.answers.insert(agent, listed);
        }
        round
    }

    /// The user's sessions on one server, as its agent lists them now.
    ///
    /// None when it does not answer within the patience that one has with it, at most
    /// [`LIST_DEADLINE`].
    pub async fn list_on(
        &self,
        server: &OldServer<'_>,
        user: &Username,
    ) -> Option<Vec<SessionRecord>> {
        let listed = self.list_joined(&server.agent, user).await;
        let mut records = listed.sessions()?;
        // With one database it lists those of all servers.
        records.retain(|record| server.is_here(record));
        Some(records)
    }

    /// [`Self::list`], once for all who ask the same at the same time, and within the patience
    /// that one has with this agent. It goes on when who began it is gone: what comes then
    /// is there for who asks next.
    pub(super) async fn list_joined(&self, agent: &OldAgent, user: &Username) -> Answer {
        let Ok(slot) = self.slot(agent) else {
            return Answer::Busy;
        };
        let begun_at = Instant::now();
        if let Some(late) = slot.change_pace(|pace| pace.take_late(user, begun_at)) {
            return Answer::Sessions(late);
        }
        let is_connected = matches!(agent.way, Way::Local) || slot.is_connected();
        let patience = slot.patience(is_connected);
        let (mut told, begun) = slot.listing(user);
        if let Some(tell) = begun {
            let (agents, agent, user) = (self.clone(), agent.clone(), user.clone());
            let slot = Arc::clone(&slot);
            self.shared.tasks.spawn(async move {
                // What was wrong was logged there.
                let answer = match agents.list(&agent, &user).await {
                    Ok(records) => Answer::Sessions(records),
                    Err(CallError::Busy) => Answer::Busy,
                    Err(_logged) => Answer::Failed,
                };
                if let Answer::Sessions(records) = &answer {
                    let now = Instant::now();
                    slot.change_pace(|pace| {
                        pace.took(now.saturating_duration_since(begun_at));
                        // The slot has one.
                        if tell.receiver_count() <= 1 {
                            pace.keep(&user, records.clone(), now);
                        }
                    });
                }
                tell.send_replace(Some(answer));
            });
        }
        let Ok(answer) = timeout(patience, told.wait_for(Option::is_some)).await else {
            debug!(%agent, "a log-in waits no longer for an old agent");
            return Answer::Failed;
        };
        answer.map_or(Answer::Failed, |answer| {
            answer.clone().unwrap_or(Answer::Failed)
        })
    }

    /// The user's sessions as one agent lists them, on whatever servers. The local one is asked for the counts of
    /// all servers as well, since nobody polls it.
    ///
    /// # Errors
    /// When it does not answer within [`LIST_DEADLINE`].
    pub(super) async fn list(
        &self,
        agent: &OldAgent,
        user: &Username,
    ) -> Result<Vec<SessionRecord>, CallError> {
        let list = self.call(agent, Call::ListSessions(user.clone()), LIST_DEADLINE);
        let listed = match agent.way {
            Way::Ssh(_) => list.await?,
            Way::Local => {
                let (listed, ()) = tokio::join!(list, self.count(agent, user, LIST_DEADLINE));
                listed?
            }
        };
        Ok(answer::sessions(&listed, user).unwrap_or_default())
    }

    /// Asks for the sessions of all servers. Without an answer the last counts stay.
    pub(super) async fn count(&self, agent: &OldAgent, user: &Username, limit: Duration) {
        let told = self
            .call(agent, Call::GetServers(user.clone()), limit)
            .await;
        let servers = told.ok().and_then(|told| answer::servers(&told));
        if let (Some(servers), Ok(slot)) = (servers, self.slot(agent)) {
            slot.change_figures(|figures| figures.take_sessions(servers));
        }
    }

    /// The hosts as placement and log-in need them, after a round.
    pub fn servers<'p>(&self, hosts: &[OldHost<'p>], round: &Round) -> Vec<OldServer<'p>> {
        let now = Instant::now();
        let server = |host: &OldHost<'p>| OldServer {
            view: self.view(host, round, now),
            sessions: round.sessions(host, hosts),
            failed: round.is_failed(&host.agent),
            answered: round.listed(&host.agent).is_some(),
            host: host.host,
            agent: host.agent.clone(),
        };
        hosts.iter().map(server).collect()
    }

    fn view(&self, host: &OldHost<'_>, round: &Round, now: Instant) -> NodeView {
        let slot = self.slot(&host.agent).ok();
        let figures = slot.as_ref().map(|slot| slot.figures()).unwrap_or_default();
        let load = match host.agent.way {
            Way::Ssh(_) => figures.load(now),
            // It would be that of this host.
            Way::Local => None,
        };
        let n_sessions = figures.n_sessions(|name| host.is_called(name));
        let in_flight = slot.map_or(0, |slot| slot.in_flight(&host.node, now));
        let suspect = round.is_failed(&host.agent) || round.is_passed_over(&host.agent);
        NodeView {
            node: host.node.clone(),
            address: NOWHERE,
            state: figures::state(load, n_sessions, in_flight),
            refreshed_at: now,
            live: true,
            installs_keys: false,
            followed: true,
            suspect_until: suspect.then_some(now),
        }
    }

    /// Tells that a user was sent to this server for a new session.
    pub fn placed(&self, server: &OldServer<'_>) {
        if let Ok(slot) = self.slot(&server.agent) {
            slot.placed(&server.view.node, Instant::now());
        }
    }
}

/// No agent of the mesh listens for an old server.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

#[cfg(test)]
mod tests;
