//! How does a host of a lab get a package of Debian's that this machine itself must not have?
//!
//! The programs of x2gobroker 0.0.4.3 lie where ours lie. So their packages are not installed
//! on the machine: they are fetched once with apt-get(8), and unpacked in a lab's host, whose
//! file system is its own.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::{HostName, Lab, SERVICE};
use crate::binaries;
use crate::process::{command, run};

/// The agent of x2gobroker 0.0.4.3, for an X2Go server.
pub const OLD_AGENT: &[&str] = &["x2gobroker-agent"];

/// The daemon of x2gobroker 0.0.4.3 with all that it needs of Python, for a broker host.
pub const OLD_DAEMON: &[&str] = &[
    "ieee-data",
    "python3-daemon",
    "python3-lockfile",
    "python3-netaddr",
    "python3-pampy",
    "python3-tornado",
    "python3-wsgilog",
    "python3-x2gobroker",
    "x2gobroker",
    "x2gobroker-common",
    "x2gobroker-daemon",
];

/// Returns the files of Debian packages, fetched where they are not there yet.
///
/// # Errors
/// When apt-get(8) can't fetch one.
pub fn fetch(packages: &[&str]) -> anyhow::Result<Vec<PathBuf>> {
    let folder = binaries::own_folder()?.join("debian-packages");
    fs::create_dir_all(&folder).context("making the folder for packages")?;
    packages
        .iter()
        .map(|package| match fetched(&folder, package)? {
            Some(file) => Ok(file),
            None => {
                let download = || {
                    run(command("apt-get")
                        .args(["download", package])
                        .current_dir(&folder))
                };
                // The lists may be older than what the archive has, or not be there.
                download()
                    .or_else(|_| run(command("apt-get").arg("update")).and_then(|_| download()))
                    .with_context(|| format!("fetching {package}"))?;
                fetched(&folder, package)?.with_context(|| format!("{package} is not there"))
            }
        })
        .collect()
}

fn fetched(folder: &Path, package: &str) -> anyhow::Result<Option<PathBuf>> {
    let start = format!("{package}_");
    for entry in fs::read_dir(folder).context("looking for packages")? {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy());
        if name.is_some_and(|name| name.starts_with(&start) && name.ends_with(".deb")) {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

impl Lab {
    /// Unpacks packages in a host. None of their scripts runs.
    ///
    /// # Errors
    /// When it can't be done.
    pub fn unpack(&self, host: HostName, packages: &[PathBuf]) -> anyhow::Result<()> {
        let shared = self.shared().join("packages");
        fs::create_dir_all(&shared).context("making the folder of packages")?;
        for package in packages {
            let name = package.file_name().context("a package has a name")?;
            fs::copy(package, shared.join(name)).context("showing a package to the hosts")?;
            let inside = format!("{}/packages/{}", Self::SHARED, name.to_string_lossy());
            // Not below / at once: dpkg-deb(1) would put a folder in place of the link /lib.
            let unpack = "dpkg-deb -x \"$1\" /tmp/unpacked; cd /tmp/unpacked; cp -a usr / ; \
                          if [ -d etc ]; then cp -a etc /; fi; rm -r /tmp/unpacked";
            let argv = ["sh", "-ec", unpack, "unpack", &inside];
            self.exec(host, "root", &argv)?;
        }
        Ok(())
    }

    /// Makes the agent of x2gobroker 0.0.4.3 that of a server, as its package does.
    ///
    /// # Errors
    /// When it can't be done.
    pub fn install_old_agent(&self, server: HostName, packages: &[PathBuf]) -> anyhow::Result<()> {
        self.unpack(server, packages)?;
        let owner = format!("root:{SERVICE}");
        self.exec(server, "root", &["chown", &owner, AGENT])?;
        self.exec(server, "root", &["chmod", "4750", AGENT])?;
        Ok(())
    }

    /// Gives a broker host a key of its own, lets it call the agent of each of `servers` with
    /// it, and makes it know their host keys.
    ///
    /// # Errors
    /// When it can't be done.
    pub fn let_in(&self, broker: HostName, servers: &[HostName]) -> anyhow::Result<()> {
        self.make_folder(broker, SERVICE, SSH_FOLDER)?;
        let key = format!("{SSH_FOLDER}/id_rsa");
        // As x2gobroker-keygen 0.0.4.3 makes it.
        let make = [
            "ssh-keygen",
            "-q",
            "-t",
            "rsa",
            "-b",
            "2048",
            "-m",
            "PEM",
            "-N",
            "",
            "-f",
        ];
        self.exec(broker, SERVICE, &[&make[..], &[&key]].concat())?;
        let public = self.exec(broker, SERVICE, &["cat", &format!("{key}.pub")])?;
        // What /pubkeys offers, and x2gobroker-pubkeyauthorizer writes.
        let line = format!(
            "command=\"{AGENT}\",no-port-forwarding,no-X11-forwarding,no-agent-forwarding,no-pty \
             {public}"
        );
        for server in servers {
            let file = format!("{SSH_FOLDER}/authorized_keys");
            let known = self.exec(*server, SERVICE, &["sh", "-c", &format!("cat {file} || :")])?;
            self.write(*server, SERVICE, &file, &(known + &line))?;
        }
        let names: Vec<String> = servers.iter().map(ToString::to_string).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let known = self.exec(broker, SERVICE, &[&["ssh-keyscan"], &names[..]].concat())?;
        self.write(
            broker,
            SERVICE,
            &format!("{SSH_FOLDER}/known_hosts"),
            &known,
        )
    }
}

/// Where the package has it.
pub const AGENT: &str = "/usr/lib/x2go/x2gobroker-agent";
/// Of the user `x2gobroker`.
pub const SSH_FOLDER: &str = "/var/lib/x2gobroker/.ssh";
