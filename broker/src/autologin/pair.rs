//! A key pair for one login, in the forms that sshd and X2Go Client read.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{self, KeySize};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proto::{PublicKey, PublicKeyError, Secret};
use zeroize::Zeroizing;

/// A key pair. Whoever gets it is the only one who does.
#[derive(Debug)]
pub struct KeyPair {
    /// For the server: `ssh-rsa` and the data.
    pub public: PublicKey,
    /// For the client: PEM with a line break at its end.
    pub private: Secret,
}

/// Why there is no key pair.
#[derive(Debug, thiserror::Error)]
pub enum PairError {
    /// The library makes none.
    #[error("no RSA key can be made")]
    NotMade,
    /// What it made has another form than RFC 5958 and RFC 8017 say.
    #[error("an RSA key is not in the form that is expected")]
    Form,
    /// The public half is none that an agent would take.
    #[error("the public half can't be used")]
    Public(#[source] PublicKeyError),
}

impl KeyPair {
    /// Makes one: 60 ms of work, so never on a thread that answers.
    ///
    /// # Errors
    /// When the library fails, which it does not.
    pub fn generate() -> Result<Self, PairError> {
        let pair = rsa::KeyPair::generate(KeySize::Rsa2048).or(Err(PairError::NotMade))?;
        let pkcs8: Pkcs8V1Der<'_> = pair.as_der().or(Err(PairError::NotMade))?;
        Self::of(pkcs1_in(pkcs8.as_ref()).ok_or(PairError::Form)?)
    }

    /// `pkcs1`: an RSAPrivateKey in DER.
    fn of(pkcs1: &[u8]) -> Result<Self, PairError> {
        let line = public_line(pkcs1).ok_or(PairError::Form)?;
        Ok(Self {
            public: PublicKey::parse(&line).map_err(PairError::Public)?,
            private: Secret::new(pem(pkcs1)),
        })
    }
}

/// RFC 5958, 2: `SEQUENCE { version, algorithm, OCTET STRING privateKey … }`, where the last
/// one holds the RSAPrivateKey of RFC 8017, A.1.2.
fn pkcs1_in(pkcs8: &[u8]) -> Option<&[u8]> {
    let mut fields = Der(Der(pkcs8).next(SEQUENCE)?);
    fields.next(INTEGER)?;
    fields.next(SEQUENCE)?;
    fields.next(OCTET_STRING)
}

/// RFC 8017, A.1.2: `SEQUENCE { version, modulus, publicExponent, … }`. An INTEGER of DER
/// and an mpint of SSH (RFC 4251, 5) have the same bytes.
fn public_line(pkcs1: &[u8]) -> Option<String> {
    let mut fields = Der(Der(pkcs1).next(SEQUENCE)?);
    fields.next(INTEGER)?;
    let (modulus, exponent) = (fields.next(INTEGER)?, fields.next(INTEGER)?);
    let mut blob = Vec::new();
    // RFC 4253, 6.6.
    for field in [ALGORITHM.as_bytes(), exponent, modulus] {
        blob.extend(u32::try_from(field.len()).ok()?.to_be_bytes());
        blob.extend(field);
    }
    Some(format!("{ALGORITHM} {}", STANDARD.encode(blob)))
}

/// RFC 7468: lines of 64 characters.
fn pem(pkcs1: &[u8]) -> String {
    let text = Zeroizing::new(STANDARD.encode(pkcs1));
    // A string that grows would leave parts of the key behind.
    let n_breaks = text.len() / PEM_LINE + 2;
    let mut pem = String::with_capacity(text.len() + n_breaks + BEGIN.len() + END.len());
    pem.push_str(BEGIN);
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at_checked(PEM_LINE).unwrap_or((rest, ""));
        pem.push_str(line);
        pem.push('\n');
        rest = after;
    }
    pem.push_str(END);
    pem
}

/// What is left of a text in DER (X.690, 8.1).
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The content of the next value, which must be of this type.
    fn next(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (&found, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81 | 0x82 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                let length = bytes.iter().fold(0, |n, byte| n << 8 | usize::from(*byte));
                (length, rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        (found == tag).then_some(content)
    }
}

const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const SEQUENCE: u8 = 0x30;

const ALGORITHM: &str = "ssh-rsa";
const BEGIN: &str = "-----BEGIN RSA PRIVATE KEY-----\n";
const END: &str = "-----END RSA PRIVATE KEY-----\n";
const PEM_LINE: usize = 64;

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use ring::rsa::PublicKeyComponents;
    use ring::signature::RsaKeyPair;

    use super::{BEGIN, END, KeyPair, pkcs1_in, public_line};

    /// The bytes between the marks.
    fn der_of(pem: &str) -> Vec<u8> {
        let body = pem.strip_prefix(BEGIN).unwrap().strip_suffix(END).unwrap();
        STANDARD.decode(body.replace('\n', "")).unwrap()
    }

    #[test]
    fn both_halves_are_of_one_key_and_in_the_recorded_form() {
        let pair = KeyPair::generate().unwrap();
        let pem = pair.private.expose();
        // ring reads a bare RSAPrivateKey of two primes and nothing else, and checks it.
        let key = RsaKeyPair::from_der(&der_of(pem)).unwrap();
        let public = PublicKeyComponents::<Vec<u8>>::from(key.public());
        let data = pair.public.as_str().strip_prefix("ssh-rsa ").unwrap();
        let blob = STANDARD.decode(data).unwrap();
        assert_eq!(public.n.len(), 256);
        assert!(blob.starts_with(b"\0\0\0\x07ssh-rsa\0\0\0\x03\x01\0\x01\0\0\x01\x01\0"));
        assert!(blob.ends_with(&public.n));
        // golden/ssh-auto-select: 27 lines, none longer than 64.
        let lines: Vec<&str> = pem.lines().collect();
        assert!(lines.len() == 27 || lines.len() == 28, "{}", lines.len());
        let body = &lines[1..lines.len() - 2];
        assert!(body.iter().all(|line| line.len() == 64));
    }

    #[test]
    fn no_two_pairs_are_the_same_and_none_is_shown() {
        let (one, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        assert_ne!(one.public, other.public);
        assert_ne!(one.private, other.private);
        assert!(!format!("{one:?}").contains("PRIVATE"));
    }

    #[test]
    fn what_is_cut_off_or_of_another_type_is_no_key() {
        let der = der_of(KeyPair::generate().unwrap().private.expose());
        assert!(public_line(&der).is_some());
        for n_bytes in 0..der.len() {
            assert_eq!(public_line(&der[..n_bytes]), None, "{n_bytes} bytes");
        }
        assert_eq!(pkcs1_in(&der), None);
        assert_eq!(public_line(b"\x04\x82\xff\xff"), None);
    }
}
