//! What may the setuid program do, and for whom? The decisions; none of the acts.
//!
//! `x2gobroker-agent` is the one program of this project that is installed setuid root
//! (4750, `root:x2gobroker`). Its command line is that of x2gobroker 0.0.4.3:
//! `x2gobroker-agent USER TASK [ARGS]`. This library holds what can be decided without
//! touching the world, as functions of their arguments:
//!
//! * [`request`]: argv, or the command that an SSH client asked for, becomes a [`Request`],
//!   a closed type whose operands can't be wrong afterwards. The agent uses it too, and the
//!   fuzz target;
//! * [`own_file`], [`caller`] and [`target`]: is the program installed as packaged, may this
//!   caller ask, may this account be acted for;
//! * [`location`] and [`authorized_keys`]: which file holds the keys, and its text with one
//!   line more or less;
//! * [`answer`]: what the tasks print.
//!
//! Every act is in the program: see `main.rs` for their order.
//!
//! Deliberately absent: a shell, sudo, a configuration file, the environment (but for
//! `SSH_ORIGINAL_COMMAND`, as a request), logging, threads, and any dependency but nix and
//! libc.

#![forbid(unsafe_code)]

pub mod answer;
pub mod authorized_keys;
pub mod caller;
pub mod error;
pub mod location;
pub mod own_file;
pub mod request;
pub mod target;

pub use error::Refusal;
pub use request::Request;
