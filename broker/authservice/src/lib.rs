//! The authservice: asks PAM whether a user may log in, and does nothing else.
//!
//! It is the only program of a broker host that runs as root, since `pam_unix` wants that,
//! and the only crate that links PAM. The daemon, which speaks with the world and is not
//! root, asks it over a unix socket:
//!
//! ```text
//!  x2gobroker-daemon ──socket──▶ [service]: who may ask? how many at once?
//!                                    │ a process for each question
//!                                    ▼
//!                                [conversation]: deadline ──▶ [pam]: PAM itself
//! ```
//!
//! A question names a user and a password; which PAM service answers stands on this
//! program's own command line. A module that hangs or crashes takes its own process with
//! it, and one login.
//!
//! Deliberately absent: sessions, credentials, a way to ask for another PAM service, and
//! everything that is not needed to say yes or no.

mod answers;
pub mod cli;
pub mod conversation;
mod hardening;
pub mod pam;
pub mod service;
pub mod socket;
