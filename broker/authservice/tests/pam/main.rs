//! The real program before real PAM: accounts of `pam_unix` that only this test sees, in
//! a mount namespace of its own.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(
    clippy::disallowed_methods,
    reason = "the program under test is started"
)]

mod site;

use std::time::{Duration, Instant};

use broker::auth::pam::{Pam, PamError};
use proto::{BrokerUser, PamVerdict, Secret};
use tokio::task::JoinSet;

use site::{ALL_BYTES, Site, change, raw, root_or_skip};

async fn ask(pam: &Pam, user: &str, password: &str) -> PamVerdict {
    let user = BrokerUser::parse(user).unwrap();
    let password = Secret::new(password.to_owned());
    pam.ask(&user, &password, "10.77.0.20").await.unwrap()
}

#[tokio::test]
async fn only_the_right_password_of_an_open_account_is_granted() {
    if !root_or_skip() {
        return;
    }
    let site = Site::start(&[]);
    let pam = site.pam();
    use PamVerdict::{Granted, PasswordExpired, Refused};
    let table = [
        ("alice", "pw-alice", Granted),
        ("alice", "pw-bob", Refused),
        ("alice", "pw-alice ", Refused),
        ("alice", "", Refused),
        ("locked", "pw-locked", Refused),
        ("closed", "pw-closed", Refused),
        ("ranout", "pw-ranout", PasswordExpired),
        ("ranout", "wrong", Refused),
        ("empty", "x", Refused),
        ("nobody-here", "pw-alice", Refused),
        ("root", "", Refused),
    ];
    // All at once: pam_unix takes its time after a wrong password.
    let mut asked = JoinSet::new();
    for (user, password, expected) in table {
        let pam = pam.clone();
        asked.spawn(async move { (user, password, expected, ask(&pam, user, password).await) });
    }
    for (user, password, expected, found) in asked.join_all().await {
        assert_eq!(found, expected, "{user} {password:?}");
    }
    let log = site.log();
    assert!(
        log.contains("PAM was asked") && !log.contains("pw-"),
        "{log}"
    );
}

#[tokio::test]
async fn a_password_may_hold_every_byte_but_zero() {
    if !root_or_skip() {
        return;
    }
    let site = Site::start(&[]);
    let all: Vec<u8> = ALL_BYTES.collect();
    assert_eq!(raw(&site.socket(), "odd", &all), Some(PamVerdict::Granted));
    // What follows a zero byte counts: nothing is cut off there.
    let cut = [&all[..], b"\0"].concat();
    assert_eq!(raw(&site.socket(), "odd", &cut), Some(PamVerdict::Refused));
    let prefix = b"pw-alice\0more";
    assert_eq!(
        raw(&site.socket(), "alice", prefix),
        Some(PamVerdict::Refused)
    );
    // Line ends carry no second question, and no PAM service.
    let lines = b"x\rsshd\nalice\rpw-alice\rx2gobroker\n";
    assert_eq!(
        raw(&site.socket(), "alice", lines),
        Some(PamVerdict::Refused)
    );
    // A user name that is none reaches no module.
    for user in ["../alice", "alice\n", "-alice", "al ice"] {
        assert_eq!(
            raw(&site.socket(), user, b"pw-alice"),
            Some(PamVerdict::Refused)
        );
    }
}

#[tokio::test]
async fn a_module_that_hangs_or_crashes_takes_one_login_with_it() {
    if !root_or_skip() {
        return;
    }
    let site = Site::start(&["--pam-service", "slow", "--deadline", "2"]);
    let pam = site.pam();
    let began = Instant::now();
    let (sleeping, crashed, other) = tokio::join!(
        ask(&pam, "sleepy", "pw-sleepy"),
        ask(&pam, "crashy", "pw-crashy"),
        async {
            let verdict = ask(&pam, "alice", "pw-alice").await;
            (verdict, began.elapsed())
        }
    );
    assert_eq!(sleeping, PamVerdict::Unavailable);
    assert_eq!(crashed, PamVerdict::Unavailable);
    assert_eq!(other.0, PamVerdict::Granted);
    assert!(other.1 < Duration::from_secs(2), "waited {:?}", other.1);
    assert!(
        began.elapsed() < Duration::from_secs(8),
        "{:?}",
        began.elapsed()
    );
    site.wait_for_no_sleepers();
}

