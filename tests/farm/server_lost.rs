//! What do users notice when a server is lost? The same for every way to lose one: no login
//! fails, none waits for the dead, and the replicas stop to offer it.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::Duration;

use tests::lab::HostName;
use tests::wait::{Progress, now, wait_for};

use crate::figures::Figures;
use crate::mesh::Mesh;

/// The server that the tests lose.
pub(crate) const LOST: HostName = HostName::server(2);

/// Logs users in before, while and after `LOST` is lost by `lose`, and checks what they see.
pub(crate) fn check_losing(mesh: &mut Mesh, lose: impl FnOnce(&mut Mesh)) {
    let before = log_in_many(mesh, 60);
    println!("before:          {before}");
    assert!(
        before.failures().is_empty(),
        "{:#?}\n{}",
        before.failures(),
        mesh.story()
    );
    assert!(before.at(&LOST.to_string()) > 0, "{before}");
    let left_before: BTreeMap<HostName, usize> = mesh
        .lab
        .brokers()
        .into_iter()
        .map(|broker| (broker, mesh.count_logged(broker, "member left", LOST)))
        .collect();

    lose(mesh);
    let begun = now();
    let mut during = Figures::default();
    let mut dropped = BTreeSet::new();
    while dropped.len() < left_before.len() && begun.elapsed() < DROP_LIMIT {
        mesh.log_in_next(&mut during);
        for (broker, left) in &left_before {
            let gone = mesh.count_logged(*broker, "member left", LOST) > *left;
            if gone && dropped.insert(*broker) {
                println!("left the view of {broker} after {:.1?}", begun.elapsed());
            }
        }
        // The pace of the logins, not a wait: users come all the time.
        thread::sleep(PACE);
    }
    println!("while lost:      {during}");
    let after = log_in_many(mesh, 30);
    println!("after the drop:  {after}");

    for figures in [&during, &after] {
        assert!(
            figures.failures().is_empty(),
            "{:#?}\n{}",
            figures.failures(),
            mesh.story()
        );
        assert_eq!(figures.at(&LOST.to_string()), 0, "{figures}");
        let waited = figures.slowest().saturating_sub(before.median());
        assert!(
            waited <= WAIT_LIMIT,
            "a login waited {waited:?} more\n{}",
            mesh.story()
        );
    }
    assert_eq!(
        dropped.len(),
        left_before.len(),
        "still in a view\n{}",
        mesh.story()
    );
}

/// Waits until `LOST` gets logins through every replica again.
pub(crate) fn check_return(mesh: &mut Mesh) {
    let begun = now();
    for broker in mesh.lab.brokers() {
        let back = wait_for(RETURN_LIMIT, || {
            let mut figures = Figures::default();
            mesh.log_in_through(broker, &mut figures);
            Progress::when(figures.at(&LOST.to_string()) > 0, || figures.to_string())
        });
        back.unwrap_or_else(|error| panic!("{broker} does not use it: {error}\n{}", mesh.story()));
        println!("used again by {broker} after {:.1?}", begun.elapsed());
    }
}

fn log_in_many(mesh: &mut Mesh, count: usize) -> Figures {
    let mut figures = Figures::default();
    while figures.count() < count {
        mesh.log_in_next(&mut figures);
    }
    figures
}

/// Twenty logins a second is a busy morning in a large farm.
const PACE: Duration = Duration::from_millis(50);
/// The bound on what a login may wait for a dead server, beyond its usual time.
const WAIT_LIMIT: Duration = Duration::from_millis(500);
/// The failure detector needs some rounds of silence.
const DROP_LIMIT: Duration = Duration::from_secs(60);
/// Joining again, and reservations of a minute that speak for the other servers.
const RETURN_LIMIT: Duration = Duration::from_secs(90);
