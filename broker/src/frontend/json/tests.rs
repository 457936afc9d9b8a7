use proptest::prelude::{prop_assert_eq, proptest};
use proto::{Secret, SessionRecord, SessionState};

use super::answer;
use crate::auth::Authenticated;
use crate::frontend::form::{self, Dialect};
use crate::frontend::golden;
use crate::names::ServerAddress;
use crate::profiles::SessionProfiles;
use crate::task::list_sessions::{HostsShown, Listed, ListedSession};
use crate::task::request::Request;
use crate::task::select_session::{GivenKey, Selected};
use crate::task::{Answer, Reply};

fn request(body: &str) -> Request {
    form::parse_as(Dialect::Json, "", "", body.as_bytes()).unwrap()
}

/// The request of a recorded case, with the answer to it.
fn recorded(case: &str) -> (Request, String) {
    let (_, body) = golden::message(case, "request.http");
    let request = request(&String::from_utf8(body).unwrap());
    (request, golden::body(case, "response.http"))
}

/// The AUTHID of a recorded answer.
fn authid(recorded: &str) -> Option<Secret> {
    let (_, rest) = recorded.split_once("\"next-authid\": \"")?;
    let (authid, _) = rest.split_once('"')?;
    Some(Secret::new(authid.to_owned()))
}

/// A reply to alice, or to nobody when there is no AUTHID.
fn reply(authid: Option<Secret>, answer: Answer<'_>) -> Reply<'_> {
    let user = if authid.is_some() { "alice" } else { "" };
    Reply {
        who: Authenticated::for_test(user),
        authid,
        answer,
    }
}

fn selected(host: &str, resume: Vec<SessionRecord>) -> Answer<'static> {
    Answer::Selected(Selected {
        server: ServerAddress {
            host: host.to_owned(),
            port: 22,
        },
        resume,
        key: GivenKey::Nothing,
    })
}

#[track_caller]
fn assert_same(ours: &str, recorded: &str) {
    let differing = ours.lines().zip(recorded.lines()).find(|(a, b)| a != b);
    assert!(ours == recorded, "first difference: {differing:?}");
}

fn profiles(case: &str) -> SessionProfiles {
    let text = golden::config(case, "sessionprofiles.conf");
    SessionProfiles::parse("profiles", &text).unwrap().0
}

fn listed<'a>(profiles: &'a SessionProfiles, session: Option<&ListedSession>) -> Vec<Listed<'a>> {
    let listed = profiles.iter().map(|profile| Listed {
        profile,
        session: session.cloned(),
        counts: None,
        autologin: profile.id.as_str() == "j-autologin",
    });
    listed.collect()
}

fn listing(profiles: Vec<Listed<'_>>) -> Answer<'_> {
    Answer::Profiles {
        profiles,
        events: None,
    }
}

#[test]
fn profiles_are_listed_with_their_types() {
    let (request, recorded) = recorded("json-listprofiles");
    let profiles = profiles("json-listprofiles");
    let reply = reply(authid(&recorded), listing(listed(&profiles, None)));
    let ours = answer(&reply, &request, HostsShown::All);
    assert_same(&ours, &recorded);
}

#[test]
fn both_names_of_the_list_are_answered_with_one() {
    for word in ["listprofiles", "listsessions"] {
        let request = request(&format!("task={word}&user=alice"));
        let reply = reply(None, listing(Vec::new()));
        let ours = answer(&reply, &request, HostsShown::One);
        let expected = "{\n    \"auth-status\": \"Access granted\",\n    \"profiles\": {},\n    \
            \"task\": \"listprofiles\"\n}";
        assert_eq!(ours, expected);
    }
}

#[test]
fn a_session_shows_its_server_and_state() {
    let profiles = profiles("json-listprofiles");
    let session = ListedSession {
        state: SessionState::Suspended,
        server: proto::NodeId::parse("s2").unwrap(),
    };
    let answer_of = |shown| {
        let listed = listed(&profiles, Some(&session));
        let reply = reply(None, listing(listed));
        answer(&reply, &request("task=listprofiles"), shown)
    };
    let ours = answer_of(HostsShown::One);
    let status = "            \"status\": \"S\",\n";
    assert_eq!(ours.matches(status).count(), profiles.len());
    assert!(ours.contains("\"host\": [\n                \"s2\"\n            ],"));
    assert!(answer_of(HostsShown::All).contains("\"s1\",\n                \"s2\","));
}

#[test]
fn servers_are_told_as_the_original_tells_them() {
    for case in ["json-nocreds", "json-select-sid"] {
        let (request, recorded) = recorded(case);
        assert_eq!(request.sid, "a-one", "{case}");
        let reply = reply(authid(&recorded), selected("s1", Vec::new()));
        assert_same(&answer(&reply, &request, HostsShown::All), &recorded);
    }
    let recorded = golden::body("ssh-json-select-suspended", "response.http");
    let (_, line) = recorded.split_once("\"session_info\": \"").unwrap();
    let record = SessionRecord::parse(line.split_once('"').unwrap().0).unwrap();
    let reply = reply(authid(&recorded), selected("s1", vec![record]));
    let request = request("task=selectsession&sid=farm");
    assert_same(&answer(&reply, &request, HostsShown::One), &recorded);
}

#[test]
fn without_a_server_it_says_so() {
    let told = |answer_of_task, body: &str| {
        let reply = reply(None, answer_of_task);
        let text = answer(&reply, &request(body), HostsShown::One);
        let (_, session) = text.split_once("\"selected_session\": ").unwrap();
        let (session, _) = session.split_once(",\n    \"task\"").unwrap();
        session.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(told(Answer::NoSuchProfile, "task=selectsession"), "{}");
    assert_eq!(
        told(Answer::NoSuchProfile, "task=selectsession&sid=x"),
        "{ \"port\": \"22\", \"server\": \"no-server-available\" }"
    );
    assert_eq!(
        told(
            Answer::NoServer { sshport: 2222 },
            "task=selectsession&sid=x"
        ),
        "{ \"port\": \"2222\", \"server\": \"no-X2Go-Server-available\" }"
    );
}

#[test]
fn other_tasks_are_repeated_and_granted() {
    let authid = || Some(Secret::new("id-1".to_owned()));
    // {client-json}: pyhoca's first request has no task
    let ours = answer(
        &reply(authid(), Answer::Granted),
        &request("user=alice&password=x"),
        HostsShown::One,
    );
    let expected = "{\n    \"auth-status\": \"Access granted\",\n    \"next-authid\": \"id-1\",\n    \
        \"task\": \"\"\n}";
    assert_eq!(ours, expected);
    let (testcon, recorded) = recorded("json-testcon");
    let ours = answer(
        &reply(authid(), Answer::TestConnection),
        &testcon,
        HostsShown::One,
    );
    assert_eq!(ours, recorded);
    assert_eq!(ours, "");
}

proptest! {
    #[test]
    fn no_field_adds_a_line_to_a_json_answer(task in "\\PC{0,20}[\"\\\\\n\r\u{0}]{0,10}") {
        let mut request = request("task=x");
        request.task_word = task;
        let ours = answer(&reply(None, Answer::Granted), &request, HostsShown::One);
        prop_assert_eq!(ours.lines().count(), 4);
    }
}
