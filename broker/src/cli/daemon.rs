//! `x2gobroker-daemon`: serves clients over HTTP and HTTPS.

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{CommandFactory as _, Parser};
use nix::sys::prctl;
use nix::sys::stat::{Mode as FileMode, umask};
use tokio::net::TcpSocket;
use tracing::{info, warn};

use super::options::{DaemonOptions, Mode, SourceOptions};
use super::{check, detach, end_with, origin, privileges, runtime, ssh, start_log};
use crate::app;
use crate::config::Config;
use crate::config::load::Origin;
use crate::frontend::https::socket::Socket;
use crate::log::Log;
use crate::process::{PidFile, Process};
use crate::reload::report;

/// The X2Go session broker: tells X2Go clients which sessions they may start, and where.
///
/// Reads the configuration of x2gobroker 0.0.4.3; its section "mesh" is new. Log messages
/// go to standard error unless --logdir or --daemonize says otherwise; RUST_LOG sets how many.
#[derive(Debug, Parser)]
#[command(name = "x2gobroker-daemon", version, after_help = AFTER_HELP, infer_long_args = true)]
struct Daemon {
    #[command(flatten)]
    sources: SourceOptions,

    #[command(flatten)]
    options: DaemonOptions,

    /// Check the configuration, say all that is wrong with it, and end.
    #[arg(long)]
    check: bool,
}

pub(super) fn command() -> clap::Command {
    Daemon::command()
}

/// Runs `x2gobroker-daemon`.
#[must_use]
pub fn daemon() -> ExitCode {
    let Daemon {
        sources,
        options,
        check,
    } = Daemon::parse();
    let mode = options.mode.unwrap_or(Mode::Http);
    if check {
        let _log = start_log("info");
        return end_with(check_all(&sources, &options));
    }
    serve(&sources, &options, mode)
}

/// Serves clients until a signal ends it, in the foreground or the background.
pub(super) fn serve(sources: &SourceOptions, options: &DaemonOptions, mode: Mode) -> ExitCode {
    if mode == Mode::Ssh {
        return ask_by_ssh(sources, options);
    }
    let log = start_log(if options.debug { "debug" } else { "info" });
    end_with(start(sources, options, log))
}

/// Does what x2gobroker-ssh does. Whoever runs it chooses no file of the daemon.
fn ask_by_ssh(sources: &SourceOptions, options: &DaemonOptions) -> ExitCode {
    let mut without_effect = options.of_a_daemon();
    if sources.config_file.is_some() {
        without_effect.push("--config-file");
    }
    ssh::of_options(ssh::Options::of(options.ssh.values(), without_effect))
}

fn start(sources: &SourceOptions, options: &DaemonOptions, log: Log) -> Result<ExitCode> {
    // Files are for the owner and the group, whatever the program that starts this one does.
    umask(FileMode::from_bits_truncate(UMASK));
    say_what_has_no_effect(options);
    let is_supervised = std::env::var_os(NOTIFY_SOCKET).is_some();
    if options.daemonize && !options.detached && !is_supervised {
        return detach::start_again();
    }
    let origin = origin(sources, options.bind.as_deref(), options.debug)?;
    if options.detached {
        detach::leave_terminal()?;
    }
    let config = read_config(&origin)?;
    if config.process.debug {
        log.debug();
    }
    let reserved = drop_privileges(options, &origin, &config)?;
    // Passwords are in its memory for a moment. After the last change of users, which would
    // undo it.
    prctl::set_dumpable(false).context("core dumps can't be switched off")?;
    if let Some(directory) = options.log_directory() {
        log.to_files(directory)?;
    }
    let pid_file = options.pid_file().map(PidFile::create).transpose()?;
    let process = Process {
        log,
        reserved,
        is_awaited: options.detached,
        pid_file,
    };
    let runtime = runtime()?;
    let ended = runtime.block_on(app::run(config, origin, process));
    // A file on a disk that does not answer keeps its reader for ever; nobody waits for it.
    runtime.shutdown_background();
    ended?;
    Ok(ExitCode::SUCCESS)
}

/// Becomes the broker's user when that is asked for and possible. Returns the sockets that
/// it could not open afterwards: nothing else that a replica needs is kept from its user.
fn drop_privileges(
    options: &DaemonOptions,
    origin: &Origin,
    config: &Config,
) -> Result<Vec<(SocketAddr, TcpSocket)>> {
    if !options.drop_privileges {
        return Ok(Vec::new());
    }
    if !privileges::is_root() {
        info!("--drop-privileges: there are none; this process was not started by root");
        return Ok(Vec::new());
    }
    let is_handed_over = origin.environment.contains_key("LISTEN_FDS");
    let mut reserved = Vec::new();
    if !is_handed_over {
        let https = config.http.https.as_ref().map(|https| https.bind);
        for address in [config.http.http, https].into_iter().flatten() {
            reserved.push((address, Socket::reserve_tcp(address)?));
        }
    }
    let (user, group) = (&config.process.user, &config.process.group);
    let ssh = &config.ssh;
    if ssh.enabled
        && !ssh.is_chosen
        && let Some(folder) = ssh.socket.parent()
        && let Err(error) = privileges::make_folder(folder, user)
    {
        let error = &error as &dyn std::error::Error;
        warn!(error, folder = %folder.display(), "clients can't ask over SSH");
    }
    privileges::drop_to(user, group)
        .with_context(|| format!("the process can't become {user}:{group}"))?;
    info!(%user, %group, "privileges dropped");
    // A reload reads them as this user, so the start must be able to.
    read_config(origin).with_context(|| format!("as {user}:{group}"))?;
    Ok(reserved)
}

/// Options that are taken because x2gobroker 0.0.4.3 has them.
fn say_what_has_no_effect(options: &DaemonOptions) {
    if options.detached {
        return;
    }
    for option in options.ssh.given() {
        warn!(
            option,
            "this option is for the SSH mode and has no effect here"
        );
    }
    if options.daemonize && std::env::var_os(NOTIFY_SOCKET).is_some() {
        warn!("--daemonize has no effect: systemd runs this process in the background already");
    }
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

fn check_all(sources: &SourceOptions, options: &DaemonOptions) -> Result<ExitCode> {
    let origin = origin(sources, options.bind.as_deref(), options.debug)?;
    let problems = check::problems(&origin, Path::new(check::DEFAULT_FILES));
    report(&problems);
    let n_errors = problems.iter().filter(|problem| problem.is_error()).count();
    if n_errors > 0 {
        bail!("the configuration has {n_errors} error(s), named above");
    }
    info!("the configuration can be used");
    Ok(ExitCode::SUCCESS)
}

/// As the original's: nothing for others, no writing for the group.
const UMASK: u32 = 0o027;

/// Set by systemd for services of Type=notify.
const NOTIFY_SOCKET: &str = "NOTIFY_SOCKET";

const AFTER_HELP: &str = "SIGHUP opens the log files anew and reads the configuration and the \
                          session profiles again (a changed file is also noticed by itself). \
                          SIGTERM ends the replica after the running requests.\n\n\
                          Exit codes: 0 ended by a signal, or --check found no error; 1 it can't \
                          start, or a part of it ended; 2 wrong options.";
