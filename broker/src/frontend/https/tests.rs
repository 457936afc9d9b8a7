mod password_change;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http_body_util::BodyExt;
use proptest::prelude::{ProptestConfig, prop_assert, proptest};
use tokio::sync::watch;
use tower::ServiceExt;

use super::{Bodies, ClientAddress, Frontend, asks_for_connection_only, backend_name, router};
use crate::agents::KeyReturns;
use crate::auth::Authenticator;
use crate::auth::testing::Farm;
use crate::autologin::{KeyPair, KeyPairsOwner};
use crate::client_names::ClientNamesResolver;
use crate::config::{Config, Sources};
use crate::frontend::form::{self, Dialect};
use crate::frontend::golden;
use crate::groups::{self, GroupLimits, GroupsOwner};
use crate::old_agents::OldAgents;
use crate::placement::PlacementKey;
use crate::profiles::SessionProfiles;
use crate::settings::Settings;
use crate::task::Broker;
use crate::task::access::Directory;
use crate::task::select_session::Placing;
use crate::view::feed::Feed;

#[test]
fn the_first_part_of_the_path_names_the_backend() {
    for (path, name) in [
        ("/plain/", ""),
        ("/plain/inifile", "inifile"),
        ("/plain/inifile/", "inifile"),
        ("/plain/inifile/and/more", "inifile"),
        ("/plain/INIFILE/", "INIFILE"),
        ("/plain//inifile", ""),
        // {url-backend-dots}
        ("/plain/..%2Fx", ".."),
        ("/plain/ini%66ile", "inifile"),
        ("/plain/ini+file", "ini+file"),
        ("/plain/%ff%zz", "\u{fffd}%zz"),
    ] {
        assert_eq!(backend_name(path, "/plain/"), name, "{path}");
    }
}

#[test]
fn only_a_test_that_names_nobody_is_answered_unasked() {
    let asks = |dialect, body: &str| {
        let request = form::parse_as(dialect, "", "", body.as_bytes()).unwrap();
        asks_for_connection_only(dialect, &request)
    };
    assert!(asks(Dialect::Plain, "task=testcon"));
    assert!(asks(Dialect::Plain, "task=testcon&user=+&sid=x"));
    for body in [
        "",
        "task=listsessions",
        "task=testcon&user=alice",
        "task=testcon&password=x",
        "task=testcon&authid=x",
    ] {
        assert!(!asks(Dialect::Plain, body), "{body}");
    }
    assert!(!asks(Dialect::Json, "task=testcon"));
}

/// Front ends as a configuration makes them, in a farm without servers.
struct Site {
    app: Router,
    _keys: tempfile::TempDir,
    _directory: (ClientNamesResolver, GroupsOwner),
    _members: watch::Sender<Arc<gossip::Members>>,
    _settings: watch::Sender<Arc<Settings>>,
}

/// What came back.
struct Got {
    head: String,
    body: String,
}

impl Site {
    /// Serves the configuration of a recorded case. Nobody is there to ask PAM, so that
    /// `global` may let everybody in; `more` stands at its end.
    fn of(case: &str, global: &str, more: &str) -> Self {
        let config = golden::config(case, "x2gobroker.conf");
        let config = config.replacen("[global]\n", &format!("[global]\n{global}\n"), 1);
        let profiles = golden::config(case, "sessionprofiles.conf");
        Self::up(&format!("{config}\n{more}\n"), &profiles)
    }

    fn up(config: &str, profiles: &str) -> Self {
        Self::in_farm(&Farm::new("lab"), config, profiles)
    }

