//! What does a client see when real accounts are asked for by real PAM? Accounts made with
//! useradd(8), passwd(1) and chage(1) on a host of the lab, asked over HTTP.

use std::thread;
use std::time::Duration;

use tests::http::percent;
use tests::lab::{Call, HostName, password};
use tests::process::{command, run};

use crate::mesh::address;
use crate::pam_farm::{PamFarm, Setup, granted, list, status};

const BROKER: HostName = HostName::broker(1);
const ALONE: Setup<'_> = Setup::of(1, 0);

#[test]
fn only_the_right_password_of_an_open_account_is_let_in_and_all_refusals_look_alike() {
    let Some(farm) = PamFarm::up(ALONE) else {
        return;
    };
    farm.script(BROKER, ACCOUNTS);
    let table = [
        ("alice", "pw-alice", 200),
        ("open", "pw-open", 200),
        ("alice", "pw-bob", 401),
        ("alice", "pw-alice ", 401),
        ("alice", "", 401),
        ("locked", "pw-locked", 401),
        ("closed", "pw-closed", 401),
        ("ranout", "pw-ranout", 401),
        ("fresh", "pw-fresh", 401),
        ("nobody-here", "pw-alice", 401),
        ("root", "pw-root", 401),
    ];
    let answers = all_at_once(&farm, table.map(|(user, password, _)| (user, password)));
    let mut refusals = Vec::new();
    for ((user, password, expected), call) in table.into_iter().zip(&answers) {
        assert_eq!(
            status(call),
            expected,
            "{user} {password:?}: {call:?}\n{}",
            farm.story()
        );
        if expected != 200 {
            refusals.push(call.answer.clone().unwrap());
        }
    }
    // One text for all: nobody learns which accounts there are, or why one is refused.
    refusals.dedup();
    assert_eq!(refusals.len(), 1, "{refusals:#?}");
    // The operator does learn it.
    let told = farm.logged(BROKER, &["password has run out", "user=ranout"]);
    assert_eq!(told.len(), 1, "{}", farm.story());
}

#[test]
fn an_unknown_user_waits_about_as_long_as_a_wrong_password() {
    let Some(farm) = PamFarm::up(ALONE) else {
        return;
    };
    farm.give_passwords(N_EACH);
    let known: Vec<String> = (1..=N_EACH).map(tests::lab::farm_user).collect();
    let unknown: Vec<String> = (1..=N_EACH).map(|n| format!("stranger{n}")).collect();
    // By turns, so that a busy moment of the machine hits both.
    let asked = known.iter().zip(&unknown);
    let asked = asked.flat_map(|(known, unknown)| [(known.as_str(), "x"), (unknown, "x")]);
    let answers = all_at_once(&farm, asked);
    assert!(
        answers.iter().all(|call| status(call) == 401),
        "{answers:#?}"
    );
    let median = |first: usize| {
        let mut took: Vec<Duration> = answers.iter().skip(first).step_by(2).map(took).collect();
        took.sort_unstable();
        took[took.len() / 2]
    };
    let (wrong, unknown) = (median(0), median(1));
    let ratio = unknown.as_secs_f64() / wrong.as_secs_f64();
    println!("refused after {wrong:.2?}, unknown users after {unknown:.2?}: ratio {ratio:.2}");
    // pam_unix draws its delay anew each time, by a quarter up and down.
    assert!((0.6..1.7).contains(&ratio), "{wrong:?} {unknown:?}");
}

#[test]
fn a_password_of_a_megabyte_is_refused_and_harms_nobody() {
    let Some(mut farm) = PamFarm::up(ALONE) else {
        return;
    };
    // A body may have 1 MiB; the second is longer.
    for (bytes, expected) in [(1_000_000, 401), (1 << 20, 413)] {
        let long = "x".repeat(bytes);
        let call = farm.ask(BROKER, &list("alice", &long, ""));
        println!("{bytes} bytes: {} after {:.1?}", status(&call), call.took);
        assert_eq!(
            status(&call),
            expected,
            "{:?}\n{}",
            call.answer,
            farm.story()
        );
        assert!(call.took < SOON, "{:?}", call.took);
    }
    // What the authservice takes, and PAM does not: its limit is 512 bytes.
    for bytes in [511, 512, 4000] {
        let long = "x".repeat(bytes);
        let call = farm.ask(BROKER, &list("bob", &long, ""));
        assert_eq!(status(&call), 401, "{bytes}: {call:?}");
    }
    let call = farm.ask(BROKER, &list("alice", &password("alice"), ""));
    granted(&call).unwrap_or_else(|error| panic!("{error}\n{}", farm.story()));
    assert!(farm.replica(BROKER).is_running() && farm.authservice(BROKER).is_running());
}

