//! The two ends of every connection of the mesh, and the one of the HTTPS front end.

mod client;
mod config;
mod failure;
mod failure_log;
mod https;
mod https_client;
mod listener;
mod sources;
mod stream;

pub use client::{ChannelLimits, ConnectError, Expect, mesh_channel, mesh_connect, mesh_server};
pub(crate) use config::MeshConfigs;
pub use config::MeshConfigsError;
pub use failure::HandshakeFailure;
pub use https::{HttpsConfigError, https_server_config};
pub use https_client::{HttpsClientError, https_client_config};
pub use listener::{BindError, ListenerLimits, MeshIncoming, MeshListener};
pub use stream::{MeshStream, PeerIdentity};