#[tokio::test]
async fn more_than_may_wait_are_refused_at_once() {
    if !root_or_skip() {
        return;
    }
    let options = [
        "--pam-service",
        "slow",
        "--deadline",
        "3",
        "--conversations",
        "1",
        "--queue",
        "1",
    ];
    let site = Site::start(&options);
    let pam = site.pam();
    // One is looked at and one waits, each until its deadline: whoever comes last is one too many.
    let timed = async || {
        let began = Instant::now();
        (ask(&pam, "sleepy", "x").await, began.elapsed())
    };
    let (one, two, three) = tokio::join!(timed(), timed(), timed());
    let all = [one, two, three];
    let busy = all.iter().filter(|asked| asked.0 == PamVerdict::Busy);
    let busy: Vec<Duration> = busy.map(|asked| asked.1).collect();
    assert!((1..3).contains(&busy.len()), "{all:?}");
    let longest = busy.iter().max().unwrap();
    assert!(*longest < Duration::from_secs(1), "{all:?}");
}

#[tokio::test]
async fn a_service_that_is_killed_is_missed_and_found_again() {
    if !root_or_skip() {
        return;
    }
    let mut site = Site::start(&[]);
    let pam = site.pam();
    assert_eq!(ask(&pam, "alice", "pw-alice").await, PamVerdict::Granted);
    site.kill();
    let alice = BrokerUser::parse("alice").unwrap();
    let away = pam
        .ask(&alice, &Secret::new("pw-alice".to_owned()), "")
        .await;
    assert!(
        matches!(away, Err(PamError::Unreachable { .. })),
        "{away:?}"
    );
    // The socket file of the dead one is still there.
    site.start_again();
    assert_eq!(ask(&pam, "alice", "pw-alice").await, PamVerdict::Granted);
}

#[test]
fn only_the_group_of_the_socket_is_answered() {
    if !root_or_skip() {
        return;
    }
    let site = Site::start(&[]);
    assert_eq!(site.socket_mode(), "660 root x2gobroker-by-number");
    // Primary group, further groups: is the question answered?
    for (group, more, answered) in [
        (site::GROUP, "", true),
        (65534, "990", false),
        (65534, "", false),
    ] {
        assert_eq!(site.is_answered_as(group, more), answered, "{group} {more}");
    }
}

#[test]
fn a_second_one_does_not_take_the_socket_of_the_first() {
    if !root_or_skip() {
        return;
    }
    let site = Site::start(&[]);
    let told = site.start_beside();
    assert!(told.contains("somebody answers at"), "{told}");
    assert_eq!(
        raw(&site.socket(), "alice", b"pw-alice"),
        Some(PamVerdict::Granted)
    );
}

#[test]
fn bytes_that_are_no_question_end_their_connection_only() {
    if !root_or_skip() {
        return;
    }
    let site = Site::start(&[]);
    for bytes in [
        &[0xff; 64][..],
        b"\0\0\0\x04\xff\xff\xff\xff",
        b"\0\0\x20\x01",
        b"alice\rpw-alice\rx2gobroker\n",
    ] {
        assert_eq!(site::exchange(&site.socket(), bytes), None, "{bytes:?}");
    }
    assert_eq!(
        raw(&site.socket(), "alice", b"pw-alice"),
        Some(PamVerdict::Granted)
    );
}

