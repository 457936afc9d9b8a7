//! Which X2Go servers are there, and in which state are they?

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tests::binaries;
use tests::process::{Process, command, run};
use tests::session_db::{NewSession, SessionDatabase};

use crate::site::{Site, field};
use crate::state::{Down, KnownSession, SERVERS, State};

/// The three servers of the lab, each with a network, a name, a session database and an
/// agent of its own.
#[derive(Debug)]
pub(crate) struct Servers {
    servers: Vec<Server>,
}

#[derive(Debug)]
struct Server {
    name: &'static str,
    sessions: SessionDatabase,
    homes: PathBuf,
    // Does what users ask of x2goserver.
    _x2goserver: X2goServer,
    // The agent goes before the host that it is on.
    agent: Process,
    _host: Process,
}

impl Servers {
    /// Starts all agents; `seed` is the broker. Returns when they run.
    pub(crate) fn up(site: &Site, seed: SocketAddr) -> Self {
        let servers = SERVERS.into_iter().zip(101..);
        let servers = servers.map(|(name, number)| Server::up(site, name, number, seed));
        Self {
            servers: servers.collect(),
        }
    }

    /// Makes the sessions of a state, and no others.
    pub(crate) fn set_sessions(&self, state: &State) {
        for server in &self.servers {
            server.sessions.execute("DELETE FROM sessions").unwrap();
        }
        for (display, known) in (50..).zip(&state.sessions) {
            self.add(known, display);
        }
    }

    fn add(&self, known: &KnownSession, display: u16) {
        let sessions = &self.server(known.server).sessions;
        let id = sessions
            .run(&NewSession::terminal(known.user, display))
            .unwrap();
        if known.suspended {
            sessions.suspend(&id).unwrap();
        }
    }

    /// Takes servers away as a state says. They don't come back.
    pub(crate) fn take_down(&mut self, state: &State) {
        for server in &mut self.servers {
            match state.down.get(server.name) {
                None => {}
                Some(Down::Refuses) => server.agent.kill().unwrap(),
                Some(Down::Silent) => ip(&["link", "set", &server.port(), "nomaster"]),
            }
        }
    }

    /// All keys of users.
    pub(crate) fn keys(&self) -> BTreeSet<KeyLine> {
        let mut lines = BTreeSet::new();
        for server in &self.servers {
            for (user, _) in HOMES {
                for folder in [".x2go", ".ssh"] {
                    let inside = Path::new(user).join(folder);
                    let Ok(files) = fs::read_dir(server.homes.join(&inside)) else {
                        continue;
                    };
                    for file in files {
                        let path = file.unwrap().path();
                        let name = path.file_name().unwrap().to_string_lossy().into_owned();
                        let text = fs::read_to_string(&path).unwrap_or_default();
                        lines.extend(text.lines().map(|line| KeyLine {
                            server: server.name,
                            file: format!("/home/{}/{name}", inside.display()),
                            text: line.to_owned(),
                        }));
                    }
                }
            }
        }
        lines
    }

    /// The ends of all logs.
    pub(crate) fn story(&self) -> String {
        let stories: Vec<String> = self.servers.iter().map(|s| s.agent.story()).collect();
        stories.join("\n")
    }

    fn server(&self, name: &str) -> &Server {
        self.servers
            .iter()
            .find(|server| server.name == name)
            .unwrap()
    }
}

/// A line of a file with a user's keys.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct KeyLine {
    pub(crate) server: &'static str,
    pub(crate) file: String,
    pub(crate) text: String,
}

/// Each server has the homes of its users for itself.
fn make_homes(folder: &Path) -> PathBuf {
    let homes = folder.join("home");
    fs::create_dir(&homes).unwrap();
    for (user, id) in HOMES {
        let home = homes.join(user);
        fs::create_dir(&home).unwrap();
        std::os::unix::fs::chown(&home, Some(id), Some(id)).unwrap();
    }
    homes
}

impl Drop for Server {
    fn drop(&mut self) {
        // The kernel takes its time with the namespace; the next server needs the name now.
        let _gone = run(command("ip").args(["link", "del", &self.port()]));
    }
}

