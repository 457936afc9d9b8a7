//! How clients reach the broker.

pub mod form;
pub mod https;
pub mod plain;

#[cfg(test)]
pub(crate) mod golden;
