//! What does a certificate say?

use rustls_pki_types::UnixTime;
use std::time::Duration;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::name::{Subject, SubjectError, URI_SCHEME};
use crate::random::hex;

/// The facts of one certificate that we use or show.
///
/// Reading proves nothing about who signed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFacts {
    /// The distinguished name of the holder.
    pub holder: String,
    /// The distinguished name of the signer.
    pub issuer: String,
    /// The organisation of the holder, which is the farm in certificates of ours.
    pub organisation: Option<String>,
    /// The serial number in lower-case hexadecimal, without leading zero bytes.
    pub serial: String,
    /// The first second of its life.
    pub not_before: UnixTime,
    /// The last second of its life.
    pub not_after: UnixTime,
    /// Whether it may sign certificates.
    pub is_ca: bool,
    /// The URIs of the farm in its alternative names, as they stand there.
    farm_uris: Vec<String>,
}

/// Why the facts of a certificate could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FactsError {
    /// The bytes are no certificate.
    #[error("it is not an X.509 certificate: {detail}")]
    NotACertificate {
        /// What the parser said.
        detail: String,
    },
    /// Nothing in it says which member it speaks for.
    #[error("it has no URI x2gofarm://FARM/ROLE/NODE among its alternative names")]
    NoSubject,
    /// More than one member is named in it.
    #[error("it names {found} members; a leaf speaks for one")]
    ManySubjects {
        /// How many URIs of the farm it has.
        found: usize,
    },
    /// The URI in it is malformed.
    #[error("its URI is malformed")]
    Subject(#[source] SubjectError),
}

impl CertificateFacts {
    /// Reads a certificate in DER.
    ///
    /// # Errors
    /// When the bytes are no certificate.
    pub fn read(der: &[u8]) -> Result<Self, FactsError> {
        let (rest, parsed) =
            X509Certificate::from_der(der).map_err(|error| FactsError::NotACertificate {
                detail: error.to_string(),
            })?;
        if !rest.is_empty() {
            let detail = format!("{} bytes follow it", rest.len());
            return Err(FactsError::NotACertificate { detail });
        }
        Ok(Self {
            holder: parsed.subject().to_string(),
            issuer: parsed.issuer().to_string(),
            organisation: organisation(&parsed),
            serial: serial_text(parsed.raw_serial()),
            not_before: unix_time(parsed.validity().not_before.timestamp()),
            not_after: unix_time(parsed.validity().not_after.timestamp()),
            is_ca: parsed.is_ca(),
            farm_uris: farm_uris(&parsed),
        })
    }

    /// The member that it speaks for.
    ///
    /// # Errors
    /// When there is not exactly one, or its URI is malformed.
    pub fn subject(&self) -> Result<Subject, FactsError> {
        match self.farm_uris.as_slice() {
            [] => Err(FactsError::NoSubject),
            [uri] => Subject::from_uri(uri).map_err(FactsError::Subject),
            several => Err(FactsError::ManySubjects {
                found: several.len(),
            }),
        }
    }
}

fn farm_uris(parsed: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(names)) = parsed.subject_alternative_name() else {
        return Vec::new();
    };
    let uris = names
        .value
        .general_names
        .iter()
        .filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        });
    uris.filter(|uri| uri.starts_with(URI_SCHEME))
        .map(str::to_owned)
        .collect()
}

fn organisation(parsed: &X509Certificate<'_>) -> Option<String> {
    let mut all = parsed.subject().iter_organization();
    all.next()?.as_str().ok().map(str::to_owned)
}

fn serial_text(bytes: &[u8]) -> String {
    let first = bytes
        .iter()
        .position(|&byte| byte != 0)
        .unwrap_or(bytes.len());
    hex(bytes.get(first..).unwrap_or_default())
}

/// Times before 1970 become its first second.
fn unix_time(timestamp: i64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(timestamp).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::{CertificateFacts, FactsError, serial_text};
    use crate::clock::Clock;
    use crate::name::FarmName;
    use crate::root::Root;

    #[test]
    fn bytes_that_are_no_certificate_are_refused() {
        for bytes in [
            &b""[..],
            b"garbage",
            &[0x30, 0x82, 0xff, 0xff],
            &[0x30; 4000],
        ] {
            let found = CertificateFacts::read(bytes);
            assert!(
                matches!(found, Err(FactsError::NotACertificate { .. })),
                "{found:?}"
            );
        }
    }

    #[test]
    fn a_certificate_is_read_and_one_with_bytes_behind_it_is_not() {
        let now = Clock::system().now();
        let root = Root::create(&FarmName::parse("office").unwrap(), now).unwrap();
        let mut der = root.certificate().to_vec();
        let facts = CertificateFacts::read(&der).unwrap();
        assert_eq!(facts.organisation.as_deref(), Some("office"));
        assert_eq!((facts.is_ca, &facts.holder), (true, &facts.issuer));
        assert_eq!(facts.subject(), Err(FactsError::NoSubject));
        der.push(0);
        let refused = CertificateFacts::read(&der).unwrap_err().to_string();
        assert_eq!(refused, "it is not an X.509 certificate: 1 bytes follow it");
    }

    #[test]
    fn a_serial_has_no_leading_zero_bytes() {
        let table: [(&[u8], &str); 4] = [
            (&[0, 0xab, 0x01], "ab01"),
            (&[0x7f], "7f"),
            (&[0, 0], ""),
            (&[], ""),
        ];
        for (bytes, expected) in table {
            assert_eq!(serial_text(bytes), expected);
        }
    }
}
