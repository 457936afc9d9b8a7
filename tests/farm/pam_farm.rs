//! How does a lab become a farm with many replicas that ask PAM? An authservice and real
//! accounts on each broker host, an agent on each server.

use std::collections::BTreeMap;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use tests::binaries;
use tests::lab::{Call, Clients, HostName, Lab, Plan, SERVICE, WebCa};
use tests::process::Process;
use tests::wait::{Progress, wait_for};

use crate::mesh::{IDENTITY, ONE_FARM, PROFILES_PATH, STATE, address, enrol_all, program};
use crate::site::{PROFILES, run_authservice, start_authservice};

/// What a test wants to be different.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup<'a> {
    pub(crate) brokers: u8,
    pub(crate) servers: u8,
    /// Lines of the section `[global]`.
    pub(crate) global: &'a str,
    /// The CA of the certificates that HTTPS is served with on port 8443.
    pub(crate) web: Option<&'a WebCa>,
    /// How far the clocks of the replicas are set wrong, in seconds.
    pub(crate) clocks: &'a [(HostName, i32)],
    /// What the replicas log, as `RUST_LOG`.
    pub(crate) log: &'a str,
}

impl Setup<'static> {
    /// So many replicas and servers, and nothing special.
    pub(crate) const fn of(brokers: u8, servers: u8) -> Self {
        Self {
            brokers,
            servers,
            global: "",
            web: None,
            clocks: &[],
            log: "info,broker::auth=debug",
        }
    }
}

/// A farm with the product on it.
#[derive(Debug)]
pub(crate) struct PamFarm {
    // The programs go before the hosts that they run on.
    pub(crate) clients: Clients,
    pub(crate) agents: BTreeMap<HostName, Process>,
    replicas: BTreeMap<HostName, Process>,
    authservices: BTreeMap<HostName, Process>,
    pub(crate) lab: Lab,
    _alone: MutexGuard<'static, ()>,
}

impl PamFarm {
    /// Brings up the farm, and returns once each replica knows all members. `None` when
    /// this machine can't, and does not have to.
    pub(crate) fn up(setup: Setup<'_>) -> Option<Self> {
        if crate::skipped() {
            return None;
        }
        let alone = ONE_FARM.lock().unwrap_or_else(PoisonError::into_inner);
        binaries::add_authservice().unwrap();
        let plan = Plan {
            brokers: setup.brokers,
            servers: setup.servers,
        };
        let lab = Lab::up(plan, &binaries::folder().unwrap()).unwrap();
        println!("the lab was up after {:.1?}", lab.took());
        enrol_all(&lab);
        let mut farm = Self {
            clients: lab.clients(tests::lab::CLIENT_HOST).unwrap(),
            agents: BTreeMap::new(),
            replicas: BTreeMap::new(),
            authservices: BTreeMap::new(),
            lab,
            _alone: alone,
        };
        for broker in farm.lab.brokers() {
            let service = start_authservice(&farm.lab, broker);
            farm.authservices.insert(broker, service);
            let replica = farm.start_replica(broker, setup);
            farm.replicas.insert(broker, replica);
        }
        for server in farm.lab.servers() {
            let agent = farm.start_agent(server);
            farm.agents.insert(server, agent);
        }
        farm.wait_until_complete();
        Some(farm)
    }

    pub(crate) fn replica(&mut self, broker: HostName) -> &mut Process {
        self.replicas.get_mut(&broker).unwrap()
    }

    pub(crate) fn authservice(&mut self, broker: HostName) -> &mut Process {
        self.authservices.get_mut(&broker).unwrap()
    }

    /// Kills the authservice of a broker host, while others use this value.
    pub(crate) fn kill_authservice(&self, broker: HostName) {
        self.authservices[&broker].signal("KILL").unwrap();
    }

    /// Starts the authservice of a broker host again.
    pub(crate) fn start_authservice_again(&mut self, broker: HostName) {
        let service = run_authservice(&self.lab, broker);
        self.authservices.insert(broker, service);
    }

    /// Starts a replica again, as it was.
    pub(crate) fn start_replica_again(&mut self, broker: HostName, setup: Setup<'_>) {
        let replica = self.start_replica(broker, setup);
        self.replicas.insert(broker, replica);
    }

