//! The session broker: a replica that any X2Go client may ask.
//!
//! A replica keeps nothing that it can't rebuild in seconds. Gossip tells it which X2Go
//! servers there are; a stream from each server's agent tells it their sessions; both
//! make one immutable [`view::FarmView`]. A request reads the view, decides with pure
//! functions ([`acl`], [`placement`], [`names`]), and asks the agent of the chosen server
//! once: the agent has the last word.
//!
//! ```text
//!  client ──▶ frontend ──▶ auth ──▶ task ──▶ placement      (pure)
//!                                    │  └──▶ agents ──gRPC──▶ the chosen server's agent
//!                                    ▼
//!  gossip, watch streams ──▶ feed ──▶ FarmView (snapshot)
//! ```
//!
//! Servers that have only the agent of x2gobroker 0.0.4.3 are asked over SSH where the
//! configuration says so ([`old_agents`]).
//!
//! Deliberately absent: a database, local session files, sticky routing, and any way to
//! act on a server but through its agent.

pub mod acl;
pub mod agent_key;
pub mod agents;
pub mod app;
pub mod audit;
pub mod auth;
pub mod autologin;
pub mod cli;
pub mod client_names;
pub mod config;
pub mod frontend;
pub mod groups;
pub mod ini;
pub mod load_checker;
pub mod log;
pub mod logins;
pub mod names;
mod network;
pub mod old_agents;
pub mod placement;
mod places;
pub mod process;
pub mod profiles;
pub mod reload;
pub mod scripts;
pub mod settings;
pub mod task;
pub mod view;
