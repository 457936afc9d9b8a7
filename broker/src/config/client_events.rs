//! What are X2Go clients told beyond what x2gobroker 0.0.4.3 tells them?
//!
//! All of it is off unless it is asked for: a client that is older than these lines might
//! stumble over them.

use std::time::Duration;

use super::raw::RawConfig;
use crate::task::select_session::Offered;

/// What clients are told beyond the original.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientConfig {
    /// Clients are asked to tell what happens to their sessions; none when they are not.
    pub events: Option<ClientEvents>,
    /// Each profile shows how many sessions run and wait there.
    pub session_counts: bool,
    /// Which sessions of a user are offered.
    pub offered: Offered,
}

/// How clients tell what happens to their sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientEvents {
    /// How often a running session is told of.
    pub live: Duration,
}

impl ClientConfig {
    pub(super) fn build(raw: &mut RawConfig<'_>) -> Self {
        let live = raw.number("global", "client-live-event", LIVE_SECONDS, DEFAULT_LIVE);
        let live = Duration::from_secs(u64::from(live));
        let events = raw.flag("global", "client-events", false);
        Self {
            events: events.then_some(ClientEvents { live }),
            session_counts: raw.flag("global", "session-counts", false),
            offered: match raw.flag("global", "offer-all-sessions", false) {
                true => Offered::All,
                false => Offered::Best,
            },
        }
    }
}

/// Less than a second would be a flood, and more than an hour no sign of life.
const LIVE_SECONDS: std::ops::RangeInclusive<u32> = 1..=3600;

/// An order to a client is carried out that much later at most; 1,000 sessions make 33
/// requests a second of it.
const DEFAULT_LIVE: u32 = 30;
