//! Passwords before real web servers with TLS, each with another mistake.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use proto::{BrokerUser, Secret};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::{HttpsGet, HttpsGetError, judged, request, status_of};
use crate::auth::testing::Farm;
use crate::config::HttpsGetConfig;

/// A web server that lets alice in with `pw:ä`, and answers others with `other`. Its
/// certificate is that of a member, whose name is no address.
struct Web {
    port: u16,
    roots: PathBuf,
    _farm: Farm,
    _serving: JoinSet<()>,
}

impl Web {
    async fn start(other: &'static str) -> Self {
        let farm = Farm::of_today("web");
        let dir = farm.files(pki::Role::Broker, "web1");
        let tls = pki::https_server_config(&dir.join("leaf.crt"), &dir.join("leaf.key")).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let Ok(mut stream) = TlsAcceptor::from(Arc::clone(&tls)).accept(tcp).await else {
                    continue;
                };
                let mut asked = Vec::new();
                while !asked.ends_with(b"\r\n\r\n")
                    && stream.read_buf(&mut asked).await.unwrap() > 0
                {}
                let asked = String::from_utf8(asked).unwrap();
                // alice:pw:ä
                let good = asked.contains("\r\nAuthorization: Basic YWxpY2U6cHc6w6Q=\r\n");
                let answer = if good {
                    "HTTP/1.1 204 No Content\r\n\r\n"
                } else {
                    other
                };
                stream.write_all(answer.as_bytes()).await.unwrap();
                let _ = stream.shutdown().await;
            }
        });
        Self {
            port,
            roots: dir.join("roots.pem"),
            _farm: farm,
            _serving: serving,
        }
    }

    fn config(&self, host: &str, ca_file: Option<&Path>) -> HttpsGetConfig {
        HttpsGetConfig {
            host: host.to_owned(),
            port: self.port,
            path: "/auth".to_owned(),
            ca_file: Some(ca_file.unwrap_or(&self.roots).to_owned()),
        }
    }
}

async fn ask(
    asker: &HttpsGet,
    config: &HttpsGetConfig,
    password: &str,
) -> Result<bool, HttpsGetError> {
    let alice = BrokerUser::parse("alice").unwrap();
    asker
        .opens(config, &alice, &Secret::new(password.to_owned()))
        .await
}

/// The name in members' certificates resolves nowhere: connect by address, check the name.
async fn status(web: &Web, name: &'static str, password: &str) -> std::io::Result<u16> {
    let trust = pki::https_client_config(&web.roots).unwrap();
    let name = tokio_rustls::rustls::pki_types::ServerName::try_from(name).unwrap();
    let alice = BrokerUser::parse("alice").unwrap();
    let config = web.config("127.0.0.1", None);
    super::get(
        trust,
        name,
        &config,
        &alice,
        &Secret::new(password.to_owned()),
    )
    .await
}

#[tokio::test]
async fn a_page_opens_for_the_right_password_only() {
    let web = Web::start("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(
        status(&web, pki::MEMBER_DNS_NAME, "pw:ä").await.unwrap(),
        204
    );
    assert_eq!(
        status(&web, pki::MEMBER_DNS_NAME, "wrong").await.unwrap(),
        401
    );
}

#[test]
fn only_two_statuses_mean_a_wrong_password() {
    for status in 100..=599 {
        let expected = match status {
            200..=299 => Some(true),
            401 | 403 => Some(false),
            _ => None,
        };
        assert_eq!(judged(status).ok(), expected, "{status}");
    }
}

#[tokio::test]
async fn a_web_server_of_another_name_or_root_is_asked_nothing() {
    let web = Web::start("HTTP/1.1 200 OK\r\n\r\n").await;
    let asker = HttpsGet::default();
    // Its certificate is for another name than the one that is dialled.
    let by_address = ask(&asker, &web.config("127.0.0.1", None), "pw:ä").await;
    assert!(
        matches!(by_address, Err(HttpsGetError::Network { .. })),
        "{by_address:?}"
    );
    let elsewhere = Farm::of_today("elsewhere");
    let roots = elsewhere.files(pki::Role::Broker, "web2").join("roots.pem");
    let foreign = ask(&asker, &web.config("127.0.0.1", Some(&roots)), "pw:ä").await;
    assert!(
        matches!(foreign, Err(HttpsGetError::Network { .. })),
        "{foreign:?}"
    );
    let none = ask(
        &asker,
        &web.config("127.0.0.1", Some(Path::new("/nonexistent"))),
        "x",
    )
    .await;
    assert!(matches!(none, Err(HttpsGetError::Trust(_))), "{none:?}");
}

#[tokio::test]
async fn a_web_server_that_is_silent_or_away_holds_nobody_for_long() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let web = Web::start("").await;
    let mut config = web.config("127.0.0.1", None);
    config.port = listener.local_addr().unwrap().port();
    let asker = HttpsGet {
        deadline: Duration::from_millis(100),
        ..HttpsGet::default()
    };
    let silent = ask(&asker, &config, "pw").await;
    assert!(
        matches!(silent, Err(HttpsGetError::TimedOut(_))),
        "{silent:?}"
    );
    drop(listener);
    let away = ask(&HttpsGet::default(), &config, "pw").await;
    assert!(
        matches!(away, Err(HttpsGetError::Network { .. })),
        "{away:?}"
    );
}

#[test]
fn only_a_whole_first_line_has_a_status() {
    for (bytes, expected) in [
        (&b"HTTP/1.1 200 OK\r\n"[..], Some(200)),
        (b"HTTP/1.0 401\r\n", Some(401)),
        (b"HTTP/1.1 302 Found", Some(302)),
        (b"HTTP/1.1 200", None),
        (b"HTTP/1.1 20", None),
        (b"HTTP/1.1 999 ", None),
        (b"HTTP/1.1 2x0 ", None),
        (b"HTTP/2 200 ", None),
        (b"ICY 200 OK", None),
        (b"", None),
    ] {
        assert_eq!(status_of(bytes), expected, "{}", bytes.escape_ascii());
    }
}

#[test]
fn nothing_that_is_typed_adds_a_line_to_the_request() {
    let config = HttpsGetConfig {
        host: "::1".to_owned(),
        port: 8443,
        path: "/auth/index.html".to_owned(),
        ca_file: None,
    };
    let user = BrokerUser::parse("alice").unwrap();
    let password = Secret::new("a\r\nHost: evil\r\n\r\n".to_owned());
    let sent = request(&config, &user, &password);
    assert!(sent.starts_with("GET /auth/index.html HTTP/1.1\r\nHost: [::1]:8443\r\n"));
    assert_eq!(sent.lines().count(), 7);
    assert!(!sent.contains("evil") && sent.ends_with("\r\n\r\n"));
}
