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

/// Makes an /etc/passwd in which the line of the broker's account, number 990, has its last
/// digit just beyond the first mebibyte.
fn long_passwd(stage: &Stage) {
    stage.root(
        "sed /^x2gobroker:/d /etc/passwd >/home/passwd
         line=x2gobroker:x:99
         rest=$((1048576 - $(stat -c %s /home/passwd) - ${#line}))
         head=filler:x:3000:3000:
         tail=:/home/filler:/bin/sh
         printf '%s%s%s\\n' $head \
             $(head -c $((rest - ${#head} - ${#tail} - 1)) /dev/zero | tr '\\0' x) $tail \
             >>/home/passwd
         printf '%s0:990::/var/lib/x2gobroker:/bin/sh\\n' $line >>/home/passwd
         test $(head -c 1048576 /home/passwd | tail -n 1) = $line
         mount --bind /home/passwd /etc/passwd",
    );
}

#[test]
fn a_number_that_is_cut_in_a_long_passwd_is_nobody_s() {
    let Some(stage) = Stage::up() else { return };
    long_passwd(&stage);
    // The first mebibyte ends in "x2gobroker:x:99".
    let found = stage.call(Caller(99, 990), &["foo", "ping"]);
    assert!(
        found.is_refusal(77, "only the account x2gobroker"),
        "{found:?}"
    );
}

#[test]
fn the_broker_is_known_in_a_passwd_of_any_length() {
    let Some(stage) = Stage::up() else { return };
    long_passwd(&stage);
    let found = stage.call(BROKER, &["foo", "ping"]);
    assert!(found.is_ok(), "{found:?}");
}
