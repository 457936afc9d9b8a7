//! Do people who log in notice that both replicas read their files again all the time?

use std::thread;
use std::time::Duration;

use tests::lab::{Desktop, HostName, ListedSession, Login, password};
use tests::process::{command, run};
use tests::wait::now;

use crate::mesh::Mesh;

#[test]
fn three_people_log_in_at_once_while_both_replicas_read_their_files_again() {
    let Some(mut mesh) = Mesh::up() else { return };
    let brokers = mesh.lab.brokers();
    let reloads = |mesh: &mut Mesh| -> Vec<usize> {
        let logged = |broker: &HostName| {
            let lines = mesh.replica(*broker).log_lines(RELOADED);
            lines.len()
        };
        brokers.iter().map(logged).collect()
    };
    let before = reloads(&mut mesh);
    let pids: Vec<String> = brokers
        .iter()
        .map(|broker| mesh.replica(*broker).pid().to_string())
        .collect();

    let lab = &mesh.lab;
    let begun = now();
    let sessions: Vec<ListedSession> = thread::scope(|scope| {
        let people = (1..).zip(["alice", "bob", "carol"]);
        let people: Vec<_> = people
            .map(|(number, user)| {
                let broker = brokers[number as usize % brokers.len()];
                scope.spawn(move || {
                    let login = Login {
                        broker_url: &format!("http://{broker}:8080/plain/"),
                        user,
                        password: &password(user),
                        profile: "Farm",
                    };
                    let mut desktop = Desktop::log_in(lab, number, login).unwrap();
                    let session = desktop.wait_until_running(SESSION_LIMIT, user).unwrap();
                    println!(
                        "{user} through {broker}: {} after {:.1?}",
                        session.server,
                        begun.elapsed()
                    );
                    session
                })
            })
            .collect();
        while people.iter().any(|person| !person.is_finished()) {
            for pid in &pids {
                run(command("sh").args(["-c", &format!("kill -HUP {pid}")])).unwrap();
            }
            // The pace of the reloads, not a wait.
            thread::sleep(PACE);
        }
        people
            .into_iter()
            .map(|person| person.join().unwrap())
            .collect()
    });
    let after = reloads(&mut mesh);
    println!("the replicas had read their files {before:?} times, now {after:?}");
    assert_eq!(sessions.len(), 3);
    for (after, before) in after.iter().zip(before) {
        assert!(*after >= before + 10, "{}", mesh.story());
    }
}

/// What a replica logs when it has read its files again.
const RELOADED: &[&str] = &["configuration and session profiles read"];
/// Far more often than any administrator.
const PACE: Duration = Duration::from_millis(100);
/// Three sessions start at once, each with a hundred scripts.
const SESSION_LIMIT: Duration = Duration::from_secs(90);
