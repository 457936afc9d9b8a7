//! Do scripts and old brokers find the load checker that they know?

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;

use tests::binaries;
use tests::process::{Process, command, run};
use tests::wait::{Progress, wait_for};

use super::account::{Account, owner_and_mode};
use crate::small_farm::{ANSWER_LIMIT, JOIN_LIMIT, Plan, SmallFarm};

const PROGRAM: &str = "x2gobroker-loadchecker";

fn farm() -> SmallFarm {
    SmallFarm::up(Plan {
        sections: |site| {
            format!(
                "[http]\nload-checker-socket = {}\n",
                site.path("loads").display()
            )
        },
        ..Plan::ONE_SERVER
    })
}

/// The program that carries questions to the daemon.
fn carrier(farm: &SmallFarm) -> Process {
    let mut carrier = command(binaries::binary(PROGRAM).unwrap());
    carrier.arg("-C").arg(farm.site.path("x2gobroker.conf"));
    carrier
        .arg("--defaults-file")
        .arg(farm.site.path("defaults.conf"));
    carrier.arg("--socket-file").arg(farm.site.path("known"));
    carrier.args(["-p", "0600", "-d"]).env("NO_COLOR", "1");
    let log = farm.site.path("carrier.log");
    let mut carrier = Process::start("carrier", &mut carrier, &log).unwrap();
    carrier
        .wait_for_log(JOIN_LIMIT, &["load checks are carried"])
        .unwrap();
    carrier
}

/// All that is answered to these bytes, when no more are sent.
fn ask(socket: &Path, request: &str) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(ANSWER_LIMIT)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn is_factor(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[test]
fn load_checks_are_answered_as_recorded() {
    let farm = farm();
    let mut carrier = carrier(&farm);
    let (daemon, known) = (farm.site.path("loads"), farm.site.path("known"));
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&daemon), mode(&known)), (0o660, 0o600));
    // The load of the agent comes with the first rounds of gossip.
    let there = wait_for(JOIN_LIMIT, || {
        let factor = ask(&daemon, "inifile\rfarm\rs1\n");
        Progress::when(is_factor(&factor), || factor)
    });
    there.unwrap();
    for socket in [&daemon, &known] {
        let ask = |request| ask(socket, request);
        // {loadchecker}: digits without an end; a line for each host.
        assert!(is_factor(&ask("inifile\rfarm\rs1\n")));
        let all = ask("inifile\rfarm\r\n");
        let lines: Vec<(&str, &str)> = all
            .lines()
            .map(|line| line.split_once(':').unwrap())
            .collect();
        assert_eq!(lines.len(), 2, "{all}");
        assert!(lines[0].0 == "s1" && is_factor(lines[0].1), "{all}");
        assert_eq!(lines[1], ("s2", "LOAD-UNAVAILABLE"));
        assert_eq!(ask("inifile\rfarm\rs9\n"), "LOAD-UNAVAILABLE");
        assert_eq!(ask("inifile\rnope\r\n"), "\n");
        assert_eq!(ask("ldap\rfarm\r\n"), "\n");
        // Two at once are answered one after the other.
        let both = ask("inifile\rfarm\rs9\ninifile\rnope\r\n");
        assert_eq!(both, "LOAD-UNAVAILABLE\n");
        assert_eq!(ask("what?\n"), "");
        assert_eq!(ask(&"x".repeat(5000)), "");
    }
    carrier.terminate().unwrap();
    assert!(carrier.wait_exit(ANSWER_LIMIT).unwrap().success());
    assert!(!known.exists());
}

#[test]
fn without_a_socket_of_the_daemon_it_says_what_to_do() {
    let farm = SmallFarm::up(Plan {
        servers: &[],
        ..Plan::ONE_SERVER
    });
    let mut carrier = command(binaries::binary(PROGRAM).unwrap());
    carrier.arg("-C").arg(farm.site.path("x2gobroker.conf"));
    let done = carrier
        .arg("-s")
        .arg(farm.site.path("known"))
        .output()
        .unwrap();
    assert_eq!(done.status.code(), Some(1), "{done:?}");
    let complaint =
        String::from_utf8(done.stderr).unwrap() + &String::from_utf8(done.stdout).unwrap();
    assert!(complaint.contains("load-checker-socket"), "{complaint}");
}

#[test]
fn root_s_program_becomes_the_account_of_the_daemon() {
    let Some(account) = Account::new() else {
        return;
    };
    let path = |name: &str| account.home().join(name).display().to_string();
    let config = format!("[http]\nload-checker-socket = {}\n", path("loads"));
    std::fs::write(path("x2gobroker.conf"), config).unwrap();
    let (socket, pid_file) = (path("known"), path("pid"));
    let config = path("x2gobroker.conf");
    let begun = account.run(
        PROGRAM,
        &[
            "-C",
            &config,
            "-s",
            &socket,
            "-o",
            "x2gobroker",
            "-p",
            "0640",
            "-P",
            &pid_file,
            "-D",
        ],
    );
    assert_eq!(begun.code, Some(0), "{begun:?}");
    let pid = std::fs::read_to_string(&pid_file).unwrap();
    let status = std::fs::read_to_string(format!("/proc/{}/status", pid.trim())).unwrap();
    let owner = owner_and_mode(Path::new(&socket));
    let ended = run(command("kill").arg(pid.trim()));
    assert!(status.contains("\nUid:\t990\t990\t990\t990\n"), "{status}");
    assert_eq!(owner, "990:0 640");
    ended.unwrap();
    let gone = wait_for(ANSWER_LIMIT, || {
        let there = Path::new(&socket).exists();
        Progress::when(!there, || "the socket is there".to_owned())
    });
    gone.unwrap();
}
