//! How does a lab become a farm as a company has it? One replica that asks PAM for
//! passwords and serves HTTP and HTTPS, and an agent on each server.

use std::collections::BTreeMap;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use tests::binaries;
use tests::lab::{HostName, Lab, Plan, SERVICE, WebCertificate};
use tests::process::Process;

use crate::mesh::{IDENTITY, ONE_FARM, PROFILES_PATH, STATE, enrol_all, install_shim, program};

/// The broker host.
pub(crate) const BROKER: HostName = HostName::broker(1);

/// What a test wants to be different.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Setup<'a> {
    /// How many X2Go servers there are.
    pub(crate) servers: u8,
    /// Lines of the section `[global]`.
    pub(crate) global: &'a str,
    /// Lines of the section `[http]`.
    pub(crate) http: &'a str,
    /// The file of session profiles.
    pub(crate) profiles: &'a str,
    /// What HTTPS is served with, where `http` says.
    pub(crate) certificate: Option<&'a WebCertificate>,
    /// Whether clients ask over SSH, too.
    pub(crate) ssh: bool,
}

/// A farm with the product on it.
#[derive(Debug)]
pub(crate) struct Site {
    // The programs go before the hosts that they run on.
    agents: BTreeMap<HostName, Process>,
    pub(crate) replica: Process,
    pub(crate) authservice: Process,
    pub(crate) lab: Lab,
    _alone: MutexGuard<'static, ()>,
}

impl Site {
    /// Brings up the farm, and returns once the replica knows all servers. `None` when this
    /// machine can't, and does not have to.
    pub(crate) fn up(setup: Setup<'_>) -> Option<Self> {
        if crate::skipped() {
            return None;
        }
        // Two farms at once on two cores would wait for each other.
        let alone = ONE_FARM.lock().unwrap_or_else(PoisonError::into_inner);
        let plan = Plan {
            brokers: 1,
            servers: setup.servers,
        };
        let lab = Lab::up(plan, &binaries::folder().unwrap()).unwrap();
        println!("the lab was up after {:.1?}", lab.took());
        enrol_all(&lab);
        let authservice = start_authservice(&lab, BROKER);
        configure(&lab, setup);
        // As a service has it from systemd: a user who is not root may serve port 443.
        let ports = "echo 443 >/proc/sys/net/ipv4/ip_unprivileged_port_start";
        lab.exec(BROKER, "root", &["sh", "-c", ports]).unwrap();
        if setup.ssh {
            let folder = ["install", "-d", "-o", SERVICE, "-g", SERVICE, "-m", "755"];
            let folder = [&folder[..], &["/run/x2gobroker-ssh"]].concat();
            lab.exec(BROKER, "root", &folder).unwrap();
        }
        let mut replica = start_replica(&lab, setup);
        let servers = lab.servers().into_iter();
        let agents = servers.map(|server| (server, start_agent(&lab, server)));
        let agents: BTreeMap<HostName, Process> = agents.collect();
        for server in lab.servers() {
            let node = format!("node={server}");
            let joined = replica.wait_for_log(UP_LIMIT, &["member joined", &node]);
            joined.unwrap();
        }
        let listening = replica.wait_for_log(UP_LIMIT, &["listening for HTTP"]);
        listening.unwrap();
        Some(Self {
            agents,
            replica,
            authservice,
            lab,
            _alone: alone,
        })
    }

    /// Gives the replica another configuration while it runs.
    pub(crate) fn reconfigure(&self, setup: Setup<'_>) {
        let before = self.replica.log_lines(RELOADED).len();
        configure(&self.lab, setup);
        self.replica.signal("HUP").unwrap();
        let taken = tests::wait::wait_for(UP_LIMIT, || {
            let lines = self.replica.log_lines(RELOADED).len();
            tests::wait::Progress::when(lines > before, || "not read again".to_owned())
        });
        taken.unwrap_or_else(|error| panic!("{error}\n{}", self.story()));
    }

    /// Kills the agent of a server at once.
    pub(crate) fn kill_agent(&mut self, server: HostName) {
        self.agents.get_mut(&server).unwrap().kill().unwrap();
    }

    /// Starts the agent of a server anew.
    pub(crate) fn restart_agent(&mut self, server: HostName) {
        let agent = start_agent(&self.lab, server);
        self.agents.insert(server, agent);
    }

    /// How many requests clients have sent.
    pub(crate) fn n_requests(&self) -> usize {
        self.replica.log_lines(&[" access: "]).len()
    }

    /// How often somebody's password was checked.
    pub(crate) fn n_passwords_checked(&self, user: &str) -> usize {
        let user = format!("user=\"{user}\"");
        self.authservice.log_lines(&["PAM was asked", &user]).len()
    }

