//! The words that agents, brokers and operators share: domain types, and the messages
//! of the mesh.
//!
//! Everything that arrives from outside becomes one of these types first, and can't be
//! wrong afterwards: a [`Username`] is a user name, a [`NodeId`] a host name. The
//! generated messages are in [`v1`]; each domain type converts from and to them in one
//! place. Nothing here does I/O, reads a clock or knows of chitchat.

mod advert;
mod authservice;
mod codec;
mod desktop;
mod drain;
mod key_grant;
mod local;
mod node;
mod profile;
mod public_key;
mod secret;
mod session;
mod user;

pub use advert::{
    Advert, AdvertError, HostNames, KEY_KEYS, KEY_LOAD, KEY_NAMES, KEY_READINESS, KEY_ROLE,
    KEY_SOFTWARE, KEY_VERSION, MAX_VALUE_BYTES,
};
pub use authservice::{
    MAX_PAM_MESSAGE, PAM_HEAD_BYTES, PamMessageError, PamQuestion, PamVerdict, pam_message_length,
};
pub use desktop::{Desktop, DesktopError, DesktopListing, MAX_DESKTOPS};
pub use drain::{AtDeadline, Deadline, DeadlineError, Drain, DrainWireError};
pub use key_grant::{
    KEY_LIFE, KEY_LIMIT, KeyFile, KeyFileError, KeyGrant, KeyOutcome, MAX_KEY_LIFE,
};
pub use local::{
    LOCAL_HEAD_BYTES, LocalAnswer, LocalEvent, LocalMessageError, LocalRequest, MAX_LOCAL_ANSWER,
    MAX_LOCAL_REQUEST, local_message_length,
};
pub use node::{
    Counts, Generation, Load, NodeId, NodeIdError, NodeState, Readiness, Version, WireError,
};
pub use profile::{SessionProfileId, SessionProfileIdError};
pub use public_key::{PublicKey, PublicKeyError};
pub use secret::Secret;
pub use session::{
    ClientOrder, RecordError, Session, SessionId, SessionIdError, SessionKind, SessionRecord,
    SessionState,
};
pub use user::{BrokerUser, BrokerUserError, Username, UsernameError, is_same_user};

/// The generated messages and services of the mesh, version 1.
#[allow(
    clippy::all,
    clippy::restriction,
    clippy::pedantic,
    clippy::nursery,
    missing_debug_implementations,
    unreachable_pub,
    unused_qualifications,
    reason = "generated code"
)]
pub mod v1 {
    tonic::include_proto!("x2go.broker.v1");
}
