//! Which SSH public keys does a broker take from a client?

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// A public key for a user's authorized keys, as one safe line.
///
/// RSA, ECDSA or Ed25519, and the data is a key of the type that it says. Options come
/// from a closed list, in which each takes rights away. The comment of the client is left
/// out: it is for people, and could hold anything. So the line holds no quotes, no
/// backslash, no control character, and nothing that a shell or a pattern reads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PublicKey {
    line: Arc<str>,
}

/// Why a text is not a public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PublicKeyError {
    /// Nothing was given.
    #[error("a public key is empty")]
    Empty,
    /// Longer than the longest key.
    #[error("a public key is longer than {MAX_BYTES} bytes")]
    TooLong,
    /// A line break, a quote or another character that no key needs.
    #[error("a public key holds a control character or a quote")]
    Character,
    /// Options that are not only restrictions.
    #[error("a public key has an option that is not allowed, or names one twice")]
    Option,
    /// An algorithm that is not offered.
    #[error("a public key is none of ssh-rsa, ssh-ed25519, ecdsa-sha2-nistp256, 384, 521")]
    Type,
    /// What follows is no key of that type.
    #[error("the data of a public key is not a key of its type")]
    Data,
    /// An RSA key that is too short to be safe, or too long to be used.
    #[error("an RSA key must have {MIN_RSA_BITS} to {MAX_RSA_BITS} bits")]
    RsaBits,
}

impl PublicKey {
    /// Checks and takes a line as in an authorized_keys file: options if any, type, data,
    /// comment if any.
    ///
    /// # Errors
    /// When it is not such a line, or one that allows more than a log-in.
    pub fn parse(text: &str) -> Result<Self, PublicKeyError> {
        if text.len() > MAX_BYTES {
            return Err(PublicKeyError::TooLong);
        }
        let text = text.trim_matches(' ');
        if text.is_empty() {
            return Err(PublicKeyError::Empty);
        }
        if text.chars().any(|c| c.is_control() || "\"'`".contains(c)) {
            return Err(PublicKeyError::Character);
        }
        let mut words = text.split(' ').filter(|word| !word.is_empty());
        let mut next = || words.next().unwrap_or_default();
        let first = next();
        let (options, name) = match Algorithm::of(first) {
            Some(_) => (None, first),
            None if are_restrictions(first)? => (Some(first), next()),
            None => return Err(PublicKeyError::Type),
        };
        let algorithm = Algorithm::of(name).ok_or(PublicKeyError::Type)?;
        let data = next();
        let blob = STANDARD.decode(data).or(Err(PublicKeyError::Data))?;
        algorithm.check(&blob)?;
        let line = match options {
            Some(options) => format!("{options} {name} {data}"),
            None => format!("{name} {data}"),
        };
        Ok(Self { line: line.into() })
    }

    /// The type and the data, without options: what makes it this key and no other.
    #[must_use]
    pub fn without_options(&self) -> &str {
        self.parts().1
    }

    /// The options, as they were written.
    pub fn options(&self) -> impl Iterator<Item = &str> {
        let options = self.parts().0;
        options.split(',').filter(|option| !option.is_empty())
    }

    /// Options if any, and the key.
    fn parts(&self) -> (&str, &str) {
        match self.line.split_once(' ') {
            Some((options, key)) if key.contains(' ') => (options, key),
            _ => ("", &self.line),
        }
    }

    /// The line, without a line break and without a comment.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.line
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)
    }
}

