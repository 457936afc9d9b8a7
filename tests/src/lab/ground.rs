//! What do the hosts of a lab stand on? A temporary folder, a layer that is the same for all
//! of them, and a bridge.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use tempfile::TempDir;

use super::accounts;
use super::files;
use super::host::HostName;
use super::network;
use crate::process::{Process, command, run};

/// The namespaces that all hosts start from: a bridge, and a file system in memory.
#[derive(Debug)]
pub(crate) struct Ground {
    // The keeper leaves before its folder is removed.
    keeper: Process,
    folder: TempDir,
}

impl Ground {
    /// Makes the folder, the bridge and the layer that is common to the hosts `names`.
    pub(crate) fn lay(names: &[HostName]) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("x2golab-").tempdir();
        let folder = folder.context("making the lab's folder")?;
        for (name, mode) in [("log", 0o755), ("shared", 0o1777), ("memory", 0o755)] {
            files::folder(&folder.path().join(name), mode, 0)?;
        }
        files::folder(folder.path(), 0o755, 0)?;
        let mut keep = command("unshare");
        keep.args([
            "--mount",
            "--net",
            "--fork",
            "--kill-child",
            "bash",
            "-ec",
            KEEPER,
            "keeper",
        ]);
        keep.arg(folder.path());
        let log = folder.path().join("log/ground");
        let mut keeper = Process::start_tied("the ground", &mut keep, &log)?.unwrap_child()?;
        keeper.wait_for_log(UP_LIMIT, &["ready"])?;
        let ground = Self { keeper, folder };
        ground
            .write_base(names)
            .context("writing the layer of all hosts")?;
        Ok(ground)
    }

    /// The process whose namespaces these are.
    pub(crate) fn pid(&self) -> u32 {
        self.keeper.pid()
    }

    /// The lab's folder; its part `memory` is there only for those in the namespace.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The folder that all hosts see.
    pub(crate) fn shared(&self) -> PathBuf {
        self.folder().join("shared")
    }

    /// The file for the output of `name`.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.folder().join("log").join(name)
    }

    /// Runs ip(8) with these commands, one a line, among the bridge's ports.
    pub(crate) fn ip(&self, batch: &str) -> anyhow::Result<()> {
        network::ip(self.pid(), &self.folder().join("log"), batch)
    }

    /// Writes what is the same on all hosts, in the memory of the namespace.
    fn write_base(&self, names: &[HostName]) -> anyhow::Result<()> {
        let memory = self.folder().join("memory");
        let inside = memory
            .strip_prefix("/")
            .context("the lab's folder has a full path")?;
        let base = Path::new("/proc")
            .join(self.pid().to_string())
            .join("root")
            .join(inside);
        let base = base.join("base");
        files::folder(&base, 0o755, 0)?;
        accounts::write(&base)?;
        files::write(
            &base.join("etc/hosts"),
            &network::hosts_file(names),
            0o644,
            0,
        )?;
        files::write(&base.join("etc/resolv.conf"), "", 0o644, 0)?;
        files::amend(&base, "etc/nsswitch.conf", |text| {
            let files_only = |line: &str| line.starts_with("hosts:").then_some("hosts: files");
            text.lines()
                .map(|line| files_only(line).unwrap_or(line).to_owned() + "\n")
                .collect()
        })?;
        files::write(&base.join("etc/ssh/sshd_config"), SSHD_CONFIG, 0o644, 0)?;
        // One key for all hosts: who is who is not what the farm tests are about.
        let key = self.folder().join("host-key");
        run(command("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(&key))?;
        let text = fs::read_to_string(&key).context("reading the host key")?;
        files::write(&base.join("etc/ssh/ssh_host_ed25519_key"), &text, 0o600, 0)
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        // For a look at what went wrong: the logs are kept where the caller wants them.
        if let Some(keep) = std::env::var_os("X2GOBROKER_FARM_LOGS") {
            let _ = run(command("cp")
                .arg("-r")
                .arg(self.folder.path().join("log"))
                .arg(keep));
        }
    }
}

/// Holds the namespaces until its input ends, and then leaves no trace of them.
const KEEPER: &str = r#"
    mount --make-rprivate /
    mount -t tmpfs -o mode=755 lab "$1/memory"
    ip link add br0 type bridge
    ip link set br0 up
    echo ready
    while read -r _; do :; done
    umount -l "$1/memory"
    rm -rf -- "$1"
"#;

const SSHD_CONFIG: &str = "\
Port 22
HostKey /etc/ssh/ssh_host_ed25519_key
UsePAM yes
PasswordAuthentication yes
KbdInteractiveAuthentication no
PubkeyAuthentication yes
X11Forwarding yes
UseDNS no
MaxStartups 200:30:400
AcceptEnv LANG LC_*
Subsystem sftp /usr/lib/openssh/sftp-server
";

/// Mounting and a bridge take milliseconds, on a machine that compiles seconds.
pub(crate) const UP_LIMIT: Duration = Duration::from_secs(30);
