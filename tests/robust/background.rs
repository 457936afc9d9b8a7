//! How does the daemon live with its host: background, log files, privileges, systemd?

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;

use tests::http::HttpClient;
use tests::plain::{Credentials, list_sessions};
use tests::process::{Process, command, run};
use tests::wait::{Progress, wait_for};

use crate::site::{BROKER, PROFILES_FILE, Site};
use crate::small_farm::{ANSWER_LIMIT, JOIN_LIMIT, PROFILES, START_LIMIT, field};

/// A daemon that left for the background; killed when the test ends.
struct Background {
    pid: String,
    logs: PathBuf,
    pid_file: PathBuf,
}

impl Background {
    fn of(site: &Site) -> Self {
        let pid_file = site.path("run/daemon.pid");
        Self {
            pid: fs::read_to_string(&pid_file).unwrap().trim().to_owned(),
            logs: site.path("logs"),
            pid_file,
        }
    }

    fn log(&self, name: &str) -> String {
        fs::read_to_string(self.logs.join(name)).unwrap()
    }

    fn wait_for_log(&self, words: &str) -> String {
        let found = wait_for(START_LIMIT, || {
            let log = self.log("broker.log");
            match log.lines().find(|line| line.contains(words)) {
                Some(line) => Progress::Ready(line.to_owned()),
                None => Progress::NotYet(log),
            }
        });
        found.unwrap()
    }

    fn http(&self) -> SocketAddr {
        let line = self.wait_for_log("listening for HTTP ");
        field(&line, "address").parse().unwrap()
    }

    fn signal(&self, name: &str) {
        run(command("sh")
            .arg("-c")
            .arg(format!("kill -{name} {}", self.pid)))
        .unwrap();
    }

    fn status(&self, field: &str) -> Vec<String> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(field));
        line.unwrap()
            .split_whitespace()
            .map(str::to_owned)
            .collect()
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // It has ended already, in a test that went well, and its ID may be another's.
        if !self.pid_file.exists() {
            return;
        }
        let kill = format!("kill -KILL {} 2>/dev/null", self.pid);
        let _ = run(command("sh").arg("-c").arg(kill));
    }
}

/// A site of one replica without agents, and the daemon for the background.
fn site(bind: &str) -> (Site, Command) {
    let site = Site::new();
    let identity = site.issue("broker", BROKER);
    site.write(PROFILES_FILE, PROFILES);
    let config = site.write("x2gobroker.conf", &site.replica(&identity));
    for folder in ["run", "logs"] {
        fs::create_dir(site.path(folder)).unwrap();
    }
    let mut daemon = site.daemon_at(&config, bind);
    daemon.arg("--daemonize");
    daemon.arg("--pidfile").arg(site.path("run/daemon.pid"));
    daemon.arg("--logdir").arg(site.path("logs"));
    (site, daemon)
}

fn serves(http: SocketAddr) {
    let mut client = HttpClient::new(http, ANSWER_LIMIT);
    let answer = list_sessions(&mut client, Credentials::new("alice", "pw")).unwrap();
    assert_eq!(answer.profiles.len(), 3, "{}", answer.text);
}

