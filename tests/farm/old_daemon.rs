//! Does Debian's x2gobroker-daemon 0.0.4.3 drive our program, over SSH as it drove its own?

use std::time::Duration;

use tests::lab::{Desktop, HostName, Login, Plan, password};
use tests::process::{command, run};

use crate::old_farm::{AGENT_AND_DAEMON, OldFarm, address, packages};

const BROKER: HostName = HostName::broker(1);
const SERVER: HostName = HostName::server(1);
const PROFILES: &str = terminal_profiles!(
    "\
[farm]
name=Farm
host=s1

[auto]
name=Auto
host=s1
broker-session-autologin=true
"
);

#[test]
fn the_original_daemon_finds_takes_over_and_resumes_sessions_and_installs_keys() {
    let Some(packages) = packages(&AGENT_AND_DAEMON) else {
        return;
    };
    let plan = Plan {
        brokers: 1,
        servers: 1,
    };
    let mut farm = OldFarm::up(plan);
    farm.install_shim(SERVER);
    farm.lab.let_in(BROKER, &[SERVER]).unwrap();
    let global = "default-agent-query-mode = SSH\n\
                  default-agent-hostkey-policy = RejectPolicy";
    farm.start_old_daemon(BROKER, &packages[1], global, PROFILES);
    let mut caller = farm.lab.caller("caller").unwrap();
    let call = caller.select(address(BROKER), "alice", "farm").unwrap();
    assert_eq!(call.server().unwrap(), "s1", "{}", story(&farm));
    assert!(call.answer.unwrap().session_info.is_empty());

    let login = Login {
        broker_url: "http://broker1:8080/plain/",
        user: "alice",
        password: &password("alice"),
        profile: "Farm",
    };
    let mut desk = Desktop::log_in(&farm.lab, 1, login).unwrap();
    let session = desk.wait_until_running(SESSION_LIMIT, "alice").unwrap();
    desk.wait_until_seen(SESSION_LIMIT, "XTerm").unwrap();
    let answer = caller
        .list(address(BROKER), "alice")
        .unwrap()
        .answer
        .unwrap();
    let status = answer.profile("farm").unwrap().option("status");
    assert_eq!(status, Some("R"), "{}", story(&farm));

    // The take-over: it suspends, waits 2 s, and says S whatever is true. With our program
    // it is true before the wait begins.
    let call = caller.select(address(BROKER), "alice", "farm").unwrap();
    println!(
        "the original's take-over with our program took {:.1?}",
        call.took
    );
    let answer = call.answer.unwrap();
    assert_eq!(answer.session_field(2), Some(session.id.as_str()));
    assert_eq!(answer.session_field(5), Some("S"));
    let listed = farm.lab.x2golistsessions(SERVER, "alice").unwrap();
    assert_eq!(listed[0].state, "S", "{}", story(&farm));
    drop(desk);
    let mut desk = Desktop::log_in(&farm.lab, 2, login).unwrap();
    desk.wait_until_seen(SESSION_LIMIT, "XTerm").unwrap();
    let running = desk.wait_until_running(SESSION_LIMIT, "alice").unwrap();
    assert_eq!(running.id, session.id, "resumed, not a second one");
    drop(desk);

    farm.check_that_a_key_comes_and_goes(|| story(&farm));
}

/// What the daemon wrote, for the text of a failure.
fn story(farm: &OldFarm) -> String {
    let log = farm
        .lab
        .outside_path(BROKER, "/var/log/x2gobroker/broker.log")
        .unwrap();
    let log = run(command("tail").args(["-n", "60"]).arg(log)).unwrap_or_default();
    format!("{log}\n{}", farm.story())
}

/// A session starts in 5 to 10 s on an idle machine; it runs a hundred scripts.
const SESSION_LIMIT: Duration = Duration::from_secs(90);