    /// The same, with the authservice at the socket of `farm`, if there is one.
    fn in_farm(farm: &Farm, config: &str, profiles: &str) -> Self {
        let (mut config, _) = Config::parse(&Sources {
            config_file: "x2gobroker.conf",
            config,
            defaults_file: "defaults.conf",
            defaults: "",
            environment: &BTreeMap::new(),
            bind: None,
            host_name: "broker",
        })
        .unwrap();
        let keys = tempfile::tempdir().unwrap();
        std::fs::write(keys.path().join("id_rsa.pub"), "ssh-rsa AAAA").unwrap();
        keys.path()
            .clone_into(&mut config.frontends.public_keys.directory);
        let (profiles, _) =
            SessionProfiles::parse_with(config.inifile.plain_values, "profiles", profiles).unwrap();
        let settings = Settings::new(&config, Arc::new(profiles));
        let (settings_sender, settings) = watch::channel(Arc::new(settings));
        let (members_sender, members) = watch::channel(Arc::default());
        let member = farm.member(pki::Role::Broker, "broker");
        let key = PlacementKey::new(member.derive_key("test"));
        let (_publisher, identity) = pki::IdentityPublisher::new(member);
        let (_feed, feed) = Feed::new(members, identity.clone());
        let placing = Placing {
            feed,
            key,
            round: Duration::from_secs(1),
            old_agents: OldAgents::new("/nonexistent/sockets".into()),
            keys: KeyPairsOwner::new(KeyPair::generate).1,
            returns: KeyReturns::default(),
        };
        let (resolver, client_names) = ClientNamesResolver::new(settings.clone());
        let (groups_owner, groups) = GroupsOwner::new(groups::look_up, GroupLimits::default());
        let directory = Directory {
            groups,
            client_names,
        };
        let authenticator = Authenticator::new(
            identity,
            farm.clock.clone(),
            &farm.socket(),
            crate::audit::Audit::off(),
        );
        let app = router(Frontend {
            broker: Broker::new(settings, authenticator, directory, placing),
            request_timeout: Duration::from_secs(10),
            bodies: Bodies::default(),
            clock: farm.clock.clone(),
        });
        Self {
            app,
            _keys: keys,
            _directory: (resolver, groups_owner),
            _members: members_sender,
            _settings: settings_sender,
        }
    }