#[test]
fn a_password_may_hold_every_byte_of_utf_8_but_zero() {
    let Some(farm) = PamFarm::up(ALONE) else {
        return;
    };
    let odd = every_byte();
    let path = "/root/odd";
    farm.lab.write(BROKER, "root", path, &odd).unwrap();
    farm.script(
        BROKER,
        "useradd -M odd; perl -e 'local $/; open F, \"<\", \"/root/odd\"; \
         print \"odd:\", crypt(<F>, q($6$rounds=1000$thelab$)), \"\\n\"' | chpasswd -e",
    );
    let right = farm.ask(BROKER, &list("odd", &odd, ""));
    granted(&right).unwrap_or_else(|error| panic!("{error}\n{}", farm.story()));
    // Nothing is cut off, changed or left out on the way.
    let (first, rest) = odd.split_at(1);
    let wrong = [
        rest.to_owned(),
        odd.replace(first, " "),
        odd.replace('\r', "\n"),
        odd.replace('+', " "),
        format!("{odd}\0"),
        format!("{odd}\0more"),
    ];
    let asked = wrong.iter().map(|wrong| ("odd", wrong.as_str()));
    for (call, wrong) in all_at_once(&farm, asked).iter().zip(&wrong) {
        assert_eq!(status(call), 401, "{wrong:?}: {call:?}");
    }
    // Alone and in front too, a zero byte ends nothing.
    for odd in [&b"\0"[..], b"\0pw-alice", b"pw-alice\0", b"pw\0alice"] {
        assert_eq!(status(&raw(&farm, odd)), 401, "{odd:?}");
    }
    // Bytes that no UTF-8 has are a mistake of the client, and said to be one.
    for byte in [0x80, 0xbf, 0xc0, 0xc1, 0xf5, 0xff_u8] {
        assert_eq!(status(&raw(&farm, &[byte])), 400, "{byte:#x}");
    }
    assert_eq!(status(&raw(&farm, b"pw-alice")), 200, "{}", farm.story());
}

#[test]
fn a_module_that_sleeps_for_a_minute_or_crashes_holds_nobody_else_up() {
    let Some(mut farm) = PamFarm::up(ALONE) else {
        return;
    };
    install_odd_module(&farm);
    farm.give_passwords(N_EACH);
    let users: Vec<String> = (1..=N_EACH).map(tests::lab::farm_user).collect();
    let passwords: Vec<String> = users.iter().map(|user| password(user)).collect();
    let sleepy = list("sleepy", "x", "");
    thread::scope(|scope| {
        let hanging: Vec<_> = (0..N_HANGING)
            .map(|_| scope.spawn(|| farm.ask(BROKER, &sleepy)))
            .collect();
        let asleep = tests::wait::wait_for(SOON, || {
            let n = n_conversations(&farm);
            let enough = n >= N_HANGING;
            tests::wait::Progress::when(enough, || format!("{n} conversations run"))
        });
        asleep.unwrap_or_else(|error| panic!("{error}\n{}", farm.story()));
        let crashed = farm.ask(BROKER, &list("crashy", "x", ""));
        assert_eq!(status(&crashed), 401, "{crashed:?}");
        let others = users.iter().zip(&passwords);
        let others = all_at_once(&farm, others.map(|(user, password)| (&**user, &**password)));
        let slowest = others.iter().map(took).max().unwrap();
        let n = others.len();
        println!(
            "{N_HANGING} log-ins hang; {n} others are in after {slowest:.2?}, a crash is \
             refused after {:.2?}",
            crashed.took
        );
        for call in &others {
            granted(call).unwrap_or_else(|error| panic!("{error}\n{}", farm.story()));
        }
        assert!(n_conversations(&farm) >= N_HANGING, "{}", farm.story());
        assert!(slowest < SOON, "{slowest:?}");
        for call in hanging.into_iter().map(|asked| asked.join().unwrap()) {
            println!(
                "a log-in that hung: {} after {:.1?}",
                status(&call),
                call.took
            );
            assert_eq!(status(&call), 401, "{call:?}");
            assert!(call.took < HANGING_LIMIT, "{:?}", call.took);
        }
    });
    assert!(farm.replica(BROKER).is_running() && farm.authservice(BROKER).is_running());
    let told = farm.logged(BROKER, &["PAM did not answer in time"]);
    assert_eq!(told.len(), N_HANGING, "{}", farm.story());
}

