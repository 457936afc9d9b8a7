//! Does our daemon drive servers that have Debian's x2gobroker-agent 0.0.4.3, beside servers
//! of the mesh?

use std::collections::BTreeMap;
use std::time::Duration;

use tests::lab::{Caller, Desktop, HostName, Lab, Login, Plan, SERVICE, farm_user, password};
use tests::wait::{Progress, now, wait_for};

use crate::mesh::PROFILES_PATH;
use crate::old_farm::{AGENT_AND_DAEMON, AGENT_ONLY, OldFarm, address, packages};

const SSH_MODE: &str = "default-agent-query-mode = SSH";
/// What clients are told when no server takes them.
const NONE: &str = "no-X2Go-Server-available";
const BROKER: HostName = HostName::broker(1);
const ORIGINAL: HostName = HostName::broker(2);
const OLD: HostName = HostName::server(1);
const NEW: [HostName; 2] = [HostName::server(2), HostName::server(3)];
const PROFILES: &str = terminal_profiles!(
    "\
[farm]
name=Farm
host=s1,s2,s3

[old]
name=Old
host=s1

[auto]
name=Auto
host=s1
broker-session-autologin=true

[mesh]
name=Mesh
host=s1
broker-agent-query-mode=MESH

[reject]
name=Reject
host=s1,nowhere
broker-agent-hostkey-policy=RejectPolicy

[warn]
name=Warn
host=s1,nowhere
broker-agent-hostkey-policy=WarningPolicy
"
);

const ADD: &str = "
[add]
name=Add
host=s1,nowhere
broker-agent-hostkey-policy=AutoAddPolicy
";
const KNOWN_HOSTS: &str = "/var/lib/x2gobroker/.ssh/known_hosts";

fn farm_with_one_old_server() -> Option<OldFarm> {
    let mut farm = farm_without_a_replica()?;
    farm.start_replica(BROKER, SSH_MODE, PROFILES);
    farm.start_agents(&NEW);
    Some(farm)
}

/// One server has the agent of 0.0.4.3, and the broker host may call it.
fn farm_without_a_replica() -> Option<OldFarm> {
    let packages = packages(&AGENT_ONLY)?;
    let plan = Plan {
        brokers: 1,
        servers: 3,
    };
    let farm = OldFarm::up(plan);
    farm.lab.install_old_agent(OLD, &packages[0]).unwrap();
    farm.lab.let_in(BROKER, &[OLD]).unwrap();
    Some(farm)
}

#[test]
fn sessions_go_to_old_and_new_servers_and_one_on_an_old_server_is_taken_over_and_resumed() {
    let Some(farm) = farm_with_one_old_server() else {
        return;
    };
    let mut caller = farm.lab.caller("caller").unwrap();
    let placed = place_many(&farm, &mut caller, 40);
    println!("40 new sessions: {placed:?}");
    for server in NEW {
        assert!(placed.contains_key(&server.to_string()), "{placed:?}");
    }
    // The old server tells the load of the whole machine, so it may come last; it is ranked.
    let ranked = farm.programs[0].log_lines(&["placement decision", "among 3 servers", "s1"]);
    assert!(!ranked.is_empty(), "{placed:?}\n{}", farm.story());

    // Somebody works on the old server.
    let login = Login {
        broker_url: "http://broker1:8080/plain/",
        user: "alice",
        password: &password("alice"),
        profile: "Old",
    };
    let mut desk = Desktop::log_in(&farm.lab, 1, login).unwrap();
    let session = desk.wait_until_running(SESSION_LIMIT, "alice").unwrap();
    assert_eq!(session.server, OLD);
    desk.wait_until_seen(SESSION_LIMIT, "XTerm").unwrap();
    let listed = caller.list(address(BROKER), "alice").unwrap();
    println!("listsessions took {:.1?}", listed.took);
    let answer = listed.answer.unwrap();
    let status = |profile: &str| answer.profile(profile).unwrap().option("status");
    assert_eq!(status("farm"), Some("R"), "{}", farm.story());
    assert_eq!(status("old"), Some("R"));
    assert_eq!(status("mesh"), None, "asked through the mesh alone");

    // Through a profile with more servers, it is found where it is, and taken over.
    let mut looks = Vec::new();
    let begun = now();
    let call = caller.select(address(BROKER), "alice", "farm").unwrap();
    println!(
        "selectsession with a take-over on an old server took {:.1?}",
        call.took
    );
    let answer = call.answer.as_ref().unwrap();
    assert_eq!(call.server().unwrap(), "s1", "{}", farm.story());
    assert_eq!(answer.session_field(2), Some(session.id.as_str()));
    assert_eq!(answer.session_field(5), Some("S"), "{}", farm.story());
    // Whoever lists sessions afterwards finds it so: it was not only written down.
    for _ in 0..3 {
        let sessions = farm.lab.x2golistsessions(OLD, "alice").unwrap();
        looks.push((begun.elapsed(), sessions[0].state.clone()));
    }
    println!("x2golistsessions afterwards: {looks:?}");
    assert!(looks.iter().all(|(_, state)| state == "S"), "{looks:?}");

    let again = caller.select(address(BROKER), "alice", "farm").unwrap();
    println!(
        "selectsession of the suspended session took {:.1?}",
        again.took
    );
    assert_eq!(again.server().unwrap(), "s1");
    assert_eq!(again.answer.unwrap().session_field(5), Some("S"));
    drop(desk);
    let mut desk = Desktop::log_in(&farm.lab, 2, login).unwrap();
    desk.wait_until_seen(SESSION_LIMIT, "XTerm").unwrap();
    let running = desk.wait_until_running(SESSION_LIMIT, "alice").unwrap();
    assert_eq!(running.id, session.id, "resumed, not a second one");
}

