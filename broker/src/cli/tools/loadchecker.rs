//! `x2gobroker-loadchecker`: load checks of x2gobroker 0.0.4.3, at the socket that scripts
//! and old brokers know.
//!
//! The daemon has the answers, so all this program does is to carry bytes to and fro.

use std::ffi::OsStr;
use std::os::unix::fs::{MetadataExt as _, lchown};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use listenfd::ListenFd;
use nix::unistd::{Group, User};
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use super::configuration;
use crate::cli::options::SourceOptions;
use crate::cli::{detach, end_with, privileges, runtime, start_log};
use crate::config::ProcessConfig;
use crate::frontend::https::socket::Socket;
use crate::log::Log;
use crate::process::{self, PidFile, Process};

/// Answers load checks at the socket that scripts and brokers of x2gobroker 0.0.4.3 know.
///
/// The x2gobroker-daemon of this host has the answers: its agents tell it their load. Set
/// load-checker-socket in [http] of x2gobroker.conf, which is where this program asks it.
/// Under systemd the socket comes from x2gobroker-loadchecker.socket.
#[derive(Debug, Parser)]
#[command(name = PROGRAM, version, after_help = AFTER_HELP)]
pub(crate) struct LoadChecker {
    #[command(flatten)]
    sources: SourceOptions,

    /// The unix socket to answer at.
    #[arg(
        short,
        long,
        visible_alias = "socket",
        value_name = "FILE",
        default_value = "/run/x2gobroker/x2gobroker-loadchecker.socket"
    )]
    socket_file: PathBuf,

    /// The owner of the socket.
    #[arg(short, long, value_name = "USER")]
    owner: Option<String>,

    /// The group of the socket.
    #[arg(short, long, value_name = "GROUP")]
    group: Option<String>,

    /// The permissions of the socket.
    #[arg(short, long, value_name = "MODE", default_value = "0660", value_parser = mode)]
    permissions: u32,

    /// Say more in the log.
    #[arg(short, long)]
    debug: bool,

    /// Log to standard error, whatever else is asked for.
    #[arg(short = 'i', long)]
    debug_interactively: bool,

    /// Go to the background. Under systemd with Type=notify this does nothing.
    #[arg(short = 'D', long)]
    daemonize: bool,

    /// The file with the process ID.
    #[arg(short = 'P', long, value_name = "FILE")]
    pidfile: Option<PathBuf>,

    /// The directory of broker.log, access.log and error.log; else the log goes to standard
    /// error.
    #[arg(short = 'L', long, value_name = "DIR")]
    logdir: Option<PathBuf>,

    /// This is the process in the background.
    #[arg(long, hide = true)]
    detached: bool,
}

/// Where load checks come in.
struct Bound {
    listener: std::os::unix::net::UnixListener,
    /// Its file, when this process made it.
    made: Option<PathBuf>,
}

/// Runs `x2gobroker-loadchecker`.
#[must_use]
pub fn loadchecker() -> ExitCode {
    let options = LoadChecker::parse();
    let log = start_log(if options.debug { "debug" } else { "info" });
    end_with(start(&options, log))
}

fn start(options: &LoadChecker, log: Log) -> Result<ExitCode> {
    let is_supervised = std::env::var_os("NOTIFY_SOCKET").is_some();
    if options.daemonize && !options.detached && !is_supervised {
        return detach::start_again();
    }
    let config = configuration(&options.sources)?;
    let daemon = config.http.load_checker.context(
        "the daemon answers no load checks; set load-checker-socket in [http] of x2gobroker.conf",
    )?;
    ensure!(
        daemon != options.socket_file,
        "the daemon itself answers at {}; this program is not needed",
        daemon.display()
    );
    if options.detached {
        detach::leave_terminal()?;
    }
    let pid_file = options
        .pidfile
        .as_deref()
        .map(PidFile::create)
        .transpose()?;
    let bound = bind(options)?;
    drop_privileges(&config.process, &daemon)?;
    if let Some(directory) = options
        .logdir
        .as_deref()
        .filter(|_| !options.debug_interactively)
    {
        log.to_files(directory)?;
    }
    let process = Process {
        log,
        reserved: Vec::new(),
        is_awaited: options.detached,
        pid_file,
    };
    runtime()?.block_on(run(bound, daemon, process))?;
    Ok(ExitCode::SUCCESS)
}

