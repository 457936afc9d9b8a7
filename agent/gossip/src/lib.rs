//! Membership of the farm: who is there, how to reach them, and what each says about
//! itself.
//!
//! Agents and brokers are members of one cluster and gossip by chitchat. [`Cluster`] keeps
//! that running; a [`ClusterHandle`] sets our advert and shows the [`Members`], one
//! immutable snapshot after another; [`changes`] tells two of them apart. Messages travel
//! over [`MtlsTransport`], or within a test over [`MemoryNetwork`].
//!
//! Gossip is a hint. chitchat trusts every member with everything: one of them can hide,
//! revive or misquote others, and can make the gossip of others panic. So nothing may be
//! done on its word alone: ask the agent itself, over its own certificate. What is done
//! here against it:
//!
//! * only certificates of the farm with the role agent or broker may gossip,
//! * messages that can't be right are dropped before chitchat sees them ([`Settings`] and
//!   [`TransportLimits`] are the bounds),
//! * when chitchat fails, it is started again as a new generation, which is on the disk
//!   first ([`next_generation`]), and the members of before are shown until it has had the
//!   time to hear them again,
//! * our own keys are set again and again, keys that are not ours are deleted,
//! * values of others are read defensively, and the highest generation of a member wins.
//!
//! Deliberately absent: sessions, and any secret. Nobody else knows chitchat.
//!
//! ```
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use gossip::{Cluster, ClusterConfig, Generations, MemoryNetwork, Settings};
//! # let (clock, state_dir) = (pki::Clock::system(), std::path::Path::new("/nowhere"));
//! let config = ClusterConfig {
//!     farm: "office".to_owned(),
//!     node: proto::NodeId::parse("s1")?,
//!     role: pki::Role::Agent,
//!     generation: gossip::next_generation(state_dir, &clock)?,
//!     advertise: "10.0.0.1:7403".parse()?,
//!     seeds: vec!["brokers.example.org:7403".to_owned()],
//!     settings: Settings::lan(),
//! };
//! let generations = Generations::stored(state_dir, clock);
//! let (cluster, handle) = Cluster::build(config, MemoryNetwork::new(), generations)?;
//! handle.advertise_now(proto::KEY_READINESS, "ready".to_owned())?;
//! cluster.run(tokio_util::sync::CancellationToken::new()).await?;
//! # Ok(())
//! # }
//! ```

mod change;
mod cluster;
mod config;
mod frame;
mod generation;
mod handle;
mod member;
mod memory;
mod mtls;
mod own;
mod random;
mod throttle;
mod traffic;
mod transport;

pub use change::{Change, changes};
pub use cluster::Cluster;
pub use config::{ClusterConfig, ClusterError, Settings};
pub use generation::{GenerationError, Generations, next_generation};
pub use handle::ClusterHandle;
pub use member::{Member, Members};
pub use memory::MemoryNetwork;
pub use mtls::{GossipService, MtlsTransport, TransportLimits};
pub use own::AdvertiseError;
pub use traffic::Traffic;
pub use transport::Transport;
