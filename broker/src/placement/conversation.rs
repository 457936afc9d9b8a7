//! Whom to ask next, after all that was answered so far?

use proto::{NodeId, NodeState, Username};

use super::candidates::{MAX_CANDIDATES, Near, Rendezvous, nearest};
use super::decision::{Asked, Decision, Excluded, Outcome, Verdict};
use super::{Averages, Exclusion, Freshness, PlacementKey, Score, Server};

/// The search for a server that takes one user's new session.
///
/// Call [`step`](Self::step) and ask the server it names. Then tell what came back:
/// [`admitted`](Self::admitted), which ends it, or [`refused`](Self::refused),
/// [`timed_out`](Self::timed_out) or [`unavailable`](Self::unavailable), and `step` again.
#[derive(Clone, Debug)]
pub struct Placement<'s> {
    user: Username,
    servers: &'s [Server<'s>],
    averages: Averages,
    freshness: Freshness,
    rendezvous: Rendezvous,
    /// No eligible server has told its load, so those without one must do.
    loads_unknown: bool,
    n_eligible: usize,
    candidates: Vec<Candidate>,
    asking: Option<Asking>,
    n_asked: u32,
    n_refusals: u32,
    /// The full scan that a bad best candidate calls for is done.
    scanned: bool,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Ask this server to admit the session.
    Ask {
        /// Its place in the list that the placement began with.
        server_idx: usize,
        /// Its being crowded is no reason to refuse any more.
        forced: bool,
    },
    /// There is nobody left to ask.
    NoServer(NoServer),
}

/// Why a session can't be placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoServer {
    /// The view holds none of the servers that the session may be placed on.
    #[error("no server is known")]
    NoneKnown,
    /// All of them are draining, suspect, stale or the like.
    #[error("no server takes new sessions")]
    NoneEligible,
    /// All that were asked refused or didn't answer.
    #[error("no server that was asked took the session")]
    NoneTookIt,
}

#[derive(Clone, Debug)]
struct Candidate {
    near: Near,
    score: Score,
    outcome: Outcome,
    /// Which ask it was, from 1, if it was asked.
    last_ask: Option<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Asking {
    candidate_idx: usize,
    server_idx: usize,
    forced: bool,
}

impl<'s> Placement<'s> {
    /// Begins a placement of this user's session on one of these servers.
    #[must_use]
    pub fn begin(
        user: &Username,
        servers: &'s [Server<'s>],
        averages: Averages,
        key: PlacementKey,
        freshness: Freshness,
    ) -> Self {
        let mut placement = Self {
            user: user.clone(),
            servers,
            averages,
            freshness,
            rendezvous: key.rendezvous(user),
            loads_unknown: false,
            n_eligible: 0,
            candidates: Vec::new(),
            asking: None,
            n_asked: 0,
            n_refusals: 0,
            scanned: false,
        };
        placement.find_candidates();
        if placement.candidates.is_empty() {
            placement.loads_unknown = true;
            placement.find_candidates();
            placement.loads_unknown = !placement.candidates.is_empty();
        }
        placement
    }

    /// What to do next. The same until the answer to it is told.
    pub fn step(&mut self) -> Step {
        if self.asking.is_none() {
            self.asking = self.choose();
        }
        match self.asking {
            Some(Asking {
                server_idx, forced, ..
            }) => Step::Ask { server_idx, forced },
            None => Step::NoServer(self.no_server()),
        }
    }

    /// The server refused, and this is its true state, with so many placements that not
    /// even this state shows. (A refusal because it is another node than it was taken
    /// for says nothing of the state: that is [`unavailable`](Self::unavailable).)
    pub fn refused(&mut self, state: &NodeState, in_flight: u32) {
        let Some((candidate, forced)) = self.answered() else {
            return;
        };
        let (averages, freshness) = (self.averages, self.freshness);
        let Some(candidate) = self.candidates.get_mut(candidate) else {
            return;
        };
        let now = self
            .servers
            .get(candidate.near.server_idx)
            .map(|server| Server {
                state,
                age: std::time::Duration::ZERO,
                suspect: false,
                ..*server
            });
        let exclusion = now.and_then(|now| Exclusion::of(&now, &freshness));
        candidate.score = Score::of(state, in_flight, &averages)
            .unwrap_or_else(|| Score::without_load(&state.counts, in_flight));
        candidate.outcome = match exclusion {
            Some(exclusion) if exclusion != Exclusion::NoLoad => Outcome::Excluded(exclusion),
            _ if forced => Outcome::RefusedThoughForced,
            _ => Outcome::Crowded,
        };
        if candidate.outcome == Outcome::Crowded {
            self.n_refusals += 1;
        }
    }

