//! What of the caller's surroundings reaches the program, or what it runs?

use crate::stage::{BROKER, FILE, KEY, PROGRAM, ROOT, Stage, ok};

/// What the fake x2golistsessions says of its own surroundings when all is well.
const CLEAN: &str = "\
program /usr/bin/x2golistsessions --all-servers
user 2001 groups 2001 2100
folder / mask 0077
environment HOME=/home/alice
environment LOGNAME=alice
environment PATH=/usr/bin:/bin
environment USER=alice
status SigBlk: 0000000000000000
status SigIgn: 0000000000000004
status CapPrm: 0000000000000000
status CapEff: 0000000000000000
status NoNewPrivs: 0
descriptors
0
1
2
255
input /dev/null
limits 1048576 0 1024 60 16384 4194304
oom 0
";

fn clean() -> crate::stage::Outcome {
    ok(CLEAN)
}

#[test]
fn a_program_is_run_as_the_user_with_nothing_but_a_path() {
    let Some(stage) = Stage::up() else { return };
    // bash itself ignores SIGQUIT, and has a descriptor 255 while it reads a script.
    assert_eq!(stage.ask(&["alice", "listsessions"]), clean());
    // The user's other groups count here: desktops are announced to a group.
    let (sessions, desktops) = ("x2golistsessions --all-servers", "x2golistdesktops ");
    let expected = ok(&CLEAN.replace(sessions, desktops));
    assert_eq!(stage.ask(&["alice", "listdesktops"]), expected);
}

#[test]
fn a_hostile_environment_reaches_nobody() {
    let Some(stage) = Stage::up() else { return };
    stage.root(
        "mkdir -m 1777 /home/evil; cd /home/evil
         printf '#include <fcntl.h>\\n__attribute__((constructor)) static void f(void)\
         { open(\"/home/evil/loaded\", O_CREAT|O_WRONLY, 0666); }' >evil.c
         cc -shared -fPIC -o evil.so evil.c
         echo 'echo >/home/evil/sourced' >rc
         printf '#!/bin/sh\\necho >/home/evil/found\\n' >id; chmod 755 id",
    );
    let hostile = [
        "LD_PRELOAD=/home/evil/evil.so",
        "LD_AUDIT=/home/evil/evil.so",
        "LD_LIBRARY_PATH=/home/evil",
        "BASH_ENV=/home/evil/rc",
        "ENV=/home/evil/rc",
        "PATH=/home/evil:/usr/bin:/bin",
        "IFS=/",
        "HOME=/home/evil",
        "PERL5LIB=/home/evil",
        "PERL5OPT=-Mevil",
        "GCONV_PATH=/home/evil",
        "LOCALDOMAIN=evil",
        "RUST_BACKTRACE=full",
        "BASH_FUNC_id%%=() { echo >/home/evil/function; }",
        "SHELLOPTS=xtrace",
    ];
    // The trap works: a program that is not setuid falls into it.
    let plain = stage.script(
        BROKER,
        "LD_PRELOAD=/home/evil/evil.so /bin/true; rm /home/evil/loaded",
    );
    assert_eq!(plain.code, Some(0), "{plain:?}");

    assert_eq!(
        stage.ask_through_env(&hostile, &["alice", "listsessions"]),
        clean()
    );
    let desktops = stage.ask_through_env(&hostile, &["alice", "listdesktops"]);
    assert!(desktops.out.starts_with("OK\nprogram "), "{desktops:?}");
    let traces = stage.root("cd /home/evil; ls loaded sourced found function 2>/dev/null || true");
    assert_eq!(traces, "");
}

#[test]
fn extra_descriptors_reach_nobody() {
    let Some(stage) = Stage::up() else { return };
    // Opened as root, handed through to the caller, which a program may not even notice.
    let found = stage.root(&format!(
        "exec 7</etc/shadow 9<>/home/x 200</etc
         setpriv --reuid 990 --regid 990 --clear-groups {PROGRAM} alice listsessions"
    ));
    assert_eq!(found, clean().out);
}

#[test]
fn a_program_has_its_three_descriptors_also_if_the_caller_has_none() {
    let Some(stage) = Stage::up() else { return };
    let list = format!("exec {PROGRAM} alice listsessions <&- 2>&-");
    assert_eq!(stage.script(BROKER, &list), clean());
}

#[test]
fn the_protection_of_the_agent_from_a_lack_of_memory_reaches_nobody() {
    let Some(stage) = Stage::up() else { return };
    let plain = stage.script(ROOT, "echo -500 >/proc/self/oom_score_adj");
    if plain.code != Some(0) {
        println!("skipped: root may not protect anything here: {plain:?}");
        return;
    }
    let found = stage.root(&format!(
        "echo -500 >/proc/self/oom_score_adj
         exec setpriv --reuid 990 --regid 990 --clear-groups {PROGRAM} alice listsessions"
    ));
    assert_eq!(found, clean().out);
}

#[test]
fn a_run_has_a_minute_also_in_what_it_runs() {
    let Some(stage) = Stage::up() else { return };
    stage.root(
        "printf '#!/usr/bin/perl\nprint alarm(0), \"\\n\"' >/usr/bin/x2golistsessions.new
         chmod 755 /usr/bin/x2golistsessions.new
         mv /usr/bin/x2golistsessions.new /usr/bin/x2golistsessions",
    );
    let found = stage.ask(&["alice", "listsessions"]);
    let left = found.out.strip_prefix("OK\n").unwrap().trim();
    let left: u32 = left.parse().unwrap();
    assert!((1..=60).contains(&left), "{left} s are left");
}