    /// Sends a request as it stands in a file: first line, headers, empty line, body.
    async fn ask(&self, request: &[u8]) -> Got {
        let at = request
            .windows(4)
            .position(|part| part == b"\r\n\r\n")
            .unwrap();
        let (head, body) = (&request[..at], &request[at + 4..]);
        let head = std::str::from_utf8(head).unwrap();
        let mut lines = head.split("\r\n");
        let mut first = lines.next().unwrap().split(' ');
        let mut builder = axum::extract::Request::builder()
            .method(first.next().unwrap())
            .uri(first.next().unwrap());
        for line in lines {
            let (name, value) = line.split_once(':').unwrap();
            builder = builder.header(name, value.trim());
        }
        let client = ClientAddress([10, 77, 0, 20].into());
        let request = builder.extension(client).body(Body::from(body.to_vec()));
        let response = self.app.clone().oneshot(request.unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let mut head = format!("{}\n", parts.status);
        for (name, value) in &parts.headers {
            head += &format!("{name}: {}\n", value.to_str().unwrap());
        }
        let body = body.collect().await.unwrap().to_bytes();
        let body = String::from_utf8(body.to_vec()).unwrap();
        Got { head, body }
    }

    async fn post(&self, path: &str, form: &str) -> Got {
        self.ask(format!("POST {path} HTTP/1.1\r\nHost: broker\r\n\r\n{form}").as_bytes())
            .await
    }

    async fn get(&self, path: &str) -> Got {
        self.ask(format!("GET {path} HTTP/1.1\r\nHost: broker\r\n\r\n").as_bytes())
            .await
    }
}

/// The head of a recorded answer as [`Got`] shows one. Name, time and length are ours.
fn recorded_head(head: &str, body: &str) -> String {
    let lines = head.lines();
    let lines = lines.map(|line| match line.split_once(": ") {
        None => line.trim_start_matches("HTTP/1.1 ").to_owned(),
        Some(("Server", _)) => "server: x2gobroker".to_owned(),
        Some(("Content-Length", _)) => format!("content-length: {}", body.len()),
        Some(("Date", _)) => "date: Sun, 22 Nov 2026 07:30:00 GMT".to_owned(),
        Some((name, value)) => format!("{}: {value}", name.to_ascii_lowercase()),
    });
    lines.map(|line| line + "\n").collect()
}

const ANY_PASSWORD: &str = "default-auth-mech = none";

#[tokio::test]
async fn recorded_requests_get_the_recorded_status_headers_and_body() {
    let get = "[http]\nallow-get = true";
    let cases = [
        ("backend-off", "", ""),
        ("frontend-off-plain", "", ""),
        ("frontend-off-uccs", "", ""),
        ("http-get-etag", ANY_PASSWORD, get),
        ("http-options", "", ""),
        ("http-put", "", ""),
        ("json-nocreds", "", ""),
        ("json-testcon", ANY_PASSWORD, ""),
        ("nocreds", "", ""),
        ("nocreds-nouser", "plain-values = raw", ""),
        ("plain-ctype-charset", ANY_PASSWORD, ""),
        ("plain-empty-body", "", ""),
        ("plain-invalid-utf8", "", ""),
        ("plain-many-fields", ANY_PASSWORD, ""),
        ("plain-missing-password", "", ""),
        ("plain-multipart", ANY_PASSWORD, ""),
        ("plain-repeated-keys", ANY_PASSWORD, ""),
        (
            "plain-testcon-nocreds",
            "",
            "[http]\nanonymous-testcon = false",
        ),
    ];
    for (case, global, more) in cases {
        let site = Site::of(case, global, more);
        let got = site.ask(&golden::read(case, "request.http")).await;
        let (head, body) = golden::message(case, "response.http");
        // Autologin is not done yet, so that it is not promised either.
        let promise = "autologin=1\nkey=<will-be-exchanged-during-session-selection>\n";
        let body = String::from_utf8(body).unwrap().replace(promise, "");
        assert_eq!(got.body, body, "{case}");
        assert_eq!(got.head, recorded_head(&head, &body), "{case}");
    }
}

/// A configuration that lets everybody in who has a name.
fn open(more: &str) -> Site {
    let config = format!("[global]\n{ANY_PASSWORD}\n{more}\n");
    Site::up(&config, "[a]\nname=A\nhost=s1\n")
}

#[tokio::test]
async fn get_is_taken_only_where_it_is_allowed() {
    let query = "?task=testcon&user=alice&password=x";
    for path in ["/plain/", "/json/"] {
        let got = open("").get(&format!("{path}{query}")).await;
        assert!(got.head.starts_with("405 "), "{}", got.head);
        let allowed = open("[http]\nallow-get = true");
        let got = allowed.get(&format!("{path}{query}")).await;
        assert!(got.head.starts_with("200 "), "{}", got.head);
        assert!(got.head.contains("\netag: \""), "{}", got.head);
        let denied = allowed.get(&format!("{path}{query}&login=bob")).await;
        assert!(!denied.head.contains("etag"), "{}", denied.head);
    }
}

/// Everything that is logged, at every level.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_password_in_a_url_is_in_no_log() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _logging = tracing::subscriber::set_default(subscriber);
    let query = "?task=listsessions&user=alice&password=hidden-word&login=bob&authid=hidden-id";
    for more in ["", "[http]\nallow-get = true"] {
        let site = open(more);
        for path in [
            "/plain/",
            "/json/",
            "/plain/ldap",
            "/nosuch",
            "/",
            "/uccs/inifile/",
        ] {
            site.get(&format!("{path}{query}")).await;
        }
        site.get(&format!("/plain/{query}&sid=%ff")).await;
    }
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(
        log.contains("access denied") && log.contains("not UTF-8"),
        "{log}"
    );
    assert!(!log.contains("hidden"), "{log}");
}

#[tokio::test]
async fn no_method_hangs_anywhere() {
    let site = open("enable-uccs-output = true");
    for path in [
        "/",
        "/pubkeys",
        "/pubkeys/",
        "/uccs/",
        "/uccs/inifile",
        "/uccs/inifile/",
        "/uccs/inifile/api/5/",
    ] {
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "ODD"] {
            let request = format!("{method} {path} HTTP/1.1\r\nHost: b\r\n\r\nx=y");
            let got = site.ask(request.as_bytes()).await;
            assert!(got.head.starts_with("405 "), "{method} {path} {}", got.head);
        }
    }
    for path in ["/plain", "/json", "/uccs", "/nosuch", "/plainer/"] {
        assert!(site.post(path, "").await.head.starts_with("404 "), "{path}");
        assert!(site.get(path).await.head.starts_with("404 "), "{path}");
    }
}

