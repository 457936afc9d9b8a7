//! When are two answers the same? What varies from run to run is replaced by its name.
//!
//! A value is replaced only if it has the form that it must have, so that a date that is no
//! date, or a cookie that is no cookie, is still a difference.

use crate::message::Response;
use crate::notes::Varying;

/// The headers that clients look at; the others are nobody's business.
const HEADERS: [&str; 9] = [
    "Content-Type",
    "WWW-Authenticate",
    "Expires",
    "Etag",
    "Location",
    "Set-Cookie",
    "Content-Encoding",
    "Transfer-Encoding",
    "Connection",
];

/// An answer as text: status line, headers that clients look at, empty line, body.
pub(crate) fn text_of(response: &Response, varies: &[Varying]) -> String {
    let mut text = format!("{}\n", response.status);
    for name in HEADERS {
        for (_, value) in response
            .headers
            .iter()
            .filter(|(key, _)| key.eq_ignore_ascii_case(name))
        {
            let masked = name == "Etag" && (body_varies(varies) || is_headless(response));
            let value = if masked && is_etag(value) {
                "\"HASH OF THE BODY\""
            } else {
                value
            };
            text += &format!("{name}: {value}\n");
        }
    }
    let body = match std::str::from_utf8(&response.body) {
        Ok(body) => body.to_owned(),
        Err(_) => response.body.iter().map(|byte| char::from(*byte)).collect(),
    };
    // Where the original gave none, the notes don't tell that a one-time value varies.
    let body = mask(&body, &Varying::AuthId);
    let body = varies
        .iter()
        .fold(body, |body, varying| mask(&body, varying));
    text + "\n" + &body
}

/// What no client should ever see; the first complaint.
pub(crate) fn complaint(response: &Response, has_body: bool) -> Option<String> {
    let length = response.header("content-length").map(str::parse::<usize>);
    if has_body
        && let Some(length) = length
        && length.as_ref() != Ok(&response.body.len())
    {
        return Some(format!(
            "Content-Length {length:?} for {} bytes",
            response.body.len()
        ));
    }
    match response.header("date") {
        Some(date) if is_date(date) => None,
        other => Some(format!("Date: {other:?}")),
    }
}

/// Replaces what varies in a body.
pub(crate) fn mask(body: &str, varying: &Varying) -> String {
    match varying {
        Varying::Date => body.to_owned(),
        Varying::AuthId => {
            let body = between(body, "AUTHID:", "\n", authid);
            between(&body, "\"next-authid\": \"", "\"", authid)
        }
        Varying::Host(hosts) => {
            // The end belongs to what is compared: a port may be part of the choice.
            let known = |host: &str| {
                let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
                let with_port = hosts.iter().any(|known| known == host);
                let name_only = hosts.iter().any(|known| known == name);
                match (with_port, name_only, host.rsplit_once(':')) {
                    (true, ..) => Some("ONE OF THE HOSTS".to_owned()),
                    (_, true, Some((_, port))) => Some(format!("ONE OF THE HOSTS:{port}")),
                    _ => None,
                }
            };
            let body = between(body, "SERVER:", "\n", known);
            between(&body, "\"http://", "/\"", known)
        }
        Varying::SessionInfo => {
            let body = between(body, "SESSION_INFO:", "\n", session);
            between(&body, "\"session_info\": \"", "\"", session)
        }
        Varying::PrivateKey => {
            let (begin, end) = (
                "-----BEGIN RSA PRIVATE KEY-----",
                "-----END RSA PRIVATE KEY-----",
            );
            between(body, begin, end, |key| {
                // JSON writes a line break as two characters.
                let key = key.replace("\\n", "\n");
                is_pem_body(&key).then(|| "KEY".to_owned())
            })
        }
        Varying::PublicKey => between(body, "ssh-rsa ", " ", |key| {
            let base64 = |c: char| c.is_ascii_alphanumeric() || "+/=".contains(c);
            (key.starts_with("AAAA") && key.chars().all(base64)).then(|| "KEY".to_owned())
        }),
        Varying::Time => {
            let form: String = body
                .chars()
                .map(|c| if c.is_ascii_digit() { '0' } else { c })
                .collect();
            if form == "0000-00-00 00:00:00.000000" {
                "TIME".to_owned()
            } else {
                body.to_owned()
            }
        }
        Varying::ProfileId => between(body, "\n[", "]\n", |id| {
            is_uuid(id).then(|| "UUID".to_owned())
        }),
    }
}

