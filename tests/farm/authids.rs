//! Which AUTHIDs does a farm refuse? Those that were used, carried away, made up, changed,
//! cut, or are too old; and none that are good, also where clocks are wrong.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::thread;
use std::time::Duration;

use broker::auth::authid::{AuthId, Facts};
use broker::config::Mechanism;
use pki::{Clock, Identity};
use proto::BrokerUser;
use tests::binaries;
use tests::lab::{CLIENT_HOST, HostName, Lab, password};
use tests::process::{command, run};
use tests::wait::{Progress, now, wait_for};

use crate::mesh::{IDENTITY, address};
use crate::pam_farm::{PamFarm, Setup, granted, list, select, status};

const B1: HostName = HostName::broker(1);
const B2: HostName = HostName::broker(2);
const B3: HostName = HostName::broker(3);
const S1: HostName = HostName::server(1);

#[test]
fn an_authid_is_good_once_and_only_where_and_for_whom_it_was_given() {
    let Some(farm) = PamFarm::up(Setup::of(3, 1)) else {
        return;
    };
    refused_elsewhere_once_used(&farm, B1, [B2, B3]);

    // In wrong hands it is refused, and stays good in the right ones.
    let authid = log_in(&farm, B1);
    let elsewhere = farm.lab.clients(S1).unwrap();
    for broker in farm.lab.brokers() {
        let stolen = elsewhere.post(address(broker), &list("alice", "", &authid));
        assert_eq!(status(&stolen.unwrap()), 401, "{broker}: {}", farm.story());
        let renamed = farm.ask(broker, &list("bob", "", &authid));
        assert_eq!(status(&renamed), 401, "{broker}: {}", farm.story());
        let as_bob = farm.ask(
            broker,
            &[&list("alice", "", &authid)[..], &[("login", "bob")]].concat(),
        );
        assert_eq!(status(&as_bob), 401, "{broker}: {}", farm.story());
    }
    granted(&farm.ask(B3, &select("alice", &authid))).unwrap();
    for why in ["another address", "another user", "used before"] {
        let told = farm.lab.brokers().into_iter();
        let told: usize = told
            .map(|broker| farm.logged(broker, &["access denied", why]).len())
            .sum();
        assert!(told > 0, "{why}\n{}", farm.story());
    }
}

#[test]
fn an_authid_that_was_changed_cut_or_made_up_is_refused_everywhere() {
    let Some(farm) = PamFarm::up(Setup::of(3, 1)) else {
        return;
    };
    let authid = log_in(&farm, B1);
    println!("an AUTHID has {} characters", authid.len());
    assert!(authid.len() < 1024);
    assert!(
        authid
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)),
        "{authid}"
    );
    let changed = (0..authid.len()).map(|at| changed(&authid, at));
    let cut = (1..authid.len())
        .step_by(7)
        .map(|end| authid[..end].to_owned());
    let longer = ["A", ".", ".AAAA"].map(|more| format!("{authid}{more}"));
    let parts: Vec<&str> = authid.split('.').collect();
    let swapped = [
        [parts[1], parts[0], parts[2]].join("."),
        [parts[0], parts[0], parts[2]].join("."),
        [parts[0], "", parts[2]].join("."),
        "...".to_owned(),
    ];
    // Another one of hers, with the signature of this.
    let other = log_in(&farm, B2);
    let others: Vec<&str> = other.split('.').collect();
    let mixed = [
        [others[0], parts[1], parts[2]].join("."),
        [parts[0], others[1], others[2]].join("."),
    ];
    let all: Vec<String> = changed
        .chain(cut)
        .chain(longer)
        .chain(swapped)
        .chain(mixed)
        .collect();
    refused_by_all(&farm, &all);

    let made = made_up(&farm);
    refused_by_all(&farm, &made);
    for broker in farm.lab.brokers() {
        let told = farm.logged(broker, &["access denied", "not one of this farm"]);
        assert!(told.len() >= 100, "{broker}: {}", farm.story());
    }
    // The test can fail: these two are as they were, and one more is made as those above.
    let mut good = vec![authid, other];
    good.push(signed(&identity(&farm, B2), &Mechanism::Pam, -3600));
    for authid in &good {
        granted(&farm.ask(B3, &list("alice", "", authid))).unwrap();
    }
}

#[test]
fn clocks_that_are_wrong_by_a_minute_do_no_harm() {
    let Some(farm) = PamFarm::up(Setup {
        clocks: &[(B2, 60), (B3, -30)],
        ..Setup::of(3, 2)
    }) else {
        return;
    };
    // The dates of their logs show it.
    let dates: Vec<u32> = farm
        .lab
        .brokers()
        .into_iter()
        .map(|broker| clock_of(&farm, broker))
        .collect();
    println!("seconds of the hour as logged: {dates:?}");
    let ahead = |of: usize, to: usize| (3600 + dates[of] - dates[to]) % 3600;
    assert!((50..75).contains(&ahead(1, 0)), "{dates:?}");
    assert!((15..40).contains(&ahead(0, 2)), "{dates:?}");
    for first in farm.lab.brokers() {
        let mut authid = log_in(&farm, first);
        for turn in 0..12_u8 {
            let broker = [B2, B3, B1, B3, B2, B1][usize::from(turn) % 6];
            let form = match turn % 2 {
                0 => list("alice", "", &authid),
                _ => select("alice", &authid),
            };
            let call = farm.ask(broker, &form);
            authid = granted(&call).unwrap_or_else(|error| {
                panic!("{first}, then {broker}: {error}\n{}", farm.story())
            });
        }
    }
    refused_elsewhere_once_used(&farm, B2, [B1, B3]);
    refused_elsewhere_once_used(&farm, B3, [B1, B2]);
}