#[tokio::test]
async fn pages_for_people_and_programs_are_there() {
    let site = open("enable-uccs-output = true");
    let works = site.get("/").await;
    let page = "<body><html><h1>X2Go Session Broker</h1><p>It works...</p></body></html>";
    assert_eq!(works.body, page);
    assert!(
        works
            .head
            .contains("content-type: text/html; charset=UTF-8\n")
    );
    for path in ["/pubkeys", "/pubkeys/"] {
        let keys = site.get(path).await;
        assert!(
            keys.body
                .ends_with(",no-pty ssh-rsa AAAA x2gobroker@broker\n")
        );
        assert!(keys.head.contains("\netag: \"") && !keys.head.contains("expires"));
    }
    let time = site.get("/uccs/inifile/").await;
    assert_eq!(time.body, "2026-11-22 07:30:00.000000");
    let head = b"HEAD /uccs/inifile/ HTTP/1.1\r\nHost: b\r\n\r\n";
    let head = site.ask(head).await;
    assert_eq!(head.body, "");
    assert_eq!(head.head, time.head);
    assert!(head.head.ends_with("\ncontent-length: 26\n"));
}

#[tokio::test]
async fn greeters_log_in_with_basic_credentials() {
    let site = open("enable-uccs-output = true");
    let list = |authorization: &str| {
        let request = "GET /uccs/inifile/api/5/ HTTP/1.1\r\nHost: b";
        format!("{request}{authorization}\r\n\r\n").into_bytes()
    };
    let asked = site.ask(&list("")).await;
    let challenge = "www-authenticate: Basic realm=\"Authentication required\"\n";
    assert!(asked.head.starts_with("401 ") && asked.head.contains(challenge));
    // printf 'alice:pw' | base64
    let got = site
        .ask(&list("\r\nAuthorization: Basic YWxpY2U6cHc="))
        .await;
    assert!(got.head.starts_with("200 "), "{}", got.head);
    assert!(got.body.contains("\"Username\": \"alice\""), "{}", got.body);
    assert!(
        got.body.contains("\"URL\": \"http://s1:22/\""),
        "{}",
        got.body
    );
    for odd in ["Basic x", "Basic YWxpY2U=", "Bearer YWxpY2U6cHc="] {
        let got = site.ask(&list(&format!("\r\nAuthorization: {odd}"))).await;
        assert!(got.head.starts_with("401 "), "{odd} {}", got.head);
    }
}

#[tokio::test]
async fn zeroconf_offers_its_one_desktop_over_every_front_end() {
    let case = "zeroconf-list";
    let site = Site::of(case, "", "");
    let got = site.ask(&golden::read(case, "request.http")).await;
    // AUTHID and the ID of the profile are new in every answer of the original.
    let fixed = |body: &str| -> Vec<String> {
        let varies = |line: &&str| !line.starts_with("AUTHID:") && !line.starts_with('[');
        body.lines().filter(varies).map(str::to_owned).collect()
    };
    assert_eq!(
        fixed(&got.body),
        fixed(&golden::body(case, "response.http"))
    );
    let form = "task=selectsession&sid=any&user=alice&password=x";
    let got = site.post("/plain/zeroconf/", form).await;
    assert!(
        got.body.ends_with("\nSERVER:localhost:22\n"),
        "{}",
        got.body
    );
    let got = site.post("/json/zeroconf/", form).await;
    assert!(
        got.body.contains("\"server\": \"localhost\""),
        "{}",
        got.body
    );
    let form = "task=listprofiles&user=alice&password=x";
    let got = site.post("/json/zeroconf/", form).await;
    assert!(got.body.contains("\"command\": \"MATE\""), "{}", got.body);
}

#[tokio::test]
async fn who_is_refused_may_get_the_login_form_back() {
    let site = Site::up("[global]\n[http]\nrefusal = login-form\n", "[a]\nhost=s1\n");
    let form = "task=listsessions&user=alice&password=&authid=";
    let got = site.post("/plain/", form).await;
    // {client-probes}: what X2Go Client 4.1.2 shows its login form again for
    assert!(got.head.starts_with("200 ") && got.body == "Access denied\n");
    let got = site.post("/json/", form).await;
    assert!(got.head.starts_with("401 "), "{}", got.head);
}

#[tokio::test]
async fn a_connectivity_test_that_names_nobody_learns_nothing() {
    let site = open("");
    let got = site.post("/plain/", "task=testcon").await;
    assert_eq!(
        (got.head.get(..3), got.body.as_str()),
        (Some("200"), "Access granted\n")
    );
    let got = site
        .post("/plain/", "task=testcon&user=alice&password=x")
        .await;
    assert_eq!(got.body, "OK");
    let off = Site::up("[global]\nenable-plain-output = false\n", "");
    assert!(
        off.post("/plain/", "task=testcon")
            .await
            .head
            .starts_with("404 ")
    );
}

