//! The issuing CA: signs the leaves of members.

use std::time::Duration;

use rcgen::{BasicConstraints, Issuer, KeyPair};
use rustls_pki_types::{CertificateDer, UnixTime};
use zeroize::Zeroizing;

use crate::name::FarmName;
use crate::root::{DAY, Root, SignError, ca_params, failed, new_key};

/// An issuing CA with its key.
pub struct IssuingCa {
    certificate: CertificateDer<'static>,
    pem: String,
    key: KeyPair,
}

impl IssuingCa {
    /// Makes a new issuing CA of `farm`, signed by `root`, valid from `now` for 5 years.
    ///
    /// # Errors
    /// When the library or the system fails.
    pub fn create(farm: &FarmName, root: &Root, now: UnixTime) -> Result<Self, SignError> {
        let key = new_key("issuing CA")?;
        let no_cas_below = BasicConstraints::Constrained(0);
        let params = ca_params(farm, "issuing CA", now, ISSUING_LIFE, no_cas_below)?;
        let signed = params
            .signed_by(&key, &root.issuer()?)
            .map_err(failed("issuing CA"))?;
        Ok(Self {
            certificate: signed.der().clone(),
            pem: signed.pem(),
            key,
        })
    }

    /// Takes up an issuing CA from its files: `pem` is the text of `certificate`.
    pub(crate) fn from_files(
        certificate: CertificateDer<'static>,
        pem: String,
        key_pem: &str,
    ) -> Result<Self, SignError> {
        let key = KeyPair::from_pem(key_pem).map_err(|source| SignError::Key {
            what: "issuing CA",
            source,
        })?;
        Ok(Self {
            certificate,
            pem,
            key,
        })
    }

    /// The certificate that stands behind a leaf in its chain.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    pub(crate) fn key_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(self.key.serialize_pem())
    }

    pub(crate) fn issuer(&self) -> Result<Issuer<'_, &KeyPair>, SignError> {
        Issuer::from_ca_cert_der(&self.certificate, &self.key).map_err(failed("issuing CA"))
    }
}

impl std::fmt::Debug for IssuingCa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IssuingCa").finish_non_exhaustive()
    }
}

const ISSUING_LIFE: Duration = Duration::from_secs(5 * 365 * DAY.as_secs());
