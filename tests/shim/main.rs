//! Does the setuid program refuse what it must, and do what it should? The installed
//! program, with its bit, in a mount namespace of its own: real accounts, real files.
//!
//! Needs root and `unshare`. Without them each test says so and passes, or fails when
//! `X2GOBROKER_FARM=required`.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "some tests print their figures")]

mod callers;
mod contention;
mod dependencies;
mod figures;
mod installation;
mod key_files;
mod operands;
mod package;
mod slow_names;
mod sshd;
mod stage;
mod stopped;
mod surroundings;
mod targets;
mod tasks;
mod temporary_keys;
mod test_agent;
mod words;