/// Line ends, and what else could begin a line or a header.
const INJECTED: &str = "%0d%0aINJECTED:x%0aINJECTED%0b%0c%c2%85%e2%80%a8INJECTED";

#[tokio::test]
async fn no_field_begins_a_line_or_a_header() {
    let site = open("enable-uccs-output = true\n[http]\nallow-get = true");
    let fields = [
        "task",
        "user",
        "password",
        "login",
        "sid",
        "profile-id",
        "authid",
        "pubkey",
    ];
    for path in ["/plain/", "/json/", "/plain/zeroconf/"] {
        for task in [
            "listsessions",
            "selectsession",
            "testcon",
            "clientevent",
            "x",
        ] {
            for field in fields {
                let good = format!("task={task}&user=alice&password=x&sid=a");
                let form = format!("{good}&{field}=a{INJECTED}");
                for got in [
                    site.post(path, &form).await,
                    site.get(&format!("{path}?{form}")).await,
                ] {
                    assert!(!got.head.contains("INJECTED"), "{form} {}", got.head);
                    for line in got.body.lines() {
                        assert!(!line.starts_with("INJECTED"), "{form} {}", got.body);
                    }
                }
            }
        }
    }
    let got = site.get(&format!("/uccs/inifile{INJECTED}/api/5/")).await;
    assert!(got.head.starts_with("404 ") && !got.body.contains("INJECTED"));
}

#[test]
fn no_request_panics() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let site = open("enable-uccs-output = true\n[http]\nallow-get = true");
    let path = "/(plain|json|uccs|pubkeys)?/{0,2}(inifile|zeroconf|api|%[0-9a-f]{2}|5|/){0,5}";
    let form = "((task|user|password|sid|authid)=(listsessions|listprofiles|selectsession|a|%[0-9a-f]{2}|[ -~]){0,3}&){0,6}";
    let strategy = (
        "(GET|POST|HEAD|PUT)",
        path,
        form,
        "(multipart/form-data; boundary=B|[ -~]{0,20})",
    );
    let config = ProptestConfig::with_cases(200);
    proptest!(config, |((method, path, form, content_type) in strategy)| {
        let path = if path.starts_with("//") { "/" } else { &path };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: b\r\nContent-Type: {content_type}\r\n\r\n{form}"
        );
        let got = runtime.block_on(site.ask(request.as_bytes()));
        prop_assert!(!got.head.starts_with("5"), "{}", got.head);
    });
}

#[tokio::test]
async fn a_backend_name_is_compared_and_never_executed() {
    let site = Site::of("nocreds", "", "");
    for name in [
        "nosuch",
        "base",
        "inifile;x",
        "inifile%0a",
        "__import__(%27os%27)",
        "..%2F..%2Fetc",
        "%00",
        "%24(id)",
    ] {
        for path in [format!("/plain/{name}/"), format!("/json/{name}")] {
            let got = site.post(&path, "task=listsessions&user=alice").await;
            assert!(got.head.starts_with("404"), "{path}: {}", got.head);
        }
        let path = format!("/uccs/{name}/api/5/");
        let got = site.get(&path).await;
        assert!(got.head.starts_with("404"), "{path}: {}", got.head);
    }
}

#[tokio::test]
async fn acls_are_checked_in_selectsession_as_well() {
    let profiles = "[open]\nname=Open\nhost=s1\n\
                    [closed]\nname=Closed\nhost=s1\nacl-users-allow=bob\n\
                    [elsewhere]\nname=E\nhost=s1\nacl-clients-allow=192.0.2.1\n";
    let config = format!("[global]\n{ANY_PASSWORD}\n[broker_inifile]\nenable=true\n");
    let site = Site::up(&config, profiles);
    for (user, profile, is_there) in [
        ("alice", "open", true),
        ("alice", "closed", false),
        ("bob", "closed", true),
        ("bob", "elsewhere", false),
        ("alice", "nosuch", false),
    ] {
        let form = format!("task=selectsession&sid={profile}&user={user}&password=x");
        let got = site.post("/plain/", &form).await;
        let hidden = got.body.contains("SERVER:no-server-available:22\n");
        assert_eq!(hidden, !is_there, "{user} {profile}: {}", got.body);
    }
}
