//! `selectsession`: on which server may this user start or resume a session?
//!
//! The view ranks, the agent decides: whatever the view says, the server that is handed
//! out has confirmed it in this request. The order of asking is: the server that holds
//! the user's session, or a place for it; then the servers that placement names, one
//! after the other, until one takes the session.

mod ask;
mod keyed;
mod known;
mod lent;
mod old;
mod resume;
mod shadow;
mod unasked;

use std::collections::HashSet;
use std::time::Duration;

use old::old_servers;
use proto::{KEY_LIMIT, NodeId, Readiness, SessionRecord, Username};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use self::ask::Answer;
pub use self::keyed::{GivenKey, KeyOffer, select_with_key};
use self::shadow::select_shadow;
use self::unasked::{unasked, without_agents};
use crate::agents::KeyReturns;
use crate::autologin::KeyPairs;
use crate::config::OldAgentsConfig;
use crate::names::{Resolved, ServerAddress};
use crate::old_agents::{OldAgents, OldServer};
use crate::placement::{Freshness, Placement, PlacementKey, Server, Step};
use crate::profiles::{AgentQueryMode, ProfileHost, SessionProfile};
use crate::view::feed::FeedHandle;
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
        // Boxed: few profiles are such.
        return Box::pin(select_shadow(placing, profile, user, terms, offer)).await;
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
            unasked(profile, profile.hosts.first())
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

impl<'a> Login<'a> {
    /// Whether a server has said no, to this log-in or of itself to all.
    fn is_unwelcome(&self) -> bool {
        let says_no = |node: &NodeView| node.live && node.state.readiness != Readiness::Ready;
        self.was_refused || self.hosts.iter().any(|(_, node)| says_no(node))
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

    fn log(&self, node: &NodeId, why: &str) {
        info!(user = %self.user, profile = %self.profile.id, %node, why, "session placed");
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

/// In so many rounds of gossip a replica that was just started has heard of everybody.
const WARM_UP_ROUNDS: u32 = 10;

/// X2Go Client waits much longer, but its user does not: after this a "no server" is the
/// better answer.
pub const LOGIN_LIMIT: Duration = Duration::from_secs(2);