#[test]
fn a_daemon_goes_to_the_background_once_it_serves_and_keeps_its_logs_to_itself() {
    let (site, mut start) = site("127.0.0.1:0");
    run(&mut start).unwrap();
    let daemon = Background::of(&site);
    // Who started it was told that it serves: nothing is waited for here.
    let line = daemon.log("broker.log");
    let line = line
        .lines()
        .find(|line| line.contains("listening for HTTP "));
    serves(field(line.unwrap(), "address").parse().unwrap());

    for name in ["broker.log", "access.log", "error.log"] {
        let mode = fs::metadata(daemon.logs.join(name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o640, "{name}");
    }
    let session = daemon.status("NSsid:");
    assert_eq!(
        session,
        [daemon.pid.as_str()],
        "it leads a session of its own"
    );

    // logrotate moves a log away and sends SIGHUP.
    fs::rename(
        daemon.logs.join("broker.log"),
        daemon.logs.join("broker.log.1"),
    )
    .unwrap();
    daemon.signal("HUP");
    let anew = wait_for(ANSWER_LIMIT, || {
        let log = fs::read_to_string(daemon.logs.join("broker.log")).unwrap_or_default();
        Progress::when(log.contains("session profiles read"), || log)
    });
    anew.unwrap();

    let error = run(&mut start).unwrap_err().to_string();
    let told = format!(
        "belongs to a daemon that runs, with process ID {}",
        daemon.pid
    );
    assert!(error.contains("exit status: 1"), "{error}");
    assert!(
        daemon.log("error.log").contains(&told),
        "{}",
        daemon.log("error.log")
    );

    daemon.signal("TERM");
    let gone = wait_for(JOIN_LIMIT, || {
        Progress::when(!daemon.pid_file.exists(), || daemon.log("broker.log"))
    });
    gone.unwrap();
}

#[test]
fn a_daemon_that_can_not_start_says_so_before_it_leaves() {
    let (site, mut start) = site("127.0.0.1:0");
    site.write("x2gobroker.conf", "[global]\nverify-ip = perhaps\n");
    let error = run(&mut start).unwrap_err().to_string();
    assert!(error.contains("exit status: 1"), "{error}");
    assert!(
        error.contains("[global] verify-ip: this is neither true nor false"),
        "{error}"
    );
    assert!(!site.path("run/daemon.pid").exists());
}

#[test]
fn privileges_are_dropped_for_good_and_the_ports_of_root_are_kept() {
    if !is_root() {
        println!("only root has privileges to drop");
        return;
    }
    // All of 127.0.0.0/8 is this host; nobody else listens there.
    let address = "127.0.83.3:80";
    let (site, mut start) = site(address);
    let nobody = id_of("nobody", "-u");
    let nogroup = id_of("nobody", "-g");
    site.write(
        "defaults.conf",
        "[common]\nX2GOBROKER_DAEMON_USER=nobody\nX2GOBROKER_DAEMON_GROUP=nogroup\n",
    );
    give(
        &site.path(""),
        nobody.parse().unwrap(),
        nogroup.parse().unwrap(),
    );
    run(start.arg("--drop-privileges")).unwrap();
    let daemon = Background::of(&site);
    assert_eq!(daemon.http().to_string(), address);
    serves(daemon.http());
    assert_eq!(daemon.status("Uid:"), vec![nobody; 4]);
    assert_eq!(daemon.status("Gid:"), vec![nogroup; 4]);
    let groups = daemon.status("Groups:");
    assert!(!groups.contains(&"0".to_owned()), "{groups:?}");
    let capabilities = daemon.status("CapEff:");
    assert_eq!(capabilities, ["0000000000000000"]);
    daemon.signal("TERM");
}

#[test]
fn systemd_is_told_when_clients_are_served_and_of_each_reload() {
    let site = Site::new();
    let identity = site.issue("broker", BROKER);
    site.write(PROFILES_FILE, PROFILES);
    let config = site.write("x2gobroker.conf", &site.replica(&identity));
    let socket = UnixDatagram::bind(site.path("notify")).unwrap();
    socket.set_read_timeout(Some(START_LIMIT)).unwrap();
    let mut start = site.daemon(&config);
    start.env("NOTIFY_SOCKET", site.path("notify"));
    // It would end this process, which systemd watches.
    start.arg("--daemonize");
    let log = site.path("daemon.log");
    let mut daemon = Process::start("daemon", &mut start, &log).unwrap();
    assert_eq!(told(&socket), "READY=1");
    let line = daemon.log_lines(&["listening for HTTP "]).pop().unwrap();
    serves(field(&line, "address").parse().unwrap());
    assert_eq!(
        daemon
            .log_lines(&["WARN", "--daemonize has no effect"])
            .len(),
        1
    );

    // sd_notify(3): RELOADING=1 together with MONOTONIC_USEC, then READY=1.
    daemon.signal("HUP").unwrap();
    let reloading = told(&socket);
    let (first, time) = reloading.split_once('\n').unwrap();
    assert_eq!(first, "RELOADING=1");
    let time = time.strip_prefix("MONOTONIC_USEC=").unwrap();
    assert!(time.parse::<u64>().unwrap() > 0, "{time}");
    assert_eq!(told(&socket), "READY=1");
    daemon.terminate().unwrap();
    assert_eq!(told(&socket), "STOPPING=1");
    assert!(daemon.wait_exit(JOIN_LIMIT).unwrap().success());
}

fn told(socket: &UnixDatagram) -> String {
    let mut bytes = [0; 256];
    let length = socket.recv(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes[..length]).trim().to_owned()
}

fn is_root() -> bool {
    id_of("", "-u") == "0"
}

fn id_of(user: &str, which: &str) -> String {
    let mut id = command("id");
    id.arg(which);
    if !user.is_empty() {
        id.arg(user);
    }
    run(&mut id).unwrap().trim().to_owned()
}

/// Gives a folder and all in it to somebody.
fn give(path: &Path, user: u32, group: u32) {
    chown(path, Some(user), Some(group)).unwrap();
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            give(&entry.unwrap().path(), user, group);
        }
    }
}
