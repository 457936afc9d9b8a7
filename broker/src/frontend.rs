//! How clients reach the broker.

pub mod form;
mod hosts;
pub mod https;
pub mod json;
pub mod plain;
pub mod ssh;
pub mod uccs;

#[cfg(test)]
pub(crate) mod golden;
