//! What do the old servers of a profile say of one user, at this moment?

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use proto::{NodeId, SessionProfileId, SessionRecord, Username};
use tokio::task::JoinSet;
use tokio::time::Instant;

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
#[derive(Debug)]
enum Answer {
    Sessions(Vec<SessionRecord>),
    /// It failed lately, and was not asked.
    PassedOver,
    Failed,
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
}

impl OldServer<'_> {
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
            Answer::PassedOver | Answer::Failed => None,
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
        let now = Instant::now();
        for host in hosts {
            if round.answers.contains_key(&host.agent) {
                continue;
            }
            let slot = self.slot(&host.agent);
            if slot.is_ok_and(|slot| slot.is_passed_over(now)) {
                round.answers.insert(host.agent.clone(), Answer::PassedOver);
                continue;
            }
            // Until it answers.
            round.answers.insert(host.agent.clone(), Answer::Failed);
            let (agents, agent, user) = (self.clone(), host.agent.clone(), user.clone());
            asking.spawn(async move {
                let listed = agents.list(&agent, &user).await;
                (agent, listed)
            });
        }
        while let Some(asked) = asking.join_next().await {
            let Ok((agent, listed)) = asked else { continue };
            // What was wrong with the others was logged when they were asked.
            if let Ok(records) = listed {
                round.answers.insert(agent, Answer::Sessions(records));
            }
        }
        round
    }

    /// The user's sessions on one server, as its agent lists them now.
    ///
    /// # Errors
    /// When it does not answer within [`LIST_DEADLINE`].
    pub async fn list_on(
        &self,
        server: &OldServer<'_>,
        user: &Username,
    ) -> Result<Vec<SessionRecord>, CallError> {
        let mut records = self.list(&server.agent, user).await?;
        // With one database it lists those of all servers.
        records.retain(|record| server.is_here(record));
        Ok(records)
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
mod tests {
    use std::collections::HashMap;

    use proto::{SessionRecord, SessionState, Username};

    use super::{Answer, OldAgents, OldHost, OldSessions, Round};
    use crate::old_agents::agent::testing::{old_hosts_of, profile, program};
    use crate::profiles::AgentQueryMode;

    const SQLITE: &str = "|-1|-1";

    fn record(number: u32, server: &str, state: char, more: &str) -> SessionRecord {
        let line = format!(
            "22|alice-{number}-1_stD_dp24|{number}|{server}|{state}|2026-11-22T06:00:17|2a|10.0.0.1\
             |1|2|2026-11-22T06:00:23|alice|63|3{more}"
        );
        SessionRecord::parse(&line).unwrap()
    }

    fn alice() -> Username {
        Username::parse("alice").unwrap()
    }

    fn round(hosts: &[OldHost<'_>], answers: Vec<Vec<SessionRecord>>) -> Round {
        let agents = hosts.iter().map(|host| host.agent.clone());
        let answers = answers.into_iter().map(Answer::Sessions);
        Round {
            answers: agents.zip(answers).collect::<HashMap<_, _>>(),
        }
    }

    fn found(round: &Round, hosts: &[OldHost<'_>]) -> Vec<String> {
        let ids = |host: &OldHost<'_>| {
            let sessions = round.sessions(host, hosts);
            let ids = sessions.iter().map(|r| r.display.to_string());
            format!("{}: {}", host.node, ids.collect::<Vec<_>>().join(" "))
        };
        hosts.iter().map(ids).collect()
    }

    #[test]
    fn with_one_database_each_session_is_where_its_record_says_and_counts_once() {
        let profile = profile("host=s1,s2,10.0.0.3");
        let hosts = old_hosts_of(&profile, AgentQueryMode::Ssh);
        let all = vec![
            record(50, "s1", 'R', ""),
            record(51, "s2", 'S', ""),
            record(52, "s1", 'S', ""),
            record(53, "elsewhere", 'S', ""),
        ];
        let round = round(&hosts, vec![all.clone(), all.clone(), all]);
        let expected = ["s1: 52 50", "s2: 51", "10.0.0.3: "];
        assert_eq!(found(&round, &hosts), expected);
    }

    #[test]
    fn a_server_with_a_database_of_its_own_has_what_it_lists_whatever_it_is_called() {
        let profile = profile("host=s1,10.0.0.3");
        let hosts = old_hosts_of(&profile, AgentQueryMode::Ssh);
        let first = vec![record(50, "s1", 'S', SQLITE)];
        let second = vec![record(50, "s3", 'R', SQLITE)];
        let round = round(&hosts, vec![first, second]);
        assert_eq!(found(&round, &hosts), ["s1: 50", "10.0.0.3: 50"]);
    }

    #[test]
    fn the_agent_of_this_host_speaks_for_all_by_name() {
        let profile = profile("host=s1,s2");
        let hosts = old_hosts_of(&profile, AgentQueryMode::Local);
        let listed = vec![record(50, "s2", 'S', ""), record(51, "s1", 'R', SQLITE)];
        let round = round(&hosts[..1], vec![listed]);
        assert_eq!(found(&round, &hosts), ["s1: 51", "s2: 50"]);
    }

    #[test]
    fn the_own_agent_of_a_host_is_believed_and_others_of_its_profile_only_where_it_failed() {
        let profile = profile("host=s1,s2,s3");
        let hosts = old_hosts_of(&profile, AgentQueryMode::Ssh);
        let of_s3 = vec![
            record(60, "s1", 'S', ""),
            record(61, "s2", 'S', ""),
            record(62, "s2", 'S', SQLITE),
        ];
        let of_s1 = vec![record(50, "s1", 'R', "")];
        let mut round = round(&hosts, vec![of_s1, Vec::new(), of_s3]);
        assert_eq!(found(&round, &hosts), ["s1: 50", "s2: ", "s3: 62"]);
        for answer in [Answer::Failed, Answer::PassedOver] {
            round.answers.insert(hosts[1].agent.clone(), answer);
            assert_eq!(found(&round, &hosts), ["s1: 50", "s2: 61", "s3: 62"]);
        }
        // Another profile was asked about in the same round: its agents say nothing here.
        assert_eq!(found(&round, &hosts[..2]), ["s1: 50", "s2: "]);
    }

    #[tokio::test]
    async fn an_agent_that_is_asked_for_one_server_alone_offers_no_session_of_another() {
        let lists = "22|alice-50-1_stD_dp24|50|s2|S|2026-11-22T06:00:17|2a|10.0.0.1|1|2|\
                     2026-11-22T06:00:23|alice|63|3";
        let (_folder, command) = program(&format!("echo OK; echo '{lists}'"));
        let profile = profile("host=s1,s2");
        let mut hosts = old_hosts_of(&profile, AgentQueryMode::Local);
        for host in &mut hosts {
            host.agent.command = command.as_str().into();
        }
        let agents = OldAgents::new("/nonexistent/sockets".into());
        let failed = Round::default();
        let mut on = Vec::new();
        for server in agents.servers(&hosts, &failed) {
            let listed = agents.list_on(&server, &alice()).await.unwrap();
            on.push((server.view.node.to_string(), listed.len()));
        }
        assert_eq!(on, [("s1".to_owned(), 0), ("s2".to_owned(), 1)]);
    }

    #[test]
    fn an_agent_that_failed_says_nothing_of_others() {
        let profile = profile("host=s1,s2");
        let hosts = old_hosts_of(&profile, AgentQueryMode::Ssh);
        let mut round = round(&hosts[1..], vec![vec![record(50, "s2", 'S', SQLITE)]]);
        round.answers.insert(hosts[0].agent.clone(), Answer::Failed);
        assert!(round.is_failed(&hosts[0].agent) && !round.is_failed(&hosts[1].agent));
        assert_eq!(found(&round, &hosts), ["s1: ", "s2: 50"]);
        let mut sessions = OldSessions::default();
        sessions.add(&profile.id, &hosts, &round);
        let placed = sessions.of(&profile.id);
        assert_eq!(placed.len(), 1);
        assert_eq!(placed[0].session.state, SessionState::Suspended);
    }
}
