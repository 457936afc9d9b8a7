use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

use super::{Dialect, FormError, MAX_BODY_BYTES};
use crate::frontend::golden;
use crate::task::request::{Request, Task};

const FORM: &str = "application/x-www-form-urlencoded";

/// Reads a form from a body alone.
fn parse(body: &str) -> Request {
    super::parse("", FORM, body.as_bytes()).expect(body)
}

/// Reads the request of a recorded case.
fn recorded(case: &str) -> Result<Request, FormError> {
    let (head, body) = golden::message(case, "request.http");
    super::parse("", golden::header(&head, "content-type"), &body)
}

/// Everything of a request, to compare.
fn fields(request: &Request) -> (Task, &str, &str, &str, &str, &str) {
    (
        request.task,
        &request.credentials.user,
        request.credentials.password.expose(),
        &request.credentials.login,
        &request.sid,
        request.credentials.authid.expose(),
    )
}

#[test]
fn requests_of_x2goclient_are_read() {
    let list = parse("task=listsessions&user=alice&password=pw-alice&authid=");
    let expected = (Task::ListSessions, "alice", "pw-alice", "", "", "");
    assert_eq!(fields(&list), expected);
    let select =
        parse("task=selectsession&sid=farm&user=alice&password=p%20w%2B&authid=a-1&login=bob");
    let expected = (Task::SelectSession, "alice", "p w+", "bob", "farm", "a-1");
    assert_eq!(fields(&select), expected);
}

#[test]
fn recorded_requests_are_read_as_the_original_reads_them() {
    let test = Task::TestConnection;
    let cases = [
        ("plain-repeated-keys", test, "alice", "pw-alice"),
        ("plain-repeated-keys-first", test, "bob", "pw-alice"),
        ("plain-percent-bad", test, "alice%zz", "%"),
        ("plain-ctype-charset", test, "alice", "pw-alice"),
        ("plain-many-fields", test, "alice", "pw-alice"),
        ("plain-user-case", test, "ALICE", "pw-alice"),
        ("plain-missing-password", Task::ListSessions, "alice", ""),
        ("plain-empty-body", Task::Other, "", ""),
        ("plain-testcon-nocreds", test, "", ""),
        ("plain-multipart", test, "alice", "pw-alice"),
        ("plain-no-task", Task::Other, "alice", "pw-alice"),
        ("plain-unknown-task", Task::Other, "alice", "pw-alice"),
        ("plain-clientevent", Task::ClientEvent, "alice", "pw-alice"),
    ];
    for (case, task, user, password) in cases {
        let request = recorded(case).expect(case);
        let read = (
            request.task,
            request.credentials.user.as_str(),
            request.credentials.password.expose(),
        );
        assert_eq!(read, (task, user, password), "{case}");
    }
    let not_utf8 = FormError::NotUtf8 { field: "user" };
    assert_eq!(recorded("plain-invalid-utf8").unwrap_err(), not_utf8);
}

#[test]
fn the_last_value_counts_and_the_body_comes_after_the_query() {
    let body = b"user=body&user=last";
    let request = super::parse("user=query&sid=farm", FORM, body).unwrap();
    assert_eq!(
        (request.credentials.user.as_str(), request.sid.as_str()),
        ("last", "farm")
    );
    let request = super::parse("user=query&user=bob", FORM, b"").unwrap();
    assert_eq!(request.credentials.user, "bob");
}

#[test]
fn any_content_type_but_multipart_is_a_form() {
    for content_type in ["", FORM, "text/plain", "application/json", "x"] {
        let request = super::parse("", content_type, b"user=alice").unwrap();
        assert_eq!(request.credentials.user, "alice", "{content_type}");
    }
    let request = super::parse("", "application/json", b"{\"user\":\"alice\"}").unwrap();
    assert_eq!(request.credentials.user, "");
    for content_type in ["multipart/form-data; boundary=B", " Multipart/Form-Data"] {
        let request = super::parse("user=query", content_type, b"user=alice").unwrap();
        assert_eq!(request.credentials.user, "query", "{content_type}");
    }
}

