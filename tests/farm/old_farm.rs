//! How does a farm get servers, or a broker, of x2gobroker 0.0.4.3?

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use tests::binaries;
use tests::lab::debian::{AGENT, OLD_AGENT, OLD_DAEMON, fetch};
use tests::lab::{CLIENT_HOST, HostName, Lab, Plan, SERVICE};
use tests::process::Process;
use tests::wait::{Progress, wait_for};

use crate::mesh::{IDENTITY, ONE_FARM, PROFILES_PATH, STATE, enrol_all, program};
use crate::site::start_agent;

/// Hosts with parts of both versions.
#[derive(Debug)]
pub(crate) struct OldFarm {
    // The programs go before the hosts that they run on.
    pub(crate) programs: Vec<Process>,
    pub(crate) lab: Lab,
    _alone: MutexGuard<'static, ()>,
}

/// The packages of x2gobroker 0.0.4.3. `None` when this machine can't fetch them, and does
/// not have to.
pub(crate) fn packages(names: &[&[&str]]) -> Option<Vec<Vec<PathBuf>>> {
    if crate::skipped() {
        return None;
    }
    let fetched: anyhow::Result<Vec<_>> = names.iter().map(|names| fetch(names)).collect();
    let required = std::env::var_os("X2GOBROKER_FARM").is_some_and(|value| value == "required");
    match fetched {
        Ok(fetched) => Some(fetched),
        Err(error) if required => panic!("farm tests are required, but: {error:#}"),
        Err(error) => {
            println!("skipped: {error:#}");
            None
        }
    }
}

impl OldFarm {
    /// Brings up hosts with certificates and nothing else of ours.
    pub(crate) fn up(plan: Plan) -> Self {
        Self::on(|programs| Lab::up(plan, programs))
    }

    /// [`Self::up`], with one PostgreSQL session database for all servers.
    pub(crate) fn up_with_one_database(plan: Plan) -> Self {
        Self::on(|programs| Lab::up_with_one_database(plan, programs))
    }

    fn on(up: impl FnOnce(&Path) -> anyhow::Result<Lab>) -> Self {
        let alone = ONE_FARM.lock().unwrap_or_else(PoisonError::into_inner);
        let lab = up(&binaries::folder().unwrap()).unwrap();
        println!("the lab was up after {:.1?}", lab.took());
        enrol_all(&lab);
        Self {
            programs: Vec::new(),
            lab,
            _alone: alone,
        }
    }

    /// Starts a replica of ours; `log` names what it tells in detail.
    pub(crate) fn start_replica(&mut self, broker: HostName, global: &str, profiles: &str) {
        let text = format!(
            "[global]\n\
             default-auth-mech = none\n\
             {global}\n\
             [broker_inifile]\n\
             enable = true\n\
             session-profiles = {PROFILES_PATH}\n\
             [mesh]\n\
             identity = {IDENTITY}\n\
             advertise = {}:7465\n\
             state-directory = {STATE}\n",
            Lab::address(broker),
        );
        let config = "/etc/x2go/broker/ours.conf";
        self.lab.write(broker, SERVICE, config, &text).unwrap();
        self.lab
            .write(broker, SERVICE, PROFILES_PATH, profiles)
            .unwrap();
        let daemon = program("x2gobroker-daemon");
        let argv = [&daemon, "--config-file", config, "--bind", "0.0.0.0:8080"];
        let mut command = self.lab.command(broker, SERVICE, &argv).unwrap();
        command.envs([("RUST_LOG", "debug"), ("NO_COLOR", "1")]);
        let mut replica = self
            .lab
            .start_command(broker, "daemon", &mut command)
            .unwrap();
        let listening = replica.wait_for_log(UP_LIMIT, &["listening for HTTP"]);
        listening.unwrap();
        // Nobody counts as an old server before that.
        let warm = replica.wait_for_log(UP_LIMIT, &["count as old ones from now on"]);
        warm.unwrap();
        self.programs.insert(0, replica);
    }

    /// Starts agents of ours, and returns when the replica knows them.
    pub(crate) fn start_agents(&mut self, servers: &[HostName]) {
        for server in servers {
            let agent = start_agent(&self.lab, *server);
            self.programs.push(agent);
        }
        for server in servers {
            let node = format!("node={server}");
            let joined = self
                .replica()
                .wait_for_log(UP_LIMIT, &["member joined", &node]);
            joined.unwrap_or_else(|error| panic!("{error:#}\n{}", self.story()));
        }
    }

    /// The replica, which was started first.
    pub(crate) fn replica(&mut self) -> &mut Process {
        self.programs.first_mut().unwrap()
    }

