//! Does the real pyhoca-cli list profiles and start a session through `/json/`?

use std::time::Duration;

use tests::lab::{ListedSession, Pyhoca, password};
use tests::wait::{Progress, now, wait_for};

use crate::site::{PROFILES, Setup, Site};

#[test]
fn pyhoca_lists_profiles_and_starts_a_session_on_the_chosen_server() {
    let Some(site) = Site::up(Setup {
        servers: 2,
        profiles: PROFILES,
        ..Setup::default()
    }) else {
        return;
    };
    let password = password("alice");
    let url = "http://broker1:8080/json/";
    let pyhoca = Pyhoca::new(&site.lab, 1, url, ("alice", &password)).unwrap();

    let begun = now();
    let listed = pyhoca.run(&["--list-profiles"]);
    let listed = listed.unwrap_or_else(|error| panic!("{error:#}\n{}", site.story()));
    println!("the profiles after {:.1?}", begun.elapsed());
    for shown in [
        "Profile ID: farm",
        "Profile Name: Farm",
        "'command': 'TERMINAL'",
    ] {
        assert!(listed.contains(shown), "{listed}");
    }

    let begun = now();
    let mut client = pyhoca.start(&["--session-profile", "farm"]).unwrap();
    let session = wait_for(SESSION_LIMIT, || {
        if !client.is_running() {
            return Progress::Failed("pyhoca-cli ended by itself".to_owned());
        }
        let all = sessions(&site);
        match all.iter().find(|one| one.started && one.state == "R") {
            Some(session) => Progress::Ready(session.clone()),
            None => Progress::NotYet(format!("listed: {all:?}")),
        }
    });
    let session =
        session.unwrap_or_else(|error| panic!("{error}\n{}\n{}", client.story(), site.story()));
    println!(
        "{} runs on {} after {:.1?}",
        session.id,
        session.server,
        begun.elapsed()
    );
    let chosen = site.replica.log_lines(&["session placed", "user=alice"]);
    let node = format!("node={}", session.server);
    assert!(
        chosen.last().is_some_and(|line| line.contains(&node)),
        "{chosen:#?}"
    );

    let suspends = ["Press CTRL+C to suspend the running session"];
    client.wait_for_log(SESSION_LIMIT, &suspends).unwrap();
    let begun = now();
    client.signal("INT").unwrap();
    let place = (session.server, "alice");
    let suspended = site
        .lab
        .wait_for_state(SESSION_LIMIT, place, &session.id, "S");
    suspended.unwrap_or_else(|error| panic!("{error:#}\n{}", client.story()));
    println!("suspended by SIGINT after {:.1?}", begun.elapsed());
    // One password for each run; the other requests of a run bring the AUTHID.
    assert_eq!(site.n_passwords_checked("alice"), 2, "{}", site.story());
}

fn sessions(site: &Site) -> Vec<ListedSession> {
    let servers = site.lab.servers().into_iter();
    servers
        .flat_map(|server| site.lab.sessions(server, "alice").unwrap())
        .collect()
}

/// A session starts in 5 to 10 s on an idle machine; it runs a hundred scripts.
const SESSION_LIMIT: Duration = Duration::from_secs(90);
