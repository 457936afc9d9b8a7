//! What if the session profiles are missing, unreadable, or broken in part?

use std::fs;
use std::time::Duration;

use tests::process::{command, run};
use tests::wait::{Progress, wait_for};

use crate::site::PROFILES_FILE;
use crate::small_farm::{PROFILES, Plan, SmallFarm};

/// The file is looked at each second.
const NOTICED: Duration = Duration::from_secs(5);

#[test]
fn a_replica_starts_without_profiles_and_takes_them_up_when_they_come() {
    let mut farm = SmallFarm::up(Plan {
        profiles: None,
        ..Plan::ONE_SERVER
    });
    let file = farm.site.path(PROFILES_FILE).display().to_string();
    let missing = [" ERROR ", &file, "this file can't be read: No such file"];
    farm.daemon.wait_for_log(NOTICED, &missing).unwrap();
    let answer = farm.list("alice");
    assert_eq!(
        (answer.granted, answer.profiles.len()),
        (true, 0),
        "{}",
        answer.text
    );
    let server = farm.select("alice", "farm").server.unwrap().0;
    assert_eq!(server, "no-server-available");

    farm.site.write(PROFILES_FILE, PROFILES);
    let read = ["configuration and session profiles read", "n_profiles=3"];
    farm.daemon.wait_for_log(NOTICED, &read).unwrap();
    assert_eq!(farm.list("alice").profiles.len(), 3);
    farm.wait_for_server("farm", None);
}

#[test]
fn profiles_that_can_not_be_read_leave_the_old_ones_and_one_that_is_broken_the_others() {
    let mut farm = SmallFarm::up(Plan::ONE_SERVER);
    let file = farm.site.path(PROFILES_FILE);
    let name = file.display().to_string();
    let stay = [
        "ERROR",
        "can't be used; the old settings stay",
        "n_profiles=3",
    ];

    // Two lines that are wrong: both are named.
    farm.site.write(
        PROFILES_FILE,
        "[farm]\nname=Farm\nwhat is this\n[farm]\nhost=s9\n",
    );
    farm.daemon.wait_for_log(NOTICED, &stay).unwrap();
    let wrong = [format!("{name}:3: "), format!("{name}:4: ")];
    for place in &wrong {
        assert_eq!(
            farm.daemon.log_lines(&["ERROR", place]).len(),
            1,
            "{}",
            farm.story()
        );
    }
    assert_eq!(farm.list("alice").profiles.len(), 3);
    farm.log_in("alice");

    fs::write(&file, b"[farm]\nname=F\xff\xfe\n").unwrap();
    let not_text = ["ERROR", &format!("{name}:2: "), "not UTF-8"];
    farm.daemon.wait_for_log(NOTICED, &not_text).unwrap();
    farm.log_in("bob");

    fs::remove_file(&file).unwrap();
    let gone = ["ERROR", &name, "No such file"];
    farm.daemon.wait_for_log(NOTICED, &gone).unwrap();
    farm.log_in("carol");
    assert_eq!(farm.daemon.log_lines(&stay).len(), 3, "{}", farm.story());

    let broken = format!("{PROFILES}\n[broken]\nname=Broken\nhost=s1\nno separator\n");
    let line = broken.lines().count();
    farm.site.write(PROFILES_FILE, &broken);
    let place = format!("{name}:{line}: [broken] a key needs = or :");
    farm.daemon
        .wait_for_log(NOTICED, &["ERROR", &place])
        .unwrap();
    let read = ["configuration and session profiles read", "n_profiles=3"];
    farm.daemon.wait_for_log(NOTICED, &read).unwrap();
    let listed = farm.list("alice");
    let ids: Vec<&str> = listed
        .profiles
        .iter()
        .map(|profile| profile.id.as_str())
        .collect();
    assert_eq!(ids, ["farm", "first", "second"]);
    farm.log_in("dave");
}

#[test]
fn sighup_reads_the_profiles_again() {
    let mut farm = SmallFarm::up(Plan::ONE_SERVER);
    assert_eq!(
        farm.daemon
            .log_lines(&["configuration and session profiles read"])
            .len(),
        1
    );
    farm.daemon.signal("HUP").unwrap();
    let again = ["reading the configuration again"];
    farm.daemon.wait_for_log(NOTICED, &again).unwrap();
    let read_twice = wait_for(NOTICED, || {
        let n_read = farm
            .daemon
            .log_lines(&["configuration and session profiles read"])
            .len();
        Progress::when(n_read == 2, || format!("read {n_read} times"))
    });
    read_twice.unwrap();
    assert!(farm.daemon.is_running());
    farm.log_in("alice");
}

#[test]
fn a_profile_file_that_never_answers_does_not_keep_a_daemon_from_ending() {
    let mut farm = SmallFarm::up(Plan::ONE_SERVER);
    let file = farm.site.path(PROFILES_FILE);
    fs::remove_file(&file).unwrap();
    // Opening it waits for a writer that never comes, as a dead file server would.
    run(command("mkfifo").arg(&file)).unwrap();
    farm.daemon.signal("HUP").unwrap();
    let again = ["reading the configuration again"];
    farm.daemon.wait_for_log(NOTICED, &again).unwrap();
    farm.log_in("alice");
    farm.daemon.terminate().unwrap();
    let ended = farm.daemon.wait_exit(NOTICED * 2).unwrap();
    assert_eq!(ended.code(), Some(0), "{}", farm.daemon.story());
}
