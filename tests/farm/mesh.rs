//! How does a lab become a mesh? Certificates for all, an agent on each server, a replica
//! on each broker host.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tests::binaries;
use tests::lab::{Caller, HostName, Lab, Plan, SERVICE, farm_user};
use tests::process::{Process, command, run};
use tests::wait::{Progress, wait_for};

use crate::figures::Figures;

/// A farm with the product on it.
#[derive(Debug)]
pub(crate) struct Mesh {
    // The programs go before the hosts that they run on.
    agents: BTreeMap<HostName, Process>,
    replicas: BTreeMap<HostName, Process>,
    pub(crate) lab: Lab,
    callers: Vec<Caller>,
    n_logins: u32,
    global: &'static str,
    _alone: MutexGuard<'static, ()>,
}

impl Mesh {
    /// Brings up a farm and the mesh on it, and returns once both replicas know all servers.
    /// `None` when this machine can't, and does not have to.
    pub(crate) fn up() -> Option<Self> {
        Self::up_with("")
    }

    /// [`Self::up`], with more lines in the section `[global]` of the replicas' files.
    pub(crate) fn up_with(global: &'static str) -> Option<Self> {
        if crate::skipped() {
            return None;
        }
        // Two farms at once on two cores would measure each other.
        let alone = ONE_FARM.lock().unwrap_or_else(PoisonError::into_inner);
        let lab = Lab::up(Plan::FARM, &binaries::folder().unwrap()).unwrap();
        println!("the lab was up after {:.1?}", lab.took());
        enrol_all(&lab);
        let callers = (1..=2).map(|number| lab.caller(&format!("caller{number}")).unwrap());
        let callers = callers.collect();
        let (agents, replicas) = (BTreeMap::new(), BTreeMap::new());
        let mut mesh = Self {
            agents,
            replicas,
            lab,
            callers,
            n_logins: 0,
            global,
            _alone: alone,
        };
        mesh.lab
            .brokers()
            .into_iter()
            .for_each(|broker| mesh.start_replica(broker));
        mesh.lab
            .servers()
            .into_iter()
            .for_each(|server| mesh.start_agent(server));
        for broker in mesh.lab.brokers() {
            mesh.wait_until_complete(broker);
        }
        Some(mesh)
    }

    /// Starts the agent of a server, with the setuid program in its place.
    pub(crate) fn start_agent(&mut self, server: HostName) {
        install_shim(&self.lab, server);
        let text = format!(
            "identity = \"{IDENTITY}\"\n\
             advertise = \"{}:7464\"\n\
             seeds = [\"broker1:7465\", \"broker2:7465\"]\n\
             state_directory = \"{STATE}\"\n",
            Lab::address(server)
        );
        self.lab
            .write(server, SERVICE, "/etc/x2go/broker/agentd.toml", &text)
            .unwrap();
        let argv = [
            &program("x2gobroker-agentd"),
            "--config",
            "/etc/x2go/broker/agentd.toml",
        ];
        let agent = self.start(server, "agentd", &argv);
        self.agents.insert(server, agent);
    }

    /// Starts the replica of a broker host.
    pub(crate) fn start_replica(&mut self, broker: HostName) {
        let text = format!(
            "[global]\n\
             default-auth-mech = none\n\
             {}\n\
             [broker_inifile]\n\
             enable = true\n\
             session-profiles = {PROFILES_PATH}\n\
             [mesh]\n\
             identity = {IDENTITY}\n\
             advertise = {}:7465\n\
             seeds = broker1:7465, broker2:7465\n\
             state-directory = {STATE}\n",
            self.global,
            Lab::address(broker),
        );
        self.lab
            .write(broker, SERVICE, "/etc/x2go/broker/x2gobroker.conf", &text)
            .unwrap();
        self.lab
            .write(broker, SERVICE, PROFILES_PATH, PROFILES)
            .unwrap();
        let config = ["--config-file", "/etc/x2go/broker/x2gobroker.conf"];
        let program = program("x2gobroker-daemon");
        let argv = [
            &[program.as_str()],
            &config[..],
            &["--bind", "0.0.0.0:8080"],
        ]
        .concat();
        let replica = self.start(broker, "daemon", &argv);
        self.replicas.insert(broker, replica);
    }

    pub(crate) fn agent(&mut self, server: HostName) -> &mut Process {
        self.agents.get_mut(&server).unwrap()
    }

    pub(crate) fn replica(&mut self, broker: HostName) -> &mut Process {
        self.replicas.get_mut(&broker).unwrap()
    }

    /// Waits until a replica has seen every server join, and places a session.
    pub(crate) fn wait_until_complete(&mut self, broker: HostName) {
        for server in self.lab.servers() {
            let node = format!("node={server}");
            self.replica(broker)
                .wait_for_log(JOIN_LIMIT, &["member joined", &node])
                .unwrap();
        }
        let user = farm_user(PROBE_USER);
        let caller = self.callers.first_mut().unwrap();
        let placed = wait_for(JOIN_LIMIT, || {
            let call = caller.select(address(broker), &user, "farm").unwrap();
            Progress::retry(call.server().map(drop))
        });
        placed.unwrap_or_else(|error| {
            panic!("{broker}: {error}\n{}", self.replicas[&broker].story())
        });
    }

    /// The lines with all these words that a replica has logged.
    pub(crate) fn logged(&self, broker: HostName, words: &[&str]) -> Vec<String> {
        self.replicas[&broker].log_lines(words)
    }

