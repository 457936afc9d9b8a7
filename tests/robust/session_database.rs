//! What if a session database is missing, or becomes unreadable while the agent runs?

use std::fs;
use std::time::Duration;

use tests::session_db::{NewSession, SessionDatabase};
use tests::wait::{Progress, wait_for};

use crate::small_farm::{FIRST_SSH_PORT, PROFILES, Plan, SmallFarm};

/// The agent looks several times a second; the replica hears of it at once.
const NOTICED: Duration = Duration::from_secs(10);
const N_LOGINS: u32 = 6;

#[test]
fn a_server_without_a_readable_session_database_gets_no_sessions_until_it_has_one() {
    let mut farm = SmallFarm::up(Plan {
        servers: &["s1"],
        profiles: Some(PROFILES),
        ..Plan::ONE_SERVER
    });
    // There is no file for s2 yet.
    farm.start_agent("s2");
    let path = farm.site.session_database("s2");
    let name = path.display().to_string();
    wait_for_status(&farm, "s2", &["s2: not ready", "session database", &name]);
    only_the_first_server_is_used(&farm, "missing");

    let database = SessionDatabase::create(&path, "s2").unwrap();
    wait_for_status(&farm, "s2", &["s2: ready"]);
    farm.wait_for_server("second", Some(FIRST_SSH_PORT + 1));
    let id = database.run(&NewSession::terminal("erin", 50)).unwrap();
    wait_for_status(&farm, "s2", &["s2: ready", &id]);

    drop(database);
    let good = fs::read(&path).unwrap();
    let n_told = n_complaints(&farm);
    fs::write(&path, vec![0x55; good.len()]).unwrap();
    wait_for_status(&farm, "s2", &["s2: not ready", "session database", &name]);
    println!("{}", farm.status("s2").unwrap().lines().next().unwrap());
    only_the_first_server_is_used(&farm, "corrupt");
    let n_told = n_complaints(&farm) - n_told;
    assert_eq!(n_told, 1, "said once, not at each look\n{}", farm.story());

    fs::write(farm.site.path("good"), good).unwrap();
    fs::rename(farm.site.path("good"), &path).unwrap();
    wait_for_status(&farm, "s2", &["s2: ready", &id]);
    farm.wait_for_server("second", Some(FIRST_SSH_PORT + 1));
    assert!(
        farm.agents
            .iter_mut()
            .all(tests::process::Process::is_running)
    );
}

/// How often the agent of s2 has logged that its database is none.
fn n_complaints(farm: &SmallFarm) -> usize {
    let words = [
        "ERROR",
        "session database can't be read",
        "not an SQLite database",
    ];
    farm.agents[1].log_lines(&words).len()
}

fn wait_for_status(farm: &SmallFarm, node: &str, words: &[&str]) {
    let told = wait_for(NOTICED, || match farm.status(node) {
        Err(error) => Progress::NotYet(format!("{error:#}")),
        Ok(status) => {
            let all = words.iter().all(|word| status.contains(word));
            Progress::when(all, || status)
        }
    });
    told.unwrap_or_else(|error| panic!("{words:?}: {error}\n{}", farm.story()));
}

/// Logins go on, all of them to s1; a profile of s2 alone has no server.
fn only_the_first_server_is_used(farm: &SmallFarm, when: &str) {
    for number in 0..N_LOGINS {
        let answer = farm.select(&format!("{when}{number}"), "farm");
        let server = answer.server.map(|(_, port)| port);
        assert_eq!(server, Some(FIRST_SSH_PORT), "{when}: {}", answer.text);
    }
    let answer = farm.select(when, "second");
    let server = answer.server.map(|(name, _)| name);
    assert_eq!(
        server.as_deref(),
        Some("no-X2Go-Server-available"),
        "{when}"
    );
    let told =
        farm.daemon
            .log_lines(&["WARN", "no server for a session", &format!("user={when} ")]);
    assert!(
        told.iter().any(|line| line.contains("s2")),
        "{when}: {told:?}"
    );
}
