//! TLS towards a web server of others, which the farm's certificates say nothing about.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore};

use super::config::provider;
use crate::store::{self, StoreError};

/// Why no web server can be trusted.
#[derive(Debug, thiserror::Error)]
pub enum HttpsClientError {
    /// The file of roots is not usable.
    #[error(transparent)]
    Roots(#[from] StoreError),
    /// None of its certificates can be a root.
    #[error("{path} holds no certificate that can be a root")]
    NoRoot {
        /// The file.
        path: PathBuf,
    },
    /// The library refused the protocol versions.
    #[error("TLS 1.2 and 1.3 are not available")]
    Version(#[source] rustls::Error),
}

/// Builds the TLS side of a client that trusts servers whose certificate leads to one of
/// the roots in a PEM file: TLS 1.2 and 1.3, HTTP/1.1. The name in the certificate is
/// checked by whoever connects with it.
///
/// # Errors
/// When there is no root to trust.
pub fn https_client_config(roots: &Path) -> Result<Arc<ClientConfig>, HttpsClientError> {
    let mut trusted = RootCertStore::empty();
    // Collections of a system hold some that are of no use to this library.
    let (added, _) = trusted.add_parsable_certificates(store::read_certificates(roots)?);
    if added == 0 {
        let path = roots.to_owned();
        return Err(HttpsClientError::NoRoot { path });
    }
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS12, &TLS13])
        .map_err(HttpsClientError::Version)?
        .with_root_certificates(trusted)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
