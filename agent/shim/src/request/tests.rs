use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, proptest};

use super::*;

const ID: &str = "alice-50-1795327217_stRTERMINAL_dp24";
const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA a@b";
const FILE: &str = "%h/.x2go/authorized_keys";
const PROGRAM: &str = "/usr/lib/x2go/x2gobroker-agent";

fn parse(words: &[&str]) -> Result<Request, RequestError> {
    let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    Request::parse(&words)
}

fn asked(command: &str) -> Result<Request, RequestError> {
    Request::read(&[], Some(OsStr::new(command)))
}

fn as_alice(task: Task) -> Request {
    Request::AsUser(UserName::parse(b"alice").unwrap(), task)
}

fn session() -> SessionId {
    SessionId::parse(&UserName::parse(b"alice").unwrap(), ID.as_bytes()).unwrap()
}

fn key() -> (KeyLine, KeyFile) {
    let line = KeyLine::parse(KEY.as_bytes()).unwrap();
    (line, KeyFile::parse(FILE.as_bytes()).unwrap())
}

#[test]
fn the_command_line_is_that_of_the_original_and_one_task_more() {
    let (line, file) = key();
    let cases: &[(&[&str], Request)] = &[
        (&["foo", "ping"], Request::Ping),
        (&["foo", "availabletasks"], Request::AvailableTasks),
        (&["foo", "checkload"], Request::CheckLoad),
        (&["alice", "listsessions"], as_alice(Task::ListSessions)),
        (
            &["alice", "findbusyservers"],
            as_alice(Task::FindBusyServers),
        ),
        (
            &["alice", "findbusyservers_by_sessionstats"],
            as_alice(Task::FindBusyServersBySessionStats),
        ),
        (&["alice", "listdesktops"], as_alice(Task::ListDesktops)),
        (&["alice", "getservers"], as_alice(Task::GetServers)),
        (
            &["alice", "suspendsession", ID],
            as_alice(Task::SuspendSession(session())),
        ),
        (
            &["alice", "terminatesession", ID],
            as_alice(Task::TerminateSession(session())),
        ),
        (
            &["alice", "addauthkey", KEY, FILE],
            as_alice(Task::AddKey(line.clone(), file.clone())),
        ),
        (
            &["alice", "delauthkey", KEY, FILE],
            as_alice(Task::RemoveKey(line, file)),
        ),
        (&["alice", "dance"], as_alice(Task::Unknown)),
        (&["alice", "listDesktops"], as_alice(Task::Unknown)),
        (&["alice", "listdesktops "], as_alice(Task::Unknown)),
        (&["alice", ""], as_alice(Task::Unknown)),
    ];
    for (words, expected) in cases {
        assert_eq!(parse(words).as_ref(), Ok(expected), "{words:?}");
    }
}

#[test]
fn operands_that_are_missing_or_too_many_are_refused() {
    use RequestError::{MissingOperand, TooFew, TooMany};
    let cases: &[(&[&str], RequestError)] = &[
        (&[], TooFew),
        (&["alice"], TooFew),
        (&["alice", "ping", "x"], TooMany),
        (&["alice", "listsessions", "--all-servers"], TooMany),
        (&["alice", "listdesktops", "s2"], TooMany),
        (&["alice", "listdesktops", ""], TooMany),
        (&["alice", "suspendsession"], MissingOperand),
        (&["alice", "suspendsession", ID, ID], TooMany),
        (&["alice", "terminatesession"], MissingOperand),
        (&["alice", "addauthkey"], MissingOperand),
        (&["alice", "addauthkey", KEY], MissingOperand),
        (&["alice", "delauthkey", KEY, FILE, "x"], TooMany),
    ];
    for (words, expected) in cases {
        assert_eq!(parse(words), Err(*expected), "{words:?}");
    }
}

