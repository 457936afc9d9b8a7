//! `selectsession`: on which server may this user start or resume a session?
//!
//! The view ranks, the agent decides: whatever the view says, the server that is handed
//! out has confirmed it in this request. The order of asking is: the server that holds
//! the user's session, or a place for it; then the servers that placement names, one
//! after the other, until one takes the session.

mod keyed;
mod lent;
mod old;
mod resume;

use std::collections::HashSet;
use std::time::Duration;

use old::old_servers;
use proto::{KEY_LIMIT, KeyOutcome, NodeId, NodeState, Readiness, SessionRecord, Username};
use tokio::time::Instant;
use tracing::{debug, info, warn};

pub use self::keyed::{GivenKey, KeyOffer, select_with_key};
use crate::agents::{Admission, AskError, KeyReturns, Refusal, Verdict};
use crate::autologin::KeyPairs;
use crate::config::OldAgentsConfig;
use crate::names::{Resolved, ServerAddress, address_for_client};
use crate::old_agents::{OldAgents, OldServer};
use crate::placement::{
    Freshness, Placement, PlacementKey, Server, Step, UserSession, prior_server,
};
use crate::profiles::{AgentQueryMode, ProfileHost, SessionProfile};
use crate::view::feed::{FeedHandle, News};
use crate::view::{FarmView, NodeView};

/// What all placements of a replica have in common.
#[derive(Clone, Debug)]
pub struct Placing {
    /// The view, and whom to tell what was learned.
    pub feed: FeedHandle,
    /// Which candidates a user has; the same on all replicas.
    pub key: PlacementKey,
    /// How often gossip runs: what is fresh depends on it.
    pub round: Duration,
    /// The way to servers that are not in the mesh.
    pub old_agents: OldAgents,
    /// Pairs of keys for clients that have none.
    pub keys: KeyPairs,
    /// How keys come back that no client was given.
    pub returns: KeyReturns,
}

impl Placing {
    /// In that time all agents of the farm would have shown themselves.
    #[must_use]
    pub fn warm_up(&self) -> Duration {
        self.round * WARM_UP_ROUNDS
    }
}

/// Where the client is to go.
#[derive(Clone, Debug)]
pub struct Selected {
    /// The address to hand out.
    pub server: ServerAddress,
    /// The sessions to resume, the best one first; empty for a new session. The server of
    /// each is the address that clients are given for it. More than one only when all are
    /// to be offered.
    pub resume: Vec<SessionRecord>,
    /// What the client logs in with.
    pub key: GivenKey,
}

impl Selected {
    /// A server that was not asked, so that nothing waits there.
    #[must_use]
    pub fn unasked(server: ServerAddress) -> Self {
        Self {
            server,
            resume: Vec::new(),
            key: GivenKey::Nothing,
        }
    }
}

/// Which of their sessions users are offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Offered {
    /// The best one, as x2gobroker 0.0.4.3 does. If it runs, it is suspended first.
    #[default]
    Best,
    /// All on the profile's servers. Where there are several, the user chooses and nothing
    /// is suspended.
    All,
}

/// On which terms a backend gives sessions out.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// Which sessions clients are offered.
    pub offered: Offered,
    /// By which way agents are asked.
    pub mode: AgentQueryMode,
    /// How agents of x2gobroker 0.0.4.3 are called.
    pub old_agents: &'a OldAgentsConfig,
}

/// No server takes the user now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no server takes the session: {why}")]
pub struct NoServer {
    /// For the log; clients are told no more than that there is none.
    pub why: String,
}

