//! How long does a ping take, from start to end, and how much memory?
//!
//! The goals are 3 ms and 2 MB, for the program that is shipped. Programs under test are
//! not optimised, and other tests run beside this one, so what is checked here is wider;
//! the figures are told.

use std::fs;
use std::io::{Read as _, Write as _};
use std::time::Duration;

use tests::wait::{Progress, wait_for};

use crate::stage::{BROKER, PROGRAM, Stage};

#[test]
fn a_ping_is_quick() {
    let Some(stage) = Stage::up() else { return };
    // The shell's own time for a fork, an exec and a wait is in it.
    let loops = format!(
        "TIMEFORMAT=%R
         for try in 1 2 3 4 5; do
             time for n in $(seq 100); do {PROGRAM} foo ping; done >/dev/null
         done"
    );
    let times = stage.script(BROKER, &loops);
    assert_eq!(times.code, Some(0), "{times:?}");
    let mut seconds: Vec<f64> = times
        .complaint
        .lines()
        .map(|line| line.parse().unwrap())
        .collect();
    seconds.sort_by(f64::total_cmp);
    // A hundred pings in so many seconds: tenths of it are milliseconds for one.
    let each = seconds.first().unwrap() * 10.0;
    println!("a ping takes {each:.2} ms (best hundred of five)");
    assert!(each < 30.0, "{each} ms");
}

#[test]
fn a_ping_is_small() {
    let Some(stage) = Stage::up() else { return };
    // It can't write its answer, so it is there to be looked at when all else is done.
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(&[b'.'; PIPE_BYTES]).unwrap();
    let mut ping = stage.enter(BROKER);
    ping.args([PROGRAM, "foo", "ping"]).stdout(writer);
    let mut child = ping.spawn().unwrap();
    // It holds the other end of the pipe as well.
    drop(ping);
    let status = format!("/proc/{}/status", child.id());
    let peak = wait_for(LIMIT, || {
        let status = fs::read_to_string(&status).unwrap_or_default();
        let field = |name| status.lines().find_map(|line| line.strip_prefix(name));
        // The kernel keeps 15 bytes of a name.
        let waits = field("Name:\tx2gobroker-agen").is_some() && field("State:\tS").is_some();
        match field("VmHWM:").filter(|_| waits) {
            Some(peak) => Progress::Ready(peak.trim().to_owned()),
            None => Progress::NotYet(status),
        }
    });
    let peak = peak.unwrap();
    let mut out = Vec::new();
    reader.read_to_end(&mut out).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(out.ends_with(b"OK\n"));
    let kilobytes: u64 = peak.strip_suffix(" kB").unwrap().parse().unwrap();
    println!("a ping takes {kilobytes} kB of memory at most, shared pages and all");
    assert!(kilobytes < 4000, "{kilobytes} kB");
}

/// What the kernel gives a pipe (pipe(7)).
const PIPE_BYTES: usize = 64 * 1024;
/// A start takes milliseconds.
const LIMIT: Duration = Duration::from_secs(10);