#[test]
fn an_old_server_that_is_gone_is_waited_for_until_two_listings_are_missing_and_then_by_nobody() {
    let Some(farm) = farm_with_one_old_server() else {
        return;
    };
    let mut caller = farm.lab.caller("caller").unwrap();
    place_many(&farm, &mut caller, 5);
    farm.lab.cut_off(OLD).unwrap();
    let begun = now();
    let mut waited = Vec::new();
    for number in 41..53 {
        let at = begun.elapsed();
        let call = caller
            .select(address(BROKER), &farm_user(number), "farm")
            .unwrap();
        assert_ne!(call.server().unwrap(), "s1");
        waited.push((at, call.took));
    }
    println!("log-ins after the server was gone, and what they took: {waited:.1?}");
    let first = waited[0].1;
    assert!(first > SHORT && first < LISTED, "{first:?}");
    // Silent about one user only, it may be that user's home: a second one waits as well, and
    // so does who comes before the second listing is missing.
    let are_quick = |(at, took): &(Duration, Duration)| *took < SHORT || *at < LISTED;
    assert!(waited.iter().all(are_quick), "{waited:.1?}");
    assert!(waited[waited.len() - 1].1 < SHORT, "{waited:.1?}");
    // Two users who wait as long as a listing may take at all wait no less.
    let in_all: Duration = waited.iter().map(|(_, took)| *took).sum();
    assert!(in_all < 2 * LISTED, "{waited:.1?}");

    farm.lab.restore(OLD).unwrap();
    let back = wait_for(BACK_LIMIT, || {
        let call = caller.select(address(BROKER), "bob", "old").unwrap();
        let log = farm.programs[0]
            .log_lines(&["user=bob", "the only host, unasked"])
            .len();
        let placed = farm.programs[0]
            .log_lines(&["user=bob", "session placed"])
            .len();
        let server = call.server().unwrap().to_owned();
        Progress::when(placed > 0, || format!("{server}, unasked {log} times"))
    });
    back.unwrap_or_else(|error| panic!("{error}\n{}", farm.story()));
}

#[test]
fn an_unknown_host_key_is_refused_taken_or_taken_with_a_warning_as_the_policy_says() {
    let Some(mut farm) = farm_without_a_replica() else {
        return;
    };
    let write = |lab: &Lab, path, text: &str| lab.write(BROKER, SERVICE, path, text).unwrap();
    let known = |lab: &Lab| lab.exec(BROKER, SERVICE, &["cat", KNOWN_HOSTS]).unwrap();
    let right = known(&farm.lab);
    write(&farm.lab, KNOWN_HOSTS, "");
    farm.start_replica(BROKER, SSH_MODE, PROFILES);
    let mut caller = farm.lab.caller("caller").unwrap();
    let mut server = |profile: &str| {
        let call = caller.select(address(BROKER), "bob", profile).unwrap();
        let server = call.answer.unwrap().server.map(|(server, _)| server);
        server.unwrap_or_default()
    };
    assert_eq!(server("reject"), NONE, "{}", farm.story());
    let refused = farm.replica().log_lines(&["Host key verification failed"]);
    assert!(!refused.is_empty(), "{}", farm.story());
    assert_eq!(server("warn"), "s1", "{}", farm.story());
    assert_eq!(known(&farm.lab), "", "it is not known the next time");
    let warned = farm.replica().log_lines(&["WARN", "Permanently added"]);
    assert_eq!(warned.len(), 1, "{}", farm.story());

    write(&farm.lab, PROFILES_PATH, &format!("{PROFILES}{ADD}"));
    let mut wait_for_s1 = |profile: &str| {
        let found = wait_for(BACK_LIMIT, || {
            let found = server(profile);
            Progress::when(found == "s1", || found.clone())
        });
        found.unwrap_or_else(|error| panic!("{profile}: {error}\n{}", farm.story()));
    };
    wait_for_s1("add");
    assert!(right.contains(known(&farm.lab).trim()), "it is known now");
    wait_for_s1("reject");
}