/// Finds the server for a session of `user` on `profile`. That the user may use the
/// profile was checked before.
///
/// # Errors
/// When no server takes it. Each server of the mesh is asked for at most a quarter of a second,
/// and none is asked any more after [`LOGIN_LIMIT`], or [`KEY_LIMIT`] later where a key is to be
/// given. Old servers take more: all of the profile are asked before that, side by side, for at
/// most [`LIST_DEADLINE`](crate::old_agents::LIST_DEADLINE); so is one that gave no answer then
/// and is asked again, and one that is given a key has a second more. A running
/// session that must be suspended first takes longer: at most
/// [`SUSPEND_DEADLINE`](crate::agents::SUSPEND_DEADLINE) in the mesh, some 12 s on an old
/// server and never more than 21 s.
pub async fn select_session(
    placing: &Placing,
    profile: &SessionProfile,
    user: &Username,
    terms: Terms<'_>,
    offer: Option<&KeyOffer<'_>>,
) -> Result<Selected, NoServer> {
    if profile.is_shadow() {
        return first_host(profile);
    }
    let view = placing.feed.view();
    let now = Instant::now();
    let warm_up = match terms.mode {
        AgentQueryMode::Mesh | AgentQueryMode::Local | AgentQueryMode::Ssh => {
            Some(placing.warm_up())
        }
        // Nobody expects agents, so there is nobody to wait for.
        AgentQueryMode::None => None,
    };
    let old = Box::pin(old_servers(placing, profile, user, terms, &view)).await;
    let no_agent = |host| view.has_no_agent(host, warm_up, now);
    if old.is_empty() && profile.hosts.iter().all(no_agent) {
        return without_agents(placing, profile, user);
    }
    let mut hosts = hosts_on_nodes(profile, &view);
    hosts.extend(old.iter().map(|old| (old.host, &old.view)));
    let failed = old.iter().filter(|old| old.failed);
    let silent = failed.map(|old| &old.view.node).collect();
    let limit = match offer {
        Some(_) => LOGIN_LIMIT + KEY_LIMIT,
        None => LOGIN_LIMIT,
    };
    let mut login = Login {
        placing,
        view: &view,
        profile,
        user,
        offered: terms.offered,
        hosts,
        old: &old,
        silent,
        was_refused: false,
        until: Instant::now() + limit,
        offer,
    };
    if let Some(selected) = login.where_the_user_is().await {
        return Ok(selected);
    }
    match login.place().await {
        // There is nothing to choose, and the user learns more from X2Go Client.
        Err(none) if profile.hosts.len() == 1 && !login.is_unwelcome() => {
            let host = profile.hosts.first().map_or("", |host| &host.name);
            info!(%user, profile = %profile.id, host, why = none.why, "the only host, unasked");
            first_host(profile)
        }
        placed => placed,
    }
}

/// One log-in and what it has learned so far.
struct Login<'a> {
    placing: &'a Placing,
    view: &'a FarmView,
    profile: &'a SessionProfile,
    user: &'a Username,
    offered: Offered,
    hosts: Vec<(&'a ProfileHost, &'a NodeView)>,
    /// Those of the hosts that are not in the mesh.
    old: &'a [OldServer<'a>],
    silent: HashSet<&'a NodeId>,
    until: Instant,
    /// The key that is to open the account.
    offer: Option<&'a KeyOffer<'a>>,
    /// Some server has said no.
    was_refused: bool,
}

/// What came back from one agent.
enum Answer {
    Taken(Selected),
    Refused(Refusal, NodeState),
    Silent,
    Unavailable,
}

impl<'a> Login<'a> {
    /// Whether a server has said no, to this log-in or of itself to all.
    fn is_unwelcome(&self) -> bool {
        let says_no = |node: &NodeView| node.live && node.state.readiness != Readiness::Ready;
        self.was_refused || self.hosts.iter().any(|(_, node)| says_no(node))
    }

    /// Asks the server where the user has a session or a place, if there is one.
    async fn where_the_user_is(&mut self) -> Option<Selected> {
        let of_user = self.view.of_user(self.user);
        let node = |node: &NodeId| {
            self.hosts
                .iter()
                .find(|(_, view)| view.node == *node && view.live)
        };
        let mut sessions: Vec<UserSession<'_>> = of_user
            .sessions
            .iter()
            .filter_map(|placed| {
                let (_, view) = node(&placed.node)?;
                Some(UserSession {
                    node: &view.node,
                    state: placed.session.state,
                    starting: placed.session.starting,
                    live: view.followed,
                })
            })
            .collect();
        sessions.extend(self.sessions_on_old());
        let in_flight = self
            .view
            .in_flight()
            .of_user(self.user)
            .map(|record| &record.node);
        let held: Vec<&NodeId> = in_flight
            .chain(&of_user.reservations)
            .filter_map(|held| node(held).map(|(_, view)| &view.node))
            .collect();
        let prior = prior_server(&sessions, &held)?;
        let (host, view) = *node(prior.node)?;
        match self.ask(host, view, false).await {
            Answer::Taken(selected) => {
                self.log(&view.node, &format!("{}", prior.reason));
                Some(selected)
            }
            Answer::Refused(refusal, _) => {
                debug!(user = %self.user, node = %view.node, %refusal, "the user's server refused");
                None
            }
            Answer::Silent | Answer::Unavailable => None,
        }
    }