// The lists of good and bad values are those of `proto::Username` and `proto::SessionId`.
#[test]
fn user_names_are_those_of_the_whole_project() {
    for name in [
        "alice",
        "a",
        "_apt",
        "j.doe",
        "doe@example.org",
        "x-1",
        "A+b",
        "7up",
    ] {
        assert_eq!(parse(&[name, "ping"]), Ok(Request::Ping), "{name}");
    }
    let long = "x".repeat(65);
    for name in [
        "", "-rf", "--help", ".ssh", "a b", "a|b", "../x", "a/b", "a\nb", "a\0b", "jürgen",
        "$(id)", "a;id", "`id`", "a'b", "a\"b", "a\\b", "a%b", "~alice", &long,
    ] {
        assert_eq!(
            parse(&[name, "ping"]),
            Err(RequestError::UserName),
            "{name:?}"
        );
    }
    assert_eq!(
        Request::parse(&[b"ali\xffce", b"ping"]),
        Err(RequestError::UserName)
    );
}

#[test]
fn a_session_is_one_of_that_user() {
    for id in [
        ID,
        "alice-53-1795327256_stDXFCE_dp24",
        "alice-100-1795327256_stS0XSHADbob_dp32",
        "alice-1-1_stR%2Fusr:a,b=c@d+e-f.g",
    ] {
        let request = parse(&["alice", "suspendsession", id]);
        assert!(
            matches!(request, Ok(Request::AsUser(_, Task::SuspendSession(_)))),
            "{id}"
        );
    }
    let long = format!("{ID}{}", "x".repeat(500));
    for id in [
        "",
        "nosuch-session",
        "bob-50-1795327217_stRTERMINAL_dp24",
        "alice2-50-1795327217_stRTERMINAL_dp24",
        "alice-x-1795327217_stRTERMINAL_dp24",
        "alice-50-_stRTERMINAL_dp24",
        "alice-50-1795327217",
        "alice-50-1795327217_xxR",
        "alice-50-1795327217_stR TERMINAL",
        "alice-50-1795327217_stR;id",
        "alice-50-1795327217_stR/../x",
        "alice-50-1795327217_stR|x",
        "alice-50-1795327217_stR'x",
        "alice-50-1795327217_stR\"x",
        "alice-50-1795327217_stR\n",
        "-alice-50-1795327217_stR",
        "--all-servers",
        &long,
    ] {
        let request = parse(&["alice", "terminatesession", id]);
        assert_eq!(request, Err(RequestError::SessionId), "{id:?}");
    }
}

#[test]
fn key_lines_of_brokers_and_clients_are_taken() {
    for line in [
        KEY,
        "no-X11-forwarding,no-pty,no-user-rc ssh-rsa AAAAB3NzaC1yc2E= alice@10.77.0.20",
        "ssh-rsa AAAAB3NzaC1yc2E",
        "ssh-rsa AAAAB3NzaC1yc2E== alice from next door",
        "no-X11-forwarding,no-pty,no-user-rc ssh-rsa AAAAB3NzaC1yc2E= desk@127.0.0.1",
        "ssh-ed25519 AAAA alice@fe80::1%eth0",
        "ssh-ed25519 AAAA doe@example.org@10.77.0.20",
        "restrict,pty,from=\"10.77.0.20,192.168.0.0/16,!fe80::1\" ecdsa-sha2-nistp256 AAAA x",
        "expiry-time=\"20261122103900Z\",no-user-rc sk-ssh-ed25519@openssh.com AAAA",
        "NO-PTY ssh-ed25519 AAAA",
    ] {
        assert!(KeyLine::parse(line.as_bytes()).is_ok(), "{line}");
    }
}

