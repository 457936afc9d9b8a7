//! The companion tools of x2gobroker 0.0.4.3: programs that are run by hand or by scripts.

mod account;
mod fetch;
mod keygen;
mod loadchecker;
mod pubkeyauthorizer;
mod testagent;
mod testauth;

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow};

use clap::CommandFactory as _;
pub use keygen::keygen;
pub use loadchecker::loadchecker;
pub use pubkeyauthorizer::pubkeyauthorizer;
pub use testagent::testagent;
pub use testauth::testauth;

use super::options::SourceOptions;
use super::origin;
use crate::config::Config;

/// The command lines of the tools, for their man pages.
pub(super) fn commands() -> [clap::Command; 5] {
    [
        keygen::Keygen::command(),
        loadchecker::LoadChecker::command(),
        pubkeyauthorizer::Authorizer::command(),
        testagent::TestAgent::command(),
        testauth::TestAuth::command(),
    ]
}

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

/// Reads the configuration as the daemon does.
fn configuration(sources: &SourceOptions) -> Result<Config> {
    let read = origin(sources, None, false)?.read();
    let (config, _warnings) = read.map_err(|problems| {
        let errors = problems.iter().filter(|problem| problem.is_error());
        let errors: Vec<String> = errors.map(ToString::to_string).collect();
        anyhow!(
            "the configuration can't be used; see x2gobroker check-config: {}",
            errors.join("; ")
        )
    })?;
    Ok(config)
}

/// Prints the whole chain of an error once.
fn end(program: &str, result: Result<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|error| {
        note(program, &format!("{error:#}"));
        ExitCode::FAILURE
    })
}