    /// Asks a replica from the client host, by a form.
    pub(crate) fn ask(&self, broker: HostName, fields: &[(&str, &str)]) -> Call {
        self.clients.post(address(broker), fields).unwrap()
    }

    /// Runs a shell script as root on a host.
    pub(crate) fn script(&self, host: HostName, script: &str) -> String {
        self.lab.exec(host, "root", &["sh", "-ec", script]).unwrap()
    }

    /// Gives the farm users from 1 to `last` the password `pw-USER` on all broker hosts.
    pub(crate) fn give_passwords(&self, last: u32) {
        let script = format!(
            "perl -e 'for (1..{last}) {{ my $u = sprintf(\"user%03d\", $_); \
             print \"$u:\", crypt(\"pw-$u\", q($6$rounds=1000$thelab$)), \"\\n\" }}' | chpasswd -e"
        );
        for broker in self.lab.brokers() {
            self.script(broker, &script);
        }
    }

    /// The lines with all these words that a replica and its authservice have logged.
    pub(crate) fn logged(&self, broker: HostName, words: &[&str]) -> Vec<String> {
        let both = [&self.replicas[&broker], &self.authservices[&broker]];
        both.iter()
            .flat_map(|process| process.log_lines(words))
            .collect()
    }

    /// All programs of the product that run.
    pub(crate) fn programs(&self) -> Vec<&Process> {
        let brokers = self.replicas.values().chain(self.authservices.values());
        brokers.chain(self.agents.values()).collect()
    }

    /// The logs of all programs, for the text of a failure.
    pub(crate) fn story(&self) -> String {
        let all = self.programs().into_iter();
        all.map(|process| process.story() + "\n").collect()
    }

    fn start_replica(&self, broker: HostName, setup: Setup<'_>) -> Process {
        let lab = &self.lab;
        let https = setup.web.map_or("", |_| "https-bind = 0.0.0.0:8443");
        let text = format!(
            "[global]\n\
             default-auth-mech = pam\n\
             {}\n\
             [http]\n\
             {https}\n\
             [broker_inifile]\n\
             enable = true\n\
             session-profiles = {PROFILES_PATH}\n\
             [mesh]\n\
             identity = {IDENTITY}\n\
             advertise = {}:7465\n\
             seeds = {}\n\
             state-directory = {STATE}\n",
            setup.global,
            Lab::address(broker),
            self.seeds(),
        );
        lab.write(broker, SERVICE, CONFIG_PATH, &text).unwrap();
        let hosts = lab.servers().into_iter().map(|server| server.to_string());
        let hosts = hosts.collect::<Vec<_>>().join(",");
        let profiles = PROFILES.replace("host=s1,s2", &format!("host={hosts}"));
        lab.write(broker, SERVICE, PROFILES_PATH, &profiles)
            .unwrap();
        let program = program("x2gobroker-daemon");
        let mut argv = vec![
            program.as_str(),
            "--config-file",
            CONFIG_PATH,
            "--bind",
            "0.0.0.0:8080",
        ];
        let wrong = setup.clocks.iter().find(|(host, _)| *host == broker);
        let preload = format!("LD_PRELOAD={}", libfaketime());
        let wrong = wrong.map(|(_, seconds)| format!("FAKETIME={seconds:+}s"));
        if let Some(wrong) = &wrong {
            let preload = ["env", &preload, "FAKETIME_DONT_FAKE_MONOTONIC=1", wrong];
            argv.splice(0..0, preload);
        }
        let mut command = lab.command(broker, SERVICE, &argv).unwrap();
        command.envs([("RUST_LOG", setup.log), ("NO_COLOR", "1")]);
        if let Some(ca) = setup.web {
            let issued = ca.issue(&broker.to_string()).unwrap();
            let files = [
                ("X2GOBROKER_SSL_CERTFILE", "web.crt", &issued.certificate),
                ("X2GOBROKER_SSL_KEYFILE", "web.key", &issued.key),
            ];
            for (setting, name, text) in files {
                let path = format!("{STATE}/{name}");
                lab.write(broker, SERVICE, &path, text).unwrap();
                command.env(setting, path);
            }
        }
        lab.start_command(broker, "daemon", &mut command).unwrap()
    }