#[test]
fn a_password_is_changed_by_who_has_it() {
    if !root_or_skip() {
        return;
    }
    let site = Site::start(&[]);
    let socket = site.socket();
    let next = &b"n3xt-Pa\xffss \x01word"[..];
    use PamVerdict::{Changed, Granted, NewPasswordRefused, Refused};
    let long = vec![b'x'; 600];
    let table: [(&str, &str, &[u8], PamVerdict); 10] = [
        ("changes", "wrong", next, Refused),
        ("changes", "pw-changes", b"", NewPasswordRefused),
        ("changes", "pw-changes", b"n3xt\0Pass", NewPasswordRefused),
        ("changes", "pw-changes", &long, NewPasswordRefused),
        // What pam_unix finds too simple, and lets root choose.
        ("changes", "pw-changes", b"aaa", NewPasswordRefused),
        // The least age of a password (shadow(5), field 4) is not over.
        ("toosoon", "pw-toosoon", next, NewPasswordRefused),
        ("locked", "pw-locked", next, Refused),
        ("closed", "pw-closed", next, Refused),
        // Nobody could change it at a login.
        ("ranout", "pw-ranout", next, Changed),
        ("changes", "pw-changes", next, Changed),
    ];
    for (user, old, new, expected) in table {
        let found = change(&socket, user, old, new);
        assert_eq!(found, Some(expected), "{user} {old}\n{}", site.log());
    }
    assert_eq!(raw(&socket, "changes", b"pw-changes"), Some(Refused));
    assert_eq!(raw(&socket, "changes", next), Some(Granted));
    assert_eq!(raw(&socket, "ranout", next), Some(Granted));
    assert_eq!(raw(&socket, "toosoon", b"pw-toosoon"), Some(Granted));
    let log = site.log();
    assert!(!log.contains("pw-") && !log.contains("n3xt"), "{log}");
}

#[test]
fn a_code_behind_the_password_answers_a_second_prompt_where_that_is_configured() {
    if !root_or_skip() {
        return;
    }
    use PamVerdict::{Granted, Refused};
    let with = Site::start(&["--pam-service", "twice", "--code-separator", ","]);
    let without = Site::start(&["--pam-service", "twice"]);
    for (site, password, expected) in [
        (&with, "pw-alice,123456", Granted),
        (&with, "pw-alice,654321", Refused),
        (&with, "wrong,123456", Refused),
        (&with, "pw-alice", Refused),
        (&without, "pw-alice,123456", Refused),
        (&without, "pw-alice", Refused),
    ] {
        let found = raw(&site.socket(), "alice", password.as_bytes());
        assert_eq!(found, Some(expected), "{password}\n{}", site.log());
    }
}

#[test]
fn a_service_that_is_told_to_stop_answers_what_it_was_asked() {
    if !root_or_skip() {
        return;
    }
    let options = ["--pam-service", "slow", "--conversations", "1"];
    let mut site = Site::start(&options);
    let socket = site.socket();
    let asked = |user: &'static str| {
        let socket = socket.clone();
        std::thread::spawn(move || raw(&socket, user, format!("pw-{user}").as_bytes()))
    };
    let running = asked("napping");
    site.wait_for_sleeper();
    let waiting = asked("alice");
    let began = Instant::now();
    // It has been taken before the service is told.
    std::thread::sleep(Duration::from_millis(300));
    site.terminate();
    assert_eq!(waiting.join().unwrap(), Some(PamVerdict::Unavailable));
    assert!(began.elapsed() < Duration::from_secs(2));
    assert_eq!(running.join().unwrap(), Some(PamVerdict::Granted));
    assert!(site.wait_for_end());
    assert!(!socket.exists());
}

#[test]
fn a_question_whose_asker_has_hung_up_is_not_asked() {
    if !root_or_skip() {
        return;
    }
    let site = Site::start(&["--pam-service", "slow", "--conversations", "1"]);
    let socket = site.socket();
    let running = std::thread::spawn({
        let socket = socket.clone();
        move || raw(&socket, "napping", b"pw-napping")
    });
    site.wait_for_sleeper();
    site::ask_and_leave(&socket, "crashy");
    assert_eq!(
        raw(&socket, "alice", b"pw-alice"),
        Some(PamVerdict::Granted)
    );
    assert_eq!(running.join().unwrap(), Some(PamVerdict::Granted));
    site.wait_for_log("nobody waits any more");
    let log = site.log();
    assert!(!log.contains("gave no verdict"), "{log}");
}
