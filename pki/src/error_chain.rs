//! An error and everything behind it, on one line.

use std::error::Error;

/// Joins the messages of `error` and of its sources with colons.
pub(crate) fn chain_text(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}
