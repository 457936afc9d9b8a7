//! What did an old agent say?
//!
//! The first line of a good answer is `OK`; what follows is the output of x2goserver's own
//! programs. A line that can't be read is left out: it never takes the others with it.

use proto::{NodeId, SessionRecord, Username};

/// The lines of a good answer.
#[must_use]
pub fn lines(stdout: &str) -> Option<impl Iterator<Item = &str>> {
    let mut lines = stdout.lines();
    (lines.next()?.trim_end() == "OK").then(|| lines.filter(|line| !line.trim().is_empty()))
}

/// The user's sessions that can be resumed, as `listsessions` has them: suspended before
/// running ones, otherwise in the order of the database.
#[must_use]
pub fn sessions(stdout: &str, user: &Username) -> Option<Vec<SessionRecord>> {
    let records = lines(stdout)?.filter_map(|line| SessionRecord::parse(line).ok());
    let mut own: Vec<SessionRecord> = records
        .filter(|record| record.user == *user)
        .take(MAX_SESSIONS)
        .collect();
    own.sort_by_key(|record| record.state == proto::SessionState::Running);
    Some(own)
}

/// The servers of the session database with their sessions, as `getservers` has them:
/// `HOST COUNT`. A SQLite database gives no count.
#[must_use]
pub fn servers(stdout: &str) -> Option<Vec<(NodeId, u32)>> {
    let read = |line: &str| {
        let mut words = line.split_whitespace();
        let node = NodeId::parse(words.next()?).ok()?;
        let count = words.next().map_or(Some(0), |word| word.parse().ok())?;
        Some((node, count))
    };
    Some(lines(stdout)?.filter_map(read).take(MAX_SERVERS).collect())
}

/// Figures of a server, as `checkload` has them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CheckLoad {
    /// The mean of the three load averages.
    pub load_average: f64,
    /// Memory that is free for sessions.
    pub memory_available_mb: u64,
    /// Processors.
    pub cores: u32,
    /// Their frequency in MHz.
    pub mhz: u32,
}

/// Reads the figures; none when one is missing or is no number.
#[must_use]
pub fn check_load(stdout: &str) -> Option<CheckLoad> {
    let lines: Vec<(&str, &str)> = lines(stdout)?
        .filter_map(|line| line.split_once(':'))
        .take(MAX_FIGURES)
        .collect();
    let number = |name: &str| -> Option<u32> {
        let (_, text) = lines.iter().find(|(key, _)| *key == name)?;
        // Some kernels tell the frequency with a fraction.
        let whole = text.trim().split('.').next()?;
        whole.parse().ok()
    };
    // Percent, plus one so that the original can divide by it.
    let percent = number("loadavgXX")?.saturating_sub(1);
    Some(CheckLoad {
        load_average: f64::from(percent) / 100.0,
        memory_available_mb: number("memAvail")?.into(),
        cores: number("numCPU")?,
        mhz: number("typeCPU")?,
    })
}

/// Nobody can choose among more.
const MAX_SESSIONS: usize = 64;
/// More than any farm has.
const MAX_SERVERS: usize = 1024;
/// There are five.
const MAX_FIGURES: usize = 32;

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};
    use proto::{NodeId, SessionState, Username};

    use super::{CheckLoad, check_load, lines, servers, sessions};

    fn alice() -> Username {
        Username::parse("alice").unwrap()
    }

    // Recorded from x2gobroker-agent 0.0.4.3, with PostgreSQL.
    const TWO: &str = "OK\n\
        27882|alice-50-1795327217_stRTERMINAL_dp24|50|s1|R|2026-11-22T06:00:17|2a1f|10.77.0.20|41841|41842|2026-11-22T06:00:23|alice|63|41843\n\
        13718|alice-53-1795327256_stRTERMINAL_dp24|53|s2|S|2026-11-22T06:00:57|01b4|10.77.0.20|42026|42027|2026-11-22T06:01:03|alice|24|42028\n";

    #[test]
    fn sessions_are_read_suspended_ones_first() {
        let found = sessions(TWO, &alice()).unwrap();
        let shown: Vec<_> = found.iter().map(|r| (r.server.as_str(), r.state)).collect();
        let expected = [
            ("s2", SessionState::Suspended),
            ("s1", SessionState::Running),
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn foreign_sessions_and_broken_lines_are_left_out() {
        let bob = Username::parse("bob").unwrap();
        assert_eq!(sessions(TWO, &bob), Some(Vec::new()));
        let text = format!("{TWO}|half a line|\n\n{}", &TWO[3..40]);
        assert_eq!(sessions(&text, &alice()).unwrap().len(), 2);
    }

    #[test]
    fn an_answer_without_ok_is_none() {
        for text in ["", "\nOK\n", "no such user on system: foo", "NOT OK\n"] {
            assert!(lines(text).is_none(), "{text:?}");
            assert!(sessions(text, &alice()).is_none());
        }
        assert_eq!(sessions("OK\n\n", &alice()), Some(Vec::new()));
    }

    #[test]
    fn servers_have_a_count_with_postgresql_and_none_with_sqlite() {
        // Recorded; the last line has no line end.
        let node = |name: &str| NodeId::parse(name).unwrap();
        let two = servers("OK\ns2 2\ns1 3").unwrap();
        assert_eq!(two, [(node("s2"), 2), (node("s1"), 3)]);
        assert_eq!(servers("OK\ns1\n"), Some(vec![(node("s1"), 0)]));
        assert_eq!(servers("OK\n-x 1\ns1 many\n"), Some(Vec::new()));
    }

    #[test]
    fn the_load_is_read() {
        // Recorded.
        let text = "OK\nloadavgXX:704\nmemAvail:17020\nmyMemAvail:17148\nnumCPU:2\ntypeCPU:2446\n";
        let expected = CheckLoad {
            load_average: 7.03,
            memory_available_mb: 17_020,
            cores: 2,
            mhz: 2446,
        };
        assert_eq!(check_load(text), Some(expected));
        assert_eq!(check_load("OK\nloadavgXX:704\n"), None);
        assert_eq!(check_load(&text.replace("2446", "x")), None);
        let with_fraction = check_load(&text.replace("2446", "2446.123"));
        assert_eq!(with_fraction, Some(expected));
    }

    proptest! {
        #[test]
        fn whatever_it_says_nothing_breaks(text in any::<String>()) {
            let text = format!("OK\n{text}");
            let _ = (sessions(&text, &alice()), servers(&text), check_load(&text));
        }
    }
}
