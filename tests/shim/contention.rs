//! Do many editors of one file lose anything?

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::stage::{BROKER, FILE, KEY, PROGRAM, ROOT, Stage};

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "the figure is told to the reader"
)]
fn of_two_hundred_editors_at_once_none_is_lost_and_none_left() {
    let Some(stage) = Stage::up() else { return };
    // A hundred keys are there; each is removed while a hundred others come.
    let edit = |task: &str, first: usize, last: usize| {
        format!(
            "for n in $(seq {first} {last}); do
                 {PROGRAM} alice {task} \"ssh-ed25519 AAAA $n\" {FILE} &
                 all+=($!)
             done"
        )
    };
    let wait = "for pid in \"${all[@]}\"; do wait $pid || exit 1; done";
    let fill = stage.script(BROKER, &format!("{}\n{wait}", edit("addauthkey", 1, 100)));
    assert_eq!(fill.code, Some(0), "{fill:?}");

    let begun = Instant::now();
    let both = format!(
        "{}\n{}\n{wait}",
        edit("delauthkey", 1, 100),
        edit("addauthkey", 101, 200)
    );
    let both = stage.script(BROKER, &both);
    println!("200 edits at once took {:?}", begun.elapsed());
    assert_eq!(both.code, Some(0), "{both:?}");
    assert_eq!(both.complaint, "");

    let found = stage.root("cat /home/alice/.x2go/authorized_keys");
    let found: BTreeSet<&str> = found.lines().collect();
    let expected: Vec<String> = (101..=200)
        .map(|n| format!("ssh-ed25519 AAAA {n}"))
        .collect();
    assert_eq!(found, expected.iter().map(String::as_str).collect());
    assert_eq!(stage.root("ls -A /home/alice/.x2go"), "authorized_keys\n");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the wait is what is tested")]
fn a_lock_that_is_kept_is_told_before_the_agent_stops_listening() {
    let Some(stage) = Stage::up() else { return };
    assert!(stage.ask(&["alice", "addauthkey", KEY, FILE]).is_ok());
    let begun = Instant::now();
    let found = stage.script(
        ROOT,
        &format!(
            "exec 9</home/alice/.x2go/authorized_keys; flock 9
             exec setpriv --reuid 990 --regid 990 --clear-groups \
                 bash -c '{PROGRAM} alice delauthkey \"{KEY}\" {FILE}; exit $?'"
        ),
    );
    assert!(found.is_refusal(75, "locked"), "{found:?}");
    // RUN_LIMIT of the agent is 16 s.
    assert!(
        begun.elapsed() < Duration::from_secs(14),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn a_reader_sees_the_old_or_the_new_file_and_never_a_part() {
    let Some(stage) = Stage::up() else { return };
    let line = format!("ssh-rsa {} last", "A".repeat(3000));
    let torn = stage.root(&format!(
        "as() {{ setpriv --reuid $1 --regid $1 --clear-groups \"${{@:2}}\"; }}
         as 990 {PROGRAM} alice addauthkey 'ssh-rsa BBBB first' {FILE} >/dev/null
         (for n in $(seq 40); do
              as 990 {PROGRAM} alice addauthkey '{line}' {FILE}
              as 990 {PROGRAM} alice delauthkey '{line}' {FILE}
          done) >/dev/null &
         while kill -0 $! 2>/dev/null; do
             while read -r text; do
                 case $text in *first|*last) ;; *) echo \"torn: ${{#text}}\";; esac
             done <<<\"$(cat /home/alice/.x2go/authorized_keys)\"
         done
         wait"
    ));
    assert_eq!(torn, "");
}