impl Server {
    fn up(site: &Site, name: &'static str, number: u8, seed: SocketAddr) -> Self {
        let folder = site.new_folder(name);
        let mut start = command("unshare");
        start.args(["--mount", "--net", "--uts", "bash", "-ec", HOST, name]);
        start.arg(make_homes(&folder));
        let mut host = Process::start_tied(name, &mut start, &folder.join("host.log")).unwrap();
        host.wait_for_log(START_LIMIT, &["ready"]).unwrap();
        let pid = host.pid().to_string();
        let port = format!("p-{name}");
        // A server that comes back has the address that the others remember.
        let mac = format!("02:00:0a:4d:00:{number:02x}");
        let peer = ["peer", "name", "eth0", "address", &mac, "netns", &pid];
        ip(&[&["link", "add", &port, "type", "veth"][..], &peer].concat());
        ip(&["link", "set", &port, "master", "br0", "up"]);
        let inside = |words: &[&str]| {
            let mut enter = command("nsenter");
            enter.args(["--target", &pid, "--mount", "--net", "--uts"]);
            enter.args(words);
            enter
        };
        let address = format!("10.77.0.{number}");
        let network =
            format!("ip link set lo up; ip address add {address}/24 dev eth0; ip link set eth0 up");
        run(&mut inside(&["sh", "-ec", &network])).unwrap();
        let sessions = SessionDatabase::create(&folder.join("x2go_sessions"), name).unwrap();
        let x2goserver = X2goServer::run(name, folder.join("x2go_sessions"));
        let config = write_config(site, &folder, name, &format!("{address}:0"), seed);
        let program = binaries::binary("x2gobroker-agentd").unwrap();
        let mut agent = inside(&[]);
        agent
            .arg(program)
            .arg("--config")
            .arg(config)
            .env("NO_COLOR", "1");
        let agent = Process::start(name, &mut agent, &folder.join("agent.log")).unwrap();
        Self {
            name,
            sessions,
            homes: folder.join("home"),
            _x2goserver: x2goserver,
            agent,
            _host: host,
        }
    }

    /// Its port on the bridge.
    fn port(&self) -> String {
        format!("p-{}", self.name)
    }
}

/// Suspends the sessions that users ask to suspend: x2gosuspend-session of the stage names
/// one by a file, and waits until the file is gone.
#[derive(Debug)]
struct X2goServer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl X2goServer {
    fn run(name: &'static str, database: PathBuf) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let sessions = SessionDatabase::open(&database, name).unwrap();
            let folder = Path::new("/run/x2goserver").join(name);
            while !stopped.load(Ordering::Relaxed) {
                for asked in fs::read_dir(&folder).unwrap() {
                    let asked = asked.unwrap();
                    sessions
                        .suspend(&asked.file_name().to_string_lossy())
                        .unwrap();
                    fs::remove_file(asked.path()).unwrap();
                }
                std::thread::sleep(LOOK_PAUSE);
            }
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for X2goServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(std::thread::panicking() || ended.is_none_or(|ended| ended.is_ok()));
    }
}

fn write_config(site: &Site, folder: &Path, name: &str, listen: &str, seed: SocketAddr) -> PathBuf {
    let text = format!(
        "node = \"{name}\"\n\
         identity = \"{}\"\n\
         listen = \"{listen}\"\n\
         seeds = [\"{seed}\"]\n\
         state_directory = \"{}\"\n\
         session_database = \"{}\"\n\
         capacity_mhz = 2400\n\
         gossip = \"local\"\n",
        site.identity("agent", name).display(),
        folder.display(),
        folder.join("x2go_sessions").display(),
    );
    let path = folder.join("agentd.toml");
    fs::write(&path, text).unwrap();
    path
}

fn ip(words: &[&str]) {
    run(command("ip").args(words)).unwrap();
}

/// Waits until `daemon` has met all servers.
pub(crate) fn wait_for_all(daemon: &mut Process) {
    for name in SERVERS {
        let words = ["member joined", &format!("node={name} ")];
        let line = daemon.wait_for_log(JOIN_LIMIT, &words).unwrap();
        assert!(!field(&line, "node").is_empty());
    }
}

/// Who has a home, and by which number.
const HOMES: [(&str, u32); 3] = [("alice", 2001), ("bob", 2002), ("carol", 2003)];
/// A host: homes, a name, and an input that ends with the test.
const HOST: &str =
    "mount --bind \"$1\" /home; hostname \"$0\"; echo ready; while read -r _; do :; done";
/// x2goserver takes longer than that for anything.
const LOOK_PAUSE: Duration = Duration::from_millis(10);
const START_LIMIT: Duration = Duration::from_secs(10);
/// Gossip has short rounds here.
const JOIN_LIMIT: Duration = Duration::from_secs(15);