#[test]
fn where_root_can_t_become_the_user_nothing_is_done() {
    let Some(stage) = Stage::up() else { return };
    let add = stage.root(&format!(
        "setpriv --reuid 990 --regid 990 --clear-groups --bounding-set -setuid \
         {PROGRAM} alice addauthkey '{KEY}' {FILE} 2>&1 || echo $?"
    ));
    assert_eq!(
        add,
        "x2gobroker-agent: becoming the user: Operation not permitted (os error 1)\n71\n"
    );
    assert_eq!(stage.root("find /home -mindepth 2"), "");
}

/// Runs a call on a new terminal, as root, and returns what is seen there. `as_leader`: this
/// program leads the session of the terminal; else it is a job of a shell.
fn on_a_terminal(stage: &Stage, how: &str, operands: &str) -> String {
    let call = match how {
        "leader" => format!("exec {PROGRAM} {operands}"),
        "job" => format!("set -m; {PROGRAM} {operands}; echo \"code $?\""),
        _ => format!("{PROGRAM} {operands}; echo \"code $?\""),
    };
    // The trap works: anything else that runs there has the terminal.
    let call = format!("( : </dev/tty ) && echo there; {call}");
    stage.root(&format!(
        "SHELL=/bin/bash script --quiet --return --command '{call}' /dev/null </dev/null || echo \"ends with $?\""
    ))
}

#[test]
fn the_terminal_of_the_caller_reaches_nobody() {
    let Some(stage) = Stage::up() else { return };
    // What the program complains of is seen on the terminal, too.
    let expected = format!("there\nOK\n{CLEAN}").replace("input", "255\ninput");
    let expected = expected.replace("255\n255\n", "255\n");
    for how in ["child", "job", "leader"] {
        let seen = on_a_terminal(&stage, how, "alice listsessions").replace('\r', "");
        let seen = seen.replace("code 0\n", "");
        assert_eq!(seen, expected, "{how}");
    }
    // And how it ends is told as ever.
    for how in ["child", "job"] {
        let seen = on_a_terminal(&stage, how, "root listsessions");
        assert!(
            seen.contains("no ordinary user") && seen.contains("code 255"),
            "{how}: {seen}"
        );
    }
    let seen = on_a_terminal(&stage, "leader", "root listsessions");
    assert!(
        seen.contains("no ordinary user") && seen.contains("ends with 255"),
        "{seen}"
    );
}

#[test]
fn a_terminal_that_the_caller_may_only_read_is_not_written() {
    let Some(stage) = Stage::up() else { return };
    let call = format!("{PROGRAM} alice ping 2>/dev/null 1</dev/tty; echo code $?");
    let seen = stage.root(&format!(
        "script --quiet --return --command '{call}' /dev/null </dev/null"
    ));
    assert_eq!(seen.replace('\r', ""), "code 71\n");
}

#[test]
fn closed_standard_descriptors_don_t_turn_a_key_file_into_one() {
    let Some(stage) = Stage::up() else { return };
    let found = stage.script(
        BROKER,
        &format!("{PROGRAM} alice addauthkey '{KEY}' {FILE} <&- >&- 2>&-"),
    );
    assert_eq!(found.code, Some(0), "{found:?}");
    assert_eq!(
        stage.root("cat /home/alice/.x2go/authorized_keys"),
        format!("{KEY}\n")
    );
}

#[test]
fn ignored_and_blocked_signals_reach_nobody() {
    let Some(stage) = Stage::up() else { return };
    let signals = ["--ignore-signal", "--block-signal"];
    assert_eq!(
        stage.ask_through_env(&signals, &["alice", "listsessions"]),
        clean()
    );
}

#[test]
fn limits_at_zero_reach_nobody() {
    let Some(stage) = Stage::up() else { return };
    let zero = "ulimit -Sf 0; ulimit -Sc 0; ulimit -Su 0; ulimit -Sn 4; ulimit -St 1;";
    let list = stage.script(BROKER, &format!("{zero} exec {PROGRAM} alice listsessions"));
    assert_eq!(list, clean());
    let add = format!("{zero} exec {PROGRAM} alice addauthkey '{KEY}' {FILE}");
    let add = stage.script(BROKER, &add);
    assert!(add.is_ok(), "{add:?}");
}

#[test]
fn limits_that_can_t_be_lifted_are_a_refusal_before_anything_is_done() {
    let Some(stage) = Stage::up() else { return };
    // In a container without CAP_SYS_RESOURCE even root can't lift a hard limit.
    let add = stage.root(&format!(
        "exec setpriv --bounding-set -sys_resource bash -c \
         'ulimit -f 0; {PROGRAM} alice addauthkey \"{KEY}\" {FILE} 2>&1; echo $?'"
    ));
    assert_eq!(
        add,
        "x2gobroker-agent: lifting the caller's limits: Operation not permitted (os error 1)\n71\n"
    );
    assert_eq!(stage.root("ls -A /home/alice"), "");
}

#[test]
fn an_open_mask_does_not_open_a_key_file() {
    let Some(stage) = Stage::up() else { return };
    let add = format!("umask 0; cd /home; exec {PROGRAM} alice addauthkey '{KEY}' {FILE}");
    let add = stage.script(BROKER, &add);
    assert!(add.is_ok(), "{add:?}");
    assert_eq!(
        stage.root("stat -c '%a %u %g' /home/alice/.x2go{,/authorized_keys}"),
        "700 2001 2001\n600 2001 2001\n"
    );
}

#[test]
fn an_answer_that_can_t_be_written_is_no_success() {
    let Some(stage) = Stage::up() else { return };
    let found = stage.script(BROKER, &format!("exec {PROGRAM} foo ping >/dev/full"));
    assert!(found.is_refusal(74, "can't be written"), "{found:?}");
}
