//! What becomes of a real session on a server whose drain has come to its deadline?

use std::time::Duration;

use tests::lab::{Desktop, HostName, Login, password};
use tests::wait::{Progress, now, wait_for};

use crate::mesh::{Mesh, address};

#[test]
fn a_real_session_is_suspended_at_the_deadline_of_a_drain_and_then_ended() {
    let Some(mut mesh) = Mesh::up() else { return };
    let mut caller = mesh.lab.caller("returner").unwrap();
    let login = Login {
        broker_url: "http://broker1:8080/plain/",
        user: "alice",
        password: &password("alice"),
        profile: "Farm",
    };
    let mut desktop = Desktop::log_in(&mesh.lab, 1, login).unwrap();
    let session = desktop.wait_until_running(SESSION_LIMIT, "alice").unwrap();
    let server = session.server;

    let told = mesh.operate(server, &drain("3s", "suspend"));
    let expected = [
        format!("{server} is draining until 20"),
        "Z, then sessions are suspended: new disks".to_owned(),
    ];
    assert!(expected.iter().all(|part| told.contains(part)), "{told}");
    wait_for_states(&mesh, server, &["S"]);
    let status = mesh.operate(server, &["status"]);
    assert!(
        status.contains(": draining, sessions are suspended since 20"),
        "{status}"
    );

    // It would be suspended again, so she gets a new one elsewhere, and comes back to that.
    let mut elsewhere = Desktop::log_in(&mesh.lab, 2, login).unwrap();
    let new = elsewhere
        .wait_until_running(SESSION_LIMIT, "alice")
        .unwrap();
    assert_ne!(new.server, server, "{}", mesh.story());
    let call = caller.select(address(HostName::broker(2)), "alice", "farm");
    let call = call.unwrap();
    assert_eq!(call.server().unwrap(), new.server.to_string());
    let answer = call.answer.unwrap().text;
    assert!(answer.contains(&new.id), "{answer}\n{}", mesh.story());
    assert_eq!(states(&mesh, server), ["S"]);

    mesh.operate(server, &drain("2s", "terminate"));
    wait_for_states(&mesh, server, &[]);
    drop((desktop, elsewhere));
    for act in ["suspendsession", "terminatesession"] {
        let done = ["INFO", "done at the deadline", act, session.id.as_str()];
        let done = mesh.agent(server).log_lines(&done);
        assert_eq!(done.len(), 1, "{act}\n{}", mesh.story());
    }
    assert_eq!(
        mesh.operate(server, &["undrain"]),
        format!("{server} is ready\n")
    );
}

fn drain<'a>(deadline: &'a str, then: &'a str) -> [&'a str; 7] {
    let begin = ["drain", "--reason", "new disks", "--deadline"];
    let [drain, reason, disks, option] = begin;
    [drain, reason, disks, option, deadline, "--then", then]
}

fn wait_for_states(mesh: &Mesh, server: HostName, expected: &[&str]) {
    let begun = now();
    let waited = wait_for(ACT_LIMIT, || {
        let states = states(mesh, server);
        Progress::when(states == expected, || format!("sessions {states:?}"))
    });
    waited.unwrap_or_else(|error| panic!("{error}\n{}", mesh.story()));
    println!("{expected:?} {:.1?} after the drain", begun.elapsed());
}

/// Of the sessions that can be resumed or run.
fn states(mesh: &Mesh, server: HostName) -> Vec<String> {
    let listed = mesh.lab.sessions(server, "alice").unwrap().into_iter();
    let states = listed.map(|session| session.state);
    states
        .filter(|state| state == "R" || state == "S")
        .collect()
}

/// A session starts in 5 to 10 s on an idle machine; it runs a hundred scripts.
const SESSION_LIMIT: Duration = Duration::from_secs(90);
/// The deadline, and what x2goserver takes for it on a busy machine.
const ACT_LIMIT: Duration = Duration::from_secs(60);