    fn start_agent(&self, server: HostName) -> Process {
        let seeds = self.seeds().replace(", ", "\", \"");
        let text = format!(
            "identity = \"{IDENTITY}\"\n\
             advertise = \"{}:7464\"\n\
             seeds = [\"{seeds}\"]\n\
             state_directory = \"{STATE}\"\n",
            Lab::address(server)
        );
        let path = "/etc/x2go/broker/agentd.toml";
        self.lab.write(server, SERVICE, path, &text).unwrap();
        let argv = [&program("x2gobroker-agentd"), "--config", path];
        let mut command = self.lab.command(server, SERVICE, &argv).unwrap();
        command.envs([("RUST_LOG", "info"), ("NO_COLOR", "1")]);
        self.lab
            .start_command(server, "agentd", &mut command)
            .unwrap()
    }

    fn seeds(&self) -> String {
        let brokers = self.lab.brokers().into_iter();
        let seeds = brokers.map(|broker| format!("{broker}:7465"));
        seeds.collect::<Vec<_>>().join(", ")
    }

    /// Each replica has met all servers, and answers.
    fn wait_until_complete(&mut self) {
        for broker in self.lab.brokers() {
            for server in self.lab.servers() {
                let node = format!("node={server} ");
                let joined = self
                    .replica(broker)
                    .wait_for_log(UP_LIMIT, &["member joined", &node]);
                joined.unwrap();
            }
            let answers = wait_for(UP_LIMIT, || {
                let call = self.ask(broker, &[("task", "testcon")]);
                Progress::retry(call.answer.map(drop))
            });
            answers.unwrap_or_else(|error| panic!("{broker}: {error}\n{}", self.story()));
        }
    }
}

/// Tells threads of a scope to stop, also when the test panics before it would.
#[derive(Debug, Default)]
pub(crate) struct Stop(AtomicBool);

/// Stops them when it is dropped.
#[derive(Debug)]
pub(crate) struct StopAtEnd<'a>(&'a Stop);

impl Stop {
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn at_end(&self) -> StopAtEnd<'_> {
        StopAtEnd(self)
    }
}

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

/// The form of `listsessions`.
pub(crate) fn list<'a>(user: &'a str, password: &'a str, authid: &'a str) -> Vec<Field<'a>> {
    vec![
        ("task", "listsessions"),
        ("user", user),
        ("password", password),
        ("authid", authid),
    ]
}

/// The form of `selectsession` for the profile `farm`.
pub(crate) fn select<'a>(user: &'a str, authid: &'a str) -> Vec<Field<'a>> {
    vec![
        ("task", "selectsession"),
        ("sid", "farm"),
        ("user", user),
        ("login", user),
        ("password", ""),
        ("authid", authid),
    ]
}

/// A field of a form.
pub(crate) type Field<'a> = (&'a str, &'a str);

/// The AUTHID of a good answer.
pub(crate) fn granted(call: &Call) -> Result<String, String> {
    let answer = call.answer.as_ref().map_err(Clone::clone)?;
    let authid = answer.authid.clone().filter(|_| answer.granted);
    authid.ok_or_else(|| format!("{} {}", answer.status, answer.text))
}

/// The status of an answer; 0 for none.
pub(crate) fn status(call: &Call) -> u16 {
    call.answer.as_ref().map_or(0, |answer| answer.status)
}

/// What faketime(1) preloads; the program itself would stand in the way of signals.
fn libfaketime() -> String {
    let folders = std::fs::read_dir("/usr/lib").unwrap().flatten();
    let files = folders.map(|folder| folder.path().join("faketime/libfaketime.so.1"));
    let found = files.into_iter().find(|file| file.exists());
    found.unwrap_or_default().display().to_string()
}

const CONFIG_PATH: &str = "/etc/x2go/broker/x2gobroker.conf";
/// Gossip needs a few rounds of a second; a busy machine some more.
const UP_LIMIT: Duration = Duration::from_secs(60);
