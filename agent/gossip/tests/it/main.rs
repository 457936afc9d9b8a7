//! The gossip as its users see it: one suite over both transports, and what hostile or
//! unlucky members can do.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod certificates;
mod farm;
mod fifty;
mod forge;
mod hostile;
mod partners;
mod suite;
