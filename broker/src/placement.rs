//! Which X2Go server takes a new session, and why?
//!
//! Pure: everything here is a function of the view it is given, so that each
//! [`Decision`] can be replayed and explained. Gossip is a hint and the agent is the
//! authority, hence a [`Placement`] is a conversation: it names a server to ask, takes
//! in what came back, and names the next. The caller does the asking.
//!
//! * [`prior_servers`]: where the user already has a session or a place; asked first.
//! * [`Freshness`] and [`Exclusion`]: which servers may be chosen at all.
//! * [`PlacementKey`]: eight candidates per user, weighted by capacity; every replica
//!   finds the same ones, and different users find different ones, so that there is no
//!   common minimum to herd to.
//! * [`Score`]: what the candidates are compared by, with [`Averages`] for the sessions
//!   that nobody has measured yet.
//! * [`InFlight`]: placements that the view doesn't show yet.
//! * [`first_with_desktop`]: where a desktop can be watched, which is no new session.
//!
//! There is nothing to configure, and nothing depends on the number of servers or
//! replicas.

mod averages;
mod candidates;
mod conversation;
mod decision;
mod desktops;
mod eligibility;
mod in_flight;
mod prior;
mod score;
#[cfg(test)]
mod testing;

use std::time::Duration;

use proto::{NodeId, NodeState};

pub use averages::Averages;
pub use candidates::PlacementKey;
pub use conversation::{NoServer, Placement, Step};
pub use decision::{Asked, Decision, Excluded, Outcome, Verdict};
pub use desktops::{Heard, Watched, first_with_desktop};
pub use eligibility::{Exclusion, Freshness};
pub use in_flight::{InFlight, Record};
pub use prior::{Prior, Reason, UserSession, prior_servers};
pub use score::Score;

/// One server as the view of this replica has it.
#[derive(Clone, Copy, Debug)]
pub struct Server<'a> {
    /// Its name.
    pub node: &'a NodeId,
    /// What it last said of itself.
    pub state: &'a NodeState,
    /// Placements on it that `state` doesn't show yet, see [`InFlight::count`].
    pub in_flight: u32,
    /// How long ago `state` was last confirmed.
    pub age: Duration,
    /// It didn't answer lately, and no newer state has arrived since.
    pub suspect: bool,
}
