//! How members speak TLS with each other.

use std::sync::Arc;

use rustls::client::danger::ServerCertVerifier;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::{CertificateDer, InvalidDnsNameError, PrivateKeyDer, ServerName};

use crate::clock::Clock;
use crate::leaf::MEMBER_DNS_NAME;

/// The configurations of one identity, for both ends.
pub(crate) struct MeshConfigs {
    pub(crate) server: Arc<ServerConfig>,
    pub(crate) client: Arc<ClientConfig>,
    pub(crate) verifier: Arc<dyn ClientCertVerifier>,
}

/// Why a certificate, key and roots are no base for connections.
#[derive(Debug, thiserror::Error)]
pub enum MeshConfigsError {
    /// A root is malformed.
    #[error("a root is not usable")]
    Root(#[source] rustls::Error),
    /// No verifier can be built from the roots.
    #[error("the roots are not usable")]
    Roots(#[from] VerifierBuilderError),
    /// The chain does not lead from the leaf to a root, or the leaf is for something else.
    #[error("the leaf is not trusted by the roots")]
    Chain(#[source] rustls::Error),
    /// The key belongs to another certificate, or is of an unknown kind.
    #[error("the key does not belong to the leaf, or is of an unknown kind")]
    Key(#[source] rustls::Error),
    /// The library refused the protocol versions.
    #[error("TLS 1.3 is not available")]
    Version(#[source] rustls::Error),
    /// The fixed name of members is malformed.
    #[error(transparent)]
    Name(#[from] InvalidDnsNameError),
}

/// The one provider of cryptography of the whole tree.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The name that a member checks in the certificate of every other.
pub(crate) fn member_name() -> Result<ServerName<'static>, InvalidDnsNameError> {
    ServerName::try_from(MEMBER_DNS_NAME)
}

impl MeshConfigs {
    /// Builds both ends, after checking our own leaf as others will.
    pub(crate) fn build(
        chain: &[CertificateDer<'static>],
        key: &PrivateKeyDer<'static>,
        roots: &[CertificateDer<'static>],
        clock: &Clock,
    ) -> Result<Self, MeshConfigsError> {
        let mut store = RootCertStore::empty();
        for root in roots {
            store.add(root.clone()).map_err(MeshConfigsError::Root)?;
        }
        let store = Arc::new(store);
        let of_clients =
            WebPkiClientVerifier::builder_with_provider(store.clone(), provider()).build()?;
        let of_servers = WebPkiServerVerifier::builder_with_provider(store, provider()).build()?;
        check_own(chain, of_clients.as_ref(), of_servers.as_ref(), clock)?;
        Ok(Self {
            server: server(chain, key, of_clients.clone(), clock)?,
            client: client(chain, key, of_servers, clock)?,
            verifier: of_clients,
        })
    }
}

fn check_own(
    chain: &[CertificateDer<'static>],
    of_clients: &dyn ClientCertVerifier,
    of_servers: &WebPkiServerVerifier,
    clock: &Clock,
) -> Result<(), MeshConfigsError> {
    let Some((leaf, behind)) = chain.split_first() else {
        return Err(MeshConfigsError::Chain(
            rustls::Error::NoCertificatesPresented,
        ));
    };
    let now = clock.now();
    of_clients
        .verify_client_cert(leaf, behind, now)
        .map_err(MeshConfigsError::Chain)?;
    of_servers
        .verify_server_cert(leaf, behind, &member_name()?, &[], now)
        .map_err(MeshConfigsError::Chain)?;
    Ok(())
}

fn server(
    chain: &[CertificateDer<'static>],
    key: &PrivateKeyDer<'static>,
    verifier: Arc<dyn ClientCertVerifier>,
    clock: &Clock,
) -> Result<Arc<ServerConfig>, MeshConfigsError> {
    let mut config = ServerConfig::builder_with_details(provider(), Arc::new(clock.clone()))
        .with_protocol_versions(&[&TLS13])
        .map_err(MeshConfigsError::Version)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain.to_vec(), key.clone_key())
        .map_err(MeshConfigsError::Key)?;
    config.alpn_protocols = vec![HTTP_2.to_vec()];
    // A resumed session would keep the certificates of the first one, on both sides: a
    // renewed leaf would not be seen, and an expired one would be accepted.
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

fn client(
    chain: &[CertificateDer<'static>],
    key: &PrivateKeyDer<'static>,
    verifier: Arc<WebPkiServerVerifier>,
    clock: &Clock,
) -> Result<Arc<ClientConfig>, MeshConfigsError> {
    let mut config = ClientConfig::builder_with_details(provider(), Arc::new(clock.clone()))
        .with_protocol_versions(&[&TLS13])
        .map_err(MeshConfigsError::Version)?
        .with_webpki_verifier(verifier)
        .with_client_auth_cert(chain.to_vec(), key.clone_key())
        .map_err(MeshConfigsError::Key)?;
    config.alpn_protocols = vec![HTTP_2.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

const HTTP_2: &[u8] = b"h2";
