//! How long does a ping take, from start to end, and how much memory?

use crate::stage::{BROKER, PROGRAM, Stage};

#[test]
fn a_ping_is_quick_and_small() {
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
    // Programs that are not optimised, on machines that do other things: ten times the goal.
    assert!(each < 30.0, "{each} ms");
}
