//! AUTHIDs of this farm and of others, whole and not.

use std::time::Duration;

use pki::Role;
use proptest::prelude::*;
use proto::BrokerUser;

use super::{AuthId, Facts, ReadError};
use crate::auth::testing::{Farm, START};
use crate::config::{HttpsGetConfig, Mechanism};

/// The main broker of a daemon.
const MAIN: &str = "";

const NOW: u64 = START * 1000;

fn facts(user: &str) -> Facts {
    let user = BrokerUser::parse(user).unwrap();
    let client = "10.77.0.20".parse().unwrap();
    Facts::new(
        Some(&user),
        client,
        NOW,
        NOW + 5,
        Duration::from_secs(36_000),
    )
    .unwrap()
}

#[test]
fn an_authid_says_elsewhere_what_it_said_here() {
    let farm = Farm::new("office");
    let one = farm.member(Role::Broker, "broker1");
    let two = farm.member(Role::Broker, "broker2");
    let anonymous = Facts::new(None, "fd77::20".parse().unwrap(), NOW, NOW, Duration::MAX);
    for said in [facts("alice"), facts("CORP\\alice"), anonymous.unwrap()] {
        let authid = AuthId::sign(&said, MAIN, &Mechanism::Pam, &one).unwrap();
        let read = AuthId::verify(
            authid.expose(),
            MAIN,
            &Mechanism::Pam,
            &two,
            farm.clock.now(),
        );
        assert_eq!(read.unwrap(), said);
    }
    // An IPv4 client at a socket for both is the same client.
    let mapped = Facts::new(
        None,
        "::ffff:10.77.0.20".parse().unwrap(),
        0,
        0,
        Duration::ZERO,
    );
    assert_eq!(mapped.unwrap().client, facts("alice").client);
}

/// Clients put it unescaped into form bodies and shell lines.
#[test]
fn an_authid_is_short_and_of_harmless_characters() {
    let label = "n".repeat(60);
    for (farm, node, user, most) in [
        ("office", "broker1", "alice", 600),
        (
            "x2go.uni-example.org",
            "broker-1.x2go.uni-example.org",
            "first.last@example.org",
            700,
        ),
        (
            &"f".repeat(64),
            &format!("{label}.{label}.{label}"),
            &"u".repeat(64),
            1024,
        ),
    ] {
        let farm = Farm::new(farm);
        let mut said = facts(user);
        said.client = "fd77:ffff:ffff:ffff:ffff:ffff:ffff:ffff".parse().unwrap();
        let replica = farm.member(Role::Broker, node);
        let authid = AuthId::sign(&said, MAIN, &Mechanism::None, &replica).unwrap();
        let length = authid.expose().len();
        assert!(length < most, "{length} bytes for {node}");
        let harmless = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        assert!(authid.expose().chars().all(harmless), "{}", authid.expose());
        assert!(
            AuthId::verify(
                authid.expose(),
                MAIN,
                &Mechanism::None,
                &replica,
                farm.clock.now()
            )
            .is_ok()
        );
    }
}

#[test]
fn only_replicas_of_this_farm_make_authids_and_each_for_one_mechanism() {
    let farm = Farm::new("office");
    let replica = farm.member(Role::Broker, "broker1");
    let now = farm.clock.now();
    let refused = |identity: &pki::Identity, mechanism: &Mechanism| {
        let authid = AuthId::sign(&facts("alice"), MAIN, mechanism, identity).unwrap();
        AuthId::verify(authid.expose(), MAIN, &Mechanism::Pam, &replica, now).unwrap_err()
    };
    for role in [Role::Agent, Role::Operator] {
        let member = farm.member(role, "s1");
        let error = refused(&member, &Mechanism::Pam);
        assert!(
            matches!(error, ReadError::Role(found) if found == role),
            "{error:?}"
        );
    }
    // A farm of the same name is another farm.
    let other = Farm::new("office").member(Role::Broker, "broker1");
    let error = refused(&other, &Mechanism::Pam);
    assert!(matches!(error, ReadError::Signature(_)), "{error:?}");
    // A backend that lets everybody in opens no other.
    let web = Mechanism::HttpsGet(HttpsGetConfig {
        host: "web.example".to_owned(),
        port: 443,
        path: "/".to_owned(),
        ca_file: None,
    });
    for mechanism in [Mechanism::None, web] {
        let error = refused(&replica, &mechanism);
        assert!(matches!(error, ReadError::Signature(_)), "{error:?}");
    }
}

#[test]
fn an_authid_opens_the_broker_that_gave_it_and_no_other() {
    let farm = Farm::new("office");
    let replica = farm.member(Role::Broker, "broker1");
    for made_by in ["", "lab", "office"] {
        let authid = AuthId::sign(&facts("alice"), made_by, &Mechanism::Pam, &replica).unwrap();
        for asked in ["", "lab", "office"] {
            let read = AuthId::verify(
                authid.expose(),
                asked,
                &Mechanism::Pam,
                &replica,
                farm.clock.now(),
            );
            assert_eq!(read.is_ok(), made_by == asked, "{made_by} {asked}");
        }
    }
}

#[test]
fn an_authid_ends_with_the_certificate_of_its_replica() {
    let farm = Farm::new("office");
    let replica = farm.member(Role::Broker, "broker1");
    let authid = AuthId::sign(&facts("alice"), MAIN, &Mechanism::Pam, &replica).unwrap();
    let check = || {
        AuthId::verify(
            authid.expose(),
            MAIN,
            &Mechanism::Pam,
            &replica,
            farm.clock.now(),
        )
    };
    assert!(check().is_ok());
    farm.hand.advance(Duration::from_secs(91 * 24 * 3600));
    assert!(
        matches!(check(), Err(ReadError::Signature(_))),
        "{:?}",
        check()
    );
}

#[test]
fn texts_of_another_form_are_refused() {
    let farm = Farm::new("office");
    let replica = farm.member(Role::Broker, "broker1");
    let good = AuthId::sign(&facts("alice"), MAIN, &Mechanism::Pam, &replica).unwrap();
    let good = good.expose();
    let long = "a".repeat(100_000);
    let doubled = format!("{good}.{good}");
    for text in [
        "",
        ".",
        "..",
        "...",
        "11111111-2222-3333-4444-555555555555",
        "../../etc/passwd",
        &long,
        &doubled,
        &good[1..],
        &good[..good.len() - 4],
        &good.replace('.', "-"),
    ] {
        let read = AuthId::verify(text, MAIN, &Mechanism::Pam, &replica, farm.clock.now());
        assert!(read.is_err(), "{text}");
    }
}

proptest! {
    /// Whatever character is another, the AUTHID is good no more, or says the same: the last
    /// character of a part has bits that mean nothing.
    #[test]
    fn a_changed_authid_never_says_something_else(at in 0..500_usize, to in "[A-Za-z0-9_-]") {
        use std::sync::LazyLock;
        static MADE: LazyLock<(Farm, pki::Identity, Facts, String)> = LazyLock::new(|| {
            let farm = Farm::new("office");
            let replica = farm.member(Role::Broker, "broker1");
            let said = facts("alice");
            let authid = AuthId::sign(&said, MAIN, &Mechanism::Pam, &replica).unwrap();
            (farm, replica, said, authid.expose().to_owned())
        });
        let (farm, replica, said, authid) = &*MADE;
        let at = at % authid.len();
        let mut changed = authid.clone();
        changed.replace_range(at..=at, &to);
        if let Ok(read) = AuthId::verify(&changed, MAIN, &Mechanism::Pam, replica, farm.clock.now()) {
            prop_assert_eq!(&read, said);
        }
    }
}