#[test]
fn what_is_not_one_plain_key_line_is_refused() {
    let long = format!("ssh-rsa {} x", "A".repeat(9000));
    for line in [
        "",
        " ",
        "ssh-rsa",
        "ssh-rsa ",
        "ssh-rsa  AAAA",
        " ssh-rsa AAAA",
        "# ssh-rsa AAAA",
        "AAAA",
        "AAAA ssh-rsa",
        "ssh-rsa .*",
        "ssh-rsa AA=AA",
        "ssh-rsa AAAA===",
        "ssh-rsa AAAA\nssh-rsa BBBB",
        "ssh-rsa AAAA x\n",
        "ssh-rsa AAAA x\r",
        "ssh-rsa AAAA a\tb",
        "ssh-rsa AAAA a\u{85}b",
        "ssh-rsa AAAA \"x\"",
        "ssh-rsa AAAA it's",
        "ssh-rsa AAAA `id`",
        "ssh-rsa AAAA a\\b",
        "ssh-rsa AAAA $HOME",
        "ssh-rsa AAAA $(id)",
        "ssh-rsa AAAA a;id",
        "ssh-rsa AAAA a&id",
        "ssh-rsa AAAA a|id",
        "ssh-rsa AAAA a>b",
        "ssh-rsa AAAA a<b",
        "ssh-rsa AAAA a*b",
        "ssh-rsa AAAA a?b",
        "ssh-rsa AAAA [a]",
        "ssh-rsa AAAA {a}",
        "ssh-rsa AAAA #a",
        "ssh-rsa AAAA ~a",
        "ssh-rsa AAAA !a",
        "ssh-rsa AAAA a^b",
        "ssh-rsa AAAA Jürgen",
        "command=\"id\" ssh-rsa AAAA",
        "no-pty,command=\"id\" ssh-rsa AAAA",
        "environment=\"A=b\" ssh-rsa AAAA",
        "cert-authority ssh-rsa AAAA",
        "permitopen=\"*:*\" ssh-rsa AAAA",
        "no-pty, ssh-rsa AAAA",
        ",no-pty ssh-rsa AAAA",
        "from= ssh-rsa AAAA",
        "from=\"\" ssh-rsa AAAA",
        "from=\"a ssh-rsa AAAA",
        "from=\"a b\" ssh-rsa AAAA",
        "from=\"a\"b ssh-rsa AAAA",
        "no-pty=\"x\" ssh-rsa AAAA",
        "expiry-time=\"tomorrow\" ssh-rsa AAAA",
        &long,
    ] {
        assert_eq!(
            KeyLine::parse(line.as_bytes()),
            Err(RequestError::KeyLine),
            "{line:?}"
        );
    }
    assert_eq!(
        KeyLine::parse(b"ssh-rsa AAAA \xff"),
        Err(RequestError::KeyLine)
    );
}

#[test]
fn names_of_key_files_are_taken_or_refused() {
    for name in [
        FILE,
        "/var/lib/x2gobroker/ssh/%u/authorized_keys",
        ".x2go/rel",
        "/keys/%G/%U%%",
        "/a b/ü",
        "/..a/b..",
    ] {
        assert!(KeyFile::parse(name.as_bytes()).is_ok(), "{name}");
    }
    let long = "x".repeat(1025);
    for name in [
        "", "/", "%h/", "../x", "%h/../x", "/a/./b", "/a/..", ".", "-x", "~/x", "/a\nb", "/a\0b",
        "/%", "/%x", "%h%", &long,
    ] {
        assert_eq!(
            KeyFile::parse(name.as_bytes()),
            Err(RequestError::KeyFile),
            "{name:?}"
        );
    }
}

#[test]
fn a_forced_command_is_read_without_a_shell() {
    let (line, file) = key();
    // As x2gobroker 0.0.4.3 sends them, and bare.
    let cases = [
        (format!("sh -c '{PROGRAM} foo ping'"), Request::Ping),
        (format!("{PROGRAM} foo ping"), Request::Ping),
        (
            "x2gobroker-agent  foo availabletasks ".to_owned(),
            Request::AvailableTasks,
        ),
        (format!("/bin/sh -c \"{PROGRAM} foo ping\""), Request::Ping),
        (
            format!("sh -c '{PROGRAM} alice suspendsession \"{ID}\"'"),
            as_alice(Task::SuspendSession(session())),
        ),
        (
            format!("sh -c '{PROGRAM} alice addauthkey \"{KEY}\" \"{FILE}\"'"),
            as_alice(Task::AddKey(line.clone(), file.clone())),
        ),
        (
            format!("{PROGRAM} alice delauthkey '{KEY}' {FILE}"),
            as_alice(Task::RemoveKey(line, file)),
        ),
        (
            format!("{PROGRAM} 'ali'\"c\"e listsessions"),
            as_alice(Task::ListSessions),
        ),
        (
            format!("sh -c '{PROGRAM} alice listdesktops'"),
            as_alice(Task::ListDesktops),
        ),
    ];
    for (command, expected) in cases {
        assert_eq!(asked(&command), Ok(expected), "{command}");
    }
}

