//! Does our daemon find, offer and take over the sessions of a farm with one PostgreSQL session
//! database by asking the agent on its own host (`agent-query-mode = LOCAL`)?

use std::time::Duration;

use tests::lab::{Caller, Desktop, HostName, Login, Plan};

use crate::old_farm::{AGENT_ONLY, OldFarm, address, packages};

const BROKER: HostName = HostName::broker(1);
const SECOND: HostName = HostName::server(2);
const PLAN: Plan = Plan {
    brokers: 1,
    servers: 2,
};
const LOCAL_MODE: &str = "default-agent-query-mode = LOCAL";
const PROFILES: &str = terminal_profiles!(
    "\
[farm]
name=Farm
host=s1,s2

[two]
name=Two
host=s2
"
);
const LOGIN: Login<'_> = Login {
    broker_url: "http://broker1:8080/plain/",
    user: "alice",
    password: "pw-alice",
    profile: "Two",
};

#[test]
fn the_agent_of_this_host_finds_a_session_of_the_farm_which_is_taken_over_and_offered() {
    let Some(packages) = packages(&AGENT_ONLY) else {
        return;
    };
    let mut farm = farm_with_one_database();
    farm.lab.install_old_agent(BROKER, &packages[0]).unwrap();
    farm.start_replica(BROKER, LOCAL_MODE, PROFILES);
    let mut caller = farm.lab.caller("caller").unwrap();
    // local-select of the original: a farm without sessions.
    let new = caller.select(address(BROKER), "alice", "farm").unwrap();
    let server = new.server().unwrap_or_else(|error| {
        panic!("{error:#}\n{}", farm.story());
    });
    assert!(["s1", "s2"].contains(&server), "{new:?}");
    assert!(new.answer.unwrap().session_info.is_empty());

    let mut desk = Desktop::log_in(&farm.lab, 1, LOGIN).unwrap();
    let session = desk.wait_until_running(SESSION_LIMIT, "alice").unwrap();
    assert_eq!(session.server, SECOND, "{}", farm.story());
    desk.wait_until_seen(SESSION_LIMIT, "XTerm").unwrap();
    check_status(&farm, &mut caller, "R");
    // local-select-busy: somebody else is sent to the server with fewer sessions.
    let other = caller.select(address(BROKER), "bob", "farm").unwrap();
    assert_eq!(other.server().unwrap(), "s1", "{}", farm.story());

    check_offer(&farm, &mut caller, &session.id, "S");
    check_status(&farm, &mut caller, "S");
    check_offer(&farm, &mut caller, &session.id, "S");
    let listed = farm.lab.x2golistsessions(SECOND, "alice").unwrap();
    assert_eq!(listed[0].state, "S", "it was not only written down");
}

/// x2gosuspend-session(8), which our program runs, suspends sessions of its own host alone. The
/// original's agent writes the state into the database, for the other host to act on.
#[test]
fn our_own_program_finds_suspended_sessions_and_a_running_one_of_another_host_goes_on() {
    if crate::skipped() {
        return;
    }
    let mut farm = farm_with_one_database();
    farm.install_shim(BROKER);
    farm.start_replica(BROKER, LOCAL_MODE, PROFILES);
    let mut caller = farm.lab.caller("caller").unwrap();
    let mut desk = Desktop::log_in(&farm.lab, 1, LOGIN).unwrap();
    let session = desk.wait_until_running(SESSION_LIMIT, "alice").unwrap();
    desk.wait_until_seen(SESSION_LIMIT, "XTerm").unwrap();
    check_status(&farm, &mut caller, "R");
    let other = caller.select(address(BROKER), "bob", "farm").unwrap();
    assert_eq!(other.server().unwrap(), "s1", "{}", farm.story());
    check_offer(&farm, &mut caller, &session.id, "R");

    drop(desk);
    let suspend = ["x2gosuspend-session", &session.id];
    farm.lab.exec(SECOND, "alice", &suspend).unwrap();
    check_status(&farm, &mut caller, "S");
    check_offer(&farm, &mut caller, &session.id, "S");
    let mut desk = Desktop::log_in(&farm.lab, 2, LOGIN).unwrap();
    desk.wait_until_seen(SESSION_LIMIT, "XTerm").unwrap();
    let running = desk.wait_until_running(SESSION_LIMIT, "alice").unwrap();
    assert_eq!(running.id, session.id, "resumed, not a second one");
}

/// The broker host is in the database of the two servers, and needs no SSH.
fn farm_with_one_database() -> OldFarm {
    let farm = OldFarm::up_with_one_database(PLAN);
    farm.lab.share_database(BROKER).unwrap();
    farm
}

/// The list shows alice's session, and first the host that has it.
fn check_status(farm: &OldFarm, caller: &mut Caller, state: &str) {
    let listed = caller.list(address(BROKER), "alice").unwrap();
    println!("listsessions took {:.1?}", listed.took);
    let answer = listed.answer.unwrap();
    for profile in ["farm", "two"] {
        let profile = answer.profile(profile).unwrap();
        assert_eq!(profile.option("status"), Some(state), "{}", farm.story());
        let hosts = profile.option("host").unwrap();
        assert!(hosts.starts_with("s2"), "{hosts}\n{}", farm.story());
    }
}

/// The profile with both servers leads to alice's session on the second one, as its record in
/// PostgreSQL has it.
fn check_offer(farm: &OldFarm, caller: &mut Caller, id: &str, state: &str) {
    let call = caller.select(address(BROKER), "alice", "farm").unwrap();
    println!("selectsession took {:.1?}", call.took);
    assert_eq!(call.server().unwrap(), "s2", "{}", farm.story());
    let answer = call.answer.unwrap();
    assert_eq!(answer.session_field(2), Some(id), "{}", farm.story());
    assert_eq!(answer.session_field(5), Some(state), "{}", farm.story());
    assert!(answer.session_field(14).is_some() && answer.session_field(15).is_none());
}

/// A session starts in 5 to 10 s on an idle machine; it runs a hundred scripts.
const SESSION_LIMIT: Duration = Duration::from_secs(90);