/// What a key is for.
#[derive(Clone, Copy, Debug)]
enum Algorithm {
    Rsa,
    Ed25519,
    /// The curve, and how long one of its points is.
    Ecdsa(&'static str, usize),
}

impl Algorithm {
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "ssh-rsa" => Self::Rsa,
            "ssh-ed25519" => Self::Ed25519,
            "ecdsa-sha2-nistp256" => Self::Ecdsa("nistp256", 65),
            "ecdsa-sha2-nistp384" => Self::Ecdsa("nistp384", 97),
            "ecdsa-sha2-nistp521" => Self::Ecdsa("nistp521", 133),
            _ => return None,
        })
    }

    /// RFC 4253 (6.6), RFC 5656 (3.1), RFC 8709 (4): fields with their lengths before them.
    fn check(self, blob: &[u8]) -> Result<(), PublicKeyError> {
        let mut fields = Fields(blob);
        let name = fields.next()?;
        let is_good = match self {
            Self::Rsa => {
                let (exponent, modulus) = (fields.next()?, fields.next()?);
                let bits = bits(modulus).ok_or(PublicKeyError::Data)?;
                if name == b"ssh-rsa" && !(MIN_RSA_BITS..=MAX_RSA_BITS).contains(&bits) {
                    return Err(PublicKeyError::RsaBits);
                }
                let is_odd = exponent.last().is_some_and(|last| last % 2 == 1);
                let exponent_bits = self::bits(exponent).unwrap_or_default();
                let exponent_is_good = is_odd && (2..=MAX_EXPONENT_BITS).contains(&exponent_bits);
                name == b"ssh-rsa" && exponent_is_good
            }
            Self::Ed25519 => name == b"ssh-ed25519" && fields.next()?.len() == 32,
            Self::Ecdsa(curve, point_bytes) => {
                let (named, point) = (fields.next()?, fields.next()?);
                // A point that is not compressed begins with 4 (SEC 1, 2.3.3).
                name == format!("ecdsa-sha2-{curve}").as_bytes()
                    && named == curve.as_bytes()
                    && point.len() == point_bytes
                    && point.first() == Some(&4)
            }
        };
        (is_good && fields.0.is_empty())
            .then_some(())
            .ok_or(PublicKeyError::Data)
    }
}

/// What is left of a key's data.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn next(&mut self) -> Result<&'a [u8], PublicKeyError> {
        let (length, rest) = self.0.split_first_chunk().ok_or(PublicKeyError::Data)?;
        let length = usize::try_from(u32::from_be_bytes(*length)).or(Err(PublicKeyError::Data))?;
        let (field, rest) = rest.split_at_checked(length).ok_or(PublicKeyError::Data)?;
        self.0 = rest;
        Ok(field)
    }
}

/// How many bits a positive number has (RFC 4251, 5: mpint). None if it is negative or
/// written longer than need be.
fn bits(number: &[u8]) -> Option<usize> {
    let digits = match number {
        [0, high, ..] if *high >= 0x80 => number.get(1..)?,
        [high, ..] if (1..0x80).contains(high) => number,
        _ => return None,
    };
    let unused = digits.first()?.leading_zeros();
    (digits.len() * 8).checked_sub(usize::try_from(unused).ok()?)
}

/// Whether these are options that each take a right away.
fn are_restrictions(text: &str) -> Result<bool, PublicKeyError> {
    let options: Vec<String> = text.split(',').map(str::to_ascii_lowercase).collect();
    let known = |option: &String| RESTRICTIONS.contains(&option.as_str());
    if !options.iter().any(known) {
        return Ok(false);
    }
    let is_new = |(at, option)| !options.iter().take(at).any(|earlier| earlier == option);
    if options.iter().all(known) && options.iter().enumerate().all(is_new) {
        return Ok(true);
    }
    Err(PublicKeyError::Option)
}

/// sshd(8), AUTHORIZED_KEYS FILE FORMAT; case does not count. pyhoca-cli sends
/// `no-X11-forwarding,no-pty,no-user-rc`.
const RESTRICTIONS: &[&str] = &[
    "no-agent-forwarding",
    "no-port-forwarding",
    "no-pty",
    "no-user-rc",
    "no-x11-forwarding",
    "restrict",
];

/// An RSA key of 16384 bits has 2.8 KB of text.
const MAX_BYTES: usize = 4096;

/// What sshd takes unless it is told otherwise (sshd_config(5), RequiredRSASize).
const MIN_RSA_BITS: usize = 1024;

/// What ssh-keygen makes at most.
const MAX_RSA_BITS: usize = 16_384;

/// 65537 has 17; a long one only makes checking slow.
const MAX_EXPONENT_BITS: usize = 64;

#[cfg(test)]
mod tests;
