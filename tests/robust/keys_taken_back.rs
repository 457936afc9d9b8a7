//! Does a key go from a server at once when its client was given something else?

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use tests::process::{command, run};
use tests::wait::{Progress, wait_for};

use crate::small_farm::{JOIN_LIMIT, Plan, SmallFarm};

const PROFILES: &str = "\
[DEFAULT]
command=TERMINAL
user=BROKER_USER
broker-session-autologin=true

[farm]
name=Farm
host=s1 (127.0.0.1:22001),s2 (127.0.0.1:22002)
";

/// Sooner than a key ends by itself, which takes twenty seconds.
const TAKEN_BACK: Duration = Duration::from_secs(15);

/// None if this machine has no namespaces for us, which is said.
fn farm() -> Option<SmallFarm> {
    let is_root = run(command("id").arg("-u")).is_ok_and(|id| id.trim() == "0");
    if !is_root || run(command("unshare").args(["--mount", "true"])).is_err() {
        println!("skipped: needs root and mount namespaces");
        return None;
    }
    let farm = SmallFarm::up(Plan {
        profiles: Some(PROFILES),
        agent: "keys = 'command'\nkeys_socket = 'FOLDER/NODE-keys'\n",
        ..Plan::ONE_SERVER
    });
    // One that is given to its client, as soon as the replica knows that there are keys.
    let given = wait_for(JOIN_LIMIT, || {
        let answer = farm.select("alice", "farm").text;
        Progress::when(answer.contains("PRIVATE KEY"), || answer)
    });
    given.unwrap_or_else(|error| panic!("{error}\n{}", farm.story()));
    Some(farm)
}

/// Has the replica run this script on each answer to selectsession.
fn answer_with(farm: &SmallFarm, script: &str) {
    let script = farm.site.write("said", &format!("#!/bin/sh\n{script}\n"));
    fs::set_permissions(&script, Permissions::from_mode(0o755)).unwrap();
    let file = farm.site.path("x2gobroker.conf");
    let config = fs::read_to_string(file).unwrap();
    let config = config.replacen("[global]\n", "[global]\nselect_session_scripts = said\n", 1);
    let folder = script.parent().unwrap().display();
    let config = format!("{config}[scripts]\ndirectory = {folder}\n");
    farm.site.write("x2gobroker.conf", &config);
    farm.daemon.signal("HUP").unwrap();
    let refused = wait_for(JOIN_LIMIT, || {
        let answer = farm.select("probe", "farm");
        let server = answer.server.map_or_else(String::new, |(host, _)| host);
        Progress::when(server != "127.0.0.1", || answer.text)
    });
    refused.unwrap_or_else(|error| panic!("{error}\n{}", farm.story()));
}

fn wait_until_taken_back(farm: &mut SmallFarm, user: &str) {
    let words = [
        "key was to be removed",
        &format!("user={user} "),
        "removed=1",
    ];
    let removed = farm.agents[0].wait_for_log(TAKEN_BACK, &words);
    removed.unwrap_or_else(|error| panic!("{error:#}\n{}", farm.story()));
}

#[test]
fn a_key_is_taken_back_when_a_script_refuses_or_names_another_server() {
    for script in [
        r#"echo '{"refuse": "closed"}'"#,
        r#"echo '{"server": "elsewhere"}'"#,
    ] {
        let Some(mut farm) = farm() else { return };
        // Keys that clients were given stay.
        let kept = farm.agents[0].log_lines(&["key was to be removed"]);
        assert_eq!(kept, Vec::<String>::new());
        let status = farm.status("s1").unwrap();
        assert!(status.contains("keys are installed, "), "{status}");
        assert!(!status.contains(" 0 are there"), "{status}");
        answer_with(&farm, script);
        let answer = farm.select("bob", "farm").text;
        assert!(!answer.contains("PRIVATE KEY"), "{answer}");
        wait_until_taken_back(&mut farm, "bob");
        let kept = farm.agents[0].log_lines(&["key was to be removed", "user=alice "]);
        assert_eq!(kept, Vec::<String>::new());
    }
}

#[test]
fn a_server_that_was_passed_over_has_no_key_when_it_comes_back() {
    let Some(mut farm) = farm() else { return };
    farm.agents[0].signal("STOP").unwrap();
    let answer = farm.select("carol", "farm").text;
    farm.agents[0].signal("CONT").unwrap();
    assert!(!answer.contains("PRIVATE KEY"), "{answer}");
    let words = ["key was to be removed", "user=carol "];
    let removed = farm.agents[0].wait_for_log(TAKEN_BACK, &words);
    removed.unwrap_or_else(|error| panic!("{error:#}\n{}", farm.story()));
}
