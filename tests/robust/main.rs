//! Does bad input stop anything? Real programs on loopback, one file per kind of bad input.
//!
//! Each test shows the clear answer or log line, and that another client's login works
//! meanwhile and afterwards. What is proven elsewhere: malformed gossip, and certificates
//! that are foreign or expired (`pki`, `agent/gossip`), odd rows and locks of a session
//! database (`agent`).
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]
#![expect(clippy::print_stdout, reason = "some tests print their figures")]

mod audit;
mod background;
mod brokers;
mod flood;
mod keys_taken_back;
mod large_bodies;
mod odd_requests;
mod profiles;
mod proxies;
mod raw;
mod refused_start;
mod reloads;
mod secrets;
mod session_database;
mod signals;
mod site;
mod slow_clients;
mod small_farm;
mod ssh_front_end;
mod tools;
