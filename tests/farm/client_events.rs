//! Does the real x2goclient tell what happens to its session, and does it do what an
//! operator asks of it?

use std::time::Duration;

use tests::lab::{Desktop, HostName, ListedSession, Login, password};
use tests::wait::{Progress, now, wait_for};

use crate::mesh::Mesh;

const BROKER: HostName = HostName::broker(1);

#[test]
fn events_arrive_and_the_client_suspends_and_ends_its_session_when_an_operator_asks() {
    let keys = "client-events = true\nclient-live-event = 2\n";
    let Some(mesh) = Mesh::up_with(keys) else {
        return;
    };
    let (desk, session) = log_in(&mesh, 1, "alice");
    for event in ["CONNECTING", "CONNECTED", "ALIVE"] {
        wait_for_event(&mesh, &session, event);
    }
    ask_client(&mesh, &session, "suspend");
    let where_ = (session.server, "alice");
    wait_for_event(&mesh, &session, "SUSPENDING");
    let suspended = mesh
        .lab
        .wait_for_state(DONE_LIMIT, where_, &session.id, "S");
    suspended.unwrap_or_else(|error| panic!("{error:#}\n{}\n{}", desk.story(), mesh.story()));
    // x2golistsessions writes R again where the session's agent still runs: S that stays is
    // the truth. (The client's proxy may hang on for long, so FINISHED is not waited for.)
    for _ in 0..5 {
        let listed = mesh.lab.x2golistsessions(session.server, "alice");
        let listed = listed.unwrap();
        let states: Vec<&str> = listed.iter().map(|known| known.state.as_str()).collect();
        assert_eq!(states, ["S"], "{}", mesh.story());
    }

    let (desk, session) = log_in(&mesh, 2, "bob");
    wait_for_event(&mesh, &session, "ALIVE");
    ask_client(&mesh, &session, "terminate");
    let gone = wait_for(DONE_LIMIT, || {
        let listed = mesh.lab.sessions(session.server, "bob").unwrap();
        let left: Vec<_> = listed.iter().filter(|known| known.state != "F").collect();
        Progress::when(left.is_empty(), || format!("listed: {left:?}"))
    });
    gone.unwrap_or_else(|error| panic!("{error:#}\n{}\n{}", desk.story(), mesh.story()));
    wait_for_event(&mesh, &session, "TERMINATING");
    wait_for_event(&mesh, &session, "FINISHED");

    // What was carried out is no order any more, once the agent has seen that.
    for server in mesh.lab.servers() {
        let forgotten = wait_for(EVENT_LIMIT, || {
            let status = mesh.operate(server, &["status"]);
            Progress::when(!status.contains("its client is to"), || status.clone())
        });
        forgotten.unwrap_or_else(|error| panic!("{error}\n{}", mesh.story()));
    }
    // x2goclient sends events before it has the answers to those before.
    let refused = mesh.logged(BROKER, &["the AUTHID was used before"]);
    assert!(refused.is_empty(), "{refused:#?}");
}

fn log_in<'a>(mesh: &'a Mesh, number: u32, user: &str) -> (Desktop<'a>, ListedSession) {
    let login = Login {
        broker_url: &format!("http://{BROKER}:8080/plain/"),
        user,
        password: &password(user),
        profile: "Farm",
    };
    let mut desk = Desktop::log_in(&mesh.lab, number, login).unwrap();
    let session = desk.wait_until_running(SESSION_LIMIT, user).unwrap();
    desk.wait_until_seen(SESSION_LIMIT, "XTerm").unwrap();
    (desk, session)
}

fn ask_client(mesh: &Mesh, session: &ListedSession, verb: &str) {
    let begun = now();
    let said = mesh.operate(session.server, &[verb, &session.id, "--by-client"]);
    println!("{} after {:.1?}", said.trim_end(), begun.elapsed());
    let told = wait_for(EVENT_LIMIT, || {
        let words = ["the client is told what to do", session.id.as_str()];
        let lines = mesh.logged(BROKER, &words);
        Progress::when(!lines.is_empty(), || "the client was not told".to_owned())
    });
    told.unwrap_or_else(|error| panic!("{verb}: {error}\n{}", mesh.story()));
    println!(
        "the client was told to {verb} after {:.1?}",
        begun.elapsed()
    );
}

fn wait_for_event(mesh: &Mesh, session: &ListedSession, event: &str) {
    let event = format!("event={event}");
    let seen = wait_for(EVENT_LIMIT, || {
        let words = ["client event", session.id.as_str(), event.as_str()];
        let lines = mesh.logged(BROKER, &words);
        Progress::when(!lines.is_empty(), || format!("no {event} was logged"))
    });
    seen.unwrap_or_else(|error| panic!("{error}\n{}", mesh.story()));
}

/// A session starts in 5 to 10 s on an idle machine; it runs a hundred scripts.
const SESSION_LIMIT: Duration = Duration::from_secs(90);
/// A session tells that it lives each 2 s.
const EVENT_LIMIT: Duration = Duration::from_secs(20);
/// x2goclient takes some 3 s to suspend or end its session.
const DONE_LIMIT: Duration = Duration::from_secs(30);
