//! What do the tasks answer? As x2gobroker 0.0.4.3 was recorded to.

use crate::stage::{PROGRAM, ROOT, SESSION, Stage, ok};

#[test]
fn a_ping_is_answered() {
    let Some(stage) = Stage::up() else { return };
    assert_eq!(stage.ask(&["foo", "ping"]), ok(""));
}

#[test]
fn the_tasks_are_those_of_the_original() {
    let Some(stage) = Stage::up() else { return };
    let tasks = "availabletasks\naddauthkey\ndelauthkey\nlistsessions\nfindbusyservers\n\
                 findbusyservers_by_sessionstats\ncheckload\ngetservers\nsuspendsession\n\
                 terminatesession\n";
    assert_eq!(stage.ask(&["foo", "availabletasks"]), ok(tasks));
}

#[test]
fn without_x2goserver_three_tasks_are_left() {
    let Some(stage) = Stage::up() else { return };
    stage.root("rm /usr/bin/x2golistsessions");
    let tasks = "availabletasks\naddauthkey\ndelauthkey\n";
    assert_eq!(stage.ask(&["foo", "availabletasks"]), ok(tasks));
    let found = stage.ask(&["alice", "listsessions"]);
    assert!(found.is_refusal(69, "x2goserver"), "{found:?}");
}

#[test]
fn the_load_has_five_figures() {
    let Some(stage) = Stage::up() else { return };
    let found = stage.ask(&["foo", "checkload"]);
    let names: Vec<&str> = found
        .out
        .lines()
        .map(|line| line.split(':').next().unwrap())
        .collect();
    assert_eq!(names.first(), Some(&"OK"), "{found:?}");
    for name in ["loadavgXX", "memAvail", "myMemAvail", "numCPU"] {
        assert!(names.contains(&name), "{name}: {found:?}");
    }
}

#[test]
fn a_session_is_suspended_by_x2goserver_as_the_user() {
    let Some(stage) = Stage::up() else { return };
    let found = stage.ask(&["alice", "suspendsession", SESSION]);
    let first = format!("OK\nprogram /usr/bin/x2gosuspend-session {SESSION}\nuser 2001 ");
    assert!(found.out.starts_with(&first), "{found:?}");
}

#[test]
fn a_session_is_terminated_by_x2goserver_as_the_user() {
    let Some(stage) = Stage::up() else { return };
    let found = stage.call(ROOT, &["alice", "terminatesession", SESSION]);
    let first = format!("OK\nprogram /usr/bin/x2goterminate-session {SESSION}\nuser 2001 ");
    assert!(found.out.starts_with(&first), "{found:?}");
}

#[test]
fn desktops_are_listed_by_x2goserver_or_not_at_all() {
    let Some(stage) = Stage::up() else { return };
    let found = stage.ask(&["alice", "listdesktops"]);
    let first = "OK\nprogram /usr/bin/x2golistdesktops \nuser 2001 ";
    assert!(found.out.starts_with(first), "{found:?}");
    stage.root("rm /usr/bin/x2golistdesktops");
    let found = stage.ask(&["alice", "listdesktops"]);
    assert!(found.is_refusal(69, "x2goserver"), "{found:?}");
}

#[test]
fn busy_servers_are_told_in_percent() {
    let Some(stage) = Stage::up() else { return };
    // Recorded with two servers: s2 has two sessions, s1 three.
    stage.root("printf 's2 2\\ns1 3' >/home/servers");
    let servers = ok("40:s2\n60:s1\n");
    assert_eq!(stage.ask(&["alice", "findbusyservers"]), servers);
    let by_stats = stage.ask(&["alice", "findbusyservers_by_sessionstats"]);
    assert_eq!(by_stats, servers);
    assert_eq!(stage.ask(&["alice", "getservers"]), ok("s2 2\ns1 3"));
    stage.root("printf s1 >/home/servers");
    assert_eq!(stage.ask(&["alice", "findbusyservers"]), ok("\n"));
}

#[test]
fn a_failed_program_is_no_answer() {
    let Some(stage) = Stage::up() else { return };
    stage.root("printf '#!/bin/sh\\nexit 3\\n' >/usr/bin/x2gogetservers");
    let found = stage.ask(&["alice", "findbusyservers"]);
    assert!(found.is_refusal(69, "exit status: 3"), "{found:?}");
}

#[test]
fn an_unknown_task_is_silence_as_in_the_original() {
    let Some(stage) = Stage::up() else { return };
    let found = stage.ask(&["alice", "dance"]);
    assert_eq!((found.code, found.out.as_str()), (Some(0), ""), "{found:?}");
    assert_eq!(found.complaint, "");
}

#[test]
fn a_forced_command_of_the_original_broker_works() {
    let Some(stage) = Stage::up() else { return };
    let asked =
        format!("SSH_ORIGINAL_COMMAND=sh -c '{PROGRAM} alice suspendsession \"{SESSION}\"'");
    let found = stage.ask_through_env(&[&asked], &[]);
    let first = format!("OK\nprogram /usr/bin/x2gosuspend-session {SESSION}\nuser 2001 ");
    assert!(found.out.starts_with(&first), "{found:?}");
    // Nothing of it reaches the program that is run.
    assert!(!found.out.contains("SSH_ORIGINAL_COMMAND"), "{found:?}");
}