/// Logs all of them in at the same time; the answers in their order.
fn all_at_once<'a>(farm: &PamFarm, who: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<Call> {
    thread::scope(|scope| {
        let asked: Vec<_> = who
            .into_iter()
            .map(|(user, password)| {
                scope.spawn(move || farm.ask(BROKER, &list(user, password, "")))
            })
            .collect();
        asked
            .into_iter()
            .map(|asked| asked.join().unwrap())
            .collect()
    })
}

/// Alice, with any bytes as her password.
fn raw(farm: &PamFarm, password: &[u8]) -> Call {
    let form = format!(
        "task=listsessions&user=alice&password={}",
        percent(password)
    );
    farm.clients.post_encoded(address(BROKER), &form).unwrap()
}

fn took(call: &Call) -> Duration {
    call.took
}

/// Each byte that UTF-8 has but zero, and each byte that can follow another.
fn every_byte() -> String {
    let ascii = (1..=0x7f_u8).map(char::from);
    let two = (0xc2..=0xdf_u32).map(|lead| (lead & 0x1f) << 6);
    let following = (0..=0x3f_u32).map(|last| 0x80 + last);
    // The first code of each lead byte; those of e0 and f0 begin later.
    let three = (0xe0..=0xef_u32).map(|lead| ((lead & 0xf) << 12).max(0x800));
    let four = (0xf0..=0xf4_u32).map(|lead| ((lead & 7) << 18).max(0x10000));
    let more = two.chain(following).chain(three).chain(four);
    let text: String = ascii.chain(more.filter_map(char::from_u32)).collect();
    let mut bytes = text.clone().into_bytes();
    bytes.sort_unstable();
    bytes.dedup();
    assert_eq!(bytes.len(), 255 - 2 - 11, "all but 0, c0, c1 and f5 to ff");
    assert!(text.len() < 512, "PAM takes no more");
    text
}

/// Puts a module of our own before those of the package.
fn install_odd_module(farm: &PamFarm) {
    let folder = farm.lab.shared();
    let source = folder.join("pam_odd.c");
    std::fs::write(&source, MODULE).unwrap();
    let mut cc = command("cc");
    cc.args(["-shared", "-fPIC", "-o"]);
    run(cc.arg(folder.join("pam_odd.so")).arg(source)).unwrap();
    farm.script(
        BROKER,
        "sed -i '1i auth optional /lab/pam_odd.so' /etc/pam.d/x2gobroker",
    );
}

/// How many processes ask PAM.
fn n_conversations(farm: &PamFarm) -> usize {
    let count = "grep -lz -- --conversation /proc/[0-9]*/cmdline 2>/dev/null | wc -l";
    farm.script(BROKER, count).trim().parse().unwrap()
}

const MODULE: &str = r#"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <security/pam_modules.h>

int pam_sm_authenticate(pam_handle_t *pamh, int flags, int argc, const char **argv) {
    const char *user = NULL;
    if (pam_get_user(pamh, &user, NULL) != PAM_SUCCESS) return PAM_IGNORE;
    if (strcmp(user, "sleepy") == 0) sleep(60);
    if (strcmp(user, "crashy") == 0) abort();
    return PAM_IGNORE;
}

int pam_sm_setcred(pam_handle_t *pamh, int flags, int argc, const char **argv) {
    return PAM_IGNORE;
}
"#;

/// shadow(5): `closed` has expired as an account, `ranout` long ago as a password, and
/// `fresh` must be changed at the first log-in.
const ACCOUNTS: &str = "
    for user in open locked closed ranout fresh; do
        useradd -M $user
        echo $user:pw-$user
    done | chpasswd
    passwd -q -l locked
    chage -E 1 closed
    chage -d 2020-01-01 -M 10 ranout
    chage -d 0 fresh
    echo root:pw-root | chpasswd
    chage -E 1 root
";

/// Below what one address may ask at the same time.
const N_EACH: u32 = 10;
/// As many as one user may ask at the same time.
const N_HANGING: usize = 4;
/// pam_unix waits for two seconds after a wrong password; right ones do not wait for others.
const SOON: Duration = Duration::from_secs(10);
/// The authservice gives PAM 20 s.
const HANGING_LIMIT: Duration = Duration::from_secs(30);
