//! Does a secret ever get into a log?
//!
//! The programs log all at `debug`, and our own crates at `trace`. The traces of h2 and
//! tonic are left out: they are for protocol debugging, and show the bytes of frames.

use std::fs;

use tests::session_db::{NewSession, SessionDatabase, StartedSession};
use tests::wait::{Progress, wait_for};

use crate::raw::{exchange, post};
use crate::small_farm::{JOIN_LIMIT, Plan, SmallFarm};

const LOG_LEVEL: &str = "debug,broker=trace,agent=trace,gossip=trace,pki=trace,proto=trace,\
                         hyper=trace,hyper_util=trace,axum=trace,tower=trace,chitchat=trace";
const COOKIE: &str = "5ec4e7c00c1e5ec4e7c00c1e5ec4e7c0";
const PASSWORD: &str = "pl4nted-Passw0rd";
const AUTHID: &str = "pl4nted-4uthid";

#[test]
fn cookies_passwords_and_authids_are_in_no_log() {
    let mut farm = SmallFarm::up(Plan {
        log_level: LOG_LEVEL,
        ..Plan::ONE_SERVER
    });
    let path = farm.site.session_database("s1");
    let database = SessionDatabase::open(&path, "s1").unwrap();
    let id = database.begin(&NewSession::terminal("alice", 50)).unwrap();
    let started = StartedSession {
        pid: 20_050,
        cookie: COOKIE.to_owned(),
        graphics_port: 30_001,
    };
    database.complete(&id, "10.77.0.20", &started).unwrap();
    database.suspend(&id).unwrap();

    // The cookie does come by the one way that it may.
    let resumed = wait_for(JOIN_LIMIT, || {
        let got = exchange(
            farm.http,
            &post("/plain/", "", form("alice", "farm").as_bytes()),
        );
        Progress::when(got.text().contains(COOKIE), || got.text())
    });
    resumed.unwrap_or_else(|error| panic!("{error}\n{}", farm.story()));
    let given = given_authid(&farm);
    use_secrets_badly(&farm);
    // A row that is odd, with the same cookie.
    let odd = format!("UPDATE sessions SET agent_pid = 'x', gr_port = 'y', cookie = '{COOKIE}\n|'");
    database.execute(&odd).unwrap();
    let agent = &mut farm.agents[0];
    agent.wait_for_log(JOIN_LIMIT, &["WARN", "rows"]).unwrap();
    drop(database);
    fs::write(&path, format!("{COOKIE} is no database")).unwrap();
    agent
        .wait_for_log(JOIN_LIMIT, &["ERROR", "session database"])
        .unwrap();
    let status = farm.status("s1").unwrap();
    assert!(!status.contains(COOKIE), "{status}");

    farm.daemon.terminate().unwrap();
    farm.agents[0].terminate().unwrap();
    assert!(farm.daemon.wait_exit(JOIN_LIMIT).unwrap().success());
    assert!(farm.agents[0].wait_exit(JOIN_LIMIT).unwrap().success());
    for process in [&farm.daemon, &farm.agents[0]] {
        let log = String::from_utf8_lossy(&fs::read(process.log_path()).unwrap()).into_owned();
        let name = process.name();
        println!("{name}: {} lines of log", log.lines().count());
        assert!(
            log.contains(" DEBUG ") && log.contains(" TRACE "),
            "{name} logs too little"
        );
        for secret in [COOKIE, PASSWORD, AUTHID, &given] {
            let line = log.lines().find(|line| line.contains(secret));
            assert_eq!(line, None, "{name} logs a secret");
        }
    }
    assert!(
        !farm.daemon.log_lines(&["alice"]).is_empty(),
        "the log names users"
    );
}

fn form(user: &str, profile: &str) -> String {
    format!("task=selectsession&sid={profile}&user={user}&login={user}&password={PASSWORD}")
}

/// An AUTHID that the replica gives out, used once.
fn given_authid(farm: &SmallFarm) -> String {
    let form = "task=listsessions&user=alice&password=pw".to_owned();
    let answer = exchange(farm.http, &post("/plain/", "", form.as_bytes())).text();
    let (_, rest) = answer.split_once("AUTHID:").unwrap();
    let authid = rest.lines().next().unwrap().to_owned();
    assert!(authid.len() > 30, "{answer}");
    let form = format!("{form}&authid={authid}");
    assert_eq!(
        exchange(farm.http, &post("/plain/", "", form.as_bytes())).status(),
        200
    );
    authid
}

/// A request whose password stands in its URI, where proxies and logs may see it.
fn get(farm: &SmallFarm, path: &str) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: broker\r\nConnection: close\r\n\r\n");
    assert_ne!(exchange(farm.http, request.as_bytes()).status(), 0);
}

/// Requests that fail in all sorts of ways, each with the secrets in it.
fn use_secrets_badly(farm: &SmallFarm) {
    let send = |path: &str, headers: &str, body: &str| {
        exchange(farm.http, &post(path, headers, body.as_bytes())).status()
    };
    let no_authid = form("alice", "farm");
    let good = format!("{no_authid}&authid={AUTHID}");
    assert_eq!(send("/plain/", "", &good), 401);
    assert_eq!(send("/plain/", "", &form("alice", "nosuch")), 200);
    assert_eq!(send("/plain/", "", &format!("{good}&login=bob")), 401);
    assert_eq!(send("/plain/", "", &format!("{good}&user=%FF")), 400);
    assert_eq!(send("/plain/", "", &good.replace("alice", "a%0Ab")), 401);
    assert_eq!(send("/plain/", "Content-Encoding: gzip\r\n", &good), 400);
    assert_eq!(send(&format!("/plain/?{no_authid}"), "", ""), 200);
    assert_eq!(send(&format!("/nothing?{good}"), "", ""), 404);
    let multipart = good.replace('&', "\r\n");
    assert_eq!(send("/plain/", "Content-Length: 3\r\n", &multipart), 400);
    assert_eq!(
        send(
            "/plain/",
            &format!("Authorization: Basic {PASSWORD}\r\n"),
            &no_authid
        ),
        200
    );
    for path in ["/plain/", "/json/", "/uccs/inifile/api/5/", "/nothing", "/"] {
        get(farm, &format!("{path}?{good}"));
        get(farm, &format!("{path}?{good}&user=a%0Ab"));
    }
    // Not HTTP at all.
    assert_eq!(
        exchange(farm.http, format!("{good}\r\n\r\n").as_bytes()).status(),
        400
    );
}
