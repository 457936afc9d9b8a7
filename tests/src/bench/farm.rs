//! How does a bench get a farm? Certificates, and real processes on the loopback with real
//! session databases, all below one temporary folder.

use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use pki::{Clock, FarmName, IssueRequest, NodeName, Role};

use super::https::ClientTrust;
use crate::binaries::binary;
use crate::process::{Process, command};
use crate::session_db::SessionDatabase;

/// The folder, the certificate authority and the name of a farm.
#[derive(Debug)]
pub struct Farm {
    folder: tempfile::TempDir,
    clock: Clock,
}

/// A running `x2gobroker-daemon`.
#[derive(Debug)]
pub struct Replica {
    /// Its process.
    pub process: Process,
    /// Where clients connect, by HTTPS.
    pub https: SocketAddr,
    /// Where members of the mesh connect.
    pub mesh: SocketAddr,
}

/// A running `x2gobroker-agentd` and the session database that it reads.
#[derive(Debug)]
pub struct Agent {
    /// Its process.
    pub process: Process,
    /// Where members of the mesh connect.
    pub mesh: SocketAddr,
    /// Written as x2goserver would.
    pub sessions: SessionDatabase,
}

impl Farm {
    /// The name in all certificates.
    pub const NAME: &str = "bench";

    /// Makes a certificate authority.
    ///
    /// # Errors
    /// When files can't be written.
    pub fn new() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("making a folder")?;
        let clock = Clock::system();
        pki::init_ca(
            &folder.path().join("ca"),
            &FarmName::parse(Self::NAME)?,
            &clock,
        )?;
        Ok(Self { folder, clock })
    }

    /// Where all files are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The clock of all certificates.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Issues a certificate and returns the directory with the identity.
    ///
    /// # Errors
    /// When the name is none, or files can't be written.
    pub fn identity(&self, role: Role, node: &str) -> anyhow::Result<PathBuf> {
        let out = self.folder().join(format!("{role}-{node}"));
        let request = IssueRequest::new(role, NodeName::parse(node)?);
        pki::issue(&self.folder().join("ca"), &request, &out, &self.clock)?;
        Ok(out)
    }

    /// Certificate and key for HTTPS: a leaf of the farm serves as well as any other.
    #[must_use]
    pub fn https_files(&self) -> [PathBuf; 2] {
        let identity = self.folder().join("broker-www");
        [
            identity.join(pki::LEAF_CERTIFICATE),
            identity.join(pki::LEAF_KEY),
        ]
    }

    /// What clients need to trust [`Self::https_files`].
    ///
    /// # Errors
    /// When no replica was started yet.
    pub fn trust(&self) -> anyhow::Result<ClientTrust> {
        ClientTrust::in_farm(&self.folder().join("broker-www").join(pki::ROOTS))
    }

    /// Starts a replica with these session profiles and this pace of gossip, `lan` or
    /// `local`, and waits until it serves.
    ///
    /// # Errors
    /// When it doesn't come up; the text carries the end of its log.
    pub fn replica(&self, profiles: &str, gossip: &str) -> anyhow::Result<Replica> {
        let identity = self.identity(Role::Broker, REPLICA)?;
        self.identity(Role::Broker, "www")?;
        let profiles_file = self.write("sessionprofiles.conf", profiles)?;
        let text = format!(
            "[global]\ndefault-auth-mech = none\n\
             [broker_inifile]\nenable = true\nsession-profiles = {}\n\
             [mesh]\nnode = {REPLICA}\nlisten = 127.0.0.1:0\nidentity = {}\n\
             state-directory = {}\ngossip = {gossip}\n",
            profiles_file.display(),
            identity.display(),
            self.state(REPLICA)?.display(),
        );
        let config = self.write("x2gobroker.conf", &text)?;
        let [certificate, key] = self.https_files();
        let mut setpriv = command("setpriv");
        setpriv
            .env("X2GOBROKER_SSL_CERTFILE", certificate)
            .env("X2GOBROKER_SSL_KEYFILE", key);
        let args: [OsString; 7] = [
            binary("x2gobroker-daemon")?.into(),
            "--config-file".into(),
            config.into(),
            "--defaults-file".into(),
            self.folder().join("no-defaults.conf").into(),
            "--bind".into(),
            "127.0.0.1:0".into(),
        ];
        let mut process = self.start(REPLICA, &mut setpriv, args)?;
        let https = process.wait_for_log(START_LIMIT, &["listening for HTTPS"])?;
        let mesh = process.wait_for_log(START_LIMIT, &["replica started"])?;
        Ok(Replica {
            https: address_in(&https)?,
            mesh: address_in(&mesh)?,
            process,
        })
    }

    /// Starts the agent of the X2Go server `node`, which gossips with `seeds` at the pace
    /// `gossip`. Its session database has no sessions yet. It counts as a server with as
    /// many fast cores as this machine has, so that it is not full after a few log-ins.
    ///
    /// # Errors
    /// When it doesn't come up; the text carries the end of its log.
    pub fn agent(&self, node: &str, seeds: &[SocketAddr], gossip: &str) -> anyhow::Result<Agent> {
        let seeds: Vec<String> = seeds.iter().map(SocketAddr::to_string).collect();
        let identity = self.identity(Role::Agent, node)?;
        let state = self.state(node)?;
        let database = state.join("x2go_sessions");
        let sessions = SessionDatabase::create(&database, node)?;
        let text = format!(
            "node = \"{node}\"\nidentity = {identity:?}\nlisten = \"127.0.0.1:0\"\n\
             seeds = {seeds:?}\nstate_directory = {state:?}\nsession_database = {database:?}\n\
             capacity_mhz = 20000\ngossip = \"{gossip}\"\n"
        );
        let config = self.write(&format!("{node}.toml"), &text)?;
        let args: [OsString; 3] = [
            binary("x2gobroker-agentd")?.into(),
            "--config".into(),
            config.into(),
        ];
        let mut process = self.start(node, &mut command("setpriv"), args)?;
        let line = process.wait_for_log(START_LIMIT, &["agent began"])?;
        Ok(Agent {
            mesh: address_in(&line)?,
            process,
            sessions,
        })
    }

    /// Starts a program, the first of `args`, by `setpriv`, so that the kernel kills it
    /// when this thread ends: also when the bench was killed.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn start(
        &self,
        name: &str,
        setpriv: &mut std::process::Command,
        args: impl IntoIterator<Item = OsString>,
    ) -> anyhow::Result<Process> {
        setpriv
            .args(["--pdeathsig", "KILL", "--"])
            .args(args)
            .envs([("RUST_LOG", "info"), ("NO_COLOR", "1")]);
        Process::start(name, setpriv, &self.folder().join(format!("{name}.log")))
    }

    fn state(&self, node: &str) -> anyhow::Result<PathBuf> {
        let folder = self.folder().join(format!("state-{node}"));
        fs::create_dir(&folder).with_context(|| format!("making {}", folder.display()))?;
        Ok(folder)
    }

    fn write(&self, name: &str, text: &str) -> anyhow::Result<PathBuf> {
        let path = self.folder().join(name);
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        Ok(path)
    }
}

