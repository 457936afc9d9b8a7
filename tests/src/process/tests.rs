//! Does a process die with its owner, and can it be asked?

use crate::wait::{Progress, wait_for};

use super::*;

fn shell(script: &str, log: &Path) -> Process {
    Process::start("shell", command("sh").args(["-c", script]), log).unwrap()
}

fn exists(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

#[test]
fn a_dropped_process_is_killed_and_reaped() {
    let folder = tempfile::tempdir().unwrap();
    let process = shell("exec sleep 600", &folder.path().join("log"));
    let pid = process.pid();
    assert!(exists(pid));
    drop(process);
    assert!(!exists(pid));
}

#[test]
fn a_tied_process_sees_the_end_of_its_input_when_its_owner_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let mut reader = command("sh");
    reader.args(["-c", "read line; echo the end"]);
    let mut process = Process::start_tied("reader", &mut reader, &log).unwrap();
    assert!(process.is_running());
    drop(process.child.stdin.take());
    process
        .wait_for_log(Duration::from_secs(5), &["the end"])
        .unwrap();
}

#[test]
fn a_wrapped_process_is_the_child_of_its_wrapper() {
    let folder = tempfile::tempdir().unwrap();
    let mut wrapper = command("sh");
    wrapper.args(["-c", "sleep 600; exit 7"]);
    let wrapper = Process::start("sleep", &mut wrapper, &folder.path().join("log"));
    let mut process = wrapper.and_then(Process::unwrap_child).unwrap();
    // Between fork and exec the child still has the name of the shell.
    let comm = format!("/proc/{}/comm", process.pid());
    let named = wait_for(Duration::from_secs(5), || {
        let program = std::fs::read_to_string(&comm).unwrap();
        Progress::when(program.trim() == "sleep", || program)
    });
    named.unwrap();
    process.signal("KILL").unwrap();
    assert_eq!(
        process.wait_exit(Duration::from_secs(5)).unwrap().code(),
        Some(7)
    );
}

#[test]
fn a_wait_that_fails_shows_the_end_of_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = shell("echo the port is taken >&2", &folder.path().join("log"));
    let error = process
        .wait_for_log(Duration::from_secs(5), &["ready"])
        .unwrap_err();
    assert!(
        format!("{error:#}").contains("the port is taken"),
        "{error:#}"
    );
}

#[test]
fn a_line_of_the_log_is_found_by_its_words() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = shell(
        "echo member left node=s1; echo member left node=s2",
        &folder.path().join("log"),
    );
    let line = process.wait_for_log(Duration::from_secs(5), &["member left", "node=s2"]);
    assert_eq!(line.unwrap(), "member left node=s2");
}

#[test]
fn memory_and_cpu_of_a_running_process_are_known() {
    let folder = tempfile::tempdir().unwrap();
    let process = shell("while :; do :; done", &folder.path().join("log"));
    let used = wait_for(Duration::from_secs(10), || {
        let cpu = process.cpu().unwrap();
        Progress::when(cpu > Duration::from_millis(20), || format!("only {cpu:?}"))
    });
    assert_eq!(used, Ok(()));
    assert!(process.rss_kb().unwrap() > 100);
}

#[test]
fn a_terminated_process_ends_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let mut process = shell(
        "trap 'exit 3' TERM; echo up; while :; do sleep 0.01; done",
        &log,
    );
    process
        .wait_for_log(Duration::from_secs(5), &["up"])
        .unwrap();
    process.terminate().unwrap();
    assert_eq!(
        process.wait_exit(Duration::from_secs(5)).unwrap().code(),
        Some(3)
    );
}

#[test]
fn a_long_log_is_cut_at_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let text: String = (0..2000).map(|number| format!("line {number}\n")).collect();
    std::fs::write(&log, text).unwrap();
    let end = tail(&log).unwrap();
    assert!(
        end.starts_with("line ") && end.ends_with("line 1999\n"),
        "{end}"
    );
}
