//! The leaf: the certificate of one member.

use std::time::Duration;

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType};
use rustls_pki_types::{CertificateDer, UnixTime};
use zeroize::Zeroizing;

use crate::issuing::IssuingCa;
use crate::name::Subject;
use crate::root::{DAY, SignError, before, date, failed, holder, new_key, new_serial};

/// The DNS name in every leaf. Members verify it instead of the address they dial; which
/// member answers is told by the URI.
pub const MEMBER_DNS_NAME: &str = "member.x2gofarm.internal";

/// How long a leaf is valid when nobody says otherwise: 90 days.
pub const DEFAULT_LEAF_LIFE: Duration = Duration::from_secs(90 * DAY.as_secs());

/// A leaf with its key.
pub(crate) struct Leaf {
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) pem: String,
    pub(crate) key_pem: Zeroizing<String>,
}

impl IssuingCa {
    /// Makes a key and the leaf of `subject`, valid from a minute before `now` to `not_after`.
    pub(crate) fn sign_leaf(
        &self,
        subject: &Subject,
        now: UnixTime,
        not_after: UnixTime,
    ) -> Result<Leaf, SignError> {
        let key = new_key("leaf")?;
        let mut params = CertificateParams::default();
        params.distinguished_name = holder(&subject.farm);
        params
            .distinguished_name
            .push(DnType::OrganizationalUnitName, subject.role.as_str());
        if subject.node.as_str().len() <= MAX_COMMON_NAME {
            params
                .distinguished_name
                .push(DnType::CommonName, subject.node.as_str());
        }
        params.serial_number = Some(new_serial()?);
        params.not_before = date(before(now))?;
        params.not_after = date(not_after)?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.use_authority_key_identifier_extension = true;
        params.subject_alt_names = vec![
            SanType::DnsName(MEMBER_DNS_NAME.try_into().map_err(failed("leaf"))?),
            SanType::URI(subject.to_uri().try_into().map_err(failed("leaf"))?),
        ];
        let signed = params
            .signed_by(&key, &self.issuer()?)
            .map_err(failed("leaf"))?;
        Ok(Leaf {
            certificate: signed.der().clone(),
            pem: signed.pem(),
            key_pem: Zeroizing::new(key.serialize_pem()),
        })
    }
}

/// RFC 5280 bounds the common name; longer host names stand in the URI only.
const MAX_COMMON_NAME: usize = 64;
