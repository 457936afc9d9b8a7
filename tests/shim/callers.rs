//! Who may call?

use crate::stage::{BROKER, Caller, ROOT, Stage};

#[test]
fn the_account_of_the_broker_and_root_may_call() {
    let Some(stage) = Stage::up() else { return };
    for caller in [BROKER, ROOT] {
        let found = stage.call(caller, &["foo", "ping"]);
        assert!(found.is_ok(), "{caller:?}: {found:?}");
    }
}

#[test]
fn a_caller_outside_the_group_does_not_even_start_it() {
    let Some(stage) = Stage::up() else { return };
    let found = stage.call(Caller(2001, 2001), &["foo", "ping"]);
    assert_ne!(found.code, Some(0), "{found:?}");
    assert!(found.complaint.contains("Permission denied"), "{found:?}");
}

#[test]
fn a_caller_in_the_group_who_is_not_the_broker_is_refused() {
    let Some(stage) = Stage::up() else { return };
    let found = stage.call(Caller(2004, 990), &["foo", "ping"]);
    assert!(
        found.is_refusal(77, "only the account x2gobroker"),
        "{found:?}"
    );
}

#[test]
fn without_an_account_of_the_broker_only_root_may_call() {
    let Some(stage) = Stage::up() else { return };
    stage.root(
        "sed /^x2gobroker:/d /etc/passwd >/home/passwd; mount --bind /home/passwd /etc/passwd",
    );
    let found = stage.call(BROKER, &["foo", "ping"]);
    assert!(
        found.is_refusal(77, "only the account x2gobroker"),
        "{found:?}"
    );
    assert!(stage.call(ROOT, &["foo", "ping"]).is_ok());
}
