//! The command lines of the broker's programs.

pub mod ctl;

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Parser;
use tracing_subscriber::EnvFilter;

use crate::app;
use crate::config::load::{self, Origin};
use crate::config::{Config, InifileConfig};
use crate::reload::report;

/// The X2Go session broker: tells X2Go clients which sessions they may start, and where.
///
/// Reads the configuration of x2gobroker 0.0.4.3; its section "mesh" is new. Log messages
/// go to standard error; RUST_LOG sets how many.
#[derive(Debug, Parser)]
#[command(name = "x2gobroker-daemon", version, after_help = AFTER_HELP)]
struct Daemon {
    /// The configuration file.
    #[arg(
        short = 'C',
        long,
        value_name = "FILE",
        default_value = "/etc/x2go/x2gobroker.conf"
    )]
    config_file: PathBuf,

    /// The file with the addresses and certificates to serve clients with.
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/etc/x2go/broker/defaults.conf"
    )]
    defaults_file: PathBuf,

    /// Where to serve clients; goes before DAEMON_BIND_ADDRESS.
    #[arg(short, long, value_name = "[ADDRESS:]PORT")]
    bind: Option<String>,

    /// Say more in the log.
    #[arg(short, long)]
    debug: bool,

    /// Check the configuration, say all that is wrong with it, and end.
    #[arg(long)]
    check: bool,
}

/// Runs `x2gobroker-daemon`.
#[must_use]
pub fn daemon() -> ExitCode {
    let options = Daemon::parse();
    start_log(if options.debug { "debug" } else { "info" });
    end(run_daemon(&options))
}

fn run_daemon(options: &Daemon) -> Result<()> {
    let origin = origin(options)?;
    let config = read_config(&origin)?;
    if options.check {
        check_profiles(&config.inifile)?;
        tracing::info!("the configuration can be used");
        return Ok(());
    }
    let runtime = runtime()?;
    let ended = runtime.block_on(app::run(config, origin));
    // A file on a disk that does not answer keeps its reader for ever; nobody waits for it.
    runtime.shutdown_background();
    Ok(ended?)
}

/// Two threads serve thousands of requests a second; more would only cost memory.
fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKER_THREADS)
        .enable_all()
        .build()
        .context("the asynchronous runtime can't be started")
}

fn origin(options: &Daemon) -> Result<Origin> {
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    Ok(Origin {
        config_file: options.config_file.clone(),
        defaults_file: options.defaults_file.clone(),
        environment: environment.collect(),
        bind: options.bind.clone(),
        host_name: host_name()?,
    })
}

fn read_config(origin: &Origin) -> Result<Config> {
    match origin.read() {
        Ok((config, warnings)) => {
            report(&warnings);
            Ok(config)
        }
        Err(problems) => {
            report(&problems);
            let n_errors = problems.iter().filter(|problem| problem.is_error()).count();
            bail!("the configuration has {n_errors} error(s), named above");
        }
    }
}

fn check_profiles(inifile: &InifileConfig) -> Result<()> {
    let problems = match load::session_profiles(inifile) {
        Ok((_, problems)) | Err(problems) => problems,
    };
    report(&problems);
    if problems.iter().any(|problem| problem.is_error()) {
        bail!("some session profiles can't be used");
    }
    Ok(())
}

/// What `hostname` prints.
fn host_name() -> Result<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .context("the name of this host can't be read")?;
    Ok(name.trim().to_owned())
}

fn start_log(default_level: &str) {
    let filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default_level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
}

/// Prints the whole chain of an error once.
fn end(result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

const WORKER_THREADS: usize = 2;

const AFTER_HELP: &str = "SIGHUP reads the session profiles again (a changed file is also \
                          noticed by itself). SIGTERM ends the replica after the running \
                          requests.";
