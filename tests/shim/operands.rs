//! Which operands never reach anything?

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use crate::stage::{BROKER, FILE, KEY, PROGRAM, SESSION, Stage, outcome};

const AS_THE_ORIGINAL: i32 = 255;

fn refuses(operands: &[&str], words: &str) {
    let Some(stage) = Stage::up() else { return };
    let found = stage.ask(operands);
    assert!(found.is_refusal(AS_THE_ORIGINAL, words), "{found:?}");
    // Nothing was made in any home.
    let homes = stage.root("find /home -mindepth 2");
    assert_eq!(homes, "", "{operands:?}");
}

#[test]
fn a_user_name_with_a_path_is_refused() {
    refuses(&["../alice", "listsessions"], "name of a user");
}

#[test]
fn a_user_name_like_an_option_is_refused() {
    refuses(&["--help", "listsessions"], "name of a user");
}

#[test]
fn a_user_name_that_is_too_long_is_refused() {
    refuses(&[&"a".repeat(65), "listsessions"], "name of a user");
}

#[test]
fn a_user_name_that_is_no_text_is_refused() {
    let Some(stage) = Stage::up() else { return };
    let mut command = stage.enter(BROKER);
    command.arg(PROGRAM).arg(OsStr::from_bytes(b"ali\xffce"));
    let found = outcome(command.arg("listsessions"));
    assert!(
        found.is_refusal(AS_THE_ORIGINAL, "name of a user"),
        "{found:?}"
    );
}

fn refuses_bytes(operands: &[&[u8]], words: &str) {
    let Some(stage) = Stage::up() else { return };
    let mut command = stage.enter(BROKER);
    command.arg(PROGRAM);
    command.args(operands.iter().map(|bytes| OsStr::from_bytes(bytes)));
    let found = outcome(&mut command);
    assert!(found.is_refusal(AS_THE_ORIGINAL, words), "{found:?}");
    assert_eq!(stage.root("find /home -mindepth 2"), "");
}

#[test]
fn a_session_that_is_no_text_is_refused() {
    let session = [SESSION.as_bytes(), b"\xff"].concat();
    refuses_bytes(
        &[b"alice", b"suspendsession", &session],
        "session of this user",
    );
}

#[test]
fn a_key_that_is_no_text_is_refused() {
    let key = [KEY.as_bytes(), b"\xff"].concat();
    refuses_bytes(
        &[b"alice", b"addauthkey", &key, FILE.as_bytes()],
        "one plain line",
    );
}

#[test]
fn a_key_file_that_is_no_text_is_refused() {
    refuses_bytes(
        &[b"alice", b"addauthkey", KEY.as_bytes(), b"%h/\xff"],
        "name of a key file",
    );
}

#[test]
fn a_task_that_is_no_text_does_nothing() {
    let Some(stage) = Stage::up() else { return };
    let mut command = stage.enter(BROKER);
    command.args([PROGRAM, "alice"]);
    let found = outcome(command.arg(OsStr::from_bytes(b"ping\xff")));
    assert_eq!((found.code, found.out.as_str()), (Some(0), ""), "{found:?}");
}

#[test]
fn a_session_like_an_option_is_refused() {
    refuses(
        &["alice", "suspendsession", "--all"],
        "session of this user",
    );
}

#[test]
fn a_session_of_another_user_is_refused() {
    let of_bob = SESSION.replace("alice", "bob");
    refuses(
        &["alice", "terminatesession", &of_bob],
        "session of this user",
    );
}

#[test]
fn a_session_with_more_than_a_name_is_refused() {
    let more = format!("{SESSION};id");
    refuses(&["alice", "suspendsession", &more], "session of this user");
}

#[test]
fn a_session_that_is_too_long_is_refused() {
    let long = format!("{SESSION}{}", "x".repeat(500));
    refuses(&["alice", "suspendsession", &long], "session of this user");
}

#[test]
fn a_key_with_a_newline_is_refused() {
    let two = format!("{KEY}\n{KEY}2");
    refuses(&["alice", "addauthkey", &two, FILE], "one plain line");
}

#[test]
fn a_key_with_quotes_is_refused() {
    let quoted = format!("command=\"id\" {KEY}");
    refuses(&["alice", "addauthkey", &quoted, FILE], "one plain line");
    let quoted = format!("{KEY} it's \"x\"");
    refuses(&["alice", "addauthkey", &quoted, FILE], "one plain line");
}

#[test]
fn a_key_that_is_too_long_is_refused() {
    let long = format!("{KEY}{}", "x".repeat(10_000));
    refuses(&["alice", "addauthkey", &long, FILE], "one plain line");
}

#[test]
fn a_key_like_an_option_is_refused() {
    let option = format!("-n {KEY}");
    refuses(&["alice", "addauthkey", &option, FILE], "one plain line");
}

#[test]
fn a_key_whose_comment_means_more_to_a_shell_is_refused() {
    for comment in ["$(id)", "a;id", "a|id", "a>b", "#", "*"] {
        let key = format!("ssh-rsa AAAA {comment}");
        refuses(&["alice", "addauthkey", &key, FILE], "one plain line");
        refuses(&["alice", "delauthkey", &key, FILE], "one plain line");
    }
}

#[test]
fn a_key_file_like_an_option_is_refused() {
    let file = "--help";
    refuses(&["alice", "addauthkey", KEY, file], "name of a key file");
}

#[test]
fn a_key_file_with_a_name_that_is_too_long_is_refused() {
    let file = format!("%h/{}", "x".repeat(1024));
    refuses(&["alice", "addauthkey", KEY, &file], "name of a key file");
}

#[test]
fn a_key_file_that_climbs_is_refused() {
    let climbs = "%h/../bob/.ssh/authorized_keys";
    refuses(&["alice", "addauthkey", KEY, climbs], "name of a key file");
}

#[test]
fn a_server_whose_desktops_are_to_be_listed_is_refused() {
    // x2golistdesktops would take one.
    for operand in ["s2", "--help", ""] {
        refuses(&["alice", "listdesktops", operand], "fewer operands");
    }
}

#[test]
fn no_operands_are_refused() {
    refuses(&[], "usage");
    refuses(&["alice"], "usage");
}

#[test]
fn an_argument_vector_with_an_empty_program_name_is_refused() {
    let Some(stage) = Stage::up() else { return };
    let found = stage.script(BROKER, &format!("exec -a '' {PROGRAM}"));
    assert!(found.is_refusal(AS_THE_ORIGINAL, "usage"), "{found:?}");
}

#[test]
fn a_forced_command_for_a_shell_is_refused() {
    let Some(stage) = Stage::up() else { return };
    for command in [
        format!("sh -c '{PROGRAM} alice listsessions; touch /home/x'"),
        format!("{PROGRAM} alice suspendsession \"$(touch /tmp/x)\""),
        "sh -c 'id'".to_owned(),
        "id".to_owned(),
    ] {
        let asked = format!("SSH_ORIGINAL_COMMAND={command}");
        let found = stage.ask_through_env(&[&asked], &[]);
        assert!(
            found.is_refusal(AS_THE_ORIGINAL, "SSH command"),
            "{command}: {found:?}"
        );
    }
}
