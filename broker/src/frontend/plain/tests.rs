use proto::{NodeId, Secret, SessionRecord, SessionState, Username};

use super::{error_body, granted, list_sessions, no_server, no_such_profile, select_session};
use crate::acl::{Asker, ClientNames, Groups};
use crate::frontend::golden;
use crate::names::{ServerAddress, address_for_client};
use crate::profiles::{PlainValues, SessionProfiles};
use crate::task::list_sessions::{HostsShown, Listed, ListedSession};
use crate::task::select_session::{GivenKey, Selected};

/// Values stand as the original writes them, unless a test says otherwise.
fn profiles(case: &str) -> SessionProfiles {
    profiles_with(PlainValues::Raw, case)
}

fn profiles_with(values: PlainValues, case: &str) -> SessionProfiles {
    let text = golden::config(case, "sessionprofiles.conf");
    SessionProfiles::parse_with(values, "profiles", &text)
        .unwrap()
        .0
}

/// Which profiles show a session, and its state and server.
type Sessions<'a> = &'a [(&'a str, SessionState, &'a str)];

/// Lists for alice what the file of a case holds, as its answer does.
fn listed_for_alice(case: &str, shown: HostsShown, sessions: Sessions<'_>) -> String {
    let profiles = profiles(case);
    listed_from(&profiles, case, shown, sessions)
}

fn listed_from(
    profiles: &SessionProfiles,
    case: &str,
    shown: HostsShown,
    sessions: Sessions<'_>,
) -> String {
    let expected = golden::body(case, "response.http");
    let listed: Vec<Listed<'_>> = profiles
        .iter()
        .map(|profile| Listed {
            profile,
            counts: None,
            autologin: profile.id.as_str() == "j-autologin",
            session: sessions
                .iter()
                .find(|(id, _, _)| *id == profile.id.as_str())
                .map(|&(_, state, server)| ListedSession {
                    state,
                    server: NodeId::parse(server).unwrap(),
                }),
        })
        .collect();
    let alice = Username::parse("alice").unwrap();
    list_sessions(golden::authid(&expected), Some(&alice), shown, &listed)
}

#[track_caller]
fn assert_same(ours: &str, recorded: &str) {
    let differing = ours.lines().zip(recorded.lines()).position(|(a, b)| a != b);
    let at = |text: &str| text.lines().nth(differing.unwrap_or(0)).map(str::to_owned);
    let where_they_differ = (differing, at(ours), at(recorded));
    assert!(ours == recorded, "first difference: {where_they_differ:?}");
}

#[test]
fn all_profile_formats_are_listed_as_the_original_lists_them() {
    let case = "plain-listsessions";
    let ours = listed_for_alice(case, HostsShown::All, &[]);
    assert_same(&ours, &golden::body(case, "response.http"));
}

