//! Certificates of the farm: who a member is, and how members talk so that both sides
//! know it.
//!
//! A [`Subject`] (farm, role, node) stands as URI in each leaf. [`init_ca`] makes the
//! root and the issuing CA, [`issue`] writes the three files of a member, and
//! [`load_identity`] turns them into an [`Identity`], checked, with the TLS
//! configurations ready. [`Reloader`] publishes a new identity when the files change.
//! [`MeshListener`], [`mesh_channel`] and [`mesh_connect`] are the two ends of every
//! connection of the mesh: TLS 1.3, both sides with certificates, and the peer's
//! [`Subject`] known to whoever reads from the stream.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use pki::{Clock, FarmName, IssueRequest, NodeName, Role};
//! # let here = tempfile::tempdir()?;
//! # let (ca, out) = (here.path().join("ca"), here.path().join("web1"));
//! let clock = Clock::system();
//! pki::init_ca(&ca, &FarmName::parse("office")?, &clock)?;
//! let request = IssueRequest::new(Role::Agent, NodeName::parse("web1")?);
//! pki::issue(&ca, &request, &out, &clock)?;
//! let identity = pki::load_identity(&out, &clock)?;
//! assert_eq!(identity.subject().to_uri(), "x2gofarm://office/agent/web1");
//! # Ok(())
//! # }
//! ```
//!
//! This is the only crate that builds rustls configurations, and it always names the
//! ring provider. Deliberately absent: renewal, revocation and enrolment over the
//! network, TLS resumption on the mesh (a resumed connection would keep the old
//! certificate), and everything that X2Go or gossip mean.

mod ca;
mod certificate;
pub mod cli;
mod clock;
mod error_chain;
mod identity;
mod issuing;
mod leaf;
mod name;
mod random;
mod root;
mod signed;
mod store;
mod tls;

pub use ca::{CaError, IssueRequest, Issued, init_ca, issue};
pub use certificate::{CertificateFacts, FactsError};
pub use clock::{Clock, ManualClock, rfc3339};
pub use identity::{
    Identity, IdentityError, IdentityPublisher, IdentityWatch, Reloader, load_identity,
};
pub use issuing::IssuingCa;
pub use leaf::{DEFAULT_LEAF_LIFE, MEMBER_DNS_NAME};
pub use name::{FarmName, NameError, NodeName, Role, RoleError, Subject, SubjectError};
pub use random::{NoRandomness, nonce};
pub use root::{Root, SignError};
pub use rustls_pki_types::UnixTime;
pub use signed::{SIGNATURE_BYTES, SignStatementError, VerifyStatementError};
pub use store::{
    DEFAULT_CA_DIR, DEFAULT_NODE_DIR, KeyFileError, LEAF_CERTIFICATE, LEAF_KEY, ROOTS, StoreError,
};
pub use tls::{
    BindError, ChannelLimits, ConnectError, Expect, HandshakeFailure, HttpsClientError,
    HttpsConfigError, ListenerLimits, MeshConfigsError, MeshIncoming, MeshListener, MeshStream,
    PeerIdentity, https_client_config, https_server_config, mesh_channel, mesh_connect,
    mesh_server,
};
