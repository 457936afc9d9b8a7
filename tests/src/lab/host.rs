//! What is a host of a lab, and how does a program get into it?

use std::fmt;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use super::ground::{Ground, UP_LIMIT};
use super::{Lab, accounts, files, network};
use crate::binaries;
use crate::process::{Process, command};

/// The name of a host, which also tells what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostName(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Kind {
    Broker(u8),
    Client,
    Database,
    Server(u8),
}

/// The host where people sit.
pub const CLIENT_HOST: HostName = HostName(Kind::Client);
/// The host of the one session database, in labs that have one.
pub const DATABASE_HOST: HostName = HostName(Kind::Database);

/// A host that is up, or about to be.
#[derive(Debug)]
pub(crate) struct Host {
    name: HostName,
    services: Vec<Process>,
    // The first process goes last, and takes with it whatever is left.
    first: Process,
}

impl HostName {
    /// The broker host `number`, from 1.
    #[must_use]
    pub const fn broker(number: u8) -> Self {
        Self(Kind::Broker(number))
    }

    /// The X2Go server `number`, from 1.
    #[must_use]
    pub const fn server(number: u8) -> Self {
        Self(Kind::Server(number))
    }

    /// Whether X2Go sessions run there.
    #[must_use]
    pub fn is_server(self) -> bool {
        matches!(self.0, Kind::Server(_))
    }

    /// Whether a broker runs there.
    #[must_use]
    pub fn is_broker(self) -> bool {
        matches!(self.0, Kind::Broker(_))
    }

    /// The last part of its address.
    pub(crate) fn number(self) -> u8 {
        match self.0 {
            Kind::Broker(number) => 10 + number,
            Kind::Client => 20,
            Kind::Database => 30,
            Kind::Server(number) => 100 + number,
        }
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Kind::Broker(number) => write!(f, "broker{number}"),
            Kind::Client => f.write_str("client"),
            Kind::Database => f.write_str("db"),
            Kind::Server(number) => write!(f, "s{number}"),
        }
    }
}

impl Host {
    /// Starts the first process of a host, which builds the host's file system around itself.
    pub(crate) fn start(name: HostName, ground: &Ground, programs: &Path) -> anyhow::Result<Self> {
        let tools = binaries::own_folder()?;
        let script = format!(
            "{}{KEEP}",
            build_script(name, ground.folder(), programs, &tools)
        );
        let mut start = command("nsenter");
        // Not --fork: from here on the child of this process is the host's first process.
        start.args(["--target", &ground.pid().to_string(), "--mount", "unshare"]);
        start.args([
            "--mount",
            "--uts",
            "--ipc",
            "--net",
            "--pid",
            "--fork",
            "--kill-child",
        ]);
        start.args(["bash", "-ec", &script]);
        let log = ground.log(&format!("{name}-first"));
        let first = Process::start_tied(&format!("host {name}"), &mut start, &log)?;
        Ok(Self {
            name,
            services: Vec::new(),
            first,
        })
    }

    /// Waits until the first process is ready, and connects the host to the bridge.
    pub(crate) fn wait_until_up(
        mut self,
        ground: &Ground,
        all: &[HostName],
    ) -> anyhow::Result<Self> {
        self.first = self.first.unwrap_child()?;
        self.first.wait_for_log(UP_LIMIT, &["ready"])?;
        network::connect(ground, self.name, self.first.pid(), all)?;
        Ok(self)
    }

    pub(crate) fn name(&self) -> HostName {
        self.name
    }

    /// Keeps a service until the host goes.
    pub(crate) fn keep(&mut self, service: Process) {
        self.services.push(service);
    }

    /// Returns what nsenter(1) needs to enter all namespaces of the host.
    pub(crate) fn nsenter_options(&self) -> Vec<String> {
        let pid = self.first.pid().to_string();
        let options = [
            "--target", &pid, "--mount", "--uts", "--ipc", "--net", "--pid",
        ];
        options.map(str::to_owned).to_vec()
    }

