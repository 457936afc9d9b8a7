//! What do the tasks print that no program of x2goserver prints for us?

use std::collections::BTreeMap;

/// The first line of every answer.
pub const OK: &str = "OK\n";

/// Answers `availabletasks`; `has_x2goserver` says whether sessions can run here at all.
#[must_use]
pub fn available_tasks(has_x2goserver: bool) -> String {
    let tasks = if has_x2goserver { TASKS } else { TASKS_ALWAYS };
    tasks.iter().map(|task| format!("{task}\n")).collect()
}

const TASKS_ALWAYS: &[&str] = &["availabletasks", "addauthkey", "delauthkey"];

/// As the agent of x2gobroker 0.0.4.3 names them, byte for byte. `listdesktops` is not among
/// them: only our own agent asks for it, which has come in the same package.
const TASKS: &[&str] = &[
    "availabletasks",
    "addauthkey",
    "delauthkey",
    "listsessions",
    "findbusyservers",
    "findbusyservers_by_sessionstats",
    "checkload",
    "getservers",
    "suspendsession",
    "terminatesession",
];

/// What the kernel's files say, as text.
#[derive(Clone, Copy, Debug, Default)]
pub struct KernelFiles<'a> {
    /// /proc/loadavg
    pub loadavg: &'a str,
    /// /proc/meminfo
    pub meminfo: &'a str,
    /// /proc/cpuinfo
    pub cpuinfo: &'a str,
    /// /proc/sys/vm/min_free_kbytes
    pub min_free: &'a str,
}

/// Answers `checkload` from the kernel's files; a figure that can't be read is left out.
#[must_use]
pub fn load(files: KernelFiles<'_>) -> String {
    let available = kilobytes(files.meminfo, "MemAvailable");
    let figures = [
        ("loadavgXX", load_average(files.loadavg)),
        ("memAvail", available.map(|kilobytes| kilobytes / 1000)),
        (
            "myMemAvail",
            estimate(files.meminfo, files.min_free).map(|kilobytes| kilobytes / 1000),
        ),
        ("numCPU", Some(processors(files.cpuinfo)).filter(|n| *n > 0)),
        ("typeCPU", megahertz(files.cpuinfo)),
    ];
    figures
        .iter()
        .filter_map(|(name, figure)| Some(format!("{name}:{}\n", (*figure)?)))
        .collect()
}

/// The mean of the three load averages in hundredths, and one, so that it is never zero.
fn load_average(loadavg: &str) -> Option<u64> {
    let hundredths = |text: &str| {
        let (whole, part) = text.split_once('.')?;
        let part = format!("{part:0<2.2}");
        let whole: u64 = whole.parse().ok()?;
        whole.checked_mul(100)?.checked_add(part.parse().ok()?)
    };
    let mut sum: u64 = 0;
    let mut words = loadavg.split_ascii_whitespace();
    for _ in 0..3 {
        sum = sum.checked_add(hundredths(words.next()?)?)?;
    }
    Some(sum / 3 + 1)
}

fn kilobytes(meminfo: &str, name: &str) -> Option<u64> {
    meminfo.lines().find_map(|line| {
        let value = line.strip_prefix(name)?.strip_prefix(':')?;
        value.trim().strip_suffix("kB")?.trim().parse().ok()
    })
}

/// The original's second figure, for kernels that had no `MemAvailable`: what is free, and of
/// the file pages and the slabs that can be given back, what leaves the kernel its reserve.
/// It was compared with the original's on one machine.
fn estimate(meminfo: &str, min_free: &str) -> Option<u64> {
    let value = |name| kilobytes(meminfo, name);
    let reserve: u64 = min_free.trim().parse().ok()?;
    let usable = |pages: u64| pages.saturating_sub(reserve.min(pages / 2));
    let files = value("Active(file)")?.checked_add(value("Inactive(file)")?)?;
    let free = value("MemFree")?.saturating_sub(reserve);
    free.checked_add(usable(files))?
        .checked_add(usable(value("SReclaimable")?))
}

fn fields<'a>(cpuinfo: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    cpuinfo.lines().filter_map(move |line| {
        let (key, value) = line.split_once(':')?;
        (key.trim_end() == name).then_some(value.trim())
    })
}