    /// The logs of all programs, for the text of a failure.
    pub(crate) fn story(&self) -> String {
        let all = self
            .agents
            .values()
            .chain([&self.replica, &self.authservice]);
        all.map(|process| process.story() + "\n").collect()
    }
}

fn configure(lab: &Lab, setup: Setup<'_>) {
    let text = format!(
        "[global]\n\
         default-auth-mech = pam\n\
         {}\n\
         [http]\n\
         {}\n\
         [broker_inifile]\n\
         enable = true\n\
         session-profiles = {PROFILES_PATH}\n\
         [mesh]\n\
         identity = {IDENTITY}\n\
         advertise = {}:7465\n\
         state-directory = {STATE}\n",
        setup.global,
        setup.http,
        Lab::address(BROKER),
    );
    lab.write(BROKER, SERVICE, CONFIG_PATH, &text).unwrap();
    lab.write(BROKER, SERVICE, PROFILES_PATH, setup.profiles)
        .unwrap();
}

fn start_replica(lab: &Lab, setup: Setup<'_>) -> Process {
    let program = program("x2gobroker-daemon");
    let argv = [
        &program,
        "--config-file",
        CONFIG_PATH,
        "--bind",
        "0.0.0.0:8080",
    ];
    let mut command = lab.command(BROKER, SERVICE, &argv).unwrap();
    command.envs([("RUST_LOG", "debug"), ("NO_COLOR", "1")]);
    if let Some(web) = setup.certificate {
        let files = [
            ("X2GOBROKER_SSL_CERTFILE", "web.crt", &web.certificate),
            ("X2GOBROKER_SSL_KEYFILE", "web.key", &web.key),
        ];
        for (setting, name, text) in files {
            let path = format!("{STATE}/{name}");
            lab.write(BROKER, SERVICE, &path, text).unwrap();
            command.env(setting, path);
        }
    }
    lab.start_command(BROKER, "daemon", &mut command).unwrap()
}

pub(crate) fn start_agent(lab: &Lab, server: HostName) -> Process {
    install_shim(lab, server);
    let text = format!(
        "identity = \"{IDENTITY}\"\n\
         advertise = \"{}:7464\"\n\
         seeds = [\"{BROKER}:7465\"]\n\
         state_directory = \"{STATE}\"\n",
        Lab::address(server)
    );
    let path = "/etc/x2go/broker/agentd.toml";
    lab.write(server, SERVICE, path, &text).unwrap();
    let argv = [&program("x2gobroker-agentd"), "--config", path];
    let mut command = lab.command(server, SERVICE, &argv).unwrap();
    command.envs([("RUST_LOG", "info"), ("NO_COLOR", "1")]);
    lab.start_command(server, "agentd", &mut command).unwrap()
}

/// Starts the authservice of a broker host, with the PAM service that the package has.
pub(crate) fn start_authservice(lab: &Lab, broker: HostName) -> Process {
    lab.write(broker, "root", "/etc/pam.d/x2gobroker", PAM_SERVICE)
        .unwrap();
    let folder = ["install", "-d", "-o", "root", "-g", SERVICE, "-m", "750"];
    let folder = [&folder[..], &["/run/x2gobroker"]].concat();
    lab.exec(broker, "root", &folder).unwrap();
    run_authservice(lab, broker)
}

/// Runs the authservice of a broker host, where all that it needs is in its place.
pub(crate) fn run_authservice(lab: &Lab, broker: HostName) -> Process {
    let argv = [program("x2gobroker-authservice")];
    let mut command = lab.command(broker, "root", &[&argv[0]]).unwrap();
    command.envs([("RUST_LOG", "info"), ("NO_COLOR", "1")]);
    let mut service = lab
        .start_command(broker, "authservice", &mut command)
        .unwrap();
    service.wait_for_log(UP_LIMIT, &["ready"]).unwrap();
    service
}

/// As the package has it.
const PAM_SERVICE: &str = include_str!("../../deploy/pam.d/x2gobroker");
const CONFIG_PATH: &str = "/etc/x2go/broker/x2gobroker.conf";
/// What the replica logs when it has taken a changed configuration.
const RELOADED: &[&str] = &["configuration", "read"];
/// A profile with two servers, whose user types one password.
pub(crate) const PROFILES: &str = terminal_profiles!(
    "\
[farm]
name=Farm
host=s1,s2
"
);
/// Gossip needs a few rounds of a second; a busy machine some more.
const UP_LIMIT: Duration = Duration::from_secs(60);
