//! How does a test get a farm? It makes one: hosts in namespaces, with everything real.
//!
//! A host has namespaces of its own (network, mount, pid, uts, ipc), the file system of
//! this machine with a private layer in memory above it, an address, a name and accounts.
//! Nothing outside the lab's temporary folder is written and no packet leaves the lab, so
//! several labs can be up side by side, all with the same addresses.
//!
//! Whoever made the lab holds the input of each host's first process. When that ends, by a
//! drop, a panic or a SIGKILL, the first process leaves, and the kernel takes everything
//! else of the host away.
//!
//! `X2GOBROKER_FARM_LOGS=DIR` keeps the logs of a lab in a new folder DIR.

mod accounts;
mod caller;
mod clients;
pub mod debian;
mod files;
mod ground;
mod host;
mod network;
mod postgres;
mod pyhoca;
mod requirements;
mod screen;
mod systemd;
mod web_ca;
mod x2goclient;
mod x2goserver;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;

pub use accounts::{ACCOUNTS, SERVICE, account_id, farm_user, password, write as write_accounts};
pub use caller::{Call, Caller};
pub use clients::Clients;
pub use host::{CLIENT_HOST, DATABASE_HOST, HostName};
pub use pyhoca::Pyhoca;
pub use requirements::{Unmet, check as check_requirements, packages};
pub use systemd::Booted;
pub use web_ca::{WebCa, WebCertificate};
pub use x2goclient::{Desktop, Login};

pub use x2goserver::ListedSession;

use crate::process::{Process, run};
use crate::wait::now;
use ground::Ground;
use host::Host;

/// Which hosts a lab has, beside the client.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Broker hosts: `broker1`, `broker2`, …
    pub brokers: u8,
    /// X2Go servers: `s1`, `s2`, …
    pub servers: u8,
}

/// A farm that is up. It is gone when this is dropped.
#[derive(Debug)]
pub struct Lab {
    // Hosts go before the ground that they stand on.
    hosts: BTreeMap<HostName, Host>,
    ground: Ground,
    took: Duration,
}

impl Plan {
    /// Two broker hosts and three X2Go servers.
    pub const FARM: Self = Self {
        brokers: 2,
        servers: 3,
    };

    fn host_names(self) -> Vec<HostName> {
        let brokers = (1..=self.brokers).map(HostName::broker);
        let servers = (1..=self.servers).map(HostName::server);
        brokers.chain([CLIENT_HOST]).chain(servers).collect()
    }
}

impl Lab {
    /// Builds the hosts of `plan` and returns when each of them answers.
    ///
    /// `programs` is a folder that every host sees as [`Self::PROGRAMS`].
    ///
    /// # Errors
    /// With the log of what did not come up.
    pub fn up(plan: Plan, programs: &Path) -> anyhow::Result<Self> {
        Self::build(&plan.host_names(), programs)
    }

    /// [`Self::up`], with one more host: that of a PostgreSQL session database that all X2Go
    /// servers share. [`ACCOUNTS`] may have sessions then, and farm users may not.
    ///
    /// # Errors
    /// As [`Self::up`].
    pub fn up_with_one_database(plan: Plan, programs: &Path) -> anyhow::Result<Self> {
        let mut names = plan.host_names();
        names.push(DATABASE_HOST);
        Self::build(&names, programs)
    }

    fn build(names: &[HostName], programs: &Path) -> anyhow::Result<Self> {
        let begun = now();
        let ground = Ground::lay(names)?;
        // All hosts start at once and are then waited for.
        let starting: anyhow::Result<Vec<Host>> = names
            .iter()
            .map(|name| Host::start(*name, &ground, programs))
            .collect();
        let mut hosts = BTreeMap::new();
        for host in starting? {
            let host = host.wait_until_up(&ground, names)?;
            hosts.insert(host.name(), host);
        }
        let mut lab = Self {
            hosts,
            ground,
            took: Duration::ZERO,
        };
        let servers = names.iter().filter(|name| name.is_server());
        if let Some(first) = servers.clone().next().filter(|_| lab.has_one_database()) {
            postgres::set_up(&mut lab, *first)?;
        }
        for name in servers {
            x2goserver::set_up(&mut lab, *name).with_context(|| format!("setting up {name}"))?;
        }
        lab.took = begun.elapsed();
        Ok(lab)
    }

    /// Where the hosts see the programs under test.
    pub const PROGRAMS: &str = "/opt/under-test";
    /// Where the hosts see the programs of this crate.
    pub const TOOLS: &str = "/opt/tools";
    /// Where the hosts see [`Self::shared`].
    pub const SHARED: &str = "/lab";

    /// How long the lab took to come up.
    #[must_use]
    pub fn took(&self) -> Duration {
        self.took
    }

    /// Returns the names of all hosts.
    #[must_use]
    pub fn hosts(&self) -> Vec<HostName> {
        self.hosts.keys().copied().collect()
    }

