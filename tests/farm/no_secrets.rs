//! Where can a password, an AUTHID or a session's cookie be read by somebody else? In no
//! log, no file, no arguments or environment of a process, and no core dump.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use tests::lab::{HostName, password};
use tests::wait::{Progress, wait_for};

use crate::pam_farm::{PamFarm, Setup, Stop, granted, list, select, status};

const BROKER: HostName = HostName::broker(1);
const S1: HostName = HostName::server(1);
const RIGHT: &str = "R1ght-pl4nted-passw0rd";
const WRONG: &str = "Wr0ng-pl4nted-passw0rd";
/// Not like the right one: pam_unix wants that.
const NEW: &str = "unr3lated.Kn0wn.t0.nobody";
const COOKIE: &str = "5ec4e7c00c1e5ec4e7c00c1e5ec4e7c0";
/// All of our own, and what lies below; the frames of h2 are for protocol debugging.
const LOG: &str = "debug,broker=trace,gossip=trace,pki=trace,proto=trace,hyper=trace,\
                   hyper_util=trace,axum=trace,tower=trace,chitchat=trace";

#[test]
fn passwords_authids_and_cookies_are_in_no_log_argument_environment_or_core_dump() {
    let Some(mut farm) = PamFarm::up(Setup {
        global: "allow-password-change = true",
        log: LOG,
        ..Setup::of(1, 1)
    }) else {
        return;
    };
    let hash = "perl -e 'print \"alice:\", crypt($ENV{P}, q($6$rounds=1000$thelab$)), \"\\n\"'";
    farm.script(BROKER, &format!("P={RIGHT} {hash} | chpasswd -e"));
    farm.script(S1, &session());
    let resumed = wait_for(LIMIT, || {
        let call = farm.ask(BROKER, &list("alice", RIGHT, ""));
        let authid = match granted(&call) {
            Ok(authid) => authid,
            Err(error) => return Progress::Failed(error),
        };
        let selected = farm.ask(BROKER, &select("alice", &authid)).answer;
        let text = selected.map_or_else(|error| error, |answer| answer.text);
        // The one way by which the cookie may come.
        Progress::when(text.contains(COOKIE), || text)
    });
    resumed.unwrap_or_else(|error| panic!("{error}\n{}", farm.story()));

    let secrets = Mutex::new(vec![
        RIGHT.to_owned(),
        WRONG.to_owned(),
        NEW.to_owned(),
        COOKIE.to_owned(),
    ]);
    let stop = Stop::default();
    let seen = thread::scope(|scope| {
        let watch = scope.spawn(|| watch_processes(&secrets, &stop));
        let end = stop.at_end();
        use_secrets(&farm, &secrets);
        drop(end);
        watch.join().unwrap()
    });
    println!(
        "{} looks at all processes; {} of them saw a conversation with PAM",
        seen.n_looks, seen.n_conversations
    );
    assert!(seen.n_conversations > 0, "the search proves nothing");
    assert_eq!(seen.found, Vec::<String>::new());
    assert_eq!(seen.careless, Vec::<String>::new());
    no_core_dumps(&mut farm);
    no_file_tells(&farm, &secrets.into_inner().unwrap());
}

/// Right and wrong ones, by all ways on which they may come.
fn use_secrets(farm: &PamFarm, secrets: &Mutex<Vec<String>>) {
    thread::scope(|scope| {
        for user in ["alice", "bob", "nobody-here", "x y", "root"] {
            scope.spawn(move || {
                let call = farm.ask(BROKER, &list(user, WRONG, ""));
                assert_eq!(status(&call), 401, "{call:?}");
            });
        }
        for _ in 0..10 {
            let call = farm.ask(BROKER, &list("alice", RIGHT, ""));
            let mut authid =
                granted(&call).unwrap_or_else(|error| panic!("{error}\n{}", farm.story()));
            secrets.lock().unwrap().push(authid.clone());
            authid = granted(&farm.ask(BROKER, &select("alice", &authid))).unwrap();
            secrets.lock().unwrap().push(authid.clone());
            // For another user, and once more than it is good for.
            assert_eq!(status(&farm.ask(BROKER, &list("bob", RIGHT, &authid))), 401);
            granted(&farm.ask(BROKER, &list("alice", RIGHT, &authid))).unwrap();
            assert_eq!(
                status(&farm.ask(BROKER, &list("alice", RIGHT, &authid))),
                401
            );
        }
        let call = farm.ask(BROKER, &list("bob", &password("bob"), ""));
        granted(&call).unwrap();
    });
    // A new one in vain, and one that is really hers from then on.
    let change = |old, new| {
        let task = [("task", "setpass"), ("user", "alice")];
        let call = farm.ask(
            BROKER,
            &[&task[..], &[("password", old), ("newpass", new)]].concat(),
        );
        status(&call)
    };
    assert_ne!(change(WRONG, NEW), 200, "{}", farm.story());
    assert_eq!(change(RIGHT, NEW), 200, "{}", farm.story());
    granted(&farm.ask(BROKER, &list("alice", NEW, ""))).unwrap();
    assert_eq!(status(&farm.ask(BROKER, &list("alice", RIGHT, ""))), 401);
}

