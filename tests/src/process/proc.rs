//! What does the kernel say of a process? Readers of `/proc`, see proc(5).

use std::time::Duration;

/// Returns the children of a process.
pub(super) fn children(parent: u32) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let parent = parent.to_string();
    // The parent is field 4 of the line, the second after the command name.
    pids.filter(|pid| stat_fields(*pid).is_some_and(|fields| fields.get(1) == Some(&parent)))
        .collect()
}

/// Returns the resident memory in KiB, or `None` when the process has ended.
pub(super) fn resident_kb(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Returns the CPU time that was used, user and system, or `None` when the process has ended.
pub(super) fn cpu_time(pid: u32) -> Option<Duration> {
    let fields = stat_fields(pid)?;
    // Fields 14 and 15 of the line, in ticks of 1/100 s.
    let ticks = |idx: usize| fields.get(idx).and_then(|field| field.parse::<u64>().ok());
    Some(Duration::from_millis((ticks(11)? + ticks(12)?) * 10))
}

/// Returns the CPU time of those children of a process that have ended and were waited for,
/// with their own, or `None` when the process has ended.
pub(super) fn cpu_time_of_children(pid: u32) -> Option<Duration> {
    let fields = stat_fields(pid)?;
    // Fields 16 and 17 of the line.
    let ticks = |idx: usize| fields.get(idx).and_then(|field| field.parse::<u64>().ok());
    Some(Duration::from_millis((ticks(13)? + ticks(14)?) * 10))
}

/// Returns the fields of `/proc/PID/stat` after the command name, from the state on.
fn stat_fields(pid: u32) -> Option<Vec<String>> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in parentheses and may hold anything.
    let (_, rest) = stat.rsplit_once(')')?;
    Some(rest.split_whitespace().map(str::to_owned).collect())
}
