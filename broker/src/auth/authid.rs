//! How is an AUTHID written, and who made it?
//!
//! An AUTHID is a statement of a replica, signed with the key of its leaf: this user, from
//! this address, showed a password at this time. It carries all that another replica needs
//! to check it, so none keeps a list of those that were given out.
//!
//! It is three parts in base64url with dots between: the facts, the signature, and the leaf
//! in a short form.
//!
//! Those that follow from one password are a [`chain`]: each tells which one it belongs to,
//! and its number in it.

pub mod chain;
mod compact;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pki::{Identity, NoRandomness, Role, SignStatementError, UnixTime, VerifyStatementError};
use proto::{BrokerUser, Secret};

use crate::config::Mechanism;

/// What no other AUTHID has.
pub type Nonce = [u8; 12];

/// What an AUTHID says. Times are milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// To whom it was given.
    pub user: Option<BrokerUser>,
    /// From where they asked.
    pub client: IpAddr,
    /// When they last showed their password.
    pub first: u64,
    /// When it was made.
    pub issued: u64,
    /// Until when it is good.
    pub expires: u64,
    /// What no other has: its chain, and its number in it.
    pub nonce: Nonce,
}

/// Reads and writes AUTHIDs.
#[derive(Debug)]
pub enum AuthId {}

/// A text of the form of an AUTHID. Nothing that it says is proven.
#[derive(Debug)]
pub struct Claim {
    facts: Vec<u8>,
    signature: Vec<u8>,
    leaf: Vec<u8>,
    read: Facts,
}

/// Why there is no AUTHID.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    /// No nonce.
    #[error(transparent)]
    Random(#[from] NoRandomness),
    /// No signature.
    #[error("the AUTHID can't be signed")]
    Sign(#[source] SignStatementError),
}

/// Why a text is no AUTHID of this farm.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It has another form.
    #[error("the text is not of the form of an AUTHID")]
    Form,
    /// The signature proves nothing.
    #[error("the signature proves nothing")]
    Signature(#[source] VerifyStatementError),
    /// Not a replica, but another member of the farm.
    #[error("signed by a member with the role {0}")]
    Role(Role),
}

impl Facts {
    /// The facts of a new AUTHID, made now: the first of its chain.
    ///
    /// # Errors
    /// When there are no random bytes.
    pub fn new(
        user: Option<&BrokerUser>,
        client: IpAddr,
        first: u64,
        now: u64,
        timeout: Duration,
    ) -> Result<Self, MakeError> {
        let client = client.to_canonical();
        let owner = chain::owner(user, client);
        let timeout = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        Ok(Self {
            user: user.cloned(),
            client,
            first: first.min(MAX_TIME),
            issued: now.min(MAX_TIME),
            expires: first.saturating_add(timeout).min(MAX_TIME),
            nonce: chain::begin(owner, pki::nonce()?),
        })
    }

    /// The facts of the AUTHID that comes after this one.
    ///
    /// # Errors
    /// When there are no random bytes.
    pub fn next(
        &self,
        user: Option<&BrokerUser>,
        client: IpAddr,
        now: u64,
        timeout: Duration,
    ) -> Result<Self, MakeError> {
        let mut next = Self::new(user, client, self.first, now, timeout)?;
        // One of an older version, or of another address, begins a chain.
        if let Some(nonce) = chain::next(&self.nonce, &next.nonce) {
            next.nonce = nonce;
        }
        Ok(next)
    }

    fn write(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(MAX_FACTS);
        bytes.push(VERSION);
        for time in [self.first, self.issued, self.expires] {
            bytes.extend(time.to_be_bytes().into_iter().skip(8 - TIME_BYTES));
        }
        bytes.extend(self.nonce);
        match self.client {
            IpAddr::V4(address) => {
                bytes.push(4);
                bytes.extend(address.octets());
            }
            IpAddr::V6(address) => {
                bytes.push(6);
                bytes.extend(address.octets());
            }
        }
        let user = self.user.as_ref().map_or("", BrokerUser::as_str);
        bytes.extend(user.as_bytes());
        bytes
    }

    /// None when these are no facts.
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        if *take::<1>(&mut rest)? != [VERSION] {
            return None;
        }
        let [first, issued, expires] = [time(&mut rest)?, time(&mut rest)?, time(&mut rest)?];
        let nonce = *take(&mut rest)?;
        let client = match take::<1>(&mut rest)? {
            [4] => IpAddr::V4(Ipv4Addr::from(*take::<4>(&mut rest)?)),
            [6] => IpAddr::V6(Ipv6Addr::from(*take::<16>(&mut rest)?)),
            _ => return None,
        };
        let user = match std::str::from_utf8(rest).ok()? {
            "" => None,
            name => Some(BrokerUser::parse(name).ok()?),
        };
        Some(Self {
            user,
            client,
            first,
            issued,
            expires,
            nonce,
        })
    }
}