async fn run(bound: Bound, daemon: PathBuf, mut process: Process) -> Result<()> {
    let (listener, made) = (bound.listener, bound.made);
    let listener = UnixListener::from_std(listener).context("the socket can't be waited at")?;
    let mut term = signal(SignalKind::terminate()).context("signals can't be waited for")?;
    let mut int = signal(SignalKind::interrupt()).context("signals can't be waited for")?;
    process.ready();
    info!(daemon = %daemon.display(), "load checks are carried to the daemon");
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let running = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            biased;
            _ = term.recv() => break,
            _ = int.recv() => break,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                error!(error = %error, "a load check could not be taken");
                tokio::time::sleep(AFTER_ERROR).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&room).try_acquire_owned() else {
            warn!(
                most = MAX_CONNECTIONS,
                "too many load checks; one was closed"
            );
            continue;
        };
        let daemon = daemon.clone();
        running.spawn(async move {
            carry(stream, &daemon).await;
            drop(place);
        });
    }
    process::stopping();
    if let Some(path) = made
        && let Err(error) = std::fs::remove_file(&path)
    {
        warn!(path = %path.display(), error = %error, "the socket was not removed");
    }
    Ok(())
}

/// The socket of systemd, else one of our own with its file.
fn bind(options: &LoadChecker) -> Result<Bound> {
    let mut handed = ListenFd::from_env();
    if let Some(socket) = handed
        .take_unix_listener(0)
        .context("the socket of systemd")?
    {
        socket
            .set_nonblocking(true)
            .context("the socket of systemd")?;
        return Ok(Bound {
            listener: socket,
            made: None,
        });
    }
    let path: &Path = &options.socket_file;
    let owner = options.owner.as_deref().map(user).transpose()?;
    let group = options.group.as_deref().map(group).transpose()?;
    let listener = Socket::reserve_unix(path, options.permissions)?;
    if owner.is_some() || group.is_some() {
        let failed = || format!("{} can't be given to its owner", path.display());
        lchown(path, owner, group).with_context(failed)?;
    }
    Ok(Bound {
        listener,
        made: Some(path.to_owned()),
    })
}

/// Becomes the daemon's account when root has started this: to carry bytes takes no rights.
fn drop_privileges(account: &ProcessConfig, daemon: &Path) -> Result<()> {
    if !privileges::is_root() {
        return Ok(());
    }
    let (user, group) = (&account.user, &account.group);
    let is_there = User::from_name(user).context("the accounts can't be asked")?;
    if is_there.is_none() {
        warn!(%user, "there is no such account; this process stays root");
        return Ok(());
    }
    if std::fs::symlink_metadata(daemon).is_ok_and(|socket| socket.uid() == 0) {
        warn!("the daemon runs as root, so this process stays root to reach it");
        return Ok(());
    }
    privileges::drop_to(user, group)
        .with_context(|| format!("the process can't become {user}:{group}"))?;
    info!(%user, %group, "privileges dropped");
    Ok(())
}

fn user(name: &str) -> Result<u32> {
    let found = User::from_name(name).context("the accounts can't be asked")?;
    Ok(found
        .with_context(|| format!("there is no user {name}"))?
        .uid
        .as_raw())
}

fn group(name: &str) -> Result<u32> {
    let found = Group::from_name(name).context("the groups can't be asked")?;
    Ok(found
        .with_context(|| format!("there is no group {name}"))?
        .gid
        .as_raw())
}

/// Carries the bytes of one connection until either side ends it.
async fn carry(mut stream: UnixStream, daemon: &Path) {
    let carried = tokio::time::timeout(LONGEST, async {
        let mut upstream = UnixStream::connect(daemon).await?;
        tokio::io::copy_bidirectional(&mut stream, &mut upstream).await
    });
    if let Ok(Err(error)) = carried.await {
        let name = daemon.file_name().unwrap_or(OsStr::new(""));
        warn!(error = %error, socket = %name.display(), "the daemon could not be asked");
    }
}

fn mode(text: &str) -> Result<u32, String> {
    let mode = u32::from_str_radix(text, 8).map_err(|error| error.to_string())?;
    if mode > 0o777 {
        return Err("these are no permissions; write them as 0660".to_owned());
    }
    Ok(mode)
}

const PROGRAM: &str = "x2gobroker-loadchecker";

/// As many as the daemon takes.
const MAX_CONNECTIONS: usize = 64;

/// Brokers ask and go; nobody keeps a connection for long.
const LONGEST: Duration = Duration::from_secs(60);

/// Out of file descriptors, say: it passes.
const AFTER_ERROR: Duration = Duration::from_millis(100);

const AFTER_HELP: &str =
    "Exit codes: 0 ended by a signal; 1 it can't start, and why; 2 wrong options.";
