//! The order of the checks, and what makes an AUTHID good.

use std::net::IpAddr;
use std::time::Duration;

use proto::{BrokerUser, Secret};

use super::{MAX_SKEW, Step, good, step};
use crate::auth::WhyDenied::{self, AuthIdAddress, AuthIdMissing, AuthIdOld, AuthIdUser, Probe};
use crate::auth::authid::Facts;
use crate::auth::{Credentials, tests::open};
use crate::config::AuthConfig;

const PRESET: &str = "11111111-2222-3333-4444-555555555555";

/// `require-password` and `require-cookie`.
fn how((require_password, require_authid): (bool, bool)) -> AuthConfig {
    AuthConfig {
        require_password,
        require_authid,
        ..open()
    }
}

/// What is required, user and password, AUTHID, and what happens.
type Row = (
    (bool, bool),
    (&'static str, &'static str),
    &'static str,
    Result<Step, WhyDenied>,
);

fn sent(user: &str, password: &str, authid: &str) -> Credentials {
    Credentials {
        user: user.to_owned(),
        password: Secret::new(password.to_owned()),
        login: String::new(),
        authid: Secret::new(authid.to_owned()),
    }
}

/// The checks of x2gobroker 0.0.4.3, in its order, as its answers show them.
#[test]
fn the_checks_come_in_the_order_of_the_original() {
    use Step::{AskForPassword, CheckAuthId, LetIn, LetInByPreset};
    let (yes, no) = (true, false);
    let probe = ("check-credentials", "FALSE");
    let table: &[Row] = &[
        // 1: nothing is required
        ((no, no), ("", ""), "", Ok(LetIn)),
        ((no, no), ("alice", "wrong"), "anything", Ok(LetIn)),
        ((no, no), probe, "", Ok(LetIn)),
        // 2: the probe of greeters
        ((yes, no), probe, "", Err(Probe)),
        ((yes, yes), probe, PRESET, Err(Probe)),
        (
            (yes, no),
            ("check-credentials", "false"),
            "",
            Ok(AskForPassword),
        ),
        // 3: an AUTHID is required
        ((yes, yes), ("alice", "pw"), "", Err(AuthIdMissing)),
        ((no, yes), ("alice", "pw"), "", Err(AuthIdMissing)),
        // 5: only the preset one, and no other
        ((no, yes), ("", ""), PRESET, Ok(LetInByPreset)),
        ((no, yes), ("alice", ""), PRESET, Ok(LetInByPreset)),
        ((no, yes), ("alice", "pw"), "other", Err(AuthIdMissing)),
        // 6: none, or the preset one: the password decides
        ((yes, no), ("alice", "pw"), "", Ok(AskForPassword)),
        ((yes, no), ("alice", "pw"), PRESET, Ok(AskForPassword)),
        ((yes, yes), ("alice", "pw"), PRESET, Ok(AskForPassword)),
        // 7: any other
        ((yes, no), ("alice", "pw"), "other", Ok(CheckAuthId)),
        ((yes, yes), ("alice", ""), "other", Ok(CheckAuthId)),
    ];
    let preset = Secret::new(PRESET.to_owned());
    for &(required, (user, typed), authid, expected) in table {
        let found = step(&how(required), &sent(user, typed, authid), Some(&preset));
        assert_eq!(found, expected, "{required:?} {user} {authid}");
    }
}

#[test]
fn without_a_preset_authid_none_is_it() {
    let only_cookie = how((false, true));
    for authid in ["", PRESET, "x"] {
        let found = step(&only_cookie, &sent("alice", "pw", authid), None);
        assert_eq!(found, Err(AuthIdMissing), "{authid:?}");
    }
}

#[test]
fn an_authid_is_good_for_its_user_address_and_time() {
    let alice = BrokerUser::parse("alice").unwrap();
    let bob = BrokerUser::parse("bob").unwrap();
    let desk: IpAddr = "10.77.0.20".parse().unwrap();
    let other: IpAddr = "10.77.0.21".parse().unwrap();
    let first = 1_000_000_000;
    let timeout = Duration::from_secs(3);
    let facts = Facts::new(Some(&alice), desk, first, first, timeout).unwrap();
    let ends = first + 3000;
    let mut config = open().authid;
    config.timeout = timeout;
    let mapped: IpAddr = "::ffff:10.77.0.20".parse().unwrap();
    for (user, client, now, expected) in [
        (Some(&alice), desk, first, Ok(())),
        (Some(&alice), mapped, first, Ok(())),
        (Some(&alice), desk, ends, Ok(())),
        (Some(&alice), desk, ends + 1, Err(AuthIdOld)),
        (Some(&alice), other, first, Err(AuthIdAddress)),
        (Some(&bob), desk, first, Err(AuthIdUser)),
        (None, desk, first, Err(AuthIdUser)),
        // Another user's in any case: neither address nor age is told.
        (Some(&bob), other, ends + 1, Err(AuthIdUser)),
        // The clock of the replica that made it was ahead, a little or by hours.
        (Some(&alice), desk, first - 60_000, Ok(())),
        (Some(&alice), desk, first - MAX_SKEW - 1, Err(AuthIdOld)),
    ] {
        let found = good(&config, &facts, user, client, now);
        assert_eq!(found, expected, "{user:?} {client} {now}");
    }
    config.verify_ip = false;
    assert_eq!(good(&config, &facts, Some(&alice), other, first), Ok(()));
    // The shorter of both times counts, whichever side was configured so.
    config.timeout = Duration::from_secs(1);
    assert_eq!(
        good(&config, &facts, Some(&alice), desk, first + 1001),
        Err(AuthIdOld)
    );
    config.timeout = Duration::from_secs(100);
    assert_eq!(
        good(&config, &facts, Some(&alice), desk, ends + 1),
        Err(AuthIdOld)
    );
}
