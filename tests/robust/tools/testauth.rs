//! Does `x2gobroker-testauth` ask whom the broker would ask?

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::process::{Command, Output, Stdio};
use std::thread::JoinHandle;

use proto::{PAM_HEAD_BYTES, PamQuestion, PamVerdict};
use tests::binaries;
use tests::process::command;

use crate::site::{BROKER, Site};

fn site(mechanism: &str) -> Site {
    let site = Site::new();
    let text = site.replica(&site.path("no-identity-needed"));
    let text = text.replace(
        "default-auth-mech = none",
        &format!("default-auth-mech = {mechanism}"),
    );
    assert!(text.contains(BROKER));
    site.write("x2gobroker.conf", &text);
    let socket = site.path("authservice");
    let defaults = format!(
        "[common]\nX2GOBROKER_AUTHSERVICE_SOCKET={}\n",
        socket.display()
    );
    site.write("defaults.conf", &defaults);
    site
}

fn testauth(site: &Site) -> Command {
    let mut test = command(binaries::binary("x2gobroker-testauth").unwrap());
    test.arg("-C").arg(site.path("x2gobroker.conf"));
    test.arg("--defaults-file").arg(site.path("defaults.conf"));
    test
}

/// An authservice for one question, which must be this one.
fn authservice(site: &Site, password: &'static str, verdict: PamVerdict) -> JoinHandle<()> {
    let _ = std::fs::remove_file(site.path("authservice"));
    let listener = UnixListener::bind(site.path("authservice")).unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = [0; PAM_HEAD_BYTES];
        stream.read_exact(&mut head).unwrap();
        let mut message = vec![0; proto::pam_message_length(head).unwrap()];
        stream.read_exact(&mut message).unwrap();
        let question = PamQuestion::read(&message).unwrap();
        assert_eq!(question.user, "alice");
        assert_eq!(&question.password[..], password.as_bytes());
        stream.write_all(&verdict.to_frame()).unwrap();
    })
}

fn typed(mut test: Command, line: &str) -> Output {
    test.stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = test.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(line.as_bytes()).unwrap();
    drop(stdin);
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn the_verdict_of_pam_is_told_with_an_exit_code() {
    let site = site("pam");
    for (verdict, code, words) in [
        (PamVerdict::Granted, 0, "alice: the password is right\n"),
        (PamVerdict::Refused, 1, "alice: user or password is wrong"),
        (PamVerdict::Busy, 69, ""),
    ] {
        let asked = authservice(&site, "se cret", verdict);
        let mut test = testauth(&site);
        test.args(["-u", "alice"]);
        // With the line break of a terminal, and with no end at all.
        let done = typed(test, if code == 0 { "se cret\n" } else { "se cret" });
        asked.join().unwrap();
        assert_eq!(done.status.code(), Some(code), "{verdict:?}: {done:?}");
        assert!(text(&done.stdout).starts_with(words), "{done:?}");
        let shown = text(&done.stdout) + &text(&done.stderr);
        assert!(!shown.contains("se cret"), "{shown}");
    }
}

#[test]
fn a_password_on_the_command_line_works_with_a_warning() {
    let site = site("pam");
    let asked = authservice(&site, "pw", PamVerdict::Granted);
    let mut test = testauth(&site);
    let done = test
        .args(["--username", "alice", "-p", "pw"])
        .output()
        .unwrap();
    asked.join().unwrap();
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    assert!(
        text(&done.stderr).contains("leave --password out"),
        "{done:?}"
    );
}

#[test]
fn nobody_to_ask_is_no_wrong_password() {
    let site = site("pam");
    let mut test = testauth(&site);
    test.args(["--user", "alice"]);
    let done = typed(test, "pw\n");
    assert_eq!(done.status.code(), Some(69), "{done:?}");
    assert!(
        text(&done.stderr).contains("does x2gobroker-authservice run?"),
        "{done:?}"
    );
}

#[test]
fn a_broker_that_asks_nobody_is_told() {
    let site = site("none");
    let mut test = testauth(&site);
    test.args(["-u", "alice", "-b", "inifile"]);
    let done = typed(test, "whatever\n");
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    assert!(
        text(&done.stderr).contains("takes any password"),
        "{done:?}"
    );
    let mut test = testauth(&site);
    let done = typed_none(test.args(["-u", "alice", "-b", "ldap"]));
    assert!(text(&done.stderr).contains("no backend ldap"), "{done:?}");
    let mut test = testauth(&site);
    let done = typed_none(test.args(["-u", "a\nb"]));
    assert_eq!(done.status.code(), Some(1), "{done:?}");
}

fn typed_none(test: &mut Command) -> Output {
    test.stdin(Stdio::null()).output().unwrap()
}
