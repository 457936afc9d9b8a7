//! How does a host of a lab get a real systemd, which starts the units that are shipped?
//!
//! It is the first process of process, mount and cgroup namespaces inside those of the host, and
//! shares the host's network and files. It gets a control group of its own in the unified
//! hierarchy, and no controllers.

use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;

use super::{HostName, Lab};
use crate::process::{Process, run};
use crate::wait::{Progress, wait_for};

/// A host that is booted. Its services end when this is dropped.
#[derive(Debug)]
pub struct Booted<'a> {
    lab: &'a Lab,
    host: HostName,
    group: String,
    systemd: Process,
}

impl Lab {
    /// Boots systemd in a host, as far as `basic.target`.
    ///
    /// # Errors
    /// With what systemd said, when it does not get there.
    pub fn boot(&self, host: HostName) -> anyhow::Result<Booted<'_>> {
        let name = self.ground.folder().file_name().context("it has a name")?;
        let group = format!("{CGROUPS}/{}-{host}", name.to_string_lossy());
        let argv = ["bash", "-ec", BOOT, "boot", CGROUPS, &group];
        let systemd = self.start(host, "root", "systemd", &argv)?;
        let booted = Booted {
            lab: self,
            host,
            group,
            systemd,
        };
        let up = wait_for(BOOT_LIMIT, || {
            Progress::retry(booted.exec(&["systemctl", "is-active", "basic.target"]))
        });
        up.with_context(|| booted.systemd.story())?;
        Ok(booted)
    }
}

impl Booted<'_> {
    /// Prepares to run a program as root, beside the services.
    ///
    /// # Errors
    /// When there is no such host.
    pub fn command(&self, argv: &[&str]) -> anyhow::Result<Command> {
        let enter = ["sh", "-ec", ENTER, "enter"];
        self.lab
            .command(self.host, "root", &[&enter[..], argv].concat())
    }

    /// Runs a program as root, beside the services, and returns what it prints.
    ///
    /// # Errors
    /// When it ends with another code than 0, with its output.
    pub fn exec(&self, argv: &[&str]) -> anyhow::Result<String> {
        run(&mut self.command(argv)?).with_context(|| format!("on {}", self.host))
    }

    /// What the journal has of a unit's last start.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn journal(&self, unit: &str) -> anyhow::Result<String> {
        let id = ["systemctl", "show", "-P", "InvocationID", unit];
        let of_start = format!("_SYSTEMD_INVOCATION_ID={}", self.exec(&id)?.trim());
        self.exec(&["journalctl", "--no-pager", "-o", "cat", &of_start])
    }
}

impl Drop for Booted<'_> {
    fn drop(&mut self) {
        let _ = self.systemd.kill();
        let argv = ["bash", "-c", CLEAN, "clean", &self.group];
        let _ = self.lab.exec(self.host, "root", &argv);
    }
}

/// Where a host sees the control groups of the machine.
const CGROUPS: &str = "/run/cgroups";

const BOOT: &str = r#"
    mkdir -p "$1"
    mount -t cgroup2 cgroup2 "$1"
    mkdir "$2"
    echo $$ >"$2/cgroup.procs"
    : >/etc/machine-id
    exec unshare --mount --pid --cgroup --fork --kill-child bash -ec '
        mount -t proc proc /proc
        mount -t sysfs sysfs /sys
        mount -t cgroup2 cgroup2 /sys/fs/cgroup
        container=lab exec /lib/systemd/systemd --unit=basic.target --log-target=console
    '
"#;

const ENTER: &str = r#"
    systemd=$(pgrep -o -x systemd)
    exec nsenter --target "$systemd" --mount --pid --cgroup "$@"
"#;

/// A control group can go when the last process in it is gone.
const CLEAN: &str = r#"
    echo 1 >"$1/cgroup.kill"
    for look in {1..200}; do
        find "$1" -depth -type d -exec rmdir {} + 2>/dev/null
        [ -d "$1" ] || break
        sleep 0.05
    done
"#;

/// A second on an idle machine.
const BOOT_LIMIT: Duration = Duration::from_secs(30);
