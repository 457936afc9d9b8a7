//! How does a user get onto an X2Go server without typing a password again?
//!
//! The server's agent puts a public key into a file of the user for some seconds, and the
//! client has the other half: its own, or one of a pair that the broker makes for this one
//! login. X2Go Client 4.1.2 takes no other pair than RSA, as PKCS#1 in PEM.

mod pair;
mod plan;
mod pool;

pub use pair::{KeyPair, PairError};
pub use plan::{Plan, ProxyPlan};
pub use pool::{KEY_WAIT, KeyPairs, KeyPairsOwner, NoKeyPair};
