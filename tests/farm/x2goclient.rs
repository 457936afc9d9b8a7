//! Does the real x2goclient work with either replica, on one and the same session?

use std::time::Duration;

use tests::lab::{Desktop, HostName, Login, password};
use tests::wait::{Progress, now, wait_for};

use crate::mesh::{Mesh, address};

#[test]
fn a_session_is_started_through_one_replica_and_resumed_through_the_other() {
    let Some(mut mesh) = Mesh::up() else { return };
    let password = password("alice");
    let through = |broker: HostName| format!("http://{broker}:8080/plain/");
    let (first, second) = (through(HostName::broker(1)), through(HostName::broker(2)));
    let mut login = Login {
        broker_url: &first,
        user: "alice",
        password: &password,
        profile: "Farm",
    };

    let begun = now();
    let mut desktop = Desktop::log_in(&mesh.lab, 1, login).unwrap();
    println!(
        "x2goclient had the list of broker1 after {:.1?}",
        begun.elapsed()
    );
    let session = desktop.wait_until_running(SESSION_LIMIT, "alice").unwrap();
    desktop.wait_until_seen(SESSION_LIMIT, "XTerm").unwrap();
    println!(
        "{} runs on {} after {:.1?}",
        session.id,
        session.server,
        begun.elapsed()
    );

    let begun = now();
    let suspend = ["x2gosuspend-session", session.id.as_str()];
    mesh.lab.exec(session.server, "alice", &suspend).unwrap();
    let where_ = (session.server, "alice");
    mesh.lab
        .wait_for_state(SESSION_LIMIT, where_, &session.id, "S")
        .unwrap();
    println!("the session database says S after {:.1?}", begun.elapsed());
    drop(desktop);

    for broker in mesh.lab.brokers() {
        let listed = wait_for(SEEN_LIMIT, || {
            let answer = mesh
                .caller()
                .list(address(broker), "alice")
                .unwrap()
                .answer
                .unwrap();
            let status = answer
                .profile("farm")
                .and_then(|farm| farm.option("status"));
            Progress::when(status == Some("S"), || format!("status {status:?}"))
        });
        listed.unwrap_or_else(|error| panic!("{broker}: {error}\n{}", mesh.story()));
        println!(
            "{broker} lists it as suspended after {:.1?}",
            begun.elapsed()
        );
    }

    let begun = now();
    login.broker_url = &second;
    let mut desktop = Desktop::log_in(&mesh.lab, 2, login).unwrap();
    let resumed = desktop.wait_until_running(SESSION_LIMIT, "alice").unwrap();
    desktop.wait_until_seen(SESSION_LIMIT, "XTerm").unwrap();
    println!("resumed through broker2 after {:.1?}", begun.elapsed());
    assert_eq!(resumed, session, "{}", mesh.story());
    let all: Vec<_> = mesh
        .lab
        .servers()
        .into_iter()
        .flat_map(|server| mesh.lab.sessions(server, "alice").unwrap())
        .collect();
    assert_eq!(
        all,
        [session],
        "there is one session, not two\n{}",
        mesh.story()
    );
}

/// A session starts in 5 to 10 s on an idle machine; it runs a hundred scripts.
const SESSION_LIMIT: Duration = Duration::from_secs(90);
/// The agent reads the database each 250 ms.
const SEEN_LIMIT: Duration = Duration::from_secs(10);
