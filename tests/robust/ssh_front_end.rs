//! Does x2gobroker-ssh answer within milliseconds, or say clearly why not? And does a user who
//! sends nonsense to its socket, or too much, harm anybody?

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use tests::binaries;
use tests::process::{Process, command, run};
use tests::wait::{Progress, now, wait_for};

use crate::site::{PROFILES_FILE, Site};

const PASSWORD: &str = "pl4nted-Passw0rd";
const AUTHID: &str = "pl4nted-4uthid";

/// A replica that whoever runs this test may ask.
struct Broker {
    daemon: Process,
    site: Site,
}

impl Broker {
    fn up() -> Self {
        let site = Site::new();
        let profiles: String = (0..20)
            .map(|number| format!("[p{number}]\nname=P{number}\nhost=s1\nuser=BROKER_USER\n\n"))
            .collect();
        site.write(PROFILES_FILE, &profiles);
        let group = run(command("id").arg("-gn")).unwrap();
        let text = format!(
            "{}[ssh]\nsocket = {}\ngroup = {group}\n",
            site.replica(&site.issue("broker", "broker1")),
            site.path("ssh").display(),
        );
        let config = site.write("x2gobroker.conf", &text);
        let mut daemon = site.daemon(&config);
        daemon.env("RUST_LOG", "debug,broker=trace");
        let mut daemon = Process::start("daemon", &mut daemon, &site.path("log")).unwrap();
        daemon
            .wait_for_log(UP_LIMIT, &["listening for SSH"])
            .unwrap();
        Self { daemon, site }
    }

    fn socket(&self) -> PathBuf {
        self.site.path("ssh")
    }

    fn ask(&self, words: &[&str]) -> Output {
        let mut ask = command(binaries::binary("x2gobroker-ssh").unwrap());
        ask.arg("--socket").arg(self.socket()).args(words);
        ask.env_clear().stdin(Stdio::null()).output().unwrap()
    }

    fn lists(&self) -> Progress<()> {
        let output = self.ask(&["--task", "listsessions"]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Progress::when(text.ends_with("END_USER_SESSIONS\n\n"), || {
            format!("{text}{}", String::from_utf8_lossy(&output.stderr))
        })
    }
}

#[test]
fn an_answer_takes_milliseconds_and_the_lack_of_a_daemon_is_told_at_once() {
    let mut broker = Broker::up();
    let mut took: Vec<Duration> = (0..N_RUNS)
        .map(|_| {
            let begun = now();
            assert!(matches!(broker.lists(), Progress::Ready(())));
            begun.elapsed()
        })
        .collect();
    took.sort();
    let (fastest, median) = (took[0], took[N_RUNS / 2]);
    println!(
        "x2gobroker-ssh --task listsessions, {N_RUNS} times: fastest {fastest:.1?}, \
         median {median:.1?}, slowest {:.1?}; x2gobroker 0.0.4.3 took 920 ms",
        took[N_RUNS - 1]
    );
    // The machine may be busy with other tests; the fastest shows what it takes.
    assert!(fastest <= MOST, "{took:?}");

    broker.daemon.kill().unwrap();
    let begun = now();
    let output = broker.ask(&["--task", "listsessions"]);
    let took = begun.elapsed();
    println!("without a daemon it ended after {took:.1?}");
    assert_eq!(output.status.code(), Some(69), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("session broker of this host does not run"),
        "{said}"
    );
    assert!(took < Duration::from_secs(1));
}

#[test]
fn nonsense_and_a_crowd_at_the_socket_harm_nobody_for_long() {
    let broker = Broker::up();
    for bytes in [
        &[0xff; 4][..],
        &[0, 0, 0, 3, 1, 2, 3],
        &[0, 1, 0, 1],
        b"GET / HTTP/1.1\r\n",
    ] {
        let mut stream = UnixStream::connect(broker.socket()).unwrap();
        stream.write_all(bytes).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        let _reset = stream.read_to_end(&mut answer);
        assert!(answer.is_empty(), "{bytes:?} was answered with {answer:?}");
    }
    assert!(matches!(broker.lists(), Progress::Ready(())));
    // All places of this user are taken by connections that say nothing.
    let silent: Vec<UnixStream> = (0..MAX_OF_THIS_USER)
        .map(|_| UnixStream::connect(broker.socket()).unwrap())
        .collect();
    let refused = wait_for(UP_LIMIT, || {
        let output = broker.ask(&["--task", "listsessions"]);
        Progress::when(output.status.code() == Some(75), || format!("{output:?}"))
    });
    refused.unwrap();
    drop(silent);
    wait_for(UP_LIMIT, || broker.lists()).unwrap();
}

#[test]
fn no_secret_of_a_command_line_is_in_the_log() {
    let broker = Broker::up();
    let denied = broker.ask(&[
        "--task",
        "setpass",
        "--newpass",
        PASSWORD,
        "--authid",
        AUTHID,
    ]);
    assert_eq!(denied.status.code(), Some(0));
    assert!(denied.stdout.is_empty(), "{denied:?}");
    broker.ask(&["--task", "setpass", "--newpass", PASSWORD]);
    let log = std::fs::read_to_string(broker.site.path("log")).unwrap();
    assert!(log.contains("setpass"), "{log}");
    assert!(!log.contains(PASSWORD) && !log.contains(AUTHID), "{log}");
}

/// Enough to see how long it takes on a machine with other work.
const N_RUNS: usize = 40;
/// From the start of the program to its end.
const MOST: Duration = Duration::from_millis(30);
/// The bound of the daemon for its own account, which asks for others: half of all places.
const MAX_OF_THIS_USER: usize = 256;
/// Programs are up in tens of milliseconds; the machine may be busy.
const UP_LIMIT: Duration = Duration::from_secs(15);
