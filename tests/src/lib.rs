//! The harness of the project's tests: what starts, watches and stops real things.
//!
//! * [`wait`]: level-triggered waiting with a limit and a status text;
//! * [`process`]: a child process that never outlives its owner, and [`binaries`]: where
//!   the programs under test are;
//! * [`session_db`]: a real SQLite session database in x2goserver's schema, and what
//!   x2goserver does to it;
//! * [`http`] and [`plain`]: a small blocking HTTP client and the answers of `/plain/`;
//! * [`mod@bench`]: what the benches of whole programs have in common;
//! * [`lab`]: a farm of hosts in namespaces, with sshd, x2goserver and x2goclient;
//! * [`demo`]: the product on one screen, see `cargo xtask demo`.
//!
//! Nothing here imitates the product: the programs are the real ones, and a fake is a
//! program or a file that the other side can't tell from the real thing. The crate is
//! blocking on purpose, so that tests, benches and the demo read from top to bottom.

pub mod bench;
pub mod binaries;
pub mod demo;
pub mod http;
pub mod lab;
pub mod plain;
pub mod process;
pub mod session_db;
pub mod wait;
