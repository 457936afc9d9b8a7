//! The identity of this member: certificate, key and roots in use, checked.

mod reload;

use std::cmp::Ordering;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::server::danger::ClientCertVerifier;
use rustls::{ClientConfig, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use tokio::sync::watch;

use crate::certificate::{CertificateFacts, FactsError};
use crate::clock::{Clock, rfc3339};
use crate::name::Subject;
use crate::signed::Signer;
use crate::store::{self, KeyAccess, KeyFileError, LEAF_CERTIFICATE, LEAF_KEY, ROOTS, StoreError};
use crate::tls::{MeshConfigs, MeshConfigsError};

pub use reload::Reloader;

/// The identity in use, as it changes. `borrow()` it anew for each connection.
///
/// The last one stays readable when nobody publishes any more, as for an identity that is
/// never renewed.
pub type IdentityWatch = watch::Receiver<Arc<Identity>>;

/// A certificate with its key, and the roots that its holder accepts.
///
/// Built once from files, checked, and then never changed.
pub struct Identity {
    subject: Subject,
    facts: CertificateFacts,
    chain: Vec<CertificateDer<'static>>,
    roots: Vec<CertificateDer<'static>>,
    configs: MeshConfigs,
    signer: Signer,
}

/// Gives a new identity to all who hold the watch.
#[derive(Debug)]
pub struct IdentityPublisher {
    sender: watch::Sender<Arc<Identity>>,
}

/// Why the files of a member are no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file with certificates is not usable.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The key file is not usable.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// There is no key in the key file.
    #[error("{path} is not a PEM file of a private key")]
    NoKey {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        source: rustls_pki_types::pem::Error,
    },
    /// The leaf does not say for whom it speaks.
    #[error("the certificate {path} is not usable")]
    Leaf {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: FactsError,
    },
    /// The leaf's life is over.
    #[error(
        "the certificate {path} expired at {not_after}; issue a new one with x2gobroker-ca issue"
    )]
    Expired {
        /// The file.
        path: PathBuf,
        /// The last second of its life.
        not_after: String,
    },
    /// The leaf's life has not begun.
    #[error("the certificate {path} is not valid before {not_before}; is the clock right?")]
    NotYetValid {
        /// The file.
        path: PathBuf,
        /// The first second of its life.
        not_before: String,
    },
    /// Leaf, chain, key and roots do not fit together.
    #[error("{} in {dir} do not fit together", "leaf.crt, leaf.key and roots.pem")]
    Mismatch {
        /// The directory.
        dir: PathBuf,
        /// What does not fit.
        #[source]
        source: MeshConfigsError,
    },
}

/// Reads the identity of a member from its directory and checks it: the chain leads to one
/// of the roots, now is within its life, the key fits, and the leaf names one member.
///
/// # Errors
/// Says which file is wrong, and what to do about it.
pub fn load_identity(dir: &Path, clock: &Clock) -> Result<Identity, IdentityError> {
    let path = dir.join(LEAF_CERTIFICATE);
    let chain = store::read_certificates(&path)?;
    let roots = store::read_certificates(&dir.join(ROOTS))?;
    let key = read_key(&dir.join(LEAF_KEY))?;
    let unusable = |source| IdentityError::Leaf {
        path: path.clone(),
        source,
    };
    let leaf = chain
        .first()
        .ok_or_else(|| StoreError::NoCertificate { path: path.clone() })?;
    let facts = CertificateFacts::read(leaf).map_err(unusable)?;
    let subject = facts.subject().map_err(unusable)?;
    check_dates(&path, &facts, clock.now())?;
    let configs = MeshConfigs::build(&chain, &key, &roots, clock).map_err(|source| {
        IdentityError::Mismatch {
            dir: dir.to_owned(),
            source,
        }
    })?;
    Ok(Identity {
        subject,
        facts,
        chain,
        roots,
        configs,
        signer: Signer::new(&key),
    })
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, IdentityError> {
    let bytes = store::read_key(path, KeyAccess::OwnerOnly)?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|source| IdentityError::NoKey {
        path: path.to_owned(),
        source,
    })
}

fn check_dates(path: &Path, facts: &CertificateFacts, now: UnixTime) -> Result<(), IdentityError> {
    let path = path.to_owned();
    if facts.not_after.cmp(&now) == Ordering::Less {
        return Err(IdentityError::Expired {
            path,
            not_after: rfc3339(facts.not_after),
        });
    }
    if now < facts.not_before {
        return Err(IdentityError::NotYetValid {
            path,
            not_before: rfc3339(facts.not_before),
        });
    }
    Ok(())
}

impl Identity {
    /// Who we are.
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// The serial number of the leaf in hexadecimal.
    pub fn serial(&self) -> &str {
        &self.facts.serial
    }

    /// The first second of the leaf's life.
    pub fn not_before(&self) -> UnixTime {
        self.facts.not_before
    }

    /// The last second of the leaf's life.
    pub fn not_after(&self) -> UnixTime {
        self.facts.not_after
    }

    /// The leaf, and the issuing CA behind it.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// The roots that we accept.
    pub fn roots(&self) -> &[CertificateDer<'static>] {
        &self.roots
    }

    /// How we answer connections of other members.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        self.configs.server.clone()
    }

    /// How we connect to other members.
    pub fn client_config(&self) -> Arc<ClientConfig> {
        self.configs.client.clone()
    }

    /// How the certificates of other members are checked outside TLS.
    pub(crate) fn verifier(&self) -> &dyn ClientCertVerifier {
        self.configs.verifier.as_ref()
    }

    /// The key of our leaf.
    pub(crate) fn signer(&self) -> &Signer {
        &self.signer
    }

    /// A value that all members of the farm share without configuration, and that differs
    /// for each `label` and each set of roots.
    ///
    /// It is no secret: whoever sees the roots can compute it. Use it to tell farms apart
    /// or to seed a hash, never to prove anything.
    pub fn derive_key(&self, label: &str) -> [u8; 16] {
        let mut roots: Vec<&[u8]> = self.roots.iter().map(AsRef::as_ref).collect();
        roots.sort_unstable();
        roots.dedup();
        let mut digest = ring::digest::Context::new(&ring::digest::SHA256);
        digest.update(label.as_bytes());
        digest.update(&[0]);
        for root in roots {
            digest.update(root);
        }
        let digest = digest.finish();
        let mut key = [0; 16];
        for (to, from) in key.iter_mut().zip(digest.as_ref()) {
            *to = *from;
        }
        key
    }
}

/// Shows who it is, and no key.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("subject", &self.subject)
            .field("serial", &self.facts.serial)
            .field("not_after", &rfc3339(self.facts.not_after))
            .finish_non_exhaustive()
    }
}

impl IdentityPublisher {
    /// Begins with `identity`.
    pub fn new(identity: Identity) -> (Self, IdentityWatch) {
        let (sender, watch) = watch::channel(Arc::new(identity));
        (Self { sender }, watch)
    }

    /// The identity in use.
    pub fn current(&self) -> Arc<Identity> {
        self.sender.borrow().clone()
    }

    /// Lets new connections use `identity`; open ones live on with the former.
    pub fn publish(&self, identity: Identity) {
        self.sender.send_replace(Arc::new(identity));
    }
}
