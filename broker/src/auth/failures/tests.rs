//! Wrong passwords of users, of whole sites, and of those who would keep others out.

use std::net::IpAddr;
use std::time::Duration;

use proptest::prelude::*;
use proto::BrokerUser;

use super::{Failures, TooSoon};
use crate::config::FailureLimits;

const LIMITS: FailureLimits = FailureLimits {
    free: 3,
    free_shared: 30,
    longest_delay: Duration::from_secs(8),
    halve_after: Duration::from_secs(300),
};

fn user(name: &str) -> BrokerUser {
    BrokerUser::parse(name).unwrap()
}

fn at(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn failures() -> Failures {
    Failures::new([7; 16])
}

#[test]
fn each_failure_after_the_free_ones_doubles_the_delay_up_to_a_bound() {
    let mut failures = failures();
    let (alice, desk) = (user("alice"), at("10.77.0.20"));
    let mut now = 1_000_000;
    for wait in [0, 0, 0, 1000, 2000, 4000, 8000, 8000, 8000] {
        failures.failed(&alice, desk, now);
        let found = failures.check(&LIMITS, &alice, desk, now);
        let expected = if wait == 0 {
            Ok(())
        } else {
            Err(TooSoon { wait })
        };
        assert_eq!(found, expected);
        now += wait;
        assert_eq!(failures.check(&LIMITS, &alice, desk, now), Ok(()));
    }
    // Others there, and she elsewhere, go on.
    failures.failed(&alice, desk, now);
    assert_eq!(failures.check(&LIMITS, &user("bob"), desk, now), Ok(()));
    let elsewhere = at("10.77.0.21");
    assert_eq!(failures.check(&LIMITS, &alice, elsewhere, now), Ok(()));
    // A right password forgives.
    failures.let_in(&alice, desk, now);
    assert_eq!(failures.check(&LIMITS, &alice, desk, now), Ok(()));
}

#[test]
fn counts_halve_again_and_again_though_failures_go_on() {
    let mut failures = failures();
    let site = at("10.77.0.20");
    let mut now = 1_000_000;
    // Forty people behind one address, one of whom mistypes each half minute: for ever.
    for n in 0..1000 {
        let typist = user(&format!("u{}", n % 40));
        assert_eq!(failures.check(&LIMITS, &typist, site, now), Ok(()), "{n}");
        failures.failed(&typist, site, now);
        now += 30_000;
    }
    // All at once is another thing, and passes.
    for n in 0..40 {
        failures.failed(&user(&format!("u{n}")), site, now);
    }
    assert!(failures.check(&LIMITS, &user("zoe"), site, now).is_err());
    now += 2 * 300_000;
    failures.failed(&user("u0"), site, now);
    assert_eq!(failures.check(&LIMITS, &user("zoe"), site, now), Ok(()));
}

#[test]
fn whoever_guesses_at_many_users_is_stopped_at_the_address() {
    let mut failures = failures();
    let one_site = ["fd77::1", "fd77::2:0:0:1"];
    failures.let_in(&user("known"), at("fd77::3"), 4000);
    for n in 0..40_u32 {
        let client = at(one_site[n as usize % 2]);
        failures.failed(&user(&format!("u{n}")), client, 5000);
    }
    let mut check = |name: &str, client| {
        let found = failures.check(&LIMITS, &user(name), at(client), 5000);
        found.is_ok()
    };
    assert!(!check("alice", "fd77::ffff"));
    assert!(check("alice", "fd77:0:0:1::1"));
    // Who was let in there shares the address, and not the blame.
    assert!(check("known", "fd77::ffff"));
}

#[test]
fn nobody_is_kept_out_for_good_by_the_failures_of_others() {
    let mut failures = failures();
    let (alice, desk) = (user("alice"), at("10.77.0.20"));
    failures.let_in(&alice, desk, 0);
    for n in 0..200_u8 {
        failures.failed(&alice, IpAddr::from([192, 0, 2, n]), 1000);
    }
    // Strangers wait, she does not.
    let elsewhere = at("198.51.100.1");
    assert!(failures.check(&LIMITS, &alice, elsewhere, 1000).is_err());
    assert_eq!(failures.check(&LIMITS, &alice, desk, 1000), Ok(()));
    // Somebody is always quicker than she is, wherever she goes, and she gets in all the
    // same after the longest delay.
    let mut now = 1000;
    while failures.check(&LIMITS, &alice, elsewhere, now).is_err() {
        assert!(now <= 9000, "she waits for ever");
        now += 100;
        failures.failed(&alice, at("192.0.2.1"), now);
    }
    assert_eq!(now, 9000);
    // A wrong password there costs the whole delay again.
    failures.failed(&alice, elsewhere, now);
    let wait = failures.check(&LIMITS, &alice, elsewhere, now).unwrap_err();
    assert_eq!(wait.wait, 8000);
}

#[test]
fn another_spelling_of_a_name_is_no_other_user() {
    let mut failures = failures();
    let desk = at("10.77.0.20");
    for name in ["CORP\\alice", "corp\\alice", "Corp\\Alice", "cOrp\\alice"] {
        failures.failed(&user(name), desk, 1000);
    }
    let denied = failures.check(&LIMITS, &user("CORP\\ALICE"), desk, 1000);
    assert!(denied.is_err());
    let other = failures.check(&LIMITS, &user("alice"), desk, 1000);
    assert!(other.is_ok());
}

#[test]
fn replicas_of_a_farm_count_what_the_others_tell_and_those_of_another_do_not() {
    let (alice, desk) = (user("alice"), at("10.77.0.20"));
    let mut telling = failures();
    let (mut same, mut other) = (failures(), Failures::new([8; 16]));
    for _ in 0..4 {
        let keys = telling.failed(&alice, desk, 1000);
        same.count(keys, 1000);
        other.count(keys, 1000);
    }
    assert!(same.check(&LIMITS, &alice, desk, 1000).is_err());
    assert!(other.check(&LIMITS, &alice, desk, 1000).is_ok());
    same.forgive(telling.let_in(&alice, desk, 1000), 1000);
    assert!(same.check(&LIMITS, &alice, desk, 1000).is_ok());
}

proptest! {
    #[test]
    fn memory_has_a_bound_and_delays_too(
        many in proptest::collection::vec((0..1000_u32, 0..2000_u64), 1..300),
    ) {
        let mut failures = Failures::with_limit([0; 16], 60);
        let mut now = 10_000;
        for (n, later) in many {
            let (who, client) = (user(&format!("u{}", n % 50)), IpAddr::from(n.to_be_bytes()));
            let _ = failures.check(&LIMITS, &who, client, now);
            failures.failed(&who, client, now);
            if n % 3 == 0 {
                failures.let_in(&who, client, now);
            }
            now += later;
            prop_assert!(failures.counted.len() <= 60 && failures.known.len() <= 60);
        }
        let latest = now + 8001;
        for n in 0..50_u32 {
            let (who, client) = (user(&format!("u{n}")), IpAddr::from(n.to_be_bytes()));
            prop_assert!(failures.check(&LIMITS, &who, client, latest).is_ok());
        }
    }
}