    /// The server didn't answer in time. The caller counts it as suspect from now on,
    /// until a newer state of it arrives and for 5 s at least.
    pub fn timed_out(&mut self) {
        self.lost(Outcome::TimedOut);
    }

    /// The server can't be asked: no connection, or something else answered.
    pub fn unavailable(&mut self) {
        self.lost(Outcome::Unavailable);
    }

    /// The server took the session. Ends the placement.
    #[must_use]
    pub fn admitted(mut self) -> Decision {
        self.lost(Outcome::Admitted);
        self.decision()
    }

    /// How it went so far, and why. This is the answer when there is no server left.
    #[must_use]
    pub fn decision(&self) -> Decision {
        let mut ranked: Vec<&Candidate> = self.candidates.iter().collect();
        ranked.sort_by(|a, b| self.order(a, b));
        let admitted = |candidate: &&Candidate| candidate.outcome == Outcome::Admitted;
        let verdict = match ranked.iter().position(admitted) {
            Some(place) => Verdict::Placed { rank: place + 1 },
            None => Verdict::NotPlaced(self.no_server()),
        };
        ranked.sort_by_key(|candidate| candidate.last_ask.unwrap_or(u32::MAX));
        let told = |candidate: &Candidate| {
            let server = self.servers.get(candidate.near.server_idx)?;
            Some(Asked {
                node: server.node.clone(),
                score: candidate.score,
                outcome: candidate.outcome,
            })
        };
        Decision {
            user: self.user.clone(),
            verdict,
            candidates: ranked.into_iter().filter_map(told).collect(),
            n_eligible: self.n_eligible,
            excluded: self.excluded(),
            cut_off: self.freshness.is_cut_off(),
            loads_unknown: self.loads_unknown,
        }
    }

    fn find_candidates(&mut self) {
        let mut n_eligible = 0;
        let eligible = self.eligible().inspect(|_| n_eligible += 1);
        let near = nearest(&self.rendezvous, eligible);
        // Room for those that full scans add.
        let mut candidates = Vec::with_capacity(near.len() + 2);
        candidates.extend(near.into_iter().filter_map(|near| {
            let server = self.servers.get(near.server_idx)?;
            Some(self.candidate(near, server))
        }));
        self.n_eligible = n_eligible;
        self.candidates = candidates;
    }

