//! What do users notice when a replica is killed?

use std::time::Duration;

use tests::lab::HostName;
use tests::wait::now;

use crate::figures::Figures;
use crate::mesh::{Mesh, address};

const KILLED: HostName = HostName::broker(1);
const OTHER: HostName = HostName::broker(2);

#[test]
fn the_other_replica_answers_the_next_request() {
    let Some(mut mesh) = Mesh::up() else { return };
    let reserved = mesh
        .caller()
        .select(address(KILLED), "alice", "farm")
        .unwrap();
    let reserved = reserved.server().unwrap().to_owned();

    mesh.replica(KILLED).kill().unwrap();
    let next = mesh
        .caller()
        .select(address(OTHER), "alice", "farm")
        .unwrap();
    println!("the next request, through {OTHER}: {:.1?}", next.took);
    assert_eq!(next.server().unwrap(), reserved, "{}", mesh.story());
    assert!(next.took < NEXT_LIMIT, "{:?}\n{}", next.took, mesh.story());

    // A client finds the dead one closed at once, and takes its next address.
    let closed = mesh
        .caller()
        .select(address(KILLED), "alice", "farm")
        .unwrap();
    println!("{KILLED} refuses after {:.1?}", closed.took);
    assert!(
        closed.answer.is_err() && closed.took < NEXT_LIMIT,
        "{closed:?}"
    );

    let mut figures = Figures::default();
    for _ in 0..40 {
        mesh.log_in_through(OTHER, &mut figures);
    }
    println!("through {OTHER} alone: {figures}");
    assert!(
        figures.failures().is_empty(),
        "{:#?}\n{}",
        figures.failures(),
        mesh.story()
    );

    let begun = now();
    mesh.start_replica(KILLED);
    mesh.wait_until_complete(KILLED);
    println!(
        "{KILLED} serves with a full view {:.1?} after its start",
        begun.elapsed()
    );
    let again = mesh
        .caller()
        .select(address(KILLED), "alice", "farm")
        .unwrap();
    assert_eq!(again.server().unwrap(), reserved, "{}", mesh.story());
}

/// What a person would not notice.
const NEXT_LIMIT: Duration = Duration::from_millis(500);
