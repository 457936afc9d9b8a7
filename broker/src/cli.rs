//! The command lines of the broker's programs.

mod broker;
mod check;
pub mod ctl;
mod daemon;
mod detach;
mod options;
mod privileges;
pub mod ssh;
pub mod tools;

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::{Context, Result};

pub use broker::broker;
pub use daemon::daemon;

use crate::config::load::Origin;
use crate::log::Log;
use options::SourceOptions;

/// The command lines of all programs of this crate, for their man pages.
#[must_use]
pub fn commands() -> Vec<clap::Command> {
    let mut commands = vec![broker::command(), daemon::command(), ctl::command()];
    commands.extend(tools::commands());
    commands
}

/// Two threads serve thousands of requests a second; more would only cost memory.
fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKER_THREADS)
        .enable_all()
        .build()
        .context("the asynchronous runtime can't be started")
}

/// `--debug` counts as `X2GOBROKER_DEBUG=1` does.
fn origin(options: &SourceOptions, bind: Option<&str>, debug: bool) -> Result<Origin> {
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let mut environment: BTreeMap<String, String> = environment.collect();
    if debug {
        environment.insert("X2GOBROKER_DEBUG".to_owned(), "1".to_owned());
    }
    let option = options.config_file.as_deref();
    let config_file = Origin::config_file(option, &environment, &options.defaults_file);
    // The process may leave the directory in which these names were given.
    let absolute = |path| std::path::absolute(path).context("the current directory is gone");
    Ok(Origin {
        config_file: absolute(config_file)?,
        defaults_file: absolute(options.defaults_file.clone())?,
        environment,
        bind: bind.map(str::to_owned),
        host_name: host_name()?,
    })
}

/// What `hostname` prints.
fn host_name() -> Result<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .context("the name of this host can't be read")?;
    Ok(name.trim().to_owned())
}

fn start_log(default_level: &str) -> Log {
    Log::start(default_level)
}

/// Prints the whole chain of an error once.
fn end(result: Result<()>) -> ExitCode {
    end_with(result.map(|()| ExitCode::SUCCESS))
}

fn end_with(result: Result<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|error| {
        tracing::error!("{error:#}");
        ExitCode::FAILURE
    })
}

const WORKER_THREADS: usize = 2;