    fn eligible(&self) -> impl Iterator<Item = (usize, &'s Server<'s>)> + use<'s> {
        let (freshness, loads_unknown) = (self.freshness, self.loads_unknown);
        let servers = self.servers.iter().enumerate();
        servers.filter(move |(_, server)| match Exclusion::of(server, &freshness) {
            None => true,
            Some(exclusion) => loads_unknown && exclusion == Exclusion::NoLoad,
        })
    }

    fn candidate(&self, near: Near, server: &Server<'_>) -> Candidate {
        Candidate {
            near,
            score: self.score(server),
            outcome: Outcome::NotAsked,
            last_ask: None,
        }
    }

    fn score(&self, server: &Server<'_>) -> Score {
        Score::of(server.state, server.in_flight, &self.averages)
            .unwrap_or_else(|| Score::without_load(&server.state.counts, server.in_flight))
    }

    fn choose(&mut self) -> Option<Asking> {
        if self.n_asked >= MAX_ASKS {
            return None;
        }
        self.widen();
        let unasked = self.best(|outcome| outcome == Outcome::NotAsked);
        let forced = self.n_refusals >= MAX_REFUSALS || unasked.is_none();
        let best = if forced {
            self.best(|outcome| matches!(outcome, Outcome::NotAsked | Outcome::Crowded))
        } else {
            unasked
        };
        let (candidate_idx, server_idx) =
            best.map(|(idx, candidate)| (idx, candidate.near.server_idx))?;
        self.n_asked += 1;
        Some(Asking {
            candidate_idx,
            server_idx,
            forced,
        })
    }

    /// Adds the best of all servers when the candidates are no good.
    fn widen(&mut self) {
        let unasked = self.best(|outcome| outcome == Outcome::NotAsked);
        let wanted = match unasked {
            Some((_, best)) => !self.scanned && best.score.total() > FULL,
            None => true,
        };
        if wanted && self.n_eligible > MAX_CANDIDATES {
            self.scanned = true;
            let best = self.scan();
            self.candidates.extend(best);
        }
    }

    /// The best of all eligible servers that are no candidates yet.
    fn scan(&self) -> Option<Candidate> {
        let mut best: Option<(f64, Near, &Server<'_>)> = None;
        for (server_idx, server) in self.eligible() {
            let total = self.score(server).total();
            if best.is_some_and(|(least, ..)| least < total) || self.is_candidate(server_idx) {
                continue;
            }
            let near = Near {
                server_idx,
                distance: self
                    .rendezvous
                    .distance(server.node, server.state.load.as_ref()),
            };
            let better = best.is_none_or(|(least, least_near, least_server)| {
                (total.total_cmp(&least))
                    .then(near.distance.total_cmp(&least_near.distance))
                    .then_with(|| server.node.cmp(least_server.node))
                    .is_lt()
            });
            if better {
                best = Some((total, near, server));
            }
        }
        best.map(|(_, near, server)| self.candidate(near, server))
    }

    fn is_candidate(&self, server_idx: usize) -> bool {
        (self.candidates.iter()).any(|candidate| candidate.near.server_idx == server_idx)
    }

    fn best(&self, among: impl Fn(Outcome) -> bool) -> Option<(usize, &Candidate)> {
        let candidates = self.candidates.iter().enumerate();
        candidates
            .filter(|(_, candidate)| among(candidate.outcome))
            .min_by(|(_, a), (_, b)| self.order(a, b))
    }

    /// By score; ties by distance, so that replicas break them alike.
    fn order(&self, a: &Candidate, b: &Candidate) -> std::cmp::Ordering {
        (a.score.total().total_cmp(&b.score.total()))
            .then(a.near.distance.total_cmp(&b.near.distance))
            .then_with(|| self.node(a).cmp(&self.node(b)))
    }

    fn node(&self, candidate: &Candidate) -> Option<&'s NodeId> {
        self.servers
            .get(candidate.near.server_idx)
            .map(|server| server.node)
    }

    /// Takes the ask that is over: which candidate, and whether forced.
    fn answered(&mut self) -> Option<(usize, bool)> {
        let asking = self.asking.take()?;
        if let Some(candidate) = self.candidates.get_mut(asking.candidate_idx) {
            candidate.last_ask = Some(self.n_asked);
        }
        Some((asking.candidate_idx, asking.forced))
    }

    fn lost(&mut self, outcome: Outcome) {
        let Some((candidate, _)) = self.answered() else {
            return;
        };
        if let Some(candidate) = self.candidates.get_mut(candidate) {
            candidate.outcome = outcome;
        }
    }

    fn no_server(&self) -> NoServer {
        if self.servers.is_empty() {
            NoServer::NoneKnown
        } else if self.candidates.is_empty() {
            NoServer::NoneEligible
        } else {
            NoServer::NoneTookIt
        }
    }

    fn excluded(&self) -> Vec<Excluded> {
        let reason = |server: &Server<'_>| {
            let exclusion = Exclusion::of(server, &self.freshness)?;
            let chosen_anyway = self.loads_unknown && exclusion == Exclusion::NoLoad;
            (!chosen_anyway).then(|| Excluded {
                node: server.node.clone(),
                exclusion,
            })
        };
        self.servers.iter().filter_map(reason).collect()
    }
}

/// Crowding may refuse a log-in this often; the next server asked must take it.
const MAX_REFUSALS: u32 = 2;

/// A log-in asks no more servers than these: all candidates, and some of full scans.
/// By then the farm is in a state in which the user should hear so.
const MAX_ASKS: u32 = 12;

/// The score of a full server. When even the best candidate is full, all are looked at.
const FULL: f64 = 1.0;

#[cfg(test)]
mod tests;
