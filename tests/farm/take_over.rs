//! What becomes of a session that runs elsewhere when its user logs in again?

use std::time::Duration;

use tests::lab::{Caller, Desktop, HostName, ListedSession, Login, password};
use tests::wait::{Progress, now, wait_for};

use crate::mesh::{Mesh, address};

#[test]
fn a_running_session_is_suspended_before_it_is_offered_and_a_second_client_resumes_it() {
    let Some(mesh) = Mesh::up() else { return };
    let mut caller = mesh.lab.caller("taker").unwrap();
    let password = password("alice");
    let url = |broker: HostName| format!("http://{broker}:8080/plain/");
    let (first, second) = (url(HostName::broker(1)), url(HostName::broker(2)));
    let mut login = Login {
        broker_url: &first,
        user: "alice",
        password: &password,
        profile: "Farm",
    };
    let mut desk = Desktop::log_in(&mesh.lab, 1, login).unwrap();
    let session = desk.wait_until_running(SESSION_LIMIT, "alice").unwrap();
    desk.wait_until_seen(SESSION_LIMIT, "XTerm").unwrap();
    wait_until_listed(&mesh, &mut caller, "R");

    // The second client is somewhere else, and the first is still connected.
    login.broker_url = &second;
    let begun = now();
    let mut elsewhere = Desktop::log_in(&mesh.lab, 2, login).unwrap();
    elsewhere.wait_until_seen(SESSION_LIMIT, "XTerm").unwrap();
    println!(
        "a second x2goclient has the session after {:.1?}",
        begun.elapsed()
    );
    assert_eq!(
        sessions(&mesh),
        std::slice::from_ref(&session),
        "{}",
        mesh.story()
    );
    let taken = ["a running session is taken over", session.id.as_str()];
    let logged = mesh.logged(HostName::broker(2), &taken);
    assert_eq!(logged.len(), 1, "{}", mesh.story());

    // The answer says S only when the server has it so.
    wait_until_listed(&mesh, &mut caller, "R");
    let call = caller.select(address(HostName::broker(1)), "alice", "farm");
    let call = call.unwrap();
    assert_eq!(call.server().unwrap(), session.server.to_string());
    let answer = call.answer.unwrap().text;
    let info = answer
        .lines()
        .find_map(|line| line.strip_prefix("SESSION_INFO:"));
    let fields: Vec<&str> = info.unwrap_or_default().split('|').collect();
    assert_eq!(fields.get(1), Some(&session.id.as_str()), "{answer}");
    assert_eq!(fields.get(4), Some(&"S"), "{answer}");
    println!("selectsession with a take-over took {:.1?}", call.took);
    assert_eq!(sessions(&mesh)[0].state, "S", "{}", mesh.story());
    // The original's take-over is undone by whoever lists sessions; this one is not.
    assert_eq!(sessions(&mesh)[0].state, "S", "{}", mesh.story());
    assert!(call.took < TAKE_OVER_LIMIT, "{:?}", call.took);
}

/// Waits until both replicas list the profile with this state.
fn wait_until_listed(mesh: &Mesh, caller: &mut Caller, state: &str) {
    for broker in mesh.lab.brokers() {
        let listed = wait_for(SEEN_LIMIT, || {
            let call = caller.list(address(broker), "alice").unwrap();
            let answer = call.answer.unwrap();
            let status = answer
                .profile("farm")
                .and_then(|farm| farm.option("status"));
            Progress::when(status == Some(state), || format!("status {status:?}"))
        });
        listed.unwrap_or_else(|error| panic!("{broker}: {error}\n{}", mesh.story()));
    }
}

fn sessions(mesh: &Mesh) -> Vec<ListedSession> {
    let servers = mesh.lab.servers().into_iter();
    servers
        .flat_map(|server| mesh.lab.sessions(server, "alice").unwrap())
        .collect()
}

/// A session starts in 5 to 10 s on an idle machine; it runs a hundred scripts.
const SESSION_LIMIT: Duration = Duration::from_secs(90);
/// The agent reads the database several times a second.
const SEEN_LIMIT: Duration = Duration::from_secs(10);
/// The broker's own limit for the suspending, and the rest of a log-in.
const TAKE_OVER_LIMIT: Duration = Duration::from_secs(16);
