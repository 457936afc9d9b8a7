//! `x2gobroker`: checks the configuration; serves clients in its HTTP mode.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{CommandFactory as _, Parser, Subcommand};

use super::options::{DaemonOptions, Mode, SourceOptions};
use super::{check, daemon, end_with, origin, start_log};

/// The X2Go session broker: checks its configuration, or serves X2Go clients.
#[derive(Debug, Parser)]
#[command(
    name = "x2gobroker",
    version,
    infer_long_args = true,
    args_conflicts_with_subcommands = false
)]
struct Broker {
    #[command(flatten)]
    sources: SourceOptions,

    #[command(flatten)]
    options: DaemonOptions,

    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Name all that is wrong with the configuration, at once, and change nothing.
    ///
    /// Looks at x2gobroker.conf, defaults.conf, the session profiles, the files that they
    /// name, the environment, and the files of init scripts.
    ///
    /// Exit codes: 0 nothing is wrong, but there may be keys that are ignored; 1 there are
    /// errors, or keys that nobody knows; 2 wrong options.
    CheckConfig {
        /// Print a list of JSON objects.
        #[arg(long)]
        json: bool,

        /// The directory of the files of init scripts.
        #[arg(long, value_name = "DIR", default_value = check::DEFAULT_FILES)]
        default_files: PathBuf,
    },
}

pub(super) fn command() -> clap::Command {
    Broker::command()
}

/// Runs `x2gobroker`.
#[must_use]
pub fn broker() -> ExitCode {
    let Broker {
        sources,
        options,
        command,
    } = Broker::parse();
    match command {
        Some(Command::CheckConfig {
            json,
            default_files,
        }) => {
            let _log = start_log("error");
            end_with(check_config(&sources, &options, &default_files, json))
        }
        // Without --mode the original answers a request of SSH.
        None => daemon::serve(&sources, &options, options.mode.unwrap_or(Mode::Ssh)),
    }
}

fn check_config(
    sources: &SourceOptions,
    options: &DaemonOptions,
    default_files: &std::path::Path,
    json: bool,
) -> Result<ExitCode> {
    let origin = origin(sources, options.bind.as_deref(), options.debug)?;
    let problems = check::problems(&origin, default_files);
    let text = if json {
        check::json(&problems)?
    } else {
        check::text(&problems)
    };
    let mut out = std::io::stdout();
    out.write_all(text.as_bytes()).context("standard output")?;
    Ok(match problems.iter().any(check::is_wrong) {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    })
}
