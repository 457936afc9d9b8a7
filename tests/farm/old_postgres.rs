//! Does our daemon drive old servers that share a PostgreSQL session database, over SSH?

use std::collections::BTreeMap;
use std::time::Duration;

use tests::lab::debian::AGENT;
use tests::lab::{Caller, DATABASE_HOST, Desktop, HostName, Lab, Login, Plan, SERVICE};
use tests::wait::{Progress, wait_for};

use crate::old_farm::{AGENT_ONLY, OldFarm, address, packages};

const BROKER: HostName = HostName::broker(1);
const BUSY: HostName = HostName::server(1);
const IDLE: HostName = HostName::server(2);
const PLAN: Plan = Plan {
    brokers: 1,
    servers: 2,
};
const SSH_MODE: &str = "default-agent-query-mode = SSH";
const PROFILES: &str = terminal_profiles!(
    "\
[farm]
name=Farm
host=s1,s2

[one]
name=One
host=s1

[two]
name=Two
host=s2
"
);

#[test]
fn each_session_is_offered_for_its_server_whatever_agent_lists_it_and_not_while_that_is_down() {
    let Some(packages) = packages(&AGENT_ONLY) else {
        return;
    };
    let mut farm = OldFarm::up_with_one_database(PLAN);
    for server in farm.lab.servers() {
        farm.lab.install_old_agent(server, &packages[0]).unwrap();
    }
    farm.lab.let_in(BROKER, &[BUSY, IDLE]).unwrap();
    farm.start_replica(BROKER, SSH_MODE, PROFILES);
    let mut caller = farm.lab.caller("caller").unwrap();
    let login = Login {
        broker_url: "http://broker1:8080/plain/",
        user: "alice",
        password: "pw-alice",
        profile: "One",
    };
    let mut desk = Desktop::log_in(&farm.lab, 1, login).unwrap();
    let session = desk.wait_until_running(SESSION_LIMIT, "alice").unwrap();
    assert_eq!(session.server, BUSY);
    desk.wait_until_seen(SESSION_LIMIT, "XTerm").unwrap();

    // Any agent speaks for the whole farm, which is what the broker must tell apart.
    for server in [BUSY, IDLE] {
        let say = |task: &str| agent_says(&farm.lab, server, task);
        assert_eq!(say("findbusyservers"), "OK\n100:s1\n", "on {server}");
        assert!(say("listsessions").contains(&session.id), "on {server}");
        assert!(say("getservers").contains("s1 1"), "on {server}");
    }
    let shown = statuses(&mut caller, "alice");
    let expected = [("farm", Some("R")), ("one", Some("R")), ("two", None)];
    assert_eq!(shown, to_owned(&expected), "{}", farm.story());
    // A profile without the session's server leads to a new one.
    let new = caller.select(address(BROKER), "alice", "two").unwrap();
    assert_eq!(new.server().unwrap(), "s2");
    assert!(new.answer.unwrap().session_info.is_empty());

    drop(desk);
    fill(&farm.lab, BUSY);
    wait_until_preferred(&mut caller, "s2");
    let suspend = ["x2gosuspend-session", &session.id];
    farm.lab.exec(BUSY, "alice", &suspend).unwrap();
    let offered = caller.select(address(BROKER), "alice", "farm").unwrap();
    assert_eq!(offered.server().unwrap(), "s1", "{}", farm.story());
    let answer = offered.answer.unwrap();
    assert_eq!(answer.session_field(2), Some(session.id.as_str()));
    assert_eq!(answer.session_field(5), Some("S"));
    assert!(answer.session_field(14).is_some() && answer.session_field(15).is_none());

    // Its server is down: what the other one lists is not offered, and a log-in works.
    stop_sshd(&farm.lab, BUSY);
    for attempt in ["noticed", "passed over"] {
        let call = caller.select(address(BROKER), "alice", "farm").unwrap();
        println!("a log-in, {attempt}: {:.1?}", call.took);
        assert_eq!(call.server().unwrap(), "s2", "{}", farm.story());
        let answer = call.answer.unwrap();
        assert!(answer.session_info.is_empty(), "{:?}", answer.session_info);
        let other = caller.select(address(BROKER), "bob", "farm").unwrap();
        assert_eq!(other.server().unwrap(), "s2", "{}", farm.story());
    }
}

/// What the old agent of a server says to the broker's account there.
fn agent_says(lab: &Lab, server: HostName, task: &str) -> String {
    lab.exec(server, SERVICE, &[AGENT, "alice", task]).unwrap()
}

fn statuses(caller: &mut Caller, user: &str) -> BTreeMap<String, Option<String>> {
    let answer = caller.list(address(BROKER), user).unwrap().answer.unwrap();
    let status = |id: &str| {
        let profile = answer.profile(id).unwrap();
        profile.option("status").map(str::to_owned)
    };
    let ids = ["farm", "one", "two"];
    ids.map(|id| (id.to_owned(), status(id))).into()
}

fn to_owned(pairs: &[(&str, Option<&str>)]) -> BTreeMap<String, Option<String>> {
    let pairs = pairs.iter();
    let owned = pairs.map(|(id, status)| ((*id).to_owned(), status.map(str::to_owned)));
    owned.collect()
}

/// Carol has so many suspended sessions on a server that it is the busy one.
fn fill(lab: &Lab, server: HostName) {
    let insert = format!(
        "INSERT INTO sessions (session_id, display, uname, server, status, agent_pid) \
         SELECT 'carol-' || n || '-1_stD_dp24', n, 'carol', '{server}', 'S', 1 \
         FROM generate_series(100, 179) n"
    );
    let psql = [
        "psql",
        "-U",
        "postgres",
        "-d",
        "x2go_sessions",
        "-c",
        &insert,
    ];
    lab.exec(DATABASE_HOST, "root", &psql).unwrap();
}

/// The agents' figures are asked for now and then. Each log-in makes its server less attractive
/// for the next, so that two idle ones take turns.
fn wait_until_preferred(caller: &mut Caller, server: &str) {
    let mut n_in_a_row = 0;
    let preferred = wait_for(FIGURES_LIMIT, || {
        let call = caller.select(address(BROKER), "bob", "farm").unwrap();
        let is_it = call.server().unwrap() == server;
        n_in_a_row = if is_it { n_in_a_row + 1 } else { 0 };
        Progress::when(n_in_a_row == 5, || format!("{n_in_a_row} in a row"))
    });
    preferred.unwrap();
}

/// Ends the SSH server of a host with all that it serves, and so the broker's connection.
fn stop_sshd(lab: &Lab, server: HostName) {
    lab.exec(server, "root", &["sh", "-c", "pkill sshd || :"])
        .unwrap();
    let gone = wait_for(STOP_LIMIT, || {
        let left = lab.exec(server, "root", &["pgrep", "sshd"]);
        Progress::when(left.is_err(), || "sshd runs".to_owned())
    });
    gone.unwrap();
}

/// A session starts in 5 to 10 s on an idle machine; it runs a hundred scripts.
const SESSION_LIMIT: Duration = Duration::from_secs(90);
/// Two polls.
const FIGURES_LIMIT: Duration = Duration::from_secs(45);
const STOP_LIMIT: Duration = Duration::from_secs(20);