fn log_in(farm: &PamFarm, broker: HostName) -> String {
    let call = farm.ask(broker, &list("alice", &password("alice"), ""));
    granted(&call).unwrap_or_else(|error| panic!("{error}\n{}", farm.story()))
}

/// Uses an AUTHID at one replica, and looks when the others know.
fn refused_elsewhere_once_used(farm: &PamFarm, broker: HostName, others: [HostName; 2]) {
    let authid = log_in(farm, broker);
    granted(&farm.ask(broker, &list("alice", "", &authid))).unwrap();
    let used = now();
    let at_once = farm.ask(broker, &list("alice", "", &authid));
    assert_eq!(status(&at_once), 401, "{}", farm.story());
    for other in others {
        // testcon uses nothing up, so that the test itself is not what is refused.
        let form = [("task", "testcon"), ("user", "alice"), ("authid", &*authid)];
        let known = wait_for(KNOWN_LIMIT, || {
            let call = farm.ask(other, &form);
            Progress::when(status(&call) == 401, || format!("{call:?}"))
        });
        known.unwrap_or_else(|error| panic!("{other}: {error}\n{}", farm.story()));
        println!(
            "used at {broker}, refused at {other} {:.2?} later",
            used.elapsed()
        );
        let replayed = farm.ask(other, &select("alice", &authid));
        assert_eq!(status(&replayed), 401, "{other}: {}", farm.story());
    }
}

/// Sends each to some replica, a few at a time.
fn refused_by_all(farm: &PamFarm, authids: &[String]) {
    let brokers = farm.lab.brokers();
    thread::scope(|scope| {
        for first in 0..N_AT_ONCE {
            let brokers = &brokers;
            scope.spawn(move || {
                for (number, authid) in authids.iter().enumerate().skip(first).step_by(N_AT_ONCE) {
                    let broker = brokers[number % brokers.len()];
                    let call = farm.ask(broker, &list("alice", "", authid));
                    assert_eq!(status(&call), 401, "{number}: {authid}: {call:?}");
                }
            });
        }
    });
    println!("{} AUTHIDs were refused", authids.len());
}

/// With one bit of one character's value changed, or another character for a dot.
fn changed(authid: &str, at: usize) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut bytes = authid.as_bytes().to_vec();
    let value = ALPHABET.iter().position(|byte| *byte == bytes[at]);
    bytes[at] = value.map_or(b'A', |value| ALPHABET[value ^ (1 << (at % 6))]);
    String::from_utf8(bytes).unwrap()
}

/// Well signed, but by somebody else, for something else, or too long ago.
fn made_up(farm: &PamFarm) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca");
    let program = binaries::binary("x2gobroker-ca").unwrap();
    // A farm of the same name, with a root of its own.
    run(command(&program)
        .args(["init", "--farm", "lab", "--dir"])
        .arg(&ca))
    .unwrap();
    let out = folder.path().join("broker1");
    let mut issue = command(&program);
    issue.args(["issue", "--role", "broker", "--node", "broker1", "--dir"]);
    run(issue.arg(&ca).arg("--out").arg(&out)).unwrap();
    let foreign = pki::load_identity(&out, &Clock::system()).unwrap();
    let ours = identity(farm, B1);
    vec![
        signed(&foreign, &Mechanism::Pam, -1),
        // An agent of this farm is no replica.
        signed(&identity(farm, S1), &Mechanism::Pam, -1),
        // Where any password is good.
        signed(&ours, &Mechanism::None, -1),
        // auth-timeout is ten hours; a clock may be ahead by two minutes.
        signed(&ours, &Mechanism::Pam, -36_060),
        signed(&ours, &Mechanism::Pam, 180),
    ]
}

/// An AUTHID of alice at the client host, who showed her password so many seconds from now.
fn signed(identity: &Identity, mechanism: &Mechanism, seconds: i64) -> String {
    let now = i64::try_from(Clock::system().since_epoch().as_millis()).unwrap();
    let first = u64::try_from(now + seconds * 1000).unwrap();
    let alice = BrokerUser::parse("alice").unwrap();
    let client = Lab::address(CLIENT_HOST).into();
    let timeout = Duration::from_secs(36_000);
    let facts = Facts::new(Some(&alice), client, first, first, timeout).unwrap();
    let authid = AuthId::sign(&facts, MAIN, mechanism, identity).unwrap();
    authid.expose().to_owned()
}

fn identity(farm: &PamFarm, host: HostName) -> Identity {
    let folder = farm.lab.outside_path(host, IDENTITY).unwrap();
    // Its key must belong to whoever reads it.
    let own = tempfile::tempdir().unwrap();
    for name in ["leaf.crt", "leaf.key", "roots.pem"] {
        let copy = own.path().join(name);
        fs::write(&copy, fs::read(folder.join(name)).unwrap()).unwrap();
        fs::set_permissions(copy, fs::Permissions::from_mode(0o600)).unwrap();
    }
    pki::load_identity(own.path(), &Clock::system()).unwrap()
}

/// Minute and second of the last line that a replica has logged.
fn clock_of(farm: &PamFarm, broker: HostName) -> u32 {
    let _ = farm.ask(broker, &list("nobody-here", "x", "y"));
    let lines = farm.logged(broker, &["access denied"]);
    let line = lines.last().unwrap_or_else(|| panic!("{}", farm.story()));
    // 2026-11-22T13:45:15.…Z
    let two = |at: usize| line[at..at + 2].parse::<u32>().unwrap();
    two(14) * 60 + two(17)
}

/// The broker without a name of its own.
const MAIN: &str = "";
const N_AT_ONCE: usize = 8;
/// A second, as ARCHITECTURE.md says, and some for a busy machine.
const KNOWN_LIMIT: Duration = Duration::from_secs(5);