    pub(crate) fn command(&self, user: &str, argv: &[&str]) -> anyhow::Result<Command> {
        let account = accounts::find(user)?;
        let (id, home) = (account.id.to_string(), account.home.as_str());
        let mut enter = command("nsenter");
        enter.args(self.nsenter_options());
        enter.args(["setpriv", "--reuid", &id, "--regid", &id, "--init-groups"]);
        enter.args(["env", "-C", home]).args(argv).env_clear();
        enter.envs([
            ("PATH", PATH),
            ("LANG", "C.UTF-8"),
            ("TERM", "dumb"),
            ("HOME", home),
        ]);
        enter.envs([("USER", user), ("LOGNAME", user)]);
        Ok(enter)
    }

    pub(crate) fn write(&self, user: &str, path: &str, text: &str) -> anyhow::Result<()> {
        let id = accounts::find(user)?.id;
        let outside = self.outside_path(path);
        files::write(&outside, text, 0o600, id)?;
        let parent = outside.parent().context("a file is in a folder")?;
        chown(parent, Some(id), Some(id)).with_context(|| format!("owning the folder of {path}"))
    }

    pub(crate) fn make_folder(&self, user: &str, path: &str) -> anyhow::Result<()> {
        files::folder(&self.outside_path(path), 0o700, accounts::find(user)?.id)
    }

    pub(crate) fn outside_path(&self, path: &str) -> PathBuf {
        let root = Path::new("/proc")
            .join(self.first.pid().to_string())
            .join("root");
        root.join(path.trim_start_matches('/'))
    }
}

/// Returns the script that builds a host's file system and name.
fn build_script(name: HostName, lab: &Path, programs: &Path, tools: &Path) -> String {
    let lab = lab.display();
    let memory = format!("{lab}/memory");
    let root = format!("{memory}/{name}/root");
    let mut script = format!(
        "mount --make-rprivate /\n\
         hostname {name}\n\
         mkdir -p {memory}/{name}/upper {memory}/{name}/work {root}\n\
         mount -t overlay overlay -o lowerdir={memory}/base:/,\
         upperdir={memory}/{name}/upper,workdir={memory}/{name}/work {root}\n\
         cd {root}\n\
         mount -t proc proc proc\n\
         mount --rbind /sys sys\n\
         mount -t tmpfs -o mode=755 dev dev\n\
         mkdir -p dev/pts dev/shm .old\n\
         mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts\n\
         mount -t tmpfs -o mode=1777 shm dev/shm\n\
         mount -t tmpfs -o mode=755 run run\n\
         mount -t tmpfs -o mode=1777 tmp tmp\n\
         mkdir run/lock run/sshd\n\
         mkdir -m 1777 tmp/.X11-unix tmp/.ICE-unix\n\
         echo {name} >etc/hostname\n"
    );
    let shared = format!("{lab}/shared");
    let folders = [
        (shared, Lab::SHARED),
        (programs.display().to_string(), Lab::PROGRAMS),
        (tools.display().to_string(), Lab::TOOLS),
    ];
    for (outside, inside) in folders {
        script += &format!("mkdir -p .{inside}; mount --bind '{outside}' .{inside}\n");
    }
    for device in ["null", "zero", "full", "random", "urandom", "tty"] {
        script += &format!("touch dev/{device}; mount --bind /dev/{device} dev/{device}\n");
    }
    for (link, target) in [
        ("ptmx", "pts/ptmx"),
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ] {
        script += &format!("ln -s {target} dev/{link}\n");
    }
    script
}

/// Makes the built tree the root, and stays until the input ends; bash reaps orphans.
const KEEP: &str = "\
pivot_root . .old
cd /
umount -l /.old
rmdir /.old
echo ready
while read -r _; do :; done
";

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_host_has_a_name_and_an_address_of_its_own() {
        let hosts = [
            HostName::broker(2),
            CLIENT_HOST,
            DATABASE_HOST,
            HostName::server(3),
        ];
        let names: Vec<String> = hosts
            .iter()
            .map(|host| format!("{host} {}", network::address(*host)))
            .collect();
        assert_eq!(
            names,
            [
                "broker2 10.77.0.12",
                "client 10.77.0.20",
                "db 10.77.0.30",
                "s3 10.77.0.103"
            ]
        );
    }
}
