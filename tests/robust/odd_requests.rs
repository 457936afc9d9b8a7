//! What do requests get that no X2Go Client sends?

use crate::raw::{Got, exchange, login_form, post};
use crate::small_farm::{Plan, SmallFarm};

/// What a request tries to write into answers and logs.
const INJECTED: &str = "INJECTED";

#[test]
fn odd_requests_get_a_plain_answer_and_stop_nothing() {
    let farm = SmallFarm::up(Plan {
        log_level: "debug",
        ..Plan::ONE_SERVER
    });
    for (what, request, status) in odd_requests() {
        let got = exchange(farm.http, &request);
        check(what, &got, status);
    }
    let http2 = exchange(farm.http, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    assert!(http2.closed && http2.bytes.is_empty(), "{}", http2.text());
    for (what, form, status) in odd_forms() {
        let got = exchange(farm.http, &post("/plain/", "", &form));
        check(what, &got, status);
    }
    for (what, sid) in [
        ("an unknown profile", "nosuch".to_owned()),
        ("no profile", String::new()),
        ("the section of defaults", "DEFAULT".to_owned()),
        (
            "a line break",
            format!("farm%0A{INJECTED}:evil%0ASERVER:evil:22"),
        ),
        (
            "a header",
            format!("farm%0D%0A{INJECTED}:%20evil%0D%0A%0D%0A"),
        ),
        ("a NUL", format!("farm%00{INJECTED}")),
        (
            "a terminal's escape",
            format!("%1B%5B31m%7F%C2%9B{INJECTED}"),
        ),
        ("half a megabyte", "x".repeat(500_000)),
    ] {
        let form = format!("task=selectsession&user=alice&password=pw&sid={sid}");
        let got = exchange(farm.http, &post("/plain/", "", form.as_bytes()));
        check(what, &got, 200);
        let (_, body) = got.head_and_body();
        // The AUTHID comes first, and holds nothing of what was sent.
        let behind = body.split_once('\n').unwrap_or_default();
        assert!(behind.0.starts_with("AUTHID:"), "{what}: {body}");
        assert_eq!(
            behind.1, "Access granted\nSERVER:no-server-available:22\n",
            "{what}"
        );
    }
    let repeated = "user=eve&task=selectsession&sid=nosuch&sid=farm&user=alice&password=pw";
    let got = exchange(farm.http, &post("/plain/", "", repeated.as_bytes()));
    assert!(
        got.text().contains("SERVER:127.0.0.1:22001\n"),
        "{}",
        got.text()
    );
    farm.log_in("after");
    check_log(&farm);
}

/// Nothing that a request holds begins a line of the log, or gets into it unescaped.
fn check_log(farm: &SmallFarm) {
    let text = std::fs::read(farm.daemon.log_path()).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(
        text.contains("no such profile for this user"),
        "{}",
        farm.story()
    );
    for line in text.lines() {
        assert!(line.starts_with("20"), "no time in front of {line:?}");
        let odd = |c: char| c.is_control() && c != '\t';
        assert!(!line.contains(odd), "{line:?}");
        assert!(!line.contains("panic"), "{line:?}");
    }
}

fn check(what: &str, got: &Got, status: u16) {
    assert_eq!(got.status(), status, "{what}: {}", got.text());
    assert!(got.closed, "{what}: the connection is still open");
    let text = got.text();
    assert!(!text.contains(INJECTED), "{what}: {text}");
    assert_eq!(text.matches("HTTP/1.1 ").count(), 1, "{what}: {text}");
}

fn odd_requests() -> Vec<(&'static str, Vec<u8>, u16)> {
    let form = login_form("alice");
    let form = form.as_bytes();
    let get = |path: &str| bodiless("GET", path);
    let many_headers: String = (0..200)
        .map(|number| format!("X-{number}: y\r\n"))
        .collect();
    let long_header = format!("X-Long: {}\r\n", "y".repeat(100_000));
    let long_path = format!("/{}", "y".repeat(100_000));
    vec![
        ("an unknown path", get("/nothing"), 404),
        (
            "an unknown path with a body",
            post("/nothing", "", form),
            404,
        ),
        (
            "a front end that is not there",
            post("/xml/", "", form),
            404,
        ),
        ("an unknown backend", post("/plain/ldap/", "", form), 404),
        (
            "a path that is not UTF-8",
            post("/plain/%FF/", "", form),
            404,
        ),
        (
            "a path upwards",
            post("/plain/../../etc/passwd", "", form),
            404,
        ),
        ("GET", get("/plain/"), 405),
        ("DELETE", bodiless("DELETE", "/plain/inifile/"), 405),
        ("an unknown method", bodiless("BREW", "/plain/"), 405),
        ("POST to the page", post("/", "", form), 405),
        (
            "gzip",
            post("/plain/", "Content-Encoding: gzip\r\n", form),
            400,
        ),
        (
            "two lengths",
            post("/plain/", "Content-Length: 7\r\n", form),
            400,
        ),
        (
            "a bad length",
            post("/plain/", "Content-Length: -1\r\n", form),
            400,
        ),
        ("many headers", post("/plain/", &many_headers, form), 431),
        ("a long header", post("/plain/", &long_header, form), 431),
        ("a long path", get(&long_path), 431),
        ("no HTTP", b"SSH-2.0-OpenSSH_9.2\r\n\r\n".to_vec(), 400),
        ("NULs", vec![0; 100], 400),
        (
            "TLS",
            b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00\r\n\r\n".to_vec(),
            400,
        ),
    ]
}

fn odd_forms() -> Vec<(&'static str, Vec<u8>, u16)> {
    let user =
        |user: &str| format!("task=selectsession&sid=farm&password=pw&user={user}").into_bytes();
    vec![
        // Where any password is good, as here, nobody must have a name: as in the original.
        ("nothing", Vec::new(), 200),
        ("no user", login_form("").into_bytes(), 200),
        ("bytes that are no form", (0..=255).collect(), 200),
        ("a user that is not UTF-8", user("al%FFce"), 400),
        (
            "raw bytes that are not UTF-8",
            b"user=\xff\xfe&task=testcon".to_vec(),
            400,
        ),
        ("an escape that is none", user("%zz%4"), 401),
        ("a NUL in the user", user(&format!("al%00{INJECTED}")), 401),
        (
            "a line break in the user",
            user(&format!("a%0A{INJECTED}%0AERROR")),
            401,
        ),
        (
            "a header in the user",
            user(&format!("a%0D%0A{INJECTED}:%20x")),
            401,
        ),
        ("a path as the user", user("..%2F..%2Fetc%2Fpasswd"), 401),
        ("a separator in the user", user("alice%7Cbob"), 401),
        ("a very long user", user(&"a".repeat(100_000)), 401),
        (
            "another login",
            [login_form("alice").as_bytes(), b"&login=bob"].concat(),
            401,
        ),
        (
            "another user",
            [login_form("alice").as_bytes(), b"&user=bob"].concat(),
            401,
        ),
        (
            "a hundred thousand fields",
            "a=b&".repeat(100_000).into_bytes(),
            200,
        ),
    ]
}

fn bodiless(method: &str, path: &str) -> Vec<u8> {
    format!("{method} {path} HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n").into_bytes()
}