#[test]
fn a_key_opens_an_account_on_an_old_server_and_is_gone_after_its_time() {
    let Some(farm) = farm_with_one_old_server() else {
        return;
    };
    let mut caller = farm.lab.caller("caller").unwrap();
    let answer = caller.list(address(BROKER), "bob").unwrap().answer.unwrap();
    let promised = answer.profile("auto").unwrap().option("autologin");
    assert_eq!(promised, Some("1"), "{}", farm.story());
    farm.check_that_a_key_comes_and_goes(|| farm.story());
}

/// The figure: our daemon and the original's ask the same old servers in turn.
#[test]
fn ours_and_the_original_place_sessions_on_the_same_old_servers() {
    let Some(packages) = packages(&AGENT_AND_DAEMON) else {
        return;
    };
    let plan = Plan {
        brokers: 2,
        servers: 3,
    };
    let mut farm = OldFarm::up(plan);
    let servers = farm.lab.servers();
    for server in &servers {
        farm.lab.install_old_agent(*server, &packages[0]).unwrap();
    }
    farm.lab.let_in(BROKER, &servers).unwrap();
    farm.lab.let_in(ORIGINAL, &servers).unwrap();
    farm.start_replica(BROKER, SSH_MODE, PROFILES);
    farm.start_old_daemon(ORIGINAL, &packages[1], SSH_MODE, PROFILES);
    let mut caller = farm.lab.caller("caller").unwrap();
    let mut took: BTreeMap<&str, Vec<Duration>> = BTreeMap::new();
    let mut placed: BTreeMap<(&str, String), usize> = BTreeMap::new();
    for number in 1..=N_EACH {
        for (name, broker) in [("ours", BROKER), ("original", ORIGINAL)] {
            let call = caller
                .select(address(broker), &farm_user(number), "farm")
                .unwrap();
            let server = call.server().unwrap_or_else(|error| {
                panic!("{name}: {error:#}\n{}", farm.story());
            });
            *placed.entry((name, server.to_owned())).or_default() += 1;
            took.entry(name).or_default().push(call.took);
        }
    }
    let mut median = |name: &str| {
        let took = took.get_mut(name).unwrap();
        took.sort_unstable();
        println!(
            "SSH mode, three old servers, {name}: selectsession p50 {:.2?}, slowest {:.2?}",
            took[took.len() / 2],
            took[took.len() - 1]
        );
        took[took.len() / 2]
    };
    let (ours, original) = (median("ours"), median("original"));
    println!("placed: {placed:?}");
    assert!(ours < original, "{ours:?}, {original:?}");
}

/// Places so many farm users and counts the servers they get.
fn place_many(farm: &OldFarm, caller: &mut Caller, n: u32) -> BTreeMap<String, usize> {
    let mut placed = BTreeMap::new();
    for number in 1..=n {
        let call = caller
            .select(address(BROKER), &farm_user(number), "farm")
            .unwrap();
        let server = call
            .server()
            .unwrap_or_else(|error| panic!("{error:#}\n{}", farm.story()));
        *placed.entry(server.to_owned()).or_default() += 1;
    }
    placed
}

/// A session starts in 5 to 10 s on an idle machine; it runs a hundred scripts.
const SESSION_LIMIT: Duration = Duration::from_secs(90);
/// Less than anybody waits for a server that says nothing.
const SHORT: Duration = Duration::from_millis(900);
/// An old server has 4 s to list sessions; some time for the rest of a log-in.
const LISTED: Duration = Duration::from_secs(6);
/// One that is passed over is probed every 5 s.
const BACK_LIMIT: Duration = Duration::from_secs(40);
/// Enough for a median; the original takes 3 s for each.
const N_EACH: u32 = 8;
