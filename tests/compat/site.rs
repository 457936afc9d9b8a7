//! What lies on the disk of the farm, and how does a replica of ours start there?

use std::cell::Cell;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use tests::binaries;
use tests::process::{Process, command, run};

use crate::stage::BROKER;

/// A folder with the CA of a farm, and all that its programs read and write.
#[derive(Debug)]
pub(crate) struct Site {
    // The program goes before its folder.
    _authservice: Process,
    folder: TempDir,
    n_folders: Cell<usize>,
}

/// A running replica.
#[derive(Debug)]
pub(crate) struct Replica {
    pub(crate) daemon: Process,
    /// Where it serves clients.
    pub(crate) http: SocketAddr,
    /// Where it meets members.
    pub(crate) mesh: SocketAddr,
}

impl Site {
    /// Makes the CA, and starts the authservice.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authservice = authservice(folder.path());
        let site = Self {
            _authservice: authservice,
            folder,
            n_folders: Cell::new(0),
        };
        let mut init = command(binaries::binary("x2gobroker-ca").unwrap());
        init.args(["init", "--farm", "compat", "--dir"]);
        run(init.arg(site.path("ca"))).unwrap();
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Makes a folder that nobody used before.
    pub(crate) fn new_folder(&self, name: &str) -> PathBuf {
        self.n_folders.set(self.n_folders.get() + 1);
        let folder = self.path(&format!("{name}.{}", self.n_folders.get()));
        fs::create_dir(&folder).unwrap();
        folder
    }

    /// The identity of a member; made when it is asked for first.
    pub(crate) fn identity(&self, role: &str, node: &str) -> PathBuf {
        let out = self.path(&format!("{role}-{node}"));
        if !out.exists() {
            let mut issue = command(binaries::binary("x2gobroker-ca").unwrap());
            issue.args(["issue", "--role", role, "--node", node, "--dir"]);
            run(issue.arg(self.path("ca")).arg("--out").arg(&out)).unwrap();
        }
        out
    }

    /// Starts a replica with the two files of a case.
    ///
    /// # Errors
    /// With its log, when it does not start.
    pub(crate) fn start(&self, config: &str, profiles: &str) -> anyhow::Result<Replica> {
        let folder = self.new_folder("replica");
        let profiles_file = folder.join("sessionprofiles.conf");
        fs::write(&profiles_file, profiles)?;
        let config_file = folder.join("x2gobroker.conf");
        fs::write(
            &config_file,
            self.with_ours(config, &folder, &profiles_file),
        )?;
        let mut daemon = command(binaries::binary("x2gobroker-daemon")?);
        daemon.arg("--config-file").arg(&config_file);
        daemon
            .arg("--defaults-file")
            .arg(folder.join("defaults.conf"));
        daemon.env("X2GOBROKER_AUTHSERVICE_SOCKET", self.path(SOCKET));
        daemon
            .args(["--bind", &format!("{BROKER}:0")])
            .env("NO_COLOR", "1");
        let mut daemon = Process::start("daemon", &mut daemon, &folder.join("daemon.log"))?;
        let started = daemon.wait_for_log(START_LIMIT, &["replica started"])?;
        let listening = daemon.wait_for_log(START_LIMIT, &["listening for HTTP "])?;
        Ok(Replica {
            mesh: field(&started, "advertise").parse()?,
            http: field(&listening, "address").parse()?,
            daemon,
        })
    }

    /// The configuration of a case with what ours needs beside it: its place in the mesh,
    /// the path of the session profiles, and GET, which the original always took.
    fn with_ours(&self, config: &str, folder: &Path, profiles: &Path) -> String {
        let mut text = String::new();
        for line in config.lines() {
            text += line;
            text += "\n";
            if line.trim() == "[broker_inifile]" {
                let profiles = profiles.display();
                text += &format!("session-profiles = {profiles}\n");
            }
        }
        let node = "broker";
        text + &format!(
            "[mesh]\n\
             node = {node}\n\
             identity = {}\n\
             listen = {BROKER}:0\n\
             state-directory = {}\n\
             gossip = local\n\
             [http]\n\
             allow-get = true\n",
            self.identity("broker", node).display(),
            folder.display(),
        )
    }
}

/// Starts the authservice: PAM knows the accounts of the stage.
fn authservice(folder: &Path) -> Process {
    let mut start = command(binaries::binary("x2gobroker-authservice").unwrap());
    start
        .arg("--socket-file")
        .arg(folder.join(SOCKET))
        .env("NO_COLOR", "1");
    let log = folder.join("authservice.log");
    let mut started = Process::start("authservice", &mut start, &log).unwrap();
    started.wait_for_log(START_LIMIT, &["ready"]).unwrap();
    started
}

/// The socket of the authservice.
const SOCKET: &str = "authservice.socket";

/// The value of a field of a log line, ` name=value`.
pub(crate) fn field(line: &str, name: &str) -> String {
    let (_, rest) = line.split_once(&format!(" {name}=")).unwrap_or_default();
    rest.split(' ').next().unwrap_or_default().to_owned()
}

/// Programs are up in tens of milliseconds; the machine may be busy.
const START_LIMIT: Duration = Duration::from_secs(15);
