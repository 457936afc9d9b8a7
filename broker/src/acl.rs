//! May this user, from this client, see and use a session profile?
//!
//! The rules are those of x2gobroker 0.0.4.3: clients first, then users, then groups. A
//! client list that is set must let the client in. Without user and group lists
//! everybody is let in; with them, somebody must be allowed by name or by group. A deny
//! list alone never lets anybody in.

use std::net::IpAddr;

/// Which groups the user is in.
#[derive(Clone, Copy, Debug)]
pub enum Groups<'a> {
    /// Nobody looked them up: profiles with group rules stay hidden.
    Unknown,
    /// The names of the groups that count.
    Known(&'a [String]),
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

/// An entry of a user or group list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamePattern {
    /// `ALL`.
    Any,
    /// Exactly this name.
    Name(String),
}

/// An entry of a client list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientPattern {
    /// `ALL`.
    Any,
    /// All addresses that share the first bits with this one.
    Network {
        /// Any address of the network.
        address: IpAddr,
        /// How many bits count.
        prefix: u8,
    },
}

/// The allow and deny lists of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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

impl Acl {
    /// Whether the profile is there for this user at this client.
    #[must_use]
    pub fn allows(&self, user: &str, groups: Groups<'_>, client: IpAddr) -> bool {
        if let Some(clients) = &self.clients
            && clients.verdict(|pattern| pattern.matches(client)) != Verdict::Allowed
        {
            return false;
        }
        let names = match (&self.groups, groups) {
            (Some(_), Groups::Unknown) => return false,
            (None, _) => [].as_slice(),
            (Some(_), Groups::Known(names)) => names,
        };
        if self.users.is_none() && self.groups.is_none() {
            return true;
        }
        let by_name = self.users.as_ref().map_or(Verdict::Unnamed, |rules| {
            rules.verdict(|pattern| pattern.matches(user))
        });
        match by_name {
            Verdict::Allowed => true,
            Verdict::Denied => false,
            Verdict::Unnamed => self.groups.as_ref().is_some_and(|rules| {
                let matches = |p: &NamePattern| p.matches_any(names);
                rules.verdict(matches) == Verdict::Allowed
            }),
        }
    }
}

impl<P> Rules<P> {
    fn verdict(&self, matches: impl Fn(&P) -> bool) -> Verdict {
        let allowed = self.allow.iter().any(&matches);
        let denied = self.deny.iter().any(&matches);
        match (allowed, denied, self.order) {
            (true, true, Order::DenyAllow) | (false, true, _) => Verdict::Denied,
            (true, true, Order::AllowDeny) | (true, false, _) => Verdict::Allowed,
            (false, false, _) => Verdict::Unnamed,
        }
    }
}

impl NamePattern {
    /// Reads an entry: `ALL` or a name.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text {
            ALL => Self::Any,
            name => Self::Name(name.to_owned()),
        }
    }

    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Name(own) => own == name,
        }
    }

    fn matches_any(&self, names: &[String]) -> bool {
        match self {
            Self::Any => true,
            Self::Name(own) => names.contains(own),
        }
    }
}

impl ClientPattern {
    /// Reads an entry: `ALL`, an address, or a network such as `10.1.0.0/16` or
    /// `10.1.0.0/255.255.0.0`. Anything else is none, host names included.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text == ALL {
            return Some(Self::Any);
        }
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.trim().parse().ok()?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match bits {
            None => longest,
            Some(bits) => prefix_length(bits.trim()).filter(|&bits| bits <= longest)?,
        };
        Some(Self::Network { address, prefix })
    }

    fn matches(&self, client: IpAddr) -> bool {
        let Self::Network { address, prefix } = self else {
            return true;
        };
        let prefix = u32::from(*prefix);
        // An IPv4 client of an IPv6 socket is an IPv4 client.
        match (address, client.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(client)) => {
                let differing = own.to_bits() ^ client.to_bits();
                differing.leading_zeros() >= prefix
            }
            (IpAddr::V6(own), IpAddr::V6(client)) => {
                let differing = own.to_bits() ^ client.to_bits();
                differing.leading_zeros() >= prefix
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

/// `16` or `255.255.0.0`.
fn prefix_length(text: &str) -> Option<u8> {
    if let Ok(bits) = text.parse() {
        return Some(bits);
    }
    let mask = text.parse::<std::net::Ipv4Addr>().ok()?.to_bits();
    let bits = mask.leading_ones();
    (bits + mask.trailing_zeros() >= 32)
        .then_some(bits)
        .and_then(|bits| u8::try_from(bits).ok())
}

const ALL: &str = "ALL";

#[cfg(test)]
mod tests;