    /// Places a new session.
    async fn place(&mut self) -> Result<Selected, NoServer> {
        match self.place_among(Suspects::Excluded).await {
            Ok(selected) => Ok(selected),
            // Better a server that lately did not answer than none.
            Err(none) if self.has_unasked_suspects() => {
                debug!(user = %self.user, why = none.why, "asking suspects, as nobody else is left");
                self.place_among(Suspects::Included).await
            }
            Err(none) => Err(none),
        }
    }

    fn has_unasked_suspects(&self) -> bool {
        let mut nodes = self.hosts.iter().map(|(_, node)| node);
        nodes.any(|node| node.live && node.is_suspect() && !self.silent.contains(&node.node))
    }

    async fn place_among(&mut self, suspects: Suspects) -> Result<Selected, NoServer> {
        let now = Instant::now();
        let (hosts, servers): (Vec<(&ProfileHost, &NodeView)>, Vec<Server<'a>>) = self
            .hosts
            .iter()
            .filter(|(_, node)| node.live)
            .map(|&(host, node)| ((host, node), self.server(node, suspects, now)))
            .unzip();
        let ages = self.view.nodes().iter().filter(|node| node.live);
        let ages = ages.map(|node| now.saturating_duration_since(node.refreshed_at));
        let freshness = Freshness::new(self.placing.round, ages);
        let averages = self.view.averages();
        let mut placement =
            Placement::begin(self.user, &servers, averages, self.placing.key, freshness);
        while let Step::Ask { server_idx, forced } = placement.step() {
            let Some(&(host, node)) = hosts.get(server_idx) else {
                break;
            };
            if Instant::now() >= self.until {
                return Err(NoServer {
                    why: "the servers answer too slowly".to_owned(),
                });
            }
            match self.ask(host, node, forced).await {
                Answer::Taken(selected) => {
                    let decision = placement.admitted();
                    debug!(%decision, "placement");
                    self.log(&node.node, &decision.why());
                    return Ok(selected);
                }
                Answer::Refused(refusal, state) => {
                    debug!(user = %self.user, node = %node.node, %refusal, "a server refused");
                    placement.refused(&state, 0);
                }
                Answer::Silent => placement.timed_out(),
                Answer::Unavailable => placement.unavailable(),
            }
        }
        Err(NoServer {
            why: placement.decision().to_string(),
        })
    }

    fn server(&self, node: &'a NodeView, suspects: Suspects, now: Instant) -> Server<'a> {
        let suspect = match suspects {
            Suspects::Excluded => node.is_suspect() || self.silent.contains(&node.node),
            Suspects::Included => self.silent.contains(&node.node),
        };
        Server {
            node: &node.node,
            state: &node.state,
            in_flight: self.view.in_flight().count(&node.node),
            age: now.saturating_duration_since(node.refreshed_at),
            suspect,
        }
    }

    /// Asks one agent and passes on what its answer says of the server.
    async fn ask(&mut self, host: &'a ProfileHost, node: &'a NodeView, forced: bool) -> Answer {
        if let Some(old) = self.old.iter().find(|old| old.view.node == node.node) {
            // Boxed: few logins need what it holds.
            return Box::pin(self.ask_old(old)).await;
        }
        let feed = &self.placing.feed;
        let Some(link) = self.view.link(&node.node) else {
            return Answer::Unavailable;
        };
        let key = self.offer.map(KeyOffer::grant);
        let ticket = self.offer.map(|offer| offer.lent.asking(&node.node, link));
        let admission = match link.admit(self.user, &self.profile.id, forced, key).await {
            Ok(admission) => admission,
            Err(error) => return self.no_answer(node, &error),
        };
        let first_key = admission.key;
        let Admission {
            state,
            verdict,
            key,
        } = self
            .suspended_first(link, &node.node, forced, admission)
            .await;
        if let Some((offer, ticket)) = self.offer.zip(ticket) {
            offer.lent.answered(ticket, lasting(first_key, key));
            let is_foreign = |record: &SessionRecord| record.user != *self.user;
            match &verdict {
                Verdict::Refused(_) => offer.lent.unwanted(ticket),
                Verdict::Resume(records) if records.iter().any(is_foreign) => {
                    offer.lent.unwanted(ticket);
                }
                Verdict::Resume(_) | Verdict::Admitted { confirmed: _ } => {}
            }
        }
        let at = (state.generation, state.version);
        feed.tell(News::Answered {
            node: node.node.clone(),
            state: state.clone(),
        });
        let resume = match verdict {
            Verdict::Refused(Refusal::WrongNode) => return Answer::Unavailable,
            Verdict::Refused(refusal) => {
                self.was_refused = true;
                return Answer::Refused(refusal, state);
            }
            Verdict::Admitted { confirmed: _ } => {
                let (user, node) = (self.user.clone(), node.node.clone());
                feed.tell(News::Placed { user, node, at });
                Vec::new()
            }
            // An agent that offers another user's session is not believed.
            Verdict::Resume(records) if records.iter().any(|r| r.user != *self.user) => {
                warn!(node = %node.node, user = %self.user, "an agent offered a foreign session");
                return Answer::Unavailable;
            }
            Verdict::Resume(records) => records,
        };
        let server = address_for_client(host, self.profile.sshport);
        let resume = self.offer(&node.node, &server, resume).await;
        let key = self.given(node, key);
        Answer::Taken(Selected {
            server,
            resume,
            key,
        })
    }

    fn no_answer(&mut self, node: &'a NodeView, error: &AskError) -> Answer {
        warn!(
            user = %self.user,
            node = %node.node,
            error = error as &dyn std::error::Error,
            "a server was passed over"
        );
        self.silent.insert(&node.node);
        self.placing.feed.tell(News::Silent {
            node: node.node.clone(),
        });
        match error {
            AskError::Silent { .. } => Answer::Silent,
            AskError::Unreachable { .. }
            | AskError::Failed { .. }
            | AskError::Misbehaved { .. } => Answer::Unavailable,
        }
    }

    fn log(&self, node: &NodeId, why: &str) {
        info!(user = %self.user, profile = %self.profile.id, %node, why, "session placed");
    }
}

/// What is known of a key that a server was asked for twice: what it had at first, it may
/// still have.
fn lasting(first: KeyOutcome, last: KeyOutcome) -> KeyOutcome {
    match (first, last) {
        (_, KeyOutcome::Installed) => KeyOutcome::Installed,
        (KeyOutcome::Installed | KeyOutcome::Failed, _) => KeyOutcome::Failed,
        (KeyOutcome::Refused | KeyOutcome::NotAsked, last) => last,
    }
}

#[derive(Clone, Copy)]
enum Suspects {
    Excluded,
    Included,
}

/// The profile's hosts that are servers of the mesh, each server once.
fn hosts_on_nodes<'a>(
    profile: &'a SessionProfile,
    view: &'a FarmView,
) -> Vec<(&'a ProfileHost, &'a NodeView)> {
    let mut seen = HashSet::with_capacity(profile.hosts.len());
    let mut on_nodes = Vec::with_capacity(profile.hosts.len());
    for host in &profile.hosts {
        match view.hosts().look_up(host) {
            Resolved::Unknown => {}
            Resolved::Ambiguous(node) => {
                let (profile, host) = (&profile.id, &host.name);
                warn!(%profile, host, %node, "several servers claim this name; it is passed over");
            }
            Resolved::Node(node) => on_nodes.extend(view.node(node).map(|node| (host, &**node))),
        }
    }
    on_nodes.retain(|(_, node)| seen.insert(&node.node));
    on_nodes
}

/// A shadow session is joined on the first host, as the original does.
fn first_host(profile: &SessionProfile) -> Result<Selected, NoServer> {
    let host = profile.hosts.first();
    let host = host.ok_or_else(|| NoServer {
        why: "the profile has no host".to_owned(),
    })?;
    let server = address_for_client(host, profile.sshport);
    Ok(Selected::unasked(server))
}

/// None of the profile's hosts has an agent: one is handed out unasked, as the original
/// does without agents. The same one for the same user, so that a retry finds it again.
fn without_agents(
    placing: &Placing,
    profile: &SessionProfile,
    user: &Username,
) -> Result<Selected, NoServer> {
    let host = placing
        .key
        .pick(user, profile.hosts.iter().map(|host| host.name.as_str()));
    let host = host.and_then(|idx| profile.hosts.get(idx));
    let host = host.ok_or_else(|| NoServer {
        why: "the profile has no host".to_owned(),
    })?;
    info!(%user, profile = %profile.id, host = host.name, "no host of the profile has an agent");
    let server = address_for_client(host, profile.sshport);
    Ok(Selected::unasked(server))
}

/// In so many rounds of gossip a replica that was just started has heard of everybody.
const WARM_UP_ROUNDS: u32 = 10;

/// X2Go Client waits much longer, but its user does not: after this a "no server" is the
/// better answer.
pub const LOGIN_LIMIT: Duration = Duration::from_secs(2);
