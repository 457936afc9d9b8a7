//! How does a test get a replica and an agent or two that work?

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use tests::http::HttpClient;
use tests::plain::{Credentials, PlainAnswer, list_sessions, select_session};
use tests::process::{Process, command, run};
use tests::session_db::SessionDatabase;
use tests::wait::{Progress, now, wait_for};

use crate::site::{BROKER, PROFILES_FILE, Site};

/// One replica, and an agent for each server, as processes of their own.
#[derive(Debug)]
pub(crate) struct SmallFarm {
    pub(crate) daemon: Process,
    pub(crate) agents: Vec<Process>,
    pub(crate) http: SocketAddr,
    pub(crate) https: Option<SocketAddr>,
    seed: SocketAddr,
    log_level: String,
    agent: &'static str,
    // The programs go before their files.
    pub(crate) site: Site,
}

/// What is special about a farm.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Servers, each with its agent and an empty session database.
    pub(crate) servers: &'static [&'static str],
    /// The session profiles; without them there is no file.
    pub(crate) profiles: Option<&'static str>,
    /// Lines of `[limits]`.
    pub(crate) limits: &'static str,
    /// Whether HTTPS is served as well.
    pub(crate) https: bool,
    /// What the programs log, as `RUST_LOG`.
    pub(crate) log_level: &'static str,
    /// Further sections of `x2gobroker.conf`.
    pub(crate) sections: fn(&Site) -> String,
    /// Further lines of `agentd.toml`; FOLDER and NODE stand for those of the agent.
    pub(crate) agent: &'static str,
}

impl Plan {
    /// One server with one profile, and the limits as they are by default.
    pub(crate) const ONE_SERVER: Self = Self {
        servers: &["s1"],
        profiles: Some(PROFILES),
        limits: "",
        https: false,
        log_level: "info",
        sections: |_| String::new(),
        agent: "",
    };
}

impl SmallFarm {
    /// Starts all programs and returns once each server takes sessions, or once the
    /// replica listens if there are none.
    pub(crate) fn up(plan: Plan) -> Self {
        let site = Site::new();
        let identity = site.issue("broker", BROKER);
        let mut text = site.replica(&identity);
        text += &format!("[limits]\n{}\n", plan.limits);
        if plan.https {
            text += "[http]\nhttps-bind = 127.0.0.1:0\n";
            let (certificate, key) = (identity.join("leaf.crt"), identity.join("leaf.key"));
            let files = format!(
                "[daemon]\nX2GOBROKER_SSL_CERTFILE={}\nX2GOBROKER_SSL_KEYFILE={}\n",
                certificate.display(),
                key.display()
            );
            site.write("defaults.conf", &files);
        }
        text += &(plan.sections)(&site);
        let config = site.write("x2gobroker.conf", &text);
        if let Some(profiles) = plan.profiles {
            site.write(PROFILES_FILE, profiles);
        }
        let mut daemon = site.daemon(&config);
        daemon.env("RUST_LOG", plan.log_level);
        let mut daemon = Process::start("daemon", &mut daemon, &site.path("daemon.log")).unwrap();
        let seed = logged_address(&mut daemon, &["replica started"], "advertise");
        let http = logged_address(&mut daemon, &["listening for HTTP "], "address");
        let https = plan
            .https
            .then(|| logged_address(&mut daemon, &["listening for HTTPS "], "address"));
        let mut farm = Self {
            daemon,
            agents: Vec::new(),
            http,
            https,
            seed,
            log_level: plan.log_level.to_owned(),
            agent: plan.agent,
            site,
        };
        for server in plan.servers {
            SessionDatabase::create(&farm.site.session_database(server), server).unwrap();
            farm.start_agent(server);
        }
        if plan.profiles.is_some() && !plan.servers.is_empty() {
            farm.wait_for_server("farm", None);
        }
        farm
    }

    /// Starts the agent of a server, and waits until the replica has seen it.
    pub(crate) fn start_agent(&mut self, node: &str) {
        let identity = self.site.issue("agent", node);
        let folder = self.site.path("").display().to_string();
        let more = self.agent.replace("FOLDER/", &folder);
        let text = self.site.agent(node, &identity, &[self.seed]) + &more.replace("NODE", node);
        let config = self.site.write(&format!("{node}.toml"), &text);
        let mut agentd = self.site.agentd(&config);
        if !self.agent.is_empty() {
            agentd = self.with_users(&agentd);
        }
        agentd.env("RUST_LOG", &self.log_level);
        let log = self.site.path(&format!("{node}.log"));
        let agent = Process::start(node, &mut agentd, &log).unwrap();
        self.agents.push(agent);
        self.daemon
            .wait_for_log(JOIN_LIMIT, &["member joined", &format!("node={node} ")])
            .unwrap();
    }

