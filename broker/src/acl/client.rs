//! Does an entry of a client list mean this address?

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use super::{ALL, Match};

/// An entry of a client list.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// All addresses from the first to the last, both included.
    Range {
        /// The lowest.
        first: IpAddr,
        /// The highest; of the same family.
        last: IpAddr,
    },
    /// All addresses of the client of this name.
    Name(ClientName),
}

/// The host name of a client, in lower case and without a final dot.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientName(Box<str>);

/// The addresses of the clients that rules name, by looking up the names: what a client
/// says of itself, or what its address is called, counts for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientNames {
    addresses: HashMap<ClientName, Vec<IpAddr>>,
}

/// A text that is no entry of a client list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientPatternError {
    /// `all`, say.
    #[error("write ALL in capitals to mean every client")]
    AllInSmallLetters,
    /// `10.0.0.0/33`, say.
    #[error("this network has no such prefix or mask")]
    Prefix,
    /// The first address is not before the last, or of another family.
    #[error("a range goes from its lowest to its highest address, both of one family")]
    Range,
    /// Anything else.
    #[error("this is neither ALL, an address, a network, a range nor a host name")]
    Unknown,
}

impl ClientPattern {
    /// Reads an entry: `ALL`, an address, a network such as `10.1.0.0/16` or
    /// `10.1.0.0/255.255.0.0`, a range such as `10.1.0.1-10.1.0.9`, or a host name.
    ///
    /// # Errors
    /// When it is none of them.
    pub fn parse(text: &str) -> Result<Self, ClientPatternError> {
        if text == ALL {
            return Ok(Self::Any);
        }
        if text.eq_ignore_ascii_case(ALL) {
            return Err(ClientPatternError::AllInSmallLetters);
        }
        if let Some((address, bits)) = text.split_once('/') {
            return Self::network(address.trim(), bits.trim());
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            let address = address.to_canonical();
            let prefix = longest_prefix(address);
            return Ok(Self::Network { address, prefix });
        }
        if let Some((first, last)) = text.split_once('-')
            && let (Ok(first), Ok(last)) = (first.trim().parse(), last.trim().parse())
        {
            return Self::range(first, last);
        }
        ClientName::parse(text).map(Self::Name)
    }

    fn network(address: &str, bits: &str) -> Result<Self, ClientPatternError> {
        let Ok(address) = address.parse::<IpAddr>() else {
            return Err(ClientPatternError::Unknown);
        };
        let prefix = prefix_length(address, bits).ok_or(ClientPatternError::Prefix)?;
        let IpAddr::V4(_) = address.to_canonical() else {
            return Ok(Self::Network { address, prefix });
        };
        // IPv4 written as IPv6 has 96 bits before its own.
        let before = longest_prefix(address) - longest_prefix(address.to_canonical());
        Ok(Self::Network {
            address: address.to_canonical(),
            prefix: prefix
                .checked_sub(before)
                .ok_or(ClientPatternError::Prefix)?,
        })
    }

    fn range(first: IpAddr, last: IpAddr) -> Result<Self, ClientPatternError> {
        let (first, last) = (first.to_canonical(), last.to_canonical());
        if first.is_ipv4() != last.is_ipv4() || first > last {
            return Err(ClientPatternError::Range);
        }
        Ok(Self::Range { first, last })
    }

    /// Whether this is an address, a network or a range.
    #[must_use]
    pub fn is_network(&self) -> bool {
        matches!(self, Self::Network { .. } | Self::Range { .. })
    }

    /// Whether the entry means this address without any name being looked up.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        matches!(self.matches(address, &ClientNames::default()), Match::Yes)
    }

    /// The name, if the entry is one.
    pub(super) fn name(&self) -> Option<&ClientName> {
        match self {
            Self::Name(name) => Some(name),
            Self::Any | Self::Network { .. } | Self::Range { .. } => None,
        }
    }

    pub(super) fn matches(&self, client: IpAddr, names: &ClientNames) -> Match {
        // An IPv4 client of an IPv6 socket is an IPv4 client.
        let client = client.to_canonical();
        match self {
            Self::Any => Match::Yes,
            Self::Network { address, prefix } => in_network(*address, *prefix, client).into(),
            Self::Range { first, last } => {
                let same_family = first.is_ipv4() == client.is_ipv4();
                (same_family && *first <= client && client <= *last).into()
            }
            Self::Name(name) => match names.addresses.get(name) {
                None => Match::Unknown,
                Some(addresses) => addresses.contains(&client).into(),
            },
        }
    }
}

impl ClientName {
    /// Checks and takes a host name. An address, or what looks like half of one, is none.
    ///
    /// # Errors
    /// When it is no host name.
    pub fn parse(text: &str) -> Result<Self, ClientPatternError> {
        let text = text.strip_suffix('.').unwrap_or(text);
        let in_label = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let is_label = |label: &str| {
            (1..=MAX_LABEL_BYTES).contains(&label.len())
                && label.chars().all(in_label)
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        let last = text.rsplit('.').next().unwrap_or_default();
        let has_letter = last.chars().any(|c| c.is_ascii_alphabetic());
        if text.len() > MAX_NAME_BYTES || !has_letter || !text.split('.').all(is_label) {
            return Err(ClientPatternError::Unknown);
        }
        Ok(Self(text.to_ascii_lowercase().into()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClientName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromIterator<(ClientName, Vec<IpAddr>)> for ClientNames {
    /// Names that are not given here are unknown; those with an empty list have no address.
    fn from_iter<I: IntoIterator<Item = (ClientName, Vec<IpAddr>)>>(names: I) -> Self {
        let canonical = |(name, addresses): (_, Vec<IpAddr>)| {
            let addresses = addresses.iter().map(IpAddr::to_canonical);
            (name, addresses.collect())
        };
        Self {
            addresses: names.into_iter().map(canonical).collect(),
        }
    }
}

fn in_network(network: IpAddr, prefix: u8, client: IpAddr) -> bool {
    let prefix = u32::from(prefix);
    match (network, client) {
        (IpAddr::V4(own), IpAddr::V4(client)) => {
            (own.to_bits() ^ client.to_bits()).leading_zeros() >= prefix
        }
        (IpAddr::V6(own), IpAddr::V6(client)) => {
            (own.to_bits() ^ client.to_bits()).leading_zeros() >= prefix
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}

fn longest_prefix(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// `16`, or for IPv4 `255.255.0.0`.
fn prefix_length(address: IpAddr, text: &str) -> Option<u8> {
    let digits = text.len() <= 3 && text.bytes().all(|b| b.is_ascii_digit());
    if digits && let Ok(bits) = text.parse() {
        return (bits <= longest_prefix(address)).then_some(bits);
    }
    let mask = text.parse::<Ipv4Addr>().ok()?.to_bits();
    let bits = mask.leading_ones();
    let is_mask = address.is_ipv4() && bits + mask.trailing_zeros() >= 32;
    is_mask.then(|| u8::try_from(bits).ok()).flatten()
}

/// RFC 1035, 2.3.4.
const MAX_LABEL_BYTES: usize = 63;
const MAX_NAME_BYTES: usize = 253;