#[test]
fn values_that_a_client_would_misread_are_all_that_is_written_otherwise() {
    let case = "plain-listsessions";
    let as_recorded = listed_for_alice(case, HostsShown::All, &[]);
    let quoted = profiles_with(PlainValues::Quoted, case);
    let ours = listed_from(&quoted, case, HostsShown::All, &[]);
    let pairs = ours.lines().zip(as_recorded.lines());
    let differing: Vec<_> = pairs.filter(|(ours, recorded)| ours != recorded).collect();
    let recorded_name = "Ünïcödé \"quotes\" 'single' <b>&amp; % $HOME ; # = [x]";
    let expected = [
        (
            r#"name="\xdcn\xef\x63\xf6\x64\xe9 \"quotes\" 'single' <b>&amp; % $HOME ; # = [x]""#,
            &*format!("name={recorded_name}"),
        ),
        (
            r#"command="xterm -e 'echo \"a;b\"' # not a comment""#,
            r#"command=xterm -e 'echo "a;b"' # not a comment"#,
        ),
        (r#"comment="a;b""#, "comment=a;b"),
        (r#"brackets="[1, 2]""#, "brackets=[1, 2]"),
    ];
    assert_eq!(differing, expected);
    assert_eq!(ours.lines().count(), as_recorded.lines().count());
}

#[test]
fn a_profile_without_keys_has_the_built_in_ones() {
    let case = "profiles-no-defaults";
    let ours = listed_for_alice(case, HostsShown::All, &[]);
    assert_same(&ours, &golden::body(case, "response.http"));
}

#[test]
fn without_credentials_the_user_may_be_missing() {
    let profiles = profiles("nocreds-nouser");
    let nobody = Asker {
        user: None,
        groups: Groups::Unknown,
        client: "10.77.0.20".parse().unwrap(),
        client_names: &ClientNames::default(),
    };
    let visible = profiles
        .iter()
        .filter(|profile| profile.acl.allows(&nobody));
    let listed: Vec<_> = visible
        .map(|profile| Listed {
            profile,
            session: None,
            counts: None,
            autologin: profile.id.as_str() == "j-autologin",
        })
        .collect();
    let ours = list_sessions(None, None, HostsShown::All, &listed);
    assert_same(&ours, &golden::body("nocreds-nouser", "response.http"));
}

#[test]
fn sessions_and_their_hosts_are_shown_as_the_original_shows_them() {
    use SessionState::{Running, Suspended};
    let cases: &[(&str, Sessions<'_>)] = &[
        ("ssh-list-no-session", &[]),
        (
            "ssh-list-suspended",
            &[("farm", Suspended, "s1"), ("single", Suspended, "s1")],
        ),
        (
            "ssh-list-running",
            &[("farm", Running, "s1"), ("single", Running, "s1")],
        ),
        (
            "ssh-list-suspended-server-down",
            &[("farm", Suspended, "s1")],
        ),
        (
            "names-list-suspended",
            &[
                ("addr", Suspended, "s1"),
                ("fqdn", Suspended, "s1"),
                ("one-fqdn", Suspended, "s1"),
            ],
        ),
    ];
    for (case, sessions) in cases {
        let ours = listed_for_alice(case, HostsShown::One, sessions);
        assert_same(&ours, &golden::body(case, "response.http"));
    }
}

#[test]
fn servers_are_given_as_the_original_gives_them() {
    // (case, answer, profile, host)
    let cases = [
        ("select-one", "response.http", "a-one", "s1"),
        ("select-many", "response.http", "b-many", "s2"),
        ("select-addr", "response-1.http", "c-addr", "s1"),
        ("select-shadow", "response.http", "i-shadow", "s1"),
    ];
    for (case, file, profile, host) in cases {
        let profiles = profiles(case);
        let profile = profiles.get(profile).unwrap();
        let host = profile.hosts.iter().find(|h| h.name == host).unwrap();
        let recorded = golden::body(case, file);
        let server = address_for_client(host, profile.sshport);
        let ours = select_session(golden::authid(&recorded), &Selected::unasked(server));
        assert_same(&ours, &recorded);
    }
}

#[test]
fn a_profile_that_does_not_exist_has_no_server() {
    let recorded = golden::body("select-unknown", "response.http");
    assert_same(&no_such_profile(golden::authid(&recorded)), &recorded);
    let recorded = golden::body("ssh-select-all-reject", "response.http");
    assert_same(&no_server(golden::authid(&recorded), 22), &recorded);
}

#[test]
fn the_session_to_resume_follows_the_server() {
    for file in ["response-1.http", "response-2.http"] {
        let recorded = golden::body("ssh-select-suspended", file);
        let line = recorded.lines().last().unwrap();
        let record = SessionRecord::parse(line.strip_prefix("SESSION_INFO:").unwrap()).unwrap();
        let server = ServerAddress {
            host: "s1".to_owned(),
            port: 22,
        };
        let selected = Selected {
            resume: vec![record.clone()],
            ..Selected::unasked(server)
        };
        let ours = select_session(golden::authid(&recorded), &selected);
        assert_same(&ours, &recorded);
        // X2Go Client resumes at field 4 of the record.
        let server = ServerAddress {
            host: "10.77.0.101".to_owned(),
            port: 2022,
        };
        let record = SessionRecord {
            server: server.host.clone(),
            ..record
        };
        let selected = Selected {
            resume: vec![record],
            ..Selected::unasked(server)
        };
        let ours = select_session(None, &selected);
        assert!(ours.contains("\nSERVER:10.77.0.101:2022\nSESSION_INFO:"));
        assert!(ours.contains("|50|10.77.0.101|S|"), "{ours}");
    }
}

#[test]
fn a_private_key_stands_between_the_server_and_the_session() {
    // Cookies and keys of recordings are not real ones; a key has this form.
    let recorded = golden::body("ssh-auto-select", "response.http");
    let at = recorded.find("-----BEGIN RSA PRIVATE KEY-----\n").unwrap();
    let server = ServerAddress {
        host: "s1".to_owned(),
        port: 22,
    };
    let selected = Selected {
        key: GivenKey::Private(Secret::new(recorded[at..].to_owned())),
        ..Selected::unasked(server)
    };
    let ours = select_session(golden::authid(&recorded), &selected);
    assert_same(&ours, &recorded);
    let selected = Selected {
        key: GivenKey::OfClient,
        ..selected
    };
    let recorded = golden::body("ssh-auto-select-pubkey", "response.http");
    let ours = select_session(golden::authid(&recorded), &selected);
    assert_same(&ours, &recorded);
}

#[test]
fn tasks_without_an_answer_of_their_own_are_granted() {
    for case in ["plain-no-task", "plain-unknown-task", "plain-clientevent"] {
        let recorded = golden::body(case, "response.http");
        assert_same(&granted(golden::authid(&recorded)), &recorded);
    }
    let listed = list_sessions(None, None, HostsShown::One, &[]);
    assert_eq!(listed, "Access granted\n");
    let recorded = golden::body("plain-many-fields", "response.http");
    assert_eq!(super::TEST_CONNECTION, recorded);
}

#[test]
fn errors_are_told_in_html() {
    for (case, status, reason) in [
        ("plain-testcon-nocreds", 401, "Unauthorized"),
        ("plain-invalid-utf8", 400, "Bad Request"),
        ("frontend-off-plain", 404, "Not Found"),
        ("http-put", 405, "Method Not Allowed"),
        ("profiles-bad-number", 500, "Internal Server Error"),
    ] {
        let (head, recorded) = golden::message(case, "response.http");
        assert_eq!(error_body(status, reason).as_bytes(), recorded, "{case}");
        let content_type = golden::header(&head, "content-type");
        assert_eq!(content_type, super::ERROR_CONTENT_TYPE);
        assert!(head.contains(&format!("{status} {reason}")), "{case}");
    }
}