/// What the other processes of this machine showed.
#[derive(Debug, Default)]
struct Seen {
    n_looks: usize,
    n_conversations: usize,
    found: Vec<String>,
    /// Conversations with too much inherited, or that could leave a core dump.
    careless: Vec<String>,
}

fn watch_processes(secrets: &Mutex<Vec<String>>, stop: &Stop) -> Seen {
    let mut seen = Seen::default();
    while !stop.is_set() {
        seen.n_looks += 1;
        let secrets = secrets.lock().unwrap().clone();
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let processes =
            processes.filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok());
        for process in processes.map(|entry| entry.path()) {
            let read = |name: &str| fs::read(process.join(name)).unwrap_or_default();
            let arguments = String::from_utf8_lossy(&read("cmdline")).into_owned();
            let environment = String::from_utf8_lossy(&read("environ")).into_owned();
            for secret in &secrets {
                if arguments.contains(secret) || environment.contains(secret) {
                    seen.found.push(format!("{secret} of {arguments}"));
                }
            }
            if arguments.contains("--conversation") {
                seen.n_conversations += 1;
                let limits = String::from_utf8_lossy(&read("limits")).into_owned();
                // It sets the limit itself, before it reads its question.
                if environment.contains("RUST_LOG")
                    || !(limits.is_empty() || allows_no_core(&limits))
                {
                    seen.careless.push(format!("{environment} {limits}"));
                }
            }
        }
        thread::yield_now();
    }
    seen
}

fn no_core_dumps(farm: &mut PamFarm) {
    let authservice = farm.authservice(BROKER).pid();
    let limits = fs::read_to_string(format!("/proc/{authservice}/limits")).unwrap();
    assert!(allows_no_core(&limits), "{limits}");
    // proc(5): these files belong to root where PR_SET_DUMPABLE is 0.
    let daemon = farm.replica(BROKER).pid();
    let process = fs::metadata(format!("/proc/{daemon}")).unwrap();
    let environment = fs::metadata(format!("/proc/{daemon}/environ")).unwrap();
    assert!(process.uid() != 0, "the daemon is not root");
    assert_eq!(environment.uid(), 0, "the daemon could leave a core dump");
}

fn allows_no_core(limits: &str) -> bool {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max core file size"));
    let fields = line.unwrap_or_default().split_whitespace();
    fields.take(2).eq(["0", "0"])
}

fn no_file_tells(farm: &PamFarm, secrets: &[String]) {
    let mut n_lines = 0;
    for process in farm.programs() {
        let log = fs::read(process.log_path()).unwrap();
        let log = String::from_utf8_lossy(&log);
        n_lines += log.lines().count();
        for secret in secrets {
            let line = log.lines().find(|line| line.contains(secret));
            assert_eq!(line, None, "{} logs a secret", process.name());
        }
    }
    let lines = |words: &[&str]| farm.logged(BROKER, words).len();
    assert!(
        lines(&[" TRACE "]) > 0 && lines(&["alice"]) > 0,
        "{}",
        farm.story()
    );
    println!(
        "{n_lines} lines of log hold none of {} secrets",
        secrets.len()
    );
    let list = farm.lab.shared().join("secrets");
    fs::write(&list, secrets.join("\n") + "\n").unwrap();
    for host in [BROKER, S1] {
        let find =
            "grep -rlFf /lab/secrets /var/log /run /var/lib/x2gobroker /etc/x2go /tmp || true";
        assert_eq!(farm.script(host, find), "", "{host}");
    }
    // The test can fail.
    farm.script(BROKER, &format!("echo {RIGHT} >/var/log/told"));
    let found = farm.script(BROKER, "grep -rlFf /lab/secrets /var/log");
    assert_eq!(found.trim(), "/var/log/told");
}

/// Writes a suspended session of alice into the session database, as x2goserver would.
fn session() -> String {
    let row = [
        ("display", "50"),
        ("server", "'s1'"),
        ("uname", "'alice'"),
        ("session_id", "'alice-50-1795326687_stRTERMINAL_dp24'"),
        ("init_time", "datetime('now', 'localtime')"),
        ("last_time", "datetime('now', 'localtime')"),
        ("status", "'S'"),
        ("client", "'10.77.0.20'"),
        ("cookie", &format!("'{COOKIE}'")),
        ("agent_pid", "20050"),
        ("gr_port", "30001"),
        ("sound_port", "30002"),
        ("fs_port", "30003"),
        ("tekictrl_port", "-1"),
        ("tekidata_port", "-1"),
    ];
    let (names, values): (Vec<&str>, Vec<&str>) = row.into_iter().unzip();
    format!(
        "perl -MDBI -e 'local $/; DBI->connect(\"dbi:SQLite:dbname=$ARGV[0]\", \"\", \"\", \
         {{ RaiseError => 1 }})->do(<STDIN>)' /var/lib/x2go/x2go_sessions <<END\n\
         INSERT INTO sessions ({}) VALUES ({})\nEND\n",
        names.join(", "),
        values.join(", "),
    )
}

const LIMIT: Duration = Duration::from_secs(30);
