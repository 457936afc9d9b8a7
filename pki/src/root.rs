//! The farm's root: signs issuing CAs, and nothing else.

use std::time::Duration;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SerialNumber,
};
use rustls_pki_types::{CertificateDer, UnixTime};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::name::FarmName;
use crate::random::{NoRandomness, hex, random_bytes};

/// A root with its key.
pub struct Root {
    certificate: Certificate,
    key: KeyPair,
}

/// Why a certificate could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The certificate could not be built or signed.
    #[error("cannot make the {what} certificate")]
    Sign {
        /// Which one.
        what: &'static str,
        /// What the library said.
        #[source]
        source: rcgen::Error,
    },
    /// The key given for a certificate is unusable.
    #[error("the {what} key is not a P-256 key in PKCS#8")]
    Key {
        /// Which one.
        what: &'static str,
        /// What the library said.
        #[source]
        source: rcgen::Error,
    },
    /// There were no random bytes for a serial number.
    #[error(transparent)]
    Random(#[from] NoRandomness),
    /// A date lies outside of what a certificate can hold.
    #[error("second {seconds} of the epoch is no date for a certificate")]
    Date {
        /// The date.
        seconds: u64,
    },
}

impl Root {
    /// Makes a new root of `farm`, valid from `now` for 20 years.
    ///
    /// # Errors
    /// When the library or the system fails.
    pub fn create(farm: &FarmName, now: UnixTime) -> Result<Self, SignError> {
        let key = new_key("root")?;
        let params = ca_params(
            farm,
            "root",
            now,
            ROOT_LIFE,
            BasicConstraints::Constrained(1),
        )?;
        let certificate = params.self_signed(&key).map_err(failed("root"))?;
        Ok(Self { certificate, key })
    }

    /// The certificate that members trust.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        self.certificate.der()
    }

    pub(crate) fn pem(&self) -> String {
        self.certificate.pem()
    }

    pub(crate) fn key_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(self.key.serialize_pem())
    }

    pub(crate) fn issuer(&self) -> Result<Issuer<'_, &KeyPair>, SignError> {
        Issuer::from_ca_cert_der(self.certificate.der(), &self.key).map_err(failed("root"))
    }
}

impl std::fmt::Debug for Root {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Root").finish_non_exhaustive()
    }
}

/// The parameters of a CA certificate. Its name ends in random digits, so that two CAs of
/// farms with one name can be told apart.
pub(crate) fn ca_params(
    farm: &FarmName,
    kind: &'static str,
    now: UnixTime,
    life: Duration,
    constraints: BasicConstraints,
) -> Result<CertificateParams, SignError> {
    let mut params = CertificateParams::default();
    let digits = hex(&random_bytes::<4>()?);
    params.distinguished_name = holder(farm);
    params
        .distinguished_name
        .push(DnType::CommonName, format!("X2Go farm {kind} {digits}"));
    params.serial_number = Some(new_serial()?);
    params.not_before = date(before(now))?;
    params.not_after = date(after(now, life))?;
    params.is_ca = IsCa::Ca(constraints);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

pub(crate) fn holder(farm: &FarmName) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, farm.as_str());
    name
}

pub(crate) fn new_key(what: &'static str) -> Result<KeyPair, SignError> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed(what))
}

/// A random serial of 16 bytes, positive and always of the same length.
pub(crate) fn new_serial() -> Result<SerialNumber, SignError> {
    let mut bytes = random_bytes::<16>()?;
    if let Some(first) = bytes.first_mut() {
        *first = (*first & 0x3f) | 0x40;
    }
    Ok(SerialNumber::from_slice(&bytes))
}

pub(crate) fn date(time: UnixTime) -> Result<OffsetDateTime, SignError> {
    let seconds = time.as_secs();
    i64::try_from(seconds)
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .ok_or(SignError::Date { seconds })
}

pub(crate) fn before(now: UnixTime) -> UnixTime {
    let seconds = now.as_secs().saturating_sub(BACK_DATING.as_secs());
    UnixTime::since_unix_epoch(Duration::from_secs(seconds))
}

pub(crate) fn after(now: UnixTime, life: Duration) -> UnixTime {
    let seconds = now.as_secs().saturating_add(life.as_secs());
    UnixTime::since_unix_epoch(Duration::from_secs(seconds))
}

pub(crate) fn failed(what: &'static str) -> impl FnOnce(rcgen::Error) -> SignError {
    move |source| SignError::Sign { what, source }
}

pub(crate) const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const ROOT_LIFE: Duration = Duration::from_secs(20 * 365 * DAY.as_secs());
/// New certificates are valid a minute earlier, for members whose clock is behind.
const BACK_DATING: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::time::Duration;

    use rustls_pki_types::UnixTime;

    use super::{SignError, date, new_serial};

    #[test]
    fn serials_are_positive_of_one_length_and_never_the_same() {
        let mut seen = HashSet::new();
        for _ in 0..500 {
            let serial = new_serial().unwrap().to_bytes();
            assert_eq!(serial.len(), 16);
            // RFC 5280, 4.1.2.2: positive; and no leading zero that readers would drop.
            assert!((0x40..0x80).contains(&serial[0]), "{serial:x?}");
            assert!(seen.insert(serial));
        }
    }

    #[test]
    fn a_date_that_no_certificate_can_hold_is_an_error() {
        for seconds in [u64::MAX, 1 << 50] {
            let refused = date(UnixTime::since_unix_epoch(Duration::from_secs(seconds)));
            assert!(
                matches!(refused, Err(SignError::Date { .. })),
                "{refused:?}"
            );
        }
    }
}
