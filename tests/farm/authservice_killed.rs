//! What do clients notice when the authservice is killed while they log in?

use std::thread;
use std::time::Duration;

use tests::lab::{Call, HostName, farm_user, password};
use tests::wait::{Progress, now, wait_for};

use crate::pam_farm::{PamFarm, Setup, Stop, granted, list, status};

const BROKER: HostName = HostName::broker(1);

#[test]
fn log_ins_are_refused_at_once_until_the_authservice_is_back_and_authids_go_on() {
    let Some(mut farm) = PamFarm::up(Setup::of(1, 0)) else {
        return;
    };
    farm.give_passwords(N_CLIENTS);
    let daemon = farm.replica(BROKER).pid();
    let first = farm.ask(BROKER, &list("alice", &password("alice"), ""));
    let mut authid = granted(&first).unwrap();

    // Some are being asked about, and one after the other logs in, when it is killed.
    let stop = Stop::default();
    let (waiting, calls) = thread::scope(|scope| {
        let (asking, stop) = (&farm, &stop);
        let end = stop.at_end();
        let waiting: Vec<_> = (1..=N_WAITING)
            .map(|number| scope.spawn(move || wrong(asking, number)))
            .collect();
        let logging_in: Vec<_> = (1..=N_CLIENTS)
            .map(|number| {
                scope.spawn(move || {
                    let mut calls = Vec::new();
                    while !stop.is_set() {
                        calls.push(log_in(asking, number));
                    }
                    calls
                })
            })
            .collect();
        let busy = wait_for(LIMIT, || {
            let n = asking.logged(BROKER, &["PAM was asked", "Granted"]).len();
            Progress::when(n > 20, || format!("{n} log-ins"))
        });
        busy.unwrap();
        asking.kill_authservice(BROKER);
        let refused = wait_for(LIMIT, || {
            let lines = asking.logged(BROKER, &["can't be reached at"]);
            Progress::when(lines.len() > 20, || format!("{} refusals", lines.len()))
        });
        refused.unwrap();
        drop(end);
        let waiting: Vec<Call> = waiting
            .into_iter()
            .map(|call| call.join().unwrap())
            .collect();
        let calls: Vec<Call> = logging_in
            .into_iter()
            .flat_map(|calls| calls.join().unwrap())
            .collect();
        (waiting, calls)
    });
    for call in &waiting {
        assert_eq!(status(call), 401, "{call:?}");
    }
    let (good, refused): (Vec<&Call>, Vec<&Call>) =
        calls.iter().partition(|call| status(call) == 200);
    let slowest = refused.iter().map(|call| call.took).max().unwrap();
    println!(
        "{} log-ins before SIGKILL, {} refused after it, the slowest after {slowest:.1?}; \
         {} were being asked about",
        good.len(),
        refused.len(),
        waiting.len()
    );
    for call in &refused {
        // As for a wrong password: x2goclient then asks its user once more.
        let answer = call.answer.as_ref().unwrap();
        assert_eq!(answer.status, 401, "{answer:?}");
        assert!(answer.text.contains("401: Unauthorized"), "{answer:?}");
    }
    assert!(slowest < SOON, "{slowest:?}");
    let cut = farm.logged(BROKER, &["could not be checked", "ended the connection"]);
    assert!(!cut.is_empty(), "{}", farm.story());

    // Whoever has an AUTHID does not notice.
    for _ in 0..20 {
        let call = farm.ask(BROKER, &list("alice", "", &authid));
        authid = granted(&call).unwrap_or_else(|error| panic!("{error}\n{}", farm.story()));
        assert!(call.took < SOON, "{:?}", call.took);
    }
    assert_eq!(status(&log_in(&farm, 1)), 401);

    // It finds what its predecessor left, and nobody has to wait for a delay of failures.
    let begun = now();
    farm.start_authservice_again(BROKER);
    for number in 1..=N_CLIENTS {
        let call = log_in(&farm, number);
        granted(&call).unwrap_or_else(|error| panic!("{error}\n{}", farm.story()));
    }
    println!(
        "all {N_CLIENTS} are in {:.1?} after its start",
        begun.elapsed()
    );
    assert!(farm.replica(BROKER).is_running());
    assert_eq!(farm.replica(BROKER).pid(), daemon);
}

fn log_in(farm: &PamFarm, number: u32) -> Call {
    let user = farm_user(number);
    farm.ask(BROKER, &list(&user, &password(&user), ""))
}

/// pam_unix waits for two seconds before it says no.
fn wrong(farm: &PamFarm, number: u32) -> Call {
    farm.ask(BROKER, &list(&farm_user(number), "wrong", ""))
}

const N_CLIENTS: u32 = 8;
const N_WAITING: u32 = 8;
const LIMIT: Duration = Duration::from_secs(30);
const SOON: Duration = Duration::from_secs(5);