    /// Returns the command line that leads a person into a host.
    ///
    /// # Errors
    /// When there is no such host.
    pub fn way_in(&self, host: HostName) -> anyhow::Result<String> {
        Ok(format!(
            "nsenter {} bash",
            self.host(host)?.nsenter_options().join(" ")
        ))
    }

    /// Returns the names of the X2Go servers.
    #[must_use]
    pub fn servers(&self) -> Vec<HostName> {
        self.hosts
            .keys()
            .copied()
            .filter(|name| name.is_server())
            .collect()
    }

    /// Returns the names of the broker hosts.
    #[must_use]
    pub fn brokers(&self) -> Vec<HostName> {
        self.hosts
            .keys()
            .copied()
            .filter(|name| name.is_broker())
            .collect()
    }

    /// The folder that all hosts see as [`Self::SHARED`].
    #[must_use]
    pub fn shared(&self) -> PathBuf {
        self.ground.shared()
    }

    /// Prepares to run a program in a host as `user`, with that user's environment.
    ///
    /// # Errors
    /// When there is no such host or account.
    pub fn command(&self, host: HostName, user: &str, argv: &[&str]) -> anyhow::Result<Command> {
        self.host(host)?.command(user, argv)
    }

    /// Runs a program in a host to its end and returns its standard output.
    ///
    /// # Errors
    /// When it ends with another code than 0, with its output.
    pub fn exec(&self, host: HostName, user: &str, argv: &[&str]) -> anyhow::Result<String> {
        run(&mut self.command(host, user, argv)?).with_context(|| format!("on {host}"))
    }

    /// Starts a program in a host that runs until it is dropped; its log is named after it.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn start(
        &self,
        host: HostName,
        user: &str,
        name: &str,
        argv: &[&str],
    ) -> anyhow::Result<Process> {
        self.start_command(host, name, &mut self.command(host, user, argv)?)
    }

    /// [`Self::start`] for a command of [`Self::command`] with more set, such as its
    /// environment.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn start_command(
        &self,
        host: HostName,
        name: &str,
        command: &mut Command,
    ) -> anyhow::Result<Process> {
        // A program that is started again gets a log of its own.
        let log_names = (1..).map(|run| format!("{host}-{name}.{run}"));
        let mut logs = log_names.map(|log_name| self.ground.log(&log_name));
        let log = logs
            .find(|log| !log.exists())
            .context("some name is free")?;
        Process::start(&format!("{name} on {host}"), command, &log)?.unwrap_child()
    }

    /// Writes a file in a host, owned by `user`, with the folders above it.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn write(&self, host: HostName, user: &str, path: &str, text: &str) -> anyhow::Result<()> {
        self.host(host)?.write(user, path, text)
    }

    /// Makes a folder in a host, owned by `user` and closed to others.
    ///
    /// # Errors
    /// When it can't be made.
    pub fn make_folder(&self, host: HostName, user: &str, path: &str) -> anyhow::Result<()> {
        self.host(host)?.make_folder(user, path)
    }

    /// Starts a program on the client host that asks brokers what it is told to ask.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn caller(&self, name: &str) -> anyhow::Result<Caller> {
        let program = format!("{}/plain-client", Self::TOOLS);
        let command = self.command(CLIENT_HOST, accounts::DESK, &[&program])?;
        Caller::start(command, &self.ground.log(name))
    }

    /// Starts a program on any host that asks brokers many things at once.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn clients(&self, host: HostName) -> anyhow::Result<Clients> {
        let program = format!("{}/many-clients", Self::TOOLS);
        let command = self.command(host, accounts::DESK, &[&program])?;
        Clients::start(command, &self.ground.log(&format!("{host}-clients")))
    }

    /// Returns a file of a host as this process can open it.
    ///
    /// # Errors
    /// When there is no such host.
    pub fn outside_path(&self, host: HostName, path: &str) -> anyhow::Result<PathBuf> {
        Ok(self.host(host)?.outside_path(path))
    }

    /// Makes all packets to and from a host vanish, without a word to anybody.
    ///
    /// # Errors
    /// When the network can't be changed.
    pub fn cut_off(&self, host: HostName) -> anyhow::Result<()> {
        network::detach(&self.ground, host)
    }

    /// Ends what [`Self::cut_off`] did.
    ///
    /// # Errors
    /// When the network can't be changed.
    pub fn restore(&self, host: HostName) -> anyhow::Result<()> {
        network::attach(&self.ground, host)
    }

    /// Returns the address of a host.
    #[must_use]
    pub fn address(host: HostName) -> Ipv4Addr {
        network::address(host)
    }

    fn host(&self, name: HostName) -> anyhow::Result<&Host> {
        self.hosts
            .get(&name)
            .with_context(|| format!("there is no host {name} in this lab"))
    }

    fn keep(&mut self, name: HostName, service: Process) -> anyhow::Result<()> {
        let host = self
            .hosts
            .get_mut(&name)
            .with_context(|| format!("there is no host {name}"))?;
        host.keep(service);
        Ok(())
    }
}