/// Replaces each text between `begin` and `end` (or the end of all) by what `change` makes
/// of it.
fn between(text: &str, begin: &str, end: &str, change: impl Fn(&str) -> Option<String>) -> String {
    let mut changed = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(begin) {
        let (before, after) = rest.split_at(at + begin.len());
        changed += before;
        let (value, after) = after.split_at(after.find(end).unwrap_or(after.len()));
        changed += &change(value).unwrap_or_else(|| value.to_owned());
        rest = after;
    }
    changed + rest
}

/// One-time values have 128 random bits or more, of characters that need no escape. The
/// original had a UUID; X2Go Client takes any length that fits into a line of its own.
fn authid(value: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
    ((22..=4096).contains(&value.len()) && value.chars().all(plain)).then(|| "ONE-TIME".to_owned())
}

/// A line of x2golistsessions without what each session has of its own.
fn session(line: &str) -> Option<String> {
    // x2golistsessions(8): pid, id, display, server, status, start, cookie, client, graphics
    // and sound port, last use, user, age, file sharing port.
    let mut fields: Vec<String> = line.split('|').map(str::to_owned).collect();
    let number = |field: &str| field.parse::<u64>().is_ok();
    let hexadecimal =
        |field: &str| field.len() == 32 && field.bytes().all(|b| b.is_ascii_hexdigit());
    for (idx, is_form, name) in [
        (0, &number as &dyn Fn(&str) -> bool, "PID"),
        (5, &is_session_time, "TIME"),
        (6, &hexadecimal, "COOKIE"),
        (8, &number, "PORT"),
        (9, &number, "PORT"),
        (10, &is_session_time, "TIME"),
        (12, &number, "AGE"),
        (13, &number, "PORT"),
    ] {
        let field = fields.get_mut(idx)?;
        if is_form(field) {
            name.clone_into(field);
        }
    }
    let id = fields.get_mut(1)?;
    let parts: Vec<&str> = id.splitn(3, '-').collect();
    if let [user, display, rest] = parts[..]
        && let Some((time, kind)) = rest.split_once('_')
        && number(time)
    {
        *id = format!("{user}-{display}-TIME_{kind}");
    }
    Some(fields.join("|"))
}

fn is_session_time(field: &str) -> bool {
    let form: String = field
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    form == "0000-00-00T00:00:00"
}

/// RFC 7468: lines of 64 characters, the last one perhaps shorter. An RSA key of 2048 bits
/// with all its numbers has some 1190 bytes.
fn is_pem_body(text: &str) -> bool {
    let Some(lines) = text.strip_prefix('\n').and_then(|t| t.strip_suffix('\n')) else {
        return false;
    };
    let base64 = |c: char| c.is_ascii_alphanumeric() || "+/=".contains(c);
    let lines: Vec<&str> = lines.split('\n').collect();
    let is_whole = |line: &&str| line.len() == 64;
    (24..=26).contains(&lines.len())
        && lines.iter().rev().skip(1).all(is_whole)
        && lines
            .iter()
            .all(|line| line.len() <= 64 && line.chars().all(base64))
}

fn body_varies(varies: &[Varying]) -> bool {
    varies.iter().any(|varying| *varying != Varying::Date)
}

/// Whether the body was left out, as to HEAD: whether it varies is not known then.
fn is_headless(response: &Response) -> bool {
    let length = response.header("content-length");
    response.body.is_empty() && length.is_some_and(|length| length != "0")
}

