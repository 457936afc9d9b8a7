//! Does each request leave its records in the audit log, and no secret with them?

use std::fs;
use std::path::Path;

use tests::session_db::{NewSession, SessionDatabase, StartedSession};
use tests::wait::{Progress, wait_for};

use crate::raw::{exchange, post};
use crate::small_farm::{JOIN_LIMIT, Plan, SmallFarm};

const COOKIE: &str = "5ec4e7c00c1e5ec4e7c00c1e5ec4e7c0";
const PASSWORD: &str = "pl4nted-Passw0rd";
const NEW_PASSWORD: &str = "pl4nted-N3w";
const FOREIGN: &str = "pl4nted-4uthid";

/// What is asked, by which path, and the answer that the decision tells.
const TASKS: &[(&str, &str, &str)] = &[
    ("task=listsessions", "/plain/", "profiles"),
    ("task=listprofiles", "/json/", "profiles"),
    ("task=selectsession&sid=farm", "/plain/", "server"),
    (
        "task=selectsession&sid=a%0Ab",
        "/plain/",
        "no such profile for this user",
    ),
    (
        "task=setpass&newpass=pl4nted-N3w",
        "/plain/",
        "password not changed",
    ),
    ("task=testcon", "/plain/", "the broker is there"),
    ("task=clientevent&event=ALIVE&sid=x", "/plain/", "granted"),
    ("task=nonsense", "/json/", "granted"),
    (
        "task=listsessions&authid=pl4nted-4uthid",
        "/plain/",
        "denied",
    ),
    ("task=listsessions&login=bob", "/plain/", "denied"),
];

fn lines(path: &Path, kind: &str) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let kind = format!("\"record\":\"{kind}\"");
    let lines = text.lines().filter(|line| line.contains(&kind));
    lines.map(str::to_owned).collect()
}

#[test]
fn each_request_leaves_two_records_and_no_secret() {
    let farm = SmallFarm::up(Plan {
        sections: |site| {
            let path = site.path("audit.log");
            format!("[DEFAULT]\naudit-log = {}\n", path.display())
        },
        ..Plan::ONE_SERVER
    });
    let path = farm.site.path("audit.log");
    let database = SessionDatabase::open(&farm.site.session_database("s1"), "s1").unwrap();
    let id = database.begin(&NewSession::terminal("alice", 50)).unwrap();
    let started = StartedSession {
        pid: 20_050,
        cookie: COOKIE.to_owned(),
        graphics_port: 30_001,
    };
    database.complete(&id, "10.77.0.20", &started).unwrap();
    database.suspend(&id).unwrap();
    let ask = |farm: &SmallFarm, task: &str, url: &str| {
        let form = format!("{task}&user=alice&password={PASSWORD}");
        exchange(farm.http, &post(url, "", form.as_bytes())).text()
    };
    // The cookie is given out, so that it could get into the log.
    let select = "task=selectsession&sid=farm";
    let resumed = wait_for(JOIN_LIMIT, || {
        let text = ask(&farm, select, "/plain/");
        Progress::when(text.contains(COOKIE), || text)
    });
    resumed.unwrap_or_else(|error| panic!("{error}\n{}", farm.story()));
    let mut given = Vec::new();
    for (task, url, answer) in TASKS {
        let n_before = settled(&farm, &path);
        let text = ask(&farm, task, url);
        if let Some((_, rest)) = text.split_once("AUTHID:") {
            given.push(rest.lines().next().unwrap().to_owned());
        }
        let found = wait_for(JOIN_LIMIT, || {
            let found = lines(&path, "decision");
            Progress::when(found.len() > n_before, || format!("{task}: no record"))
        });
        found.unwrap_or_else(|error| panic!("{error}\n{}", farm.story()));
        assert_eq!(settled(&farm, &path), n_before + 1, "{task}");
        let decision = lines(&path, "decision").pop().unwrap();
        assert!(
            decision.contains(&format!("\"answer\":\"{answer}\"")),
            "{task}: {decision}"
        );
        assert!(decision.contains("\"user\":\"alice\""), "{decision}");
        assert!(decision.contains("\"replica\":\"broker1\""), "{decision}");
    }
    let text = fs::read_to_string(&path).unwrap();
    assert!(given.len() >= 4, "{given:?}");
    let secrets = [COOKIE, PASSWORD, NEW_PASSWORD, FOREIGN].map(str::to_owned);
    for secret in secrets.iter().chain(&given) {
        assert!(!text.contains(secret.as_str()), "{secret}\n{text}");
    }
    println!(
        "{} records of {} requests",
        text.lines().count(),
        lines(&path, "decision").len()
    );

    // It was moved away, as logrotate does.
    fs::rename(&path, farm.site.path("audit.log.1")).unwrap();
    farm.daemon.signal("HUP").unwrap();
    let anew = wait_for(JOIN_LIMIT, || {
        ask(&farm, "task=testcon", "/plain/");
        let found = lines(&path, "decision");
        Progress::when(!found.is_empty(), || farm.story())
    });
    anew.unwrap();
}

/// How many decisions there are, once each has its authentication.
fn settled(farm: &SmallFarm, path: &Path) -> usize {
    let mut n = 0;
    let settled = wait_for(JOIN_LIMIT, || {
        n = lines(path, "decision").len();
        let n_authentications = lines(path, "authentication").len();
        Progress::when(n == n_authentications, || {
            format!("{n} decisions, {n_authentications} authentications")
        })
    });
    settled.unwrap_or_else(|error| panic!("{error}\n{}", farm.story()));
    n
}