impl AuthId {
    /// Makes the AUTHID that says this, at the broker `site`: the main one has an empty
    /// name.
    ///
    /// # Errors
    /// When this member can't sign.
    pub fn sign(
        facts: &Facts,
        site: &str,
        mechanism: &Mechanism,
        identity: &Identity,
    ) -> Result<Secret, MakeError> {
        let facts = facts.write();
        let signature = identity.sign(&context(site, mechanism), &facts);
        let signature = signature.map_err(MakeError::Sign)?;
        let leaf = identity.chain().first().map_or(&[][..], AsRef::as_ref);
        let leaf = compact::compacted(leaf);
        let parts =
            [&facts[..], &signature[..], &leaf[..]].map(|part| URL_SAFE_NO_PAD.encode(part));
        Ok(Secret::new(parts.join(".")))
    }

    /// What the AUTHID `text` says, if a replica of the farm made it for this broker and
    /// this mechanism.
    ///
    /// # Errors
    /// When it is none, or made by somebody else.
    pub fn verify(
        text: &str,
        site: &str,
        mechanism: &Mechanism,
        identity: &Identity,
        now: UnixTime,
    ) -> Result<Facts, ReadError> {
        let claim = Claim::parse(text).ok_or(ReadError::Form)?;
        let signer = identity
            .verify(
                &context(site, mechanism),
                &claim.facts,
                &claim.signature,
                &claim.leaf,
                now,
            )
            .map_err(ReadError::Signature)?;
        match signer.role {
            Role::Broker => Ok(claim.read),
            role @ (Role::Agent | Role::Operator) => Err(ReadError::Role(role)),
        }
    }
}

impl Claim {
    /// Takes a text apart; none when it is not of the form of an AUTHID.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX_BYTES {
            return None;
        }
        let mut parts = text.split('.').map(|part| URL_SAFE_NO_PAD.decode(part));
        let (Some(Ok(facts)), Some(Ok(signature)), Some(Ok(leaf)), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return None;
        };
        Some(Self {
            leaf: compact::expanded(&leaf, MAX_LEAF)?,
            read: Facts::read(&facts)?,
            facts,
            signature,
        })
    }

    /// What it says, if that is true.
    #[must_use]
    pub fn unproven(&self) -> &Facts {
        &self.read
    }
}

/// What the signature is for. A backend that lets everybody in makes no AUTHID that opens
/// another, and no broker one that opens another broker.
fn context(site: &str, mechanism: &Mechanism) -> String {
    let mechanism = match mechanism {
        Mechanism::Pam => "authid pam".to_owned(),
        Mechanism::None => "authid none".to_owned(),
        Mechanism::LocalPeer => "authid local peer".to_owned(),
        Mechanism::HttpsGet(config) => {
            format!(
                "authid https_get {}:{}{}",
                config.host, config.port, config.path
            )
        }
    };
    match site {
        "" => mechanism,
        // No path of https_get holds a blank, so that nothing else reads the same.
        site => format!("{mechanism} at {site}"),
    }
}

fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (taken, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(taken)
}

fn time(rest: &mut &[u8]) -> Option<u64> {
    let taken = take::<TIME_BYTES>(rest)?;
    Some(
        taken
            .iter()
            .fold(0, |time, byte| time << 8 | u64::from(*byte)),
    )
}

/// Of this format. Another version is another format.
const VERSION: u8 = 1;

/// Enough for the next nine thousand years.
const TIME_BYTES: usize = 6;
const MAX_TIME: u64 = (1 << (8 * TIME_BYTES)) - 1;

/// Longer than any of ours, short enough for clients' shell lines.
const MAX_BYTES: usize = 2048;

/// A leaf with the longest names that there are has 970 bytes.
const MAX_LEAF: usize = 2048;

/// With the longest name of a user.
const MAX_FACTS: usize = 192;

#[cfg(test)]
mod tests;
