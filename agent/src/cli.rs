//! What can be asked of `x2gobroker-agentd` on the command line?

use std::io::{self, IsTerminal as _, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use pki::Clock;
use tracing_subscriber::EnvFilter;

use crate::app;
use crate::config::{HostDefaults, RawConfig};

/// The agent of the X2Go session broker: runs on each X2Go server, tells the brokers of the
/// farm about its sessions and load, and admits new sessions.
#[derive(Debug, Parser)]
#[command(name = "x2gobroker-agentd", version)]
pub struct Cli {
    /// The configuration file
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/etc/x2go/x2gobroker-agentd.toml"
    )]
    config: PathBuf,
    /// Check the configuration, and exit
    #[arg(long)]
    check: bool,
    /// Print the configuration with all defaults, and exit
    #[arg(long, conflicts_with = "check")]
    show_config: bool,
}

/// Runs the program: 0 after SIGTERM or SIGINT, 1 with the reason on standard error.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
    match run(&cli, &mut io::stdout()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _nobody_reads_it = writeln!(io::stderr(), "x2gobroker-agentd: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli, out: &mut impl Write) -> anyhow::Result<()> {
    let raw = RawConfig::read(&cli.config)?;
    if cli.show_config {
        let text = toml::to_string(&raw).context("the configuration can't be written")?;
        return out
            .write_all(text.as_bytes())
            .context("can't write to standard output");
    }
    let config = raw.check(HostDefaults::of_this_host())?;
    if cli.check {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .max_blocking_threads(BLOCKING)
        .enable_all()
        .build()
        .context("can't start the runtime")?;
    let result = runtime.block_on(app::run_until_signal(config, Clock::system()));
    // A look at a disk or a directory service that never answers must not keep us.
    runtime.shutdown_background();
    result?;
    Ok(())
}

/// The agent is a guest on a server that is there for its users.
const WORKERS: usize = 2;
/// The session database's thread, and the short looks at load, certificates and disk.
const BLOCKING: usize = 8;
