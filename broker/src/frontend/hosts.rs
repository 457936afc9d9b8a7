//! Which hosts of a session profile is a client shown?

use crate::profiles::SessionProfile;
use crate::task::list_sessions::{HostsShown, Listed, ListedSession};

/// The hosts of a session profile that a client is shown.
#[derive(Clone, Copy, Debug)]
pub(super) enum ShownHosts<'a> {
    All(&'a SessionProfile),
    One(&'a str),
}

impl<'a> ShownHosts<'a> {
    /// All, or the host of the session, else the first; `shown` where the profile itself
    /// does not say by which way agents are asked. A `SHADOW` profile is always on
    /// its first host.
    pub(super) fn of(listed: &'a Listed<'_>, shown: HostsShown) -> Self {
        let profile = listed.profile;
        let shown = profile.query_mode.map_or(shown, HostsShown::of);
        let first = || profile.hosts.first().map_or("", |host| &host.name);
        match (shown, &listed.session) {
            _ if profile.is_shadow() => Self::One(first()),
            (HostsShown::All, _) => Self::All(profile),
            (HostsShown::One, Some(ListedSession { server, .. })) => Self::One(server.as_str()),
            (HostsShown::One, None) => Self::One(first()),
        }
    }

    /// The names, comma joined.
    pub(super) fn joined(self) -> &'a str {
        match self {
            Self::All(profile) => &profile.host_names,
            Self::One(name) => name,
        }
    }

    /// Each name; none where the profile has no host.
    pub(super) fn names(self) -> impl Iterator<Item = &'a str> {
        let (all, one) = match self {
            Self::All(profile) => (profile.hosts.as_slice(), None),
            Self::One(name) => (&[][..], Some(name)),
        };
        let all = all.iter().map(|host| host.name.as_str());
        all.chain(one.filter(|name| !name.is_empty()))
    }
}