#[test]
fn a_forced_command_that_is_more_than_a_call_is_refused() {
    use CommandError::{Character, Program, Quote, TooLong};
    let cases = [
        (String::new(), Program),
        ("sh".to_owned(), Program),
        ("sh -c".to_owned(), Program),
        ("id".to_owned(), Program),
        ("bash -c 'x2gobroker-agent a ping'".to_owned(), Program),
        ("sh -x -c 'x2gobroker-agent a ping'".to_owned(), Program),
        (format!("sh -c '{PROGRAM} a ping' x"), Program),
        (format!("sh -c 'sh -c \"{PROGRAM} a ping\"'"), Program),
        ("/tmp/x2gobroker-agent a ping".to_owned(), Program),
        ("./x2gobroker-agent a ping".to_owned(), Program),
        (format!("A=b {PROGRAM} a ping"), Program),
        (format!("{PROGRAM} a ping; id"), Character),
        (format!("sh -c '{PROGRAM} a ping; id'"), Character),
        (format!("{PROGRAM} a ping & id"), Character),
        (format!("{PROGRAM} a ping | id"), Character),
        (format!("{PROGRAM} a ping > /x"), Character),
        (format!("{PROGRAM} a ping\nid"), Character),
        (format!("{PROGRAM} a ping\t"), Character),
        (format!("{PROGRAM} $(id) ping"), Character),
        (format!("{PROGRAM} \"$HOME\" ping"), Character),
        (format!("{PROGRAM} \"`id`\" ping"), Character),
        (format!("{PROGRAM} a\\ b ping"), Character),
        (format!("{PROGRAM} * ping"), Character),
        (format!("{PROGRAM} ~a ping"), Character),
        (format!("{PROGRAM} {{a,b}} ping"), Character),
        (format!("{PROGRAM} 'a ping"), Quote),
        (format!("sh -c '{PROGRAM} \"a ping'"), Quote),
        (format!("{PROGRAM} {} ping", "a".repeat(17_000)), TooLong),
    ];
    for (command, expected) in cases {
        assert_eq!(
            asked(&command),
            Err(RequestError::Command(expected)),
            "{command:?}"
        );
    }
    assert_eq!(
        asked(&format!("{PROGRAM} '' ping")),
        Err(RequestError::UserName)
    );
}

#[test]
fn operands_on_the_command_line_win_over_a_forced_command() {
    // command="x2gobroker-agent alice listsessions": what the client asks for is nothing.
    let words = [OsStr::new("alice"), OsStr::new("listsessions")];
    let asked = OsStr::new("x2gobroker-agent bob listsessions");
    assert_eq!(
        Request::read(&words, Some(asked)),
        Ok(as_alice(Task::ListSessions))
    );
}

proptest! {
    #[test]
    fn no_bytes_stop_the_parser(
        words in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..6),
        command in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        let _whatever = Request::parse(&words);
        let _whatever = Request::read(&[], Some(OsStr::from_bytes(&command)));
    }

    #[test]
    fn a_key_that_is_taken_is_one_line(text in "[ -~]{0,20}(ssh-rsa|,|=\"|\n| )[ -~\n\"]{0,40}") {
        if let Ok(line) = KeyLine::parse(text.as_bytes()) {
            prop_assert_eq!(line.as_str(), text.as_str());
            prop_assert!(!text.contains(char::is_control), "{:?}", text);
            prop_assert!(text.contains(" "), "{:?}", text);
        }
    }

    #[test]
    fn quoting_a_call_for_a_shell_changes_nothing(
        user in "[a-z]{1,8}",
        key in "[A-Za-z0-9+/]{1,20}",
        comment in "[a-z @.]{0,10}",
    ) {
        let line = format!("ssh-rsa {key} {comment}");
        let bare = parse(&[&user, "addauthkey", &line, FILE]);
        let inner = format!("{PROGRAM} {user} addauthkey \"{line}\" \"{FILE}\"");
        prop_assert_eq!(&asked(&inner), &bare);
        prop_assert_eq!(&asked(&format!("sh -c '{inner}'")), &bare);
        prop_assert!(bare.is_ok());
    }
}
