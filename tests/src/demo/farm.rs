//! What runs in the demo, and where are its files?

mod enrol;
mod programs;
mod servers;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use tempfile::TempDir;

use super::clients::Clients;
use super::config::{self, REPLICAS, SERVERS};
use super::interrupt::Interrupt;
use super::log;
use crate::process::{Process, command};
use crate::wait::Progress;
use programs::{AGENT, CA, DAEMON};
pub(super) use programs::{CTL, Programs};
pub(super) use servers::{COOKIE_START, Server, server_named};

/// The farm on loopback. Dropping it kills all programs and removes all files.
#[derive(Debug)]
pub(super) struct Farm {
    /// In the order of [`SERVERS`].
    pub(super) servers: Vec<Server>,
    /// In the order of [`REPLICAS`].
    pub(super) replicas: Vec<Replica>,
    pub(super) interrupt: Interrupt,
    programs: Programs,
    // The programs go before their files.
    folder: TempDir,
}

/// A replica of the broker.
#[derive(Debug)]
pub(super) struct Replica {
    pub(super) name: &'static str,
    pub(super) process: Process,
    /// Where members reach it.
    pub(super) mesh: SocketAddr,
    /// Where clients reach it.
    pub(super) http: SocketAddr,
}

impl Farm {
    /// Makes the folder and the certificates; nothing runs yet.
    ///
    /// # Errors
    /// When a file can't be written.
    pub(super) fn prepare(programs: Programs, interrupt: Interrupt) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("x2gobroker-demo-")
            .tempdir();
        let folder = folder.context("making a folder for the demo")?;
        let farm = Self {
            servers: Vec::new(),
            replicas: Vec::new(),
            interrupt,
            programs,
            folder,
        };
        farm.make_folder(&farm.logs())?;
        farm.enrol_all()?;
        Ok(farm)
    }

    /// Starts everything. Each program takes free ports and says which.
    ///
    /// # Errors
    /// When a program can't be started or does not come up in time.
    pub(super) fn start(&mut self) -> anyhow::Result<()> {
        for name in REPLICAS {
            let replica = self.start_replica(name, config::ANY_PORT, config::ANY_PORT)?;
            self.replicas.push(replica);
        }
        for name in SERVERS {
            let server = self.start_server(name)?;
            self.servers.push(server);
        }
        Ok(())
    }

    /// Starts a replica and returns once it serves clients.
    fn start_replica(
        &self,
        name: &'static str,
        mesh: SocketAddr,
        http: SocketAddr,
    ) -> anyhow::Result<Replica> {
        let home = self.path(name);
        self.make_folder(&home)?;
        let text = config::replica(name, &self.identity(name), &home, mesh, &self.seeds());
        write(&home.join("x2gobroker.conf"), &text)?;
        write(&home.join(config::PROFILES_FILE), &config::profiles())?;
        let mut daemon = command(self.programs.path(DAEMON));
        daemon
            .arg("--config-file")
            .arg(home.join("x2gobroker.conf"));
        daemon
            .arg("--defaults-file")
            .arg(home.join("defaults.conf"));
        daemon.args(["--bind", &http.to_string()]);
        let mut process = self.start_program(name, &mut daemon)?;
        let mesh = self.await_address(&mut process, "replica started", "advertise")?;
        let http = self.await_address(&mut process, "listening for HTTP", "address")?;
        Ok(Replica {
            name,
            process,
            mesh,
            http,
        })
    }

    /// Starts a killed replica again, on the ports that it had.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub(super) fn restart_replica(&mut self, replica_idx: usize) -> anyhow::Result<()> {
        let old = self
            .replicas
            .get(replica_idx)
            .context("a replica of the demo")?;
        let (name, mesh, http) = (old.name, old.mesh, old.http);
        // Somebody else may have taken a port meanwhile: then any other will do.
        let new = self
            .start_replica(name, mesh, http)
            .or_else(|_taken| self.start_replica(name, config::ANY_PORT, config::ANY_PORT))?;
        if let Some(slot) = self.replicas.get_mut(replica_idx) {
            *slot = new;
        }
        Ok(())
    }

    /// Waits until each of these replicas sees each of these servers, or no longer does.
    ///
    /// # Errors
    /// With who does not, after `limit`.
    pub(super) fn await_view(
        &self,
        limit: Duration,
        replicas: &[usize],
        servers: &[&str],
        seen: bool,
    ) -> anyhow::Result<()> {
        let verb = if seen { "does not see" } else { "still sees" };
        self.interrupt.wait_for(limit, || {
            let wrong = self.view_differs(replicas, servers, seen);
            Progress::when(wrong.is_none(), || match wrong {
                Some((replica, server)) => format!("{replica} {verb} {server}"),
                None => String::new(),
            })
        })
    }

    /// Returns the first of these replicas that does not see one of these servers, or that
    /// does so where it should not.
    pub(super) fn view_differs<'a>(
        &'a self,
        replicas: &[usize],
        servers: &[&'a str],
        seen: bool,
    ) -> Option<(&'a str, &'a str)> {
        let replicas = replicas.iter().filter_map(|idx| self.replicas.get(*idx));
        replicas.into_iter().find_map(|replica| {
            let log = read(replica.process.log_path());
            let wrong = servers
                .iter()
                .find(|server| log::sees(&log, server) != seen);
            wrong.map(|server| (replica.name, *server))
        })
    }

    /// Returns clients of all replicas.
    pub(super) fn clients(&self) -> Clients {
        Clients::of(
            self.replicas
                .iter()
                .map(|replica| (replica.name, replica.http)),
        )
    }

    /// Returns the whole log of a program since its last start.
    pub(super) fn log(&self, name: &str) -> String {
        let replicas = self
            .replicas
            .iter()
            .map(|replica| (replica.name, &replica.process));
        let servers = self
            .servers
            .iter()
            .map(|server| (server.name, &server.agent));
        let found = replicas.chain(servers).find(|(known, _)| *known == name);
        found.map_or_else(String::new, |(_, process)| read(process.log_path()))
    }

    /// Returns all logs, also those of programs that were started again.
    ///
    /// # Errors
    /// When they can't be read.
    pub(super) fn all_logs(&self) -> anyhow::Result<Vec<String>> {
        let files = fs::read_dir(self.logs()).context("reading the logs")?;
        let read = |file: std::io::Result<fs::DirEntry>| fs::read_to_string(file?.path());
        files
            .map(read)
            .collect::<Result<_, _>>()
            .context("reading the logs")
    }

    /// The folder of the logs.
    pub(super) fn logs(&self) -> PathBuf {
        self.path("logs")
    }

    /// A file or folder of the demo.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The path of one of the product's programs.
    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.programs.path(name)
    }

    /// Where members that start find others.
    fn seeds(&self) -> Vec<SocketAddr> {
        self.replicas.iter().map(|replica| replica.mesh).collect()
    }

    /// Starts a program with a new log of its own.
    fn start_program(
        &self,
        name: &str,
        program: &mut std::process::Command,
    ) -> anyhow::Result<Process> {
        let logs = self.logs();
        let names = std::iter::once(format!("{name}.log"))
            .chain((2..MAX_STARTS).map(|start| format!("{name}-{start}.log")));
        let mut unused = names
            .map(|name| logs.join(name))
            .filter(|path| !path.exists());
        let log = unused
            .next()
            .with_context(|| format!("{name} was started too often"))?;
        // What is set for the demo or its caller is not meant for the programs.
        program
            .env_clear()
            .envs([("RUST_LOG", "info"), ("NO_COLOR", "1")]);
        Process::start(name, program, &log)
    }

    /// Waits until a program has said where it listens.
    fn await_address(
        &self,
        process: &mut Process,
        words: &str,
        field: &str,
    ) -> anyhow::Result<SocketAddr> {
        let found = self.interrupt.wait_for(START_LIMIT, || {
            let running = process.is_running();
            match log::address(&read(process.log_path()), words, field) {
                Some(address) => Progress::Ready(address),
                None if running => Progress::NotYet(format!("it has not logged {words:?}")),
                None => Progress::Failed("it has ended".to_owned()),
            }
        });
        found.with_context(|| format!("{} does not start", process.name()))
    }

    fn make_folder(&self, path: &Path) -> anyhow::Result<()> {
        self.interrupt.check()?;
        fs::create_dir_all(path).with_context(|| format!("making {}", path.display()))
    }
}

fn read(path: &Path) -> String {
    let bytes = fs::read(path).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}

/// A program starts within a tenth of a second, on a machine that compiles in some.
const START_LIMIT: Duration = Duration::from_secs(20);
/// The show starts nothing more than three times.
const MAX_STARTS: usize = 100;
