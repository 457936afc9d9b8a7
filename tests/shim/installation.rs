//! Does the program do anything when it is not installed as packaged?

use crate::stage::{BROKER, Caller, PROGRAM, ROOT, Stage};

const CONFIGURATION: i32 = 78;

fn refuses_after(change: &str, caller: Caller, words: &str) {
    let Some(stage) = Stage::up() else { return };
    assert!(stage.call(caller, &["foo", "ping"]).is_ok(), "as packaged");
    stage.root(&format!("{change} {PROGRAM}"));
    let found = stage.call(caller, &["foo", "ping"]);
    assert!(found.is_refusal(CONFIGURATION, words), "{found:?}");
}

#[test]
fn without_the_setuid_bit_it_refuses() {
    refuses_after("chmod 0750", BROKER, "no setuid bit");
}

#[test]
fn without_the_setuid_bit_it_refuses_root_too() {
    refuses_after("chmod 0750", ROOT, "no setuid bit");
}

#[test]
fn with_another_owner_it_refuses() {
    refuses_after(
        "f() { chown 2001 $1; chmod 4750 $1; }; f",
        BROKER,
        "does not belong to root",
    );
}

#[test]
fn when_others_may_write_it_it_refuses() {
    refuses_after("chmod 4770", BROKER, "may write");
}

#[test]
fn when_everybody_may_run_it_it_refuses() {
    refuses_after("chmod 4755", BROKER, "may run");
}

#[test]
fn on_a_file_system_without_setuid_it_refuses() {
    let Some(stage) = Stage::up() else { return };
    stage.root(&format!(
        "mkdir /home/n; mount -t tmpfs -o nosuid,mode=755 n /home/n; cp -p {PROGRAM} /home/n/agent"
    ));
    let found = stage.script(BROKER, "/home/n/agent foo ping");
    assert!(
        found.is_refusal(CONFIGURATION, "without root's rights"),
        "{found:?}"
    );
}
