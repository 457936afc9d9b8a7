//! The companion tools of x2gobroker 0.0.4.3: programs that are run by hand or by scripts.

mod account;
mod fetch;
mod keygen;
mod pubkeyauthorizer;

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context as _, Result};

pub use keygen::keygen;
pub use pubkeyauthorizer::pubkeyauthorizer;

/// Prints an answer.
fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.context("standard output")
}

/// Tells the person at the terminal something beside the answer.
fn note(program: &str, text: &str) {
    // Nobody is left to tell when this fails.
    let _ = writeln!(std::io::stderr(), "{program}: {text}");
}

/// Prints the whole chain of an error once.
fn end(program: &str, result: Result<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|error| {
        note(program, &format!("{error:#}"));
        ExitCode::FAILURE
    })
}
