//! Is a session really suspended when its agent says so, and how long does that take?
//!
//! `X2GOBROKER_ROUNDS=7` for a median; two are enough to see whether it is so. (x2goclient
//! showed an error each time that one session was resumed for the eighth time.)

use std::time::Duration;

use tests::lab::{Desktop, HostName, Login, password};
use tests::wait::now;

use crate::mesh::Mesh;

#[test]
fn a_session_is_suspended_when_the_agent_says_so_and_resumed_again_and_again() {
    let Some(mesh) = Mesh::up() else { return };
    let password = password("alice");
    let url = format!("http://{}:8080/plain/", HostName::broker(1));
    let login = Login {
        broker_url: &url,
        user: "alice",
        password: &password,
        profile: "Farm",
    };
    let mut took: Vec<Duration> = Vec::new();
    let mut ids = Vec::new();
    for round in 1..=rounds() {
        let mut desk = Desktop::log_in(&mesh.lab, round, login).unwrap();
        let session = desk.wait_until_running(SESSION_LIMIT, "alice").unwrap();
        desk.wait_until_seen(SESSION_LIMIT, "XTerm").unwrap();
        let begun = now();
        let said = mesh.operate(session.server, &["suspend", &session.id]);
        took.push(begun.elapsed());
        // It looks whether the session's agent runs, and says R where it still does.
        let listed = mesh.lab.x2golistsessions(session.server, "alice").unwrap();
        let states: Vec<&str> = listed.iter().map(|known| known.state.as_str()).collect();
        assert_eq!(states, ["S"], "{said}\n{}", mesh.story());
        ids.push(session.id);
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "one session all the time: {ids:?}");
    took.sort_unstable();
    println!(
        "suspended {} times, from the command to the change that the agent saw: \
         fastest {:.2?}, median {:.2?}, slowest {:.2?}",
        took.len(),
        took[0],
        took[took.len() / 2],
        took[took.len() - 1]
    );
}

fn rounds() -> u32 {
    let rounds = std::env::var("X2GOBROKER_ROUNDS").ok();
    rounds.map_or(2, |rounds| rounds.parse().unwrap())
}

/// A session starts in 5 to 10 s on an idle machine; it runs a hundred scripts.
const SESSION_LIMIT: Duration = Duration::from_secs(90);
