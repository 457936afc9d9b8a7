//! Whole connections between members, over loopback: who gets in, who does not, and that
//! nothing else stops because of it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::panic, reason = "a test fails by panicking")]

mod ca;
mod channel;
mod farm;
mod https;
mod identity;
mod listener;
mod logs;
mod reload;
mod signed;
mod trust;
mod wait;
