//! For whom does it act?

use crate::stage::{FILE, KEY, Stage};

fn refuses(user: &str) {
    let Some(stage) = Stage::up() else { return };
    for operands in [
        &[user, "listsessions"][..],
        &[user, "listdesktops"],
        &[user, "dance"],
        &[user, "addauthkey", KEY, FILE],
    ] {
        let found = stage.ask(operands);
        assert!(
            found.is_refusal(255, "no ordinary user of that name"),
            "{operands:?}: {found:?}"
        );
    }
}

#[test]
fn root_is_refused() {
    refuses("root");
}

#[test]
fn a_system_user_is_refused() {
    refuses("daemon");
}

#[test]
fn the_last_number_of_a_system_user_is_refused() {
    refuses("small");
}

#[test]
fn the_account_of_the_broker_is_refused() {
    refuses("x2gobroker");
}

#[test]
fn nobody_is_refused() {
    refuses("nobody");
}

#[test]
fn a_user_in_the_group_of_root_is_refused() {
    refuses("rooted");
}

#[test]
fn an_unknown_user_is_refused_with_the_same_words() {
    refuses("nosuch");
}

#[test]
fn a_number_is_no_name() {
    refuses("2001");
}

#[test]
fn the_user_of_a_ping_need_not_exist() {
    let Some(stage) = Stage::up() else { return };
    assert!(stage.ask(&["nosuchuser", "ping"]).is_ok());
}
