//! `cargo xtask`: what a newcomer and CI run.

#![expect(
    clippy::disallowed_methods,
    reason = "starting cargo and telling how long it took is what this program is for"
)]

mod packages;
mod steps;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Builds, shows and tests the project.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Shows the main job on loopback: three agents, two replicas, twelve log-ins. Needs
    /// nothing but a Rust toolchain and a C compiler.
    Demo {
        /// End after the show: exit code 0 when all that it claims held.
        #[arg(long)]
        once: bool,
    },
    /// Runs everything that must hold: formatting, lints, tests, the farm tests with real
    /// X2Go servers and clients, the documentation and the demo.
    Test {
        /// Don't install anything, and skip the tests that need what is missing.
        #[arg(long)]
        no_install: bool,
    },
    /// Runs the benches and checks them against the figures that the project promises.
    Bench,
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Demo { once } => steps::demo(once),
        Command::Test { no_install } => steps::test(!no_install),
        Command::Bench => steps::bench(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            steps::say(&format!("FAILED: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