/// RFC 9110, 8.8.3, with a SHA-1 as the original has it.
fn is_etag(value: &str) -> bool {
    let hash = value
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    hash.is_some_and(|hash| hash.len() == 40 && hash.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// RFC 9110, 5.6.7: `Sun, 22 Nov 2026 05:29:45 GMT`.
fn is_date(value: &str) -> bool {
    let form: String = value
        .chars()
        .map(|c| {
            if c.is_ascii_digit() {
                '0'
            } else if c.is_alphabetic() {
                'a'
            } else {
                c
            }
        })
        .collect();
    form == "aaa, 00 aaa 0000 00:00:00 aaa" && value.ends_with(" GMT")
}

fn is_uuid(value: &str) -> bool {
    let lengths: Vec<usize> = value.split('-').map(str::len).collect();
    let hexadecimal = |b: u8| b.is_ascii_hexdigit() || b == b'-';
    lengths == [8, 4, 4, 4, 12] && value.bytes().all(hexadecimal)
}

#[test]
fn only_values_of_the_right_form_are_replaced() {
    let check = |varying: Varying, before: &str, after: &str| {
        assert_eq!(mask(before, &varying), after, "{varying:?}");
    };
    let uuid = "c11eb164-ef4c-49c2-b1bb-837e3a857b8f";
    check(
        Varying::AuthId,
        &format!("AUTHID:{uuid}\nx"),
        "AUTHID:ONE-TIME\nx",
    );
    check(Varying::AuthId, "AUTHID:\nx", "AUTHID:\nx");
    check(
        Varying::AuthId,
        &format!("\"next-authid\": \"{uuid}\""),
        "\"next-authid\": \"ONE-TIME\"",
    );
    check(Varying::ProfileId, &format!("\n[{uuid}]\n"), "\n[UUID]\n");
    check(Varying::ProfileId, "\n[farm]\n", "\n[farm]\n");
    let begin = "-----BEGIN RSA PRIVATE KEY-----";
    let end = "-----END RSA PRIVATE KEY-----";
    let line = "x".repeat(64);
    for break_ in ["\n", "\\n"] {
        let body = format!("{break_}{}", format!("{line}{break_}").repeat(25));
        check(
            Varying::PrivateKey,
            &format!("{begin}{body}{end}"),
            &format!("{begin}KEY{end}"),
        );
    }
    let short = format!("{begin}\n{line}\n{end}");
    check(Varying::PrivateKey, &short, &short);
    check(Varying::Time, "2026-11-22 05:31:38.392032", "TIME");
    let names = Varying::Host(vec!["s1".to_owned(), "s2".to_owned()]);
    check(
        names.clone(),
        "SERVER:s2:22\n",
        "SERVER:ONE OF THE HOSTS:22\n",
    );
    check(names, "SERVER:s7:22\n", "SERVER:s7:22\n");
    let ports = Varying::Host(vec!["10.77.0.102:2022".to_owned()]);
    check(
        ports.clone(),
        "SERVER:10.77.0.102:2022\n",
        "SERVER:ONE OF THE HOSTS\n",
    );
    check(ports, "SERVER:10.77.0.102:22\n", "SERVER:10.77.0.102:22\n");
    check(
        Varying::SessionInfo,
        "SESSION_INFO:51183|alice-50-1795330441_stRTERMINAL_dp24|50|s1|S|2026-11-22T06:54:01|\
         04adaa5b27e7379d4832cac103265e65|10.77.0.20|53354|53355|2026-11-22T06:54:11|alice|13|53356",
        "SESSION_INFO:PID|alice-50-TIME_stRTERMINAL_dp24|50|s1|S|TIME|COOKIE|10.77.0.20|PORT|PORT|\
         TIME|alice|AGE|PORT",
    );
}

#[test]
fn dates_and_lengths_are_checked() {
    let response = |date: &str, length: &str| Response {
        status: "HTTP/1.1 200 OK".to_owned(),
        headers: vec![
            ("date".to_owned(), date.to_owned()),
            ("content-length".to_owned(), length.to_owned()),
        ],
        body: b"OK".to_vec(),
    };
    let date = "Sun, 22 Nov 2026 05:29:45 GMT";
    assert_eq!(complaint(&response(date, "2"), true), None);
    assert!(complaint(&response(date, "3"), true).is_some());
    assert!(complaint(&response("today", "2"), true).is_some());
}
