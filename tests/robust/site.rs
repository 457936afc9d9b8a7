//! What lies on the disk of a small farm: its CA, identities, and configuration files?

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use tests::binaries;
use tests::process::{command, run};

/// A folder with the CA of a farm, and all that its programs read and write.
#[derive(Debug)]
pub(crate) struct Site {
    folder: TempDir,
}

impl Site {
    /// Makes the CA.
    pub(crate) fn new() -> Self {
        let site = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        let mut init = command(binaries::binary("x2gobroker-ca").unwrap());
        init.args(["init", "--farm", "robust", "--dir"]);
        run(init.arg(site.path("ca"))).unwrap();
        fs::create_dir(site.path(STATE)).unwrap();
        site
    }

    /// The path of a file or folder of the site.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Issues a certificate and returns the folder of the identity.
    pub(crate) fn issue(&self, role: &str, node: &str) -> PathBuf {
        let out = self.path(&format!("{role}-{node}"));
        let mut issue = command(binaries::binary("x2gobroker-ca").unwrap());
        issue.args(["issue", "--role", role, "--node", node, "--dir"]);
        run(issue.arg(self.path("ca")).arg("--out").arg(&out)).unwrap();
        out
    }

    /// Writes a file, in one step for whoever reads it meanwhile.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let (path, new) = (self.path(name), self.path(&format!("{name}.new")));
        fs::write(&new, text).unwrap();
        fs::rename(&new, &path).unwrap();
        path
    }

    /// The sections of `x2gobroker.conf` that a replica of this site needs.
    pub(crate) fn replica(&self, identity: &Path) -> String {
        format!(
            "[global]\n\
             default-auth-mech = none\n\
             [broker_inifile]\n\
             enable = true\n\
             session-profiles = {}\n\
             [mesh]\n\
             node = {BROKER}\n\
             identity = {}\n\
             listen = 127.0.0.1:0\n\
             state-directory = {}\n\
             gossip = local\n",
            self.path(PROFILES_FILE).display(),
            identity.display(),
            self.path(STATE).display(),
        )
    }

    /// The daemon with this configuration, on any free port.
    pub(crate) fn daemon(&self, config: &Path) -> Command {
        self.daemon_at(config, "127.0.0.1:0")
    }

    /// The daemon with this configuration, on this address.
    pub(crate) fn daemon_at(&self, config: &Path, bind: &str) -> Command {
        let mut daemon = command(binaries::binary("x2gobroker-daemon").unwrap());
        daemon.arg("--config-file").arg(config);
        daemon
            .arg("--defaults-file")
            .arg(self.path("defaults.conf"));
        daemon.args(["--bind", bind]);
        daemon.env("NO_COLOR", "1");
        daemon
    }

    /// `agentd.toml` of the agent of `node`.
    pub(crate) fn agent(&self, node: &str, identity: &Path, seeds: &[SocketAddr]) -> String {
        let seeds: Vec<String> = seeds.iter().map(|seed| format!("\"{seed}\"")).collect();
        format!(
            "node = \"{node}\"\n\
             identity = \"{}\"\n\
             listen = \"127.0.0.1:0\"\n\
             seeds = [{}]\n\
             state_directory = \"{}\"\n\
             session_database = \"{}\"\n\
             capacity_mhz = 2400\n\
             gossip = \"local\"\n",
            identity.display(),
            seeds.join(", "),
            self.agent_state(node).display(),
            self.session_database(node).display(),
        )
    }

    /// The state directory of the agent of `node`.
    fn agent_state(&self, node: &str) -> PathBuf {
        let path = self.path(&format!("{node}-state"));
        fs::create_dir_all(&path).unwrap();
        path
    }

    /// Where the session database of `node` is.
    pub(crate) fn session_database(&self, node: &str) -> PathBuf {
        self.path(&format!("{node}-x2go_sessions"))
    }

    /// The agent with this configuration.
    pub(crate) fn agentd(&self, config: &Path) -> Command {
        let mut agentd = command(binaries::binary("x2gobroker-agentd").unwrap());
        agentd.arg("--config").arg(config).env("NO_COLOR", "1");
        agentd
    }
}

/// The name of the one replica.
pub(crate) const BROKER: &str = "broker1";
/// The state directory of the replica.
const STATE: &str = "replica-state";
/// The file with the session profiles.
pub(crate) const PROFILES_FILE: &str = "sessionprofiles.conf";
