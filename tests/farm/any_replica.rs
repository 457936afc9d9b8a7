//! Does it matter which replica a client asks? One log-in, and every further request
//! wherever the client likes, also when the replica that let it in is dead.

use std::thread;
use std::time::Duration;

use tests::lab::{Call, HostName, farm_user, password};
use tests::wait::{Progress, now, wait_for};

use crate::pam_farm::{PamFarm, Setup, granted, list, select, status};

const FIRST: HostName = HostName::broker(1);

#[test]
fn a_client_goes_on_at_any_replica_when_the_one_that_let_it_in_is_killed() {
    let Some(mut farm) = PamFarm::up(Setup::of(3, 3)) else {
        return;
    };
    let brokers = farm.lab.brokers();
    let first = farm.ask(FIRST, &list("alice", &password("alice"), ""));
    let mut authid = granted(&first).unwrap_or_else(|error| panic!("{error}\n{}", farm.story()));
    let mut turn = 0;
    // By turns, each answer with the AUTHID for the next request.
    let mut go_on = |farm: &PamFarm, brokers: &[HostName], n: usize, authid: &mut String| {
        for _ in 0..n {
            turn += 1;
            let broker = brokers[turn % brokers.len()];
            let form = match turn % 2 {
                0 => list("alice", "", authid),
                _ => select("alice", authid),
            };
            let call = farm.ask(broker, &form);
            *authid = granted(&call)
                .unwrap_or_else(|error| panic!("turn {turn}, {broker}: {error}\n{}", farm.story()));
        }
    };
    go_on(&farm, &brokers, 30, &mut authid);

    // One AUTHID that the first replica gives, and then never sees again.
    let other = farm.ask(FIRST, &list("bob", &password("bob"), ""));
    let bobs = granted(&other).unwrap();
    let last = farm.ask(FIRST, &select("alice", &authid));
    authid = granted(&last).unwrap();
    farm.replica(FIRST).kill().unwrap();
    let killed = now();
    go_on(&farm, &brokers[1..], 1, &mut authid);
    println!(
        "the next answer came {:.1?} after SIGKILL",
        killed.elapsed()
    );
    go_on(&farm, &brokers[1..], 29, &mut authid);

    // It comes back, and what it gave before is good there still; what is used is not.
    farm.start_replica_again(FIRST, Setup::of(3, 3));
    let begun = now();
    let back = wait_for(UP_LIMIT, || {
        let call = farm.ask(
            FIRST,
            &[("task", "testcon"), ("user", "bob"), ("authid", &bobs)],
        );
        Progress::when(status(&call) == 200, || format!("{call:?}"))
    });
    back.unwrap_or_else(|error| panic!("{error}\n{}", farm.story()));
    println!("it serves again {:.1?} after its start", begun.elapsed());
    granted(&farm.ask(FIRST, &select("bob", &bobs))).unwrap();
    go_on(&farm, &brokers, 30, &mut authid);
    for user in ["alice", "bob"] {
        let asked: usize = brokers
            .iter()
            .map(|broker| {
                let user = format!("user=\"{user}\"");
                farm.logged(*broker, &["PAM was asked", &user]).len()
            })
            .sum();
        assert_eq!(asked, 1, "{user} showed a password once\n{}", farm.story());
    }
}

#[test]
fn two_hundred_clients_at_once_are_all_let_in_whichever_replica_they_ask() {
    let Some(farm) = PamFarm::up(Setup::of(3, 3)) else {
        return;
    };
    farm.give_passwords(N_CLIENTS);
    let brokers = farm.lab.brokers();
    let begun = now();
    // All of them from one address, as behind a router.
    let all: Vec<[Result<Duration, String>; 3]> = thread::scope(|scope| {
        let clients: Vec<_> = (1..=N_CLIENTS)
            .map(|number| {
                let (farm, brokers) = (&farm, &brokers);
                scope.spawn(move || one_client(farm, brokers, number))
            })
            .collect();
        let joined = clients.into_iter().map(|client| client.join().unwrap());
        joined.collect()
    });
    println!(
        "{N_CLIENTS} clients were through after {:.1?}",
        begun.elapsed()
    );
    for (step, name) in ["log in", "listsessions", "selectsession"]
        .iter()
        .enumerate()
    {
        let mut took: Vec<Duration> = all
            .iter()
            .filter_map(|calls| calls[step].clone().ok())
            .collect();
        took.sort_unstable();
        let at = |part: usize| {
            took.get(took.len() * part / 100)
                .copied()
                .unwrap_or_default()
        };
        println!(
            "{name}: {} answers, p50 {:.1?}, p99 {:.1?}",
            took.len(),
            at(50),
            at(99)
        );
    }
    let failed: Vec<&String> = all
        .iter()
        .flatten()
        .filter_map(|call| call.as_ref().err())
        .collect();
    assert!(failed.is_empty(), "{failed:#?}\n{}", farm.story());
}

/// Logs in, lists and selects, each at another replica.
fn one_client(farm: &PamFarm, brokers: &[HostName], number: u32) -> [Result<Duration, String>; 3] {
    let user = farm_user(number);
    let replica = |step: usize| brokers[(number as usize + step) % brokers.len()];
    let mut authid = String::new();
    [0, 1, 2].map(|step| {
        let password = password(&user);
        let form = match step {
            0 => list(&user, &password, ""),
            1 => list(&user, "", &authid),
            _ => select(&user, &authid),
        };
        let call = farm.ask(replica(step), &form);
        let next = granted(&call).map_err(|error| format!("{user}, step {step}: {error}"))?;
        authid = next;
        match step {
            2 => placed(&call),
            _ => Ok(call.took),
        }
    })
}

fn placed(call: &Call) -> Result<Duration, String> {
    let server = call.server().map_err(|error| format!("{error:#}"));
    server.map(|_| call.took)
}

const N_CLIENTS: u32 = 200;
/// A replica is up in tens of milliseconds; the machine may be busy.
const UP_LIMIT: Duration = Duration::from_secs(30);
