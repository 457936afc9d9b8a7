//! TLS for the front end that X2Go Clients speak to.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::version::{TLS12, TLS13};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::{self, PemObject};

use super::config::provider;
use crate::store::{self, KeyAccess, KeyFileError, StoreError};

/// Why the front end can't offer HTTPS.
#[derive(Debug, thiserror::Error)]
pub enum HttpsConfigError {
    /// The certificate file is not usable.
    #[error(transparent)]
    Certificate(#[from] StoreError),
    /// The key file is not usable.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// There is no key in the key file.
    #[error("{path} is not a PEM file of a private key")]
    NoKey {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        source: pem::Error,
    },
    /// The two do not belong together.
    #[error(
        "the key {key} does not belong to the certificate {certificate}, or is of an unknown kind"
    )]
    Mismatch {
        /// The certificate file.
        certificate: PathBuf,
        /// The key file.
        key: PathBuf,
        /// What the library said.
        #[source]
        source: rustls::Error,
    },
    /// The library refused the protocol versions.
    #[error("TLS 1.2 and 1.3 are not available")]
    Version(#[source] rustls::Error),
}

/// Builds the TLS side of the HTTPS front end: TLS 1.2 and 1.3, HTTP/1.1, no client
/// certificates. The key may be readable by its group, as `root:x2gobroker` 0640 is usual,
/// but by nobody else.
///
/// # Errors
/// Says which file is wrong, and what to do about it.
pub fn https_server_config(
    certificate: &Path,
    key: &Path,
) -> Result<Arc<ServerConfig>, HttpsConfigError> {
    let chain = store::read_certificates(certificate)?;
    let key_bytes = store::read_key(key, KeyAccess::GroupMayRead)?;
    let private =
        PrivateKeyDer::from_pem_slice(&key_bytes).map_err(|source| HttpsConfigError::NoKey {
            path: key.to_owned(),
            source,
        })?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS12, &TLS13])
        .map_err(HttpsConfigError::Version)?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|source| HttpsConfigError::Mismatch {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            source,
        })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