#[test]
fn parts_of_a_multipart_form_are_fields_like_others() {
    let content_type = "multipart/form-data; boundary=B";
    let parse = |value: &[u8]| {
        let part = b"--B\r\nContent-Disposition: form-data; name=\"user\"\r\n\r\n".as_slice();
        let body = [part, b"first\r\n", part, value, b"\r\n--B--\r\n"].concat();
        super::parse("user=query", content_type, &body)
    };
    assert_eq!(parse(b" al\0ice ").unwrap().credentials.user, "al ice");
    assert_eq!(parse(b"%61+").unwrap().credentials.user, "%61+");
    let not_utf8 = FormError::NotUtf8 { field: "user" };
    assert_eq!(parse(b"\xff").unwrap_err(), not_utf8);
}

#[test]
fn python_x2go_has_words_of_its_own() {
    let parse = |dialect, body: &str| super::parse_as(dialect, "", FORM, body.as_bytes()).unwrap();
    let sid = |dialect, body: &str| parse(dialect, body).sid;
    let both = "profile-id=b-many&sid=a-one";
    assert_eq!(sid(Dialect::Json, both), "a-one");
    assert_eq!(sid(Dialect::Json, "profile-id=b-many&sid=+"), "b-many");
    assert_eq!(sid(Dialect::Plain, "profile-id=b-many"), "");
    let task = |dialect| parse(dialect, "task=listprofiles").task;
    assert_eq!(task(Dialect::Json), Task::ListSessions);
    assert_eq!(task(Dialect::Plain), Task::Other);
}

#[test]
fn white_space_and_control_characters_are_cleaned_but_for_passwords() {
    let request = parse("user=%20+alice%09&password=%20p%00w%0a&sid=a%0ab%1f&login=%0b");
    assert_eq!(request.credentials.user, "alice");
    assert_eq!(request.credentials.password.expose(), " p\0w\n");
    assert_eq!(request.sid, "a\nb");
    assert_eq!(request.credentials.login, "");
}

#[test]
fn what_is_no_key_is_none() {
    // {client-json}: python-x2go sends its key with options and a comment.
    let data = "AAAAC3NzaC1lZDI1NTE5AAAAIGPKSUTyz1HwHReFVvD5obVsALAgJRNarH4TRpNePnAS";
    let line = format!("no-X11-forwarding,no-pty,no-user-rc ssh-ed25519 {data} desk@127.0.0.1");
    let encoded = line.replace('+', "%2B").replace(' ', "+");
    assert!(parse(&format!("pubkey={encoded}")).pubkey.is_some());
    for odd in [
        "",
        "x",
        "command=%22id%22+ssh-ed25519+AAAA",
        &format!("{encoded}%0a{encoded}"),
    ] {
        assert_eq!(parse(&format!("pubkey={odd}")).pubkey, None, "{odd}");
    }
}

#[test]
fn fields_that_nobody_reads_may_hold_anything() {
    let request = parse("x=%ff&user=alice&&=&%ff=1&y");
    assert_eq!(request.credentials.user, "alice");
}

#[test]
fn names_of_fields_are_decoded_and_exact() {
    assert_eq!(parse("%75ser=alice").credentials.user, "alice");
    assert_eq!(parse("User=alice").credentials.user, "");
}

#[test]
fn bodies_are_bounded_and_secrets_do_not_show() {
    let body = vec![b'x'; MAX_BODY_BYTES + 1];
    let error = super::parse("", FORM, &body).unwrap_err();
    assert_eq!(error, FormError::TooLarge);
    let request = parse("user=alice&password=hidden-1&authid=hidden-2");
    assert!(!format!("{request:?}").contains("hidden"), "{request:?}");
}

proptest! {
    #[test]
    fn no_form_panics(body in proptest::collection::vec(0u8.., 0..200), odd in "([&=%+]|user|%[0-9a-f]{2}){0,40}") {
        let _ = super::parse(&odd, "", &body);
        if let Ok(request) = super::parse("", "", odd.as_bytes()) {
            prop_assert!(!request.credentials.user.contains('\0'));
            prop_assert_eq!(request.credentials.user.trim(), &request.credentials.user);
        }
    }

    #[test]
    fn what_a_client_encodes_comes_back(password in "\\PC{0,40}") {
        let encoded: String = password.bytes().map(|b| format!("%{b:02X}")).collect();
        let request = parse(&format!("password={encoded}"));
        prop_assert_eq!(request.credentials.password.expose(), password);
    }
}