    /// How often a replica has logged that a member came or went.
    pub(crate) fn count_logged(&mut self, broker: HostName, what: &str, node: HostName) -> usize {
        self.replica(broker)
            .log_lines(&[what, &format!("node={node}")])
            .len()
    }

    /// Logs one more farm user in, by turns through each replica.
    pub(crate) fn log_in_next(&mut self, figures: &mut Figures) {
        let brokers = self.lab.brokers();
        let turn = self.n_logins as usize % brokers.len();
        self.log_in_through(brokers[turn], figures);
    }

    /// Logs one more farm user in through this replica.
    pub(crate) fn log_in_through(&mut self, broker: HostName, figures: &mut Figures) {
        self.n_logins += 1;
        let user = farm_user(1 + self.n_logins % N_USERS);
        let caller = self.callers.last_mut().unwrap();
        figures.add(&caller.select(address(broker), &user, "farm").unwrap());
    }

    pub(crate) fn caller(&mut self) -> &mut Caller {
        self.callers.first_mut().unwrap()
    }

    /// What an operator on the first broker host is answered by `x2gobrokerctl`.
    pub(crate) fn operate(&self, server: HostName, command: &[&str]) -> String {
        operate(&self.lab, server, command)
    }

    /// The logs of all programs, for the text of a failure.
    pub(crate) fn story(&self) -> String {
        let all = self.replicas.values().chain(self.agents.values());
        all.map(|process| process.story() + "\n").collect()
    }

    fn start(&self, host: HostName, name: &str, argv: &[&str]) -> Process {
        let mut command = self.lab.command(host, SERVICE, argv).unwrap();
        // Each sign of life of a session is a line at debug.
        let log = "info,broker::task::client_event=debug";
        command.envs([("RUST_LOG", log), ("NO_COLOR", "1")]);
        self.lab.start_command(host, name, &mut command).unwrap()
    }
}

/// What an operator on the first broker host is answered by `x2gobrokerctl`.
pub(crate) fn operate(lab: &Lab, server: HostName, command: &[&str]) -> String {
    let (program, server) = (program("x2gobrokerctl"), server.to_string());
    let options = [&program, "--identity", OPERATOR, "--node", &server];
    let argv = [&options[..], command].concat();
    lab.exec(HostName::broker(1), SERVICE, &argv).unwrap()
}

/// Where clients reach a replica.
pub(crate) fn address(broker: HostName) -> SocketAddr {
    (Lab::address(broker), 8080).into()
}

/// Makes a CA and gives each host its certificate.
pub(crate) fn enrol_all(lab: &Lab) {
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca");
    let program = binaries::binary("x2gobroker-ca").unwrap();
    run(command(&program)
        .args(["init", "--farm", "lab", "--dir"])
        .arg(&ca))
    .unwrap();
    let agents = lab.servers().into_iter().map(|host| (host, "agent"));
    let brokers = lab.brokers().into_iter().map(|host| (host, "broker"));
    let operators = [(HostName::broker(1), "operator")];
    for (host, role) in agents.chain(brokers).chain(operators) {
        let out = folder.path().join(format!("{role}-{host}"));
        let mut issue = command(&program);
        issue.args([
            "issue",
            "--role",
            role,
            "--node",
            &host.to_string(),
            "--dir",
        ]);
        run(issue.arg(&ca).arg("--out").arg(&out)).unwrap();
        let place = if role == "operator" {
            OPERATOR
        } else {
            IDENTITY
        };
        install_identity(lab, host, &out, place);
    }
}

/// Copies an identity to its host, for the user that the programs run as.
fn install_identity(lab: &Lab, host: HostName, from: &Path, to: &str) {
    lab.make_folder(host, SERVICE, STATE).unwrap();
    for name in ["leaf.crt", "leaf.key", "roots.pem"] {
        let text = fs::read_to_string(from.join(name)).unwrap();
        lab.write(host, SERVICE, &format!("{to}/{name}"), &text)
            .unwrap();
    }
}

/// Puts the setuid program into its place.
pub(crate) fn install_shim(lab: &Lab, server: HostName) {
    let shim = program("x2gobroker-agent");
    let as_packaged = ["install", "-D", "-o", "root", "-g", SERVICE, "-m", "4750"];
    let install = [&as_packaged[..], &[&shim, SHIM]].concat();
    lab.exec(server, "root", &install).unwrap();
}

pub(crate) fn program(name: &str) -> String {
    format!("{}/{name}", Lab::PROGRAMS)
}

pub(crate) static ONE_FARM: Mutex<()> = Mutex::new(());

pub(crate) const IDENTITY: &str = "/etc/x2go/broker/identity";
pub(crate) const STATE: &str = "/var/lib/x2gobroker/mesh";
pub(crate) const PROFILES_PATH: &str = "/etc/x2go/broker/x2gobroker-sessionprofiles.conf";
const OPERATOR: &str = "/etc/x2go/broker/operator";
/// Where the package has it.
const SHIM: &str = "/usr/lib/x2go/x2gobroker-agent";
const PROFILES: &str = terminal_profiles!(
    "\
[farm]
name=Farm
host=s1,s2,s3
"
);
/// The probing user stays out of the figures.
const PROBE_USER: u32 = 400;
const N_USERS: u32 = 390;
/// Gossip needs a few rounds of a second; a busy machine some more.
const JOIN_LIMIT: Duration = Duration::from_secs(60);