    /// Installs our program as a package does, in the place of the original's.
    pub(crate) fn install_shim(&self, server: HostName) {
        let shim = program("x2gobroker-agent");
        let as_packaged = ["install", "-D", "-o", "root", "-g", SERVICE, "-m", "4750"];
        let install = [&as_packaged[..], &[&shim, AGENT]].concat();
        self.lab.exec(server, "root", &install).unwrap();
    }

    /// Starts the daemon of x2gobroker 0.0.4.3, with this in the section `[global]`.
    pub(crate) fn start_old_daemon(
        &mut self,
        broker: HostName,
        packages: &[PathBuf],
        global: &str,
        profiles: &str,
    ) {
        let lab = &self.lab;
        lab.unpack(broker, packages).unwrap();
        let text = format!(
            "[global]\ndefault-auth-mech = none\n{global}\n\
             [broker_inifile]\nenable = true\nuse-load-checker = false\n"
        );
        // Its packages make these folders when they are installed.
        for (path, mode) in [("/var/log/x2gobroker", "2755"), ("/run/x2gobroker", "770")] {
            let make = [
                "install", "-d", "-o", SERVICE, "-g", SERVICE, "-m", mode, path,
            ];
            lab.exec(broker, "root", &make).unwrap();
        }
        for (path, text) in [
            ("/etc/x2go/x2gobroker.conf", text.as_str()),
            (PROFILES_PATH, profiles),
        ] {
            lab.write(broker, "root", path, text).unwrap();
            lab.exec(broker, "root", &["chmod", "644", path]).unwrap();
        }
        let folders = ["chmod", "755", "/etc/x2go", "/etc/x2go/broker"];
        lab.exec(broker, "root", &folders).unwrap();
        let argv = [
            "x2gobroker-daemon",
            "--drop-privileges",
            "-b",
            "0.0.0.0:8080",
        ];
        let daemon = lab.start(broker, "root", "old-daemon", &argv).unwrap();
        self.programs.push(daemon);
        let mut caller = self.lab.caller("waiting").unwrap();
        let up = wait_for(UP_LIMIT, || {
            let call = caller.list(address(broker), "bob").unwrap();
            Progress::retry(call.answer.map(drop))
        });
        up.unwrap();
    }

    /// Asks for a session in the profile `auto` of the first server: a key for bob comes with
    /// the answer, opens his account, and is gone after 20 s.
    pub(crate) fn check_that_a_key_comes_and_goes(&self, story: impl Fn() -> String) {
        let (desk, lab) = ("desk", &self.lab);
        let form = "task=selectsession&sid=auto&user=bob&password=x&login=bob";
        let url = "http://broker1:8080/plain/";
        let asked = ["curl", "-sS", "-d", form, url];
        let answer = lab.exec(CLIENT_HOST, desk, &asked).unwrap();
        let begins = "-----BEGIN RSA PRIVATE KEY-----";
        let Some((_, rest)) = answer.split_once(begins) else {
            panic!("no key: {answer}\n{}", story());
        };
        let key = "/home/desk/key";
        let text = format!("{begins}{rest}");
        lab.write(CLIENT_HOST, desk, key, &text).unwrap();
        let public = lab.exec(CLIENT_HOST, desk, &["ssh-keygen", "-y", "-f", key]);
        let public = public.unwrap();
        let file = ["cat", "/home/bob/.x2go/authorized_keys"];
        let installed = || {
            lab.exec(HostName::server(1), "bob", &file)
                .unwrap_or_default()
        };
        assert!(
            installed().contains(public.trim()),
            "{}\n{}",
            installed(),
            story()
        );
        let gone = wait_for(KEY_LIMIT, || {
            let left = installed();
            Progress::when(!left.contains("ssh-rsa"), || left.clone())
        });
        gone.unwrap_or_else(|error| panic!("{error}\n{}", story()));
    }

    /// The logs of all programs, for the text of a failure.
    pub(crate) fn story(&self) -> String {
        let all = self.programs.iter();
        all.map(|process| process.story() + "\n").collect()
    }
}

/// Where clients reach a broker.
pub(crate) fn address(broker: HostName) -> SocketAddr {
    (Lab::address(broker), 8080).into()
}

/// The packages for servers, and for brokers.
pub(crate) const AGENT_AND_DAEMON: [&[&str]; 2] = [OLD_AGENT, OLD_DAEMON];
pub(crate) const AGENT_ONLY: [&[&str]; 1] = [OLD_AGENT];

/// Gossip needs a few rounds of a second; a busy machine some more.
pub(crate) const UP_LIMIT: Duration = Duration::from_secs(60);
/// It goes 20 s later, on a busy machine somewhat after that.
const KEY_LIMIT: Duration = Duration::from_secs(40);
