//! May this user, from this client, see and use a session profile?
//!
//! The rules are those of x2gobroker 0.0.4.3: clients first, then users, then groups. A
//! client list that is set must let the client in. Without user and group lists
//! everybody is let in; with them, somebody must be allowed by name or by group. A deny
//! list alone never lets anybody in.
//!
//! What is not known counts against whoever asks: a group that was not looked up, or a
//! client name without a known address, or a user name that differs only in its case, matches
//! in a deny list and not in an allow list.

mod client;
mod name;

use std::net::IpAddr;

pub use client::{ClientName, ClientNames, ClientPattern, ClientPatternError};
pub use name::{GroupName, GroupNameError, NamePattern};

/// Who asks for a profile, from where, and what is known about both.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// The user who was authenticated; none where nobody needs to be.
    pub user: Option<&'a str>,
    /// The groups of that user.
    pub groups: Groups<'a>,
    /// The address that the client has.
    pub client: IpAddr,
    /// The addresses of the clients that rules name.
    pub client_names: &'a ClientNames,
}

/// Which groups the user is in.
#[derive(Clone, Copy, Debug)]
pub enum Groups<'a> {
    /// Nobody looked them up, or nobody answered.
    Unknown,
    /// The names of the groups that count.
    Known(&'a [GroupName]),
}

/// Which of two lists wins when both match.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// A deny match wins.
    #[default]
    DenyAllow,
    /// An allow match wins.
    AllowDeny,
}

/// The allow and deny lists of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules<P> {
    /// Who is let in.
    pub allow: Vec<P>,
    /// Who is kept out.
    pub deny: Vec<P>,
    /// Which list wins.
    pub order: Order,
}

/// Who may see and use a session profile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acl {
    /// Set when there is a client list, even an empty one.
    pub clients: Option<Rules<ClientPattern>>,
    /// Set when there is a user list, even an empty one.
    pub users: Option<Rules<NamePattern>>,
    /// Set when there is a group list, even an empty one.
    pub groups: Option<Rules<NamePattern>>,
}

/// What the lists of one kind say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Allowed,
    Denied,
    Unnamed,
}

/// Whether an entry matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Match {
    Yes,
    No,
    Unknown,
}

/// How entries count of which nobody knows whether they match.
#[derive(Clone, Copy, Debug)]
enum Doubt {
    /// As it is worse for whoever asks.
    Against,
    /// As it is better for whoever asks.
    For,
}

impl Acl {
    /// Whether the profile is there for whoever asks.
    #[must_use]
    pub fn allows(&self, asker: &Asker<'_>) -> bool {
        self.decide(asker, Doubt::Against)
    }

    /// Whether the answer depends on groups that are not known: then, and only then, it
    /// is worth to look them up and to ask again.
    #[must_use]
    pub fn needs_groups(&self, asker: &Asker<'_>) -> bool {
        matches!(asker.groups, Groups::Unknown)
            && asker.user.is_some()
            && self.groups.is_some()
            && self.lets_client_in(asker)
            && self.decide(asker, Doubt::For)
            && !self.decide(asker, Doubt::Against)
    }

    /// The names of clients that the rules mention.
    pub fn client_names(&self) -> impl Iterator<Item = &ClientName> {
        let rules = self.clients.iter();
        let patterns = rules.flat_map(|rules| rules.allow.iter().chain(&rules.deny));
        patterns.filter_map(ClientPattern::name)
    }

    fn lets_client_in(&self, asker: &Asker<'_>) -> bool {
        let matches = |p: &ClientPattern| p.matches(asker.client, asker.client_names);
        let verdict = |rules: &Rules<_>| rules.verdict(Doubt::Against, matches);
        self.clients
            .as_ref()
            .is_none_or(|rules| verdict(rules) == Verdict::Allowed)
    }

    fn decide(&self, asker: &Asker<'_>, doubt: Doubt) -> bool {
        if !self.lets_client_in(asker) {
            return false;
        }
        if self.users.is_none() && self.groups.is_none() {
            return true;
        }
        let by_name = self.users.as_ref().map_or(Verdict::Unnamed, |rules| {
            rules.verdict(doubt, |pattern| pattern.matches_user(asker.user))
        });
        match by_name {
            Verdict::Allowed => true,
            Verdict::Denied => false,
            Verdict::Unnamed => self.groups.as_ref().is_some_and(|rules| {
                let matches = |pattern: &NamePattern| pattern.matches_groups(asker);
                rules.verdict(doubt, matches) == Verdict::Allowed
            }),
        }
    }
}

impl<P> Default for Rules<P> {
    fn default() -> Self {
        Self {
            allow: Vec::new(),
            deny: Vec::new(),
            order: Order::default(),
        }
    }
}

impl<P> Rules<P> {
    fn verdict(&self, doubt: Doubt, matches: impl Fn(&P) -> Match) -> Verdict {
        let (doubtful_allow, doubtful_deny) = match doubt {
            Doubt::Against => (false, true),
            Doubt::For => (true, false),
        };
        let any = |list: &[P], doubtful: bool| {
            list.iter().any(|pattern| match matches(pattern) {
                Match::Yes => true,
                Match::No => false,
                Match::Unknown => doubtful,
            })
        };
        let allowed = any(&self.allow, doubtful_allow);
        let denied = any(&self.deny, doubtful_deny);
        match (allowed, denied, self.order) {
            (true, true, Order::DenyAllow) | (false, true, _) => Verdict::Denied,
            (true, true, Order::AllowDeny) | (true, false, _) => Verdict::Allowed,
            (false, false, _) => Verdict::Unnamed,
        }
    }
}

impl From<bool> for Match {
    fn from(matches: bool) -> Self {
        if matches { Self::Yes } else { Self::No }
    }
}

/// The entry that matches everybody.
const ALL: &str = "ALL";

#[cfg(test)]
mod tests;