impl Replica {
    /// Waits until it follows `n_servers` servers of the mesh.
    ///
    /// # Errors
    /// When it doesn't in time; the text carries the end of its log.
    pub fn wait_for_servers(&mut self, n_servers: usize, limit: Duration) -> anyhow::Result<()> {
        let process = &mut self.process;
        let joined = crate::wait::wait_for(limit, || {
            if !process.is_running() {
                return crate::wait::Progress::Failed("the replica ended".to_owned());
            }
            let n_joined = process.log_lines(&["member joined"]).len();
            crate::wait::Progress::when(n_joined >= n_servers, || {
                format!("{n_joined} of {n_servers} servers have joined")
            })
        });
        joined.with_context(|| self.process.story())
    }
}

/// The address that a line of a log tells.
pub(super) fn address_in(line: &str) -> anyhow::Result<SocketAddr> {
    // The address that others are told comes after the one that is bound.
    let mut words = line.split_whitespace().rev();
    let address = words.find_map(|word| {
        let (name, value) = word.split_once('=')?;
        matches!(name, "address" | "advertise").then(|| value.parse().ok())?
    });
    address.with_context(|| format!("no address in {line:?}"))
}

const REPLICA: &str = "b1";
/// A busy machine may take a while to run a program.
pub(super) const START_LIMIT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::address_in;

    #[test]
    fn the_address_is_found_in_a_line_of_a_log() {
        let line = "2026 INFO broker::app: replica started node=b1 advertise=127.0.0.1:4711";
        assert_eq!(address_in(line).unwrap(), "127.0.0.1:4711".parse().unwrap());
        assert!(address_in("nothing here address=x").is_err());
    }
}