fn processors(cpuinfo: &str) -> u64 {
    u64::try_from(fields(cpuinfo, "processor").count()).unwrap_or(0)
}

fn megahertz(cpuinfo: &str) -> Option<u64> {
    let (whole, part) = fields(cpuinfo, "cpu MHz").next()?.split_once('.')?;
    // Rounded up, as the original was seen to do.
    let more = u64::from(part.contains(|c: char| c != '0'));
    whole.parse::<u64>().ok()?.checked_add(more)
}

/// Answers `findbusyservers` from the output of x2gogetservers(8), lines `HOST COUNT`: the
/// share of all sessions that each server has, as `PERCENT:HOST` sorted as text. An empty
/// line when there are no sessions, or when no counts are told (with SQLite).
#[must_use]
pub fn busy_servers(servers: &str) -> String {
    let mut counts = BTreeMap::<&str, u64>::new();
    for line in servers.lines() {
        let mut words = line.split_ascii_whitespace();
        if let (Some(host), Some(Ok(count)), None) =
            (words.next(), words.next().map(str::parse), words.next())
        {
            let sum = counts.entry(host).or_default();
            *sum = sum.saturating_add(count);
        }
    }
    let all = counts.values().copied().fold(0, u64::saturating_add);
    let mut lines: Vec<String> = counts
        .iter()
        .filter_map(|(host, count)| {
            let percent = count.saturating_mul(100).checked_div(all)?;
            Some(format!("{percent}:{host}\n"))
        })
        .collect();
    lines.sort();
    if lines.is_empty() {
        lines.push("\n".to_owned());
    }
    lines.concat()
}

#[cfg(test)]
mod tests {
    use super::{KernelFiles, available_tasks, busy_servers, load};

    #[test]
    fn busy_servers_are_told_as_recorded() {
        let cases = [
            ("s2 2\ns1 3", "40:s2\n60:s1\n"), // findbusyservers-two-servers
            ("s1 1", "100:s1\n"),
            ("", "\n"),
            ("vm", "\n"), // SQLite: no counts
            ("s1 0\ns2 0", "\n"),
            // As text, a colon comes after the digits.
            ("a 1\nb 1\nc 10", "83:c\n8:a\n8:b\n"),
            ("s1 x\ns2 1 2\ns3 5", "100:s3\n"),
        ];
        for (servers, expected) in cases {
            assert_eq!(busy_servers(servers), expected, "{servers:?}");
        }
    }

    #[test]
    fn the_load_is_told_as_recorded() {
        // agent-cli/checkload: the mean of the averages times 100 and one; MB; MHz. The
        // memory is from a run of the original beside ours, which said 21774 and 21952.
        let files = KernelFiles {
            loadavg: "7.03 7.03 7.03 3/400 12345\n",
            meminfo: "MemTotal: 99 kB\nMemFree:  11904080 kB\nMemAvailable:   21774486 kB\n\
                      Active(file): 3875592 kB\nInactive(file): 5312924 kB\nInactive: 9 kB\n\
                      SReclaimable: 1062888 kB\n",
            cpuinfo: "processor\t: 0\ncpu MHz\t\t: 2445.122\n\nprocessor\t: 1\ncpu MHz\t\t: 1.0\n",
            min_free: "67584\n",
        };
        assert_eq!(
            load(files),
            "loadavgXX:704\nmemAvail:21774\nmyMemAvail:21952\nnumCPU:2\ntypeCPU:2446\n"
        );
        assert_eq!(load(KernelFiles::default()), "");
        let idle = KernelFiles {
            loadavg: "0.00 0.00 0.00 1/2 3",
            ..KernelFiles::default()
        };
        assert_eq!(load(idle), "loadavgXX:1\n");
    }

    #[test]
    fn without_x2goserver_there_are_only_the_tasks_that_need_none() {
        assert_eq!(
            available_tasks(false),
            "availabletasks\naddauthkey\ndelauthkey\n"
        );
        assert_eq!(available_tasks(true).lines().count(), 10);
    }
}
