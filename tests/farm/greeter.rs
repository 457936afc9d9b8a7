//! Does Arctica Greeter get the servers of a person through `/uccs/`? Asked by the program
//! that asks for it, remote-logon-config-agent, and by curl for what remote-logon-service
//! looks at before.

use serde_json::Value;
use tests::lab::{CLIENT_HOST, password};
use tests::wait::now;

use crate::site::{Setup, Site};

#[test]
fn a_greeter_gets_the_servers_of_a_person_who_logs_in() {
    let setup = Setup {
        global: UCCS,
        profiles: RECORDED_PROFILES,
        ..Setup::default()
    };
    let Some(site) = Site::up(setup) else {
        return;
    };
    // remote-logon-service shows the form once HEAD of its URL is answered with 200.
    for path in ["/uccs/inifile/", "/uccs/inifile"] {
        let head = curl(&site, &["--head", &format!("http://broker1:8080{path}")]);
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    }
    let unasked = curl(&site, &["http://broker1:8080/uccs/inifile/api/5/"]);
    assert!(unasked.starts_with("HTTP/1.1 401 Unauthorized\r\n"));
    let challenge = "\r\nWww-Authenticate: Basic realm=\"Authentication required\"\r\n";
    assert!(
        unasked.to_lowercase().contains(&challenge.to_lowercase()),
        "{unasked}"
    );

    // Both as manuals write the URL, and without the slash.
    for root in ["/uccs/inifile/", "/uccs/inifile"] {
        for (api, recorded) in [("4", RECORDED_API_4), ("5", RECORDED_API_5)] {
            let begun = now();
            let answer = greeter(&site, root, api, &password("alice")).unwrap();
            println!("{root} API {api} answered after {:.1?}", begun.elapsed());
            // With a person who logs in the original drops the connection: what it would
            // say to nobody is the measure, and the person has a name.
            check(&answer, recorded, "alice");
        }
    }
    // remote-logon-config-agent(1): 2 is a wrong user or password.
    let refused = greeter(&site, "/uccs/inifile/", "5", "wrong").unwrap_err();
    let refused = format!("{refused:#}");
    assert!(refused.contains("exit status: 2"), "{refused}");
    assert!(
        refused.contains("Invalid username or password"),
        "{refused}"
    );

    site.reconfigure(Setup {
        global: &format!("{UCCS}require-password = false\n"),
        ..setup
    });
    for (api, recorded) in [("4", RECORDED_API_4), ("5", RECORDED_API_5)] {
        let url = format!("http://broker1:8080/uccs/inifile/api/{api}/");
        let answer = curl(&site, &[&url]);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
        check(&serde_json::from_str(body).unwrap(), recorded, "anonymous");
    }
}

/// What the agent of Arctica Greeter gets for alice with this password.
fn greeter(site: &Site, root: &str, api: &str, password: &str) -> anyhow::Result<Value> {
    // As remote-logon-service starts it: the root in the environment, the password on the
    // standard input.
    let script = "echo \"$1\" | SERVER_ROOT=\"http://broker1:8080$2\" API_VERSION=\"$3\" \
                  remote-logon-config-agent alice";
    let argv = ["sh", "-c", script, "sh", password, root, api];
    let text = site.lab.exec(CLIENT_HOST, "desk", &argv)?;
    Ok(serde_json::from_str(&text)?)
}

/// The answer of a request, head and body.
fn curl(site: &Site, arguments: &[&str]) -> String {
    let argv = [&["curl", "-sS", "--include", "--max-time", "20"], arguments].concat();
    site.lab.exec(CLIENT_HOST, "desk", &argv).unwrap()
}

/// Whether an answer is the recorded one, with another user.
fn check(answer: &Value, recorded: &str, user: &str) {
    let (_, body) = recorded.split_once("\r\n\r\n").unwrap();
    let mut recorded: Value = serde_json::from_str(body).unwrap();
    for server in recorded["RemoteDesktopServers"].as_array_mut().unwrap() {
        server["Username"] = user.into();
    }
    let mut answer = answer.clone();
    for both in [&mut answer, &mut recorded] {
        let servers = both["RemoteDesktopServers"].as_array_mut().unwrap();
        for server in servers.iter_mut().filter(|server| server["Name"] == "Farm") {
            // Any of its hosts.
            let url = server["URL"].as_str().unwrap();
            assert!(["http://s1:22/", "http://s2:22/", "http://s3:22/"].contains(&url));
            server["URL"] = "any".into();
        }
    }
    assert_eq!(answer, recorded, "{answer:#}");
    // remote-logon-service takes no list whose default is not in it.
    let servers = answer["RemoteDesktopServers"].as_array().unwrap();
    let default = &answer["DefaultServer"];
    assert!(servers.iter().any(|server| &server["Name"] == default));
}

const UCCS: &str = "\
enable-uccs-output = true
my-uccs-url-base = https://broker.lab.test:8080/
";
const RECORDED_PROFILES: &str = include_str!("../golden/uccs-api5/sessionprofiles.conf");
const RECORDED_API_4: &str = include_str!("../golden/uccs-api4/response.http");
const RECORDED_API_5: &str = include_str!("../golden/uccs-api5/response.http");
