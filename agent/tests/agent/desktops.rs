//! Who may ask an agent for desktops, and what are they told?

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use agent::config::{HostDefaults, RawConfig};
use pki::Role;
use proto::{Desktop, v1};
use tonic::Code;

use super::farm::{Farm, admit};

/// In the place of the setuid program: says what it was asked for in `asked`, and prints the
/// file `desktops`.
const PROGRAM: &str = "#!/bin/sh\n\
    cd \"${0%/*}\" && echo \"$@\" >>asked && cat desktops\n";

fn ask(node: &str, user: &str) -> v1::ListDesktopsRequest {
    v1::ListDesktopsRequest {
        node: node.to_owned(),
        user: user.to_owned(),
    }
}

impl Farm {
    /// In the window of this session the user watches bob's display 78.
    fn shadow_session(&self, user: &str, display: u32) {
        self.session(user, display, "R");
        let id = format!("{user}-{display}-1795886378_stS1XSHADbobXSHADPP78_dp24");
        let rename = "UPDATE sessions SET session_id = ?1 WHERE display = ?2";
        let row = rusqlite::params![id, display];
        self.writer.execute(rename, row).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shadow_session_is_shown_and_never_offered_for_resuming() {
    use v1::admit_response::Verdict;
    let farm = Farm::new();
    farm.session("alice", 51, "R");
    farm.shadow_session("alice", 52);
    farm.shadow_session("carol", 53);
    let agent = farm.start().await;
    let mut broker = agent.client(&farm, Role::Broker);
    let answer = broker.admit(admit("alice")).await.unwrap();
    let Some(Verdict::Resume(resume)) = answer.into_inner().verdict else {
        panic!("alice has a session")
    };
    let displays: Vec<u32> = resume.sessions.iter().map(|one| one.display).collect();
    assert_eq!(displays, [51]);
    let answer = broker.admit(admit("carol")).await.unwrap();
    let admitted = Verdict::Admitted(v1::Admitted { confirmed: false });
    assert_eq!(answer.into_inner().verdict, Some(admitted));
    let list = v1::ListSessionsRequest {
        node: "s1".to_owned(),
        user: "carol".to_owned(),
    };
    let listed = broker.list_sessions(list).await.unwrap().into_inner();
    assert!(listed.sessions.is_empty(), "{listed:?}");
    let status = broker.status(v1::StatusRequest {}).await.unwrap();
    assert_eq!(status.into_inner().sessions.len(), 3);
    agent.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn brokers_and_operators_learn_what_a_user_may_watch() {
    let farm = Farm::new();
    let program = farm.path("x2gobroker-agent");
    fs::write(farm.path("draft"), PROGRAM).unwrap();
    fs::set_permissions(farm.path("draft"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(farm.path("draft"), &program).unwrap();
    let listing = "OK\nalice@:51\nalice@:52\n$(id)@:97\nbob@:78.0\n";
    fs::write(farm.path("desktops"), listing).unwrap();
    // Alice watches something already: in the window that is display 52.
    farm.session("alice", 51, "R");
    farm.shadow_session("alice", 52);
    let raw = RawConfig {
        agent_program: program,
        ..farm.raw_config(&farm.identity(Role::Agent, "s1"))
    };
    let config = raw.check(HostDefaults::default()).unwrap();
    let agent = farm.start_with(config).await;

    for role in [Role::Broker, Role::Operator] {
        let mut client = agent.client(&farm, role);
        let answer = client.list_desktops(ask("s1", "alice")).await.unwrap();
        let desktops = answer.into_inner().desktops.into_iter();
        let desktops: Vec<Desktop> = desktops.map(|one| one.try_into().unwrap()).collect();
        let names: Vec<String> = desktops.iter().map(Desktop::to_string).collect();
        assert_eq!(names, ["alice@:51", "bob@:78.0"], "{role}");
    }
    let asked = fs::read_to_string(farm.path("asked")).unwrap();
    let asked: Vec<&str> = asked.lines().filter(|line| line.contains("desk")).collect();
    assert_eq!(asked, ["alice listdesktops"; 2]);

    let mut other = agent.client(&farm, Role::Agent);
    let mut broker = agent.client(&farm, Role::Broker);
    let denied = other.list_desktops(ask("s1", "alice")).await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied);
    let rows = [
        (ask("s2", "alice"), Code::FailedPrecondition),
        (ask("s1", "../x"), Code::InvalidArgument),
        (ask("", "alice"), Code::InvalidArgument),
    ];
    for (request, code) in rows {
        let status = broker.list_desktops(request.clone()).await.unwrap_err();
        assert_eq!(status.code(), code, "{request:?}");
    }

    // Drained: watching is no new desktop.
    let drain = v1::SetDrainRequest {
        drain: true,
        reason: String::new(),
        ..v1::SetDrainRequest::default()
    };
    let mut operator = agent.client(&farm, Role::Operator);
    operator.set_drain(drain).await.unwrap();
    let answer = broker.list_desktops(ask("s1", "alice")).await.unwrap();
    assert_eq!(answer.into_inner().desktops.len(), 2);

    // A program of before: it does not know the task, and says nothing.
    fs::write(farm.path("desktops"), "").unwrap();
    let status = broker.list_desktops(ask("s1", "alice")).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal, "{status}");
    agent.end().await;
}
