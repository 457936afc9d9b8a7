//! What do others hear of the sessions and reservations?

use std::time::Duration;

use proto::{Counts, Session, SessionId, Username, Version};

/// What has changed in one step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delta {
    /// New sessions and sessions that have changed.
    pub upserted: Vec<Session>,
    /// Sessions that are gone.
    pub removed: Vec<SessionId>,
    /// Users for whom a place is held now.
    pub reserved: Vec<Username>,
    /// Users for whom it no longer is.
    pub released: Vec<Username>,
}

/// One step of the sessions and reservations, in the order of versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The version that this step leads to.
    pub version: Version,
    /// The counts after it.
    pub counts: Counts,
    /// What has changed; empty when only the counts have.
    pub delta: Delta,
}

/// All sessions and reservations at one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Which one.
    pub version: Version,
    /// How many there are.
    pub counts: Counts,
    /// The sessions, in the order of their IDs.
    pub sessions: Vec<Session>,
    /// The users for whom a place is held.
    pub reserved: Vec<Username>,
}

/// A running session, as the prediction of CPU demand needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActiveSession {
    /// Which one.
    pub id: SessionId,
    /// Whose it is.
    pub user: Username,
    /// How long it has been running, without the times when it was suspended.
    pub active: Duration,
}
