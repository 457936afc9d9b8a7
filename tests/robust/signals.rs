//! How do the programs end, and what becomes of requests on their way?

use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;

use tests::wait::{Progress, now, wait_for};

use crate::raw::{Got, connect, login_form, post};
use crate::small_farm::{ANSWER_LIMIT, JOIN_LIMIT, Plan, SmallFarm};

/// The daemon's grace time for running requests, and what comes after it.
const GRACE: Duration = Duration::from_secs(5);
const GRACE_MARGIN: Duration = Duration::from_secs(3);
/// Far below what the failure detector takes: the agent says itself that it leaves.
const LEAVE_LIMIT: Duration = Duration::from_secs(2);

#[test]
fn a_daemon_that_is_told_to_end_finishes_running_requests_first() {
    let mut farm = SmallFarm::up(Plan::ONE_SERVER);
    let mut idle = farm.client();
    assert_eq!(idle.get("/").unwrap().status, 200);
    let mut half_sent = begin_login(&farm);
    let begun = now();
    farm.daemon.terminate().unwrap();
    farm.daemon
        .wait_for_log(ANSWER_LIMIT, &["stopping"])
        .unwrap();
    let refused = wait_for(ANSWER_LIMIT, || {
        Progress::when(TcpStream::connect(farm.http).is_err(), || {
            "it still listens".to_owned()
        })
    });
    refused.unwrap();
    assert!(idle.get("/").is_err(), "an idle connection is closed");

    half_sent.write_all(second_half().as_bytes()).unwrap();
    let got = Got::from(&mut half_sent, ANSWER_LIMIT);
    assert_eq!(got.status(), 200, "{}\n{}", got.text(), farm.story());
    assert!(
        got.text().contains("SERVER:127.0.0.1:22001\n"),
        "{}",
        got.text()
    );
    assert!(got.closed);
    let ended = farm.daemon.wait_exit(GRACE).unwrap();
    println!(
        "ended {:.1?} after SIGTERM, the last request included",
        begun.elapsed()
    );
    assert_eq!(ended.code(), Some(0), "{}", farm.daemon.story());
}

#[test]
fn a_request_that_never_ends_does_not_keep_a_daemon_from_ending() {
    let mut farm = SmallFarm::up(Plan::ONE_SERVER);
    let half_sent = begin_login(&farm);
    let begun = now();
    farm.daemon.terminate().unwrap();
    let ended = farm
        .daemon
        .wait_exit(GRACE + GRACE_MARGIN + JOIN_LIMIT)
        .unwrap();
    let took = begun.elapsed();
    println!("ended {took:.1?} after SIGTERM");
    assert_eq!(ended.code(), Some(0), "{}", farm.daemon.story());
    assert!(
        took < GRACE + GRACE_MARGIN,
        "{took:?}\n{}",
        farm.daemon.story()
    );
    assert_eq!(
        farm.daemon
            .log_lines(&["WARN", "did not end in time"])
            .len(),
        1
    );
    drop(half_sent);
}

#[test]
fn an_agent_that_is_told_to_end_says_so_and_others_take_the_sessions() {
    let mut farm = SmallFarm::up(Plan {
        servers: &["s1", "s2"],
        ..Plan::ONE_SERVER
    });
    farm.wait_for_server("first", None);
    farm.wait_for_server("second", None);
    let begun = now();
    farm.agents[0].terminate().unwrap();
    let leaving = ["readiness changed", "node=s1 ", "readiness=leaving"];
    farm.daemon.wait_for_log(LEAVE_LIMIT, &leaving).unwrap();
    let seen = begun.elapsed();
    // From now on, not only once the agent is gone.
    for number in 0..4 {
        let answer = farm.select(&format!("user{number}"), "farm");
        assert_eq!(
            answer.server.map(|(_, port)| port),
            Some(22002),
            "{}",
            answer.text
        );
    }
    let ended = farm.agents[0].wait_exit(GRACE + GRACE_MARGIN).unwrap();
    println!(
        "the replica knew after {seen:.1?}, the agent ended after {:.1?}",
        begun.elapsed()
    );
    assert_eq!(ended.code(), Some(0), "{}", farm.agents[0].story());
    farm.daemon
        .wait_for_log(JOIN_LIMIT, &["member left", "node=s1"])
        .unwrap();
    println!("it counts as gone after {:.1?}", begun.elapsed());
    // {ssh-select-single-down}: the only host of a profile is named whether it is up or not.
    let only_host = farm.select("alice", "first");
    assert!(
        only_host.text.contains("SERVER:127.0.0.1:22001\n"),
        "{}",
        only_host.text
    );
}

/// Sends a login but for the end of its body, and returns once the daemon reads it.
fn begin_login(farm: &SmallFarm) -> TcpStream {
    let request = post("/plain/", "", login_form("alice").as_bytes());
    let cut = request.len() - second_half().len();
    let mut stream = connect(farm.http);
    stream.write_all(&request[..cut]).unwrap();
    // A request that came later was answered, so this one is being read.
    farm.log_in("witness");
    stream
}

fn second_half() -> &'static str {
    "login=alice"
}
