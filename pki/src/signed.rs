//! Did a member of our farm say this?
//!
//! A member signs with the key of its leaf, and whoever has the farm's root can tell: the
//! leaf travels beside the signature, the issuing CA is in everybody's own chain. No
//! secret is shared, and no member must be asked.

use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, UnparsedPublicKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::certificate::{CertificateFacts, FactsError};
use crate::identity::Identity;
use crate::name::Subject;

/// What [`Identity::sign`] gives: both halves are 32 bytes.
pub const SIGNATURE_BYTES: usize = 64;

/// Why something could not be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignStatementError {
    /// The key is of a kind that x2gobroker-ca does not make.
    #[error("the key of this member is not ECDSA P-256 and can't sign")]
    Key,
    /// The library refused, for want of random bytes.
    #[error("the signature could not be made")]
    Failed,
}

/// Why a signature proves nothing.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum VerifyStatementError {
    /// The certificate beside it can't be read, or names nobody.
    #[error("the certificate beside the signature is not usable")]
    Leaf(#[source] FactsError),
    /// The certificate does not lead to a root of ours, or not now.
    #[error("the certificate beside the signature is not trusted")]
    Untrusted(#[source] rustls::Error),
    /// A member of another farm.
    #[error("signed by {found}, which is not of our farm")]
    ForeignFarm {
        /// Who signed.
        found: Box<Subject>,
    },
    /// The signature is not one of that certificate over this message.
    #[error("the signature is wrong")]
    Signature,
}

/// The key of a leaf, for signatures outside TLS.
pub(crate) struct Signer(Option<EcdsaKeyPair>);

impl Signer {
    /// A key that can't sign is good enough for TLS: it is an error only when used.
    pub(crate) fn new(key: &PrivateKeyDer<'_>) -> Self {
        let PrivateKeyDer::Pkcs8(pkcs8) = key else {
            return Self(None);
        };
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.secret_pkcs8_der(), &random);
        Self(pair.ok())
    }
}

impl Identity {
    /// Signs `message` with the key of our leaf. `context` names what it is for: a
    /// signature for one context is good for no other.
    ///
    /// # Errors
    /// When the key is of another kind, or there are no random bytes.
    pub fn sign(
        &self,
        context: &str,
        message: &[u8],
    ) -> Result<[u8; SIGNATURE_BYTES], SignStatementError> {
        let key = self.signer().0.as_ref().ok_or(SignStatementError::Key)?;
        let failed = Err(SignStatementError::Failed);
        let Ok(signature) = key.sign(&SystemRandom::new(), &framed(context, message)) else {
            return failed;
        };
        signature.as_ref().try_into().or(failed)
    }

    /// Who signed `message` for `context`, by the leaf beside it. The leaf must lead to
    /// one of our roots by way of our own chain, be valid at `now`, and be of our farm.
    ///
    /// # Errors
    /// Says what is wrong with it. A wrong role is for the caller to see.
    pub fn verify(
        &self,
        context: &str,
        message: &[u8],
        signature: &[u8],
        leaf: &[u8],
        now: UnixTime,
    ) -> Result<Subject, VerifyStatementError> {
        let facts = CertificateFacts::read(leaf).map_err(VerifyStatementError::Leaf)?;
        let subject = facts.subject().map_err(VerifyStatementError::Leaf)?;
        let behind = self.chain().get(1..).unwrap_or_default();
        self.verifier()
            .verify_client_cert(&CertificateDer::from(leaf), behind, now)
            .map_err(VerifyStatementError::Untrusted)?;
        if subject.farm != self.subject().farm {
            let found = Box::new(subject);
            return Err(VerifyStatementError::ForeignFarm { found });
        }
        let key = public_key(leaf).map_err(VerifyStatementError::Leaf)?;
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key);
        match key.verify(&framed(context, message), signature) {
            Ok(()) => Ok(subject),
            Err(ring::error::Unspecified) => Err(VerifyStatementError::Signature),
        }
    }
}

/// The bytes of the public key, whatever its kind: another kind verifies nothing.
fn public_key(leaf: &[u8]) -> Result<Vec<u8>, FactsError> {
    match X509Certificate::from_der(leaf) {
        Ok((_, parsed)) => Ok(parsed.public_key().subject_public_key.data.to_vec()),
        Err(error) => Err(FactsError::NotACertificate {
            detail: error.to_string(),
        }),
    }
}

/// What is really signed. The length keeps a context from running into the message.
fn framed(context: &str, message: &[u8]) -> Vec<u8> {
    let mut framed = Vec::with_capacity(PREFIX.len() + 8 + context.len() + message.len());
    framed.extend_from_slice(PREFIX);
    framed.extend_from_slice(&(context.len() as u64).to_be_bytes());
    framed.extend_from_slice(context.as_bytes());
    framed.extend_from_slice(message);
    framed
}

/// No TLS message begins like this.
const PREFIX: &[u8] = b"x2gobroker statement\0";