    /// The same command where alice, bob and carol have accounts, which agents with keys ask
    /// for. Needs root and mount namespaces.
    fn with_users(&self, program: &Command) -> Command {
        let mut users = std::fs::read_to_string("/etc/passwd").unwrap();
        for (number, user) in (2001..).zip(["alice", "bob", "carol"]) {
            users += &format!("{user}:x:{number}:{number}::/nonexistent:/bin/bash\n");
        }
        let users = self.site.write("passwd", &users);
        let mut stage = command("unshare");
        stage.args(["--mount", "--propagation", "private", "bash", "-ec"]);
        stage.arg(r#"mount --bind "$1" /etc/passwd; shift; exec "$@""#);
        stage.arg("stage").arg(users).arg(program.get_program());
        stage.args(program.get_args()).env("NO_COLOR", "1");
        stage
    }

    /// A client with a connection of its own.
    pub(crate) fn client(&self) -> HttpClient {
        HttpClient::new(self.http, ANSWER_LIMIT)
    }

    /// Picks a profile, on a new connection.
    pub(crate) fn select(&self, user: &str, profile: &str) -> PlainAnswer {
        let who = Credentials::new(user, "pw");
        select_session(&mut self.client(), who, profile).unwrap_or_else(|error| {
            panic!("{user}: {error:?}\n{}", self.daemon.story());
        })
    }

    /// Asks for the profiles, on a new connection.
    pub(crate) fn list(&self, user: &str) -> PlainAnswer {
        list_sessions(&mut self.client(), Credentials::new(user, "pw")).unwrap()
    }

    /// Logs a user in, on a new connection, and returns how long that took.
    pub(crate) fn log_in(&self, user: &str) -> Duration {
        let begun = now();
        let answer = self.select(user, "farm");
        let took = begun.elapsed();
        let placed = answer
            .server
            .is_some_and(|(_, port)| port >= FIRST_SSH_PORT);
        assert!(
            answer.granted && placed,
            "{user}: {}\n{}",
            answer.text,
            self.story()
        );
        took
    }

    /// Waits until a profile leads to the server with this SSH port, or to any.
    pub(crate) fn wait_for_server(&self, profile: &str, port: Option<u16>) {
        let placed = wait_for(JOIN_LIMIT, || {
            let answer = self.select("probe", profile);
            let found = answer.server.map_or(0, |(_, port)| port);
            let good = port.map_or(found >= FIRST_SSH_PORT, |port| found == port);
            Progress::when(good, || answer.text)
        });
        placed.unwrap_or_else(|error| panic!("{error}\n{}", self.story()));
    }

    /// What `x2gobrokerctl status` says of a server.
    pub(crate) fn status(&self, node: &str) -> anyhow::Result<String> {
        let identity = self.site.path("operator-ops");
        if !identity.exists() {
            self.site.issue("operator", "ops");
        }
        let agent = self.agents.iter().find(|agent| agent.name() == node);
        let line = agent.unwrap().log_lines(&["agent began"]).pop().unwrap();
        let program = tests::binaries::binary("x2gobrokerctl")?;
        let mut ctl = command(program);
        ctl.arg("--identity").arg(identity);
        ctl.args(["--node", node, "--address", &field(&line, "address")]);
        run(ctl.arg("status"))
    }

    /// The ends of all logs.
    pub(crate) fn story(&self) -> String {
        let agents = self.agents.iter().map(Process::story);
        let all: Vec<String> = agents.chain([self.daemon.story()]).collect();
        all.join("\n")
    }
}

/// Waits for a line of the log and returns the address in its field.
fn logged_address(process: &mut Process, words: &[&str], name: &str) -> SocketAddr {
    let line = process.wait_for_log(START_LIMIT, words).unwrap();
    field(&line, name).parse().unwrap()
}

/// Returns the value of a field of a log line, ` name=value`.
pub(crate) fn field(line: &str, name: &str) -> String {
    let (_, rest) = line.split_once(&format!(" {name}=")).unwrap();
    rest.split(' ').next().unwrap().to_owned()
}

/// An address of loopback that is not the one of the other clients.
pub(crate) const OTHER_CLIENT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// Servers have this SSH port and the next ones in the profiles; answers without a server
/// have 22.
pub(crate) const FIRST_SSH_PORT: u16 = 22001;
/// A profile on all servers, and one on each of them.
pub(crate) const PROFILES: &str = "\
[DEFAULT]
command=TERMINAL
user=BROKER_USER
usebrokerpass=true

[farm]
name=Farm
host=s1 (127.0.0.1:22001),s2 (127.0.0.1:22002)

[first]
name=Only s1
host=s1 (127.0.0.1:22001)

[second]
name=Only s2
host=s2 (127.0.0.1:22002)
";
/// Programs are up in tens of milliseconds; the machine may be busy.
pub(crate) const START_LIMIT: Duration = Duration::from_secs(10);
/// The gossip of tests has short rounds.
pub(crate) const JOIN_LIMIT: Duration = Duration::from_secs(15);
/// No answer takes that long, even of a busy machine.
pub(crate) const ANSWER_LIMIT: Duration = Duration::from_secs(5);
