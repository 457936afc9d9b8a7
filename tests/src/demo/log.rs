//! What do the programs say in their logs? Pure functions of the lines.

use std::net::SocketAddr;

/// Returns the value of a field: `node=s1`, or `why="best of 3"` without its quotes.
pub(super) fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let start = format!(" {name}=");
    let at = line.find(&start)? + start.len();
    let rest = line.get(at..)?;
    match rest.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next(),
        None => rest.split(' ').next(),
    }
}

/// Returns the address that a program says it listens on, in the first line with `words`.
pub(super) fn address(log: &str, words: &str, name: &str) -> Option<SocketAddr> {
    let line = log.lines().find(|line| line.contains(words))?;
    field(line, name)?.parse().ok()
}

/// Returns whether a replica sees this server now: the last word on it counts.
pub(super) fn sees(log: &str, node: &str) -> bool {
    let of_node = log.lines().filter(|line| field(line, "node") == Some(node));
    let mut of_membership = of_node.filter_map(|line| {
        let joined = line.contains(" member joined ");
        (joined || line.contains(" member left ")).then_some(joined)
    });
    of_membership.next_back().unwrap_or(false)
}

/// Returns why a replica placed the session of `user` where it did; its last word counts.
pub(super) fn why<'a>(log: &'a str, user: &str) -> Option<&'a str> {
    let mut placed = log
        .lines()
        .filter(|line| line.contains(" session placed ") && field(line, "user") == Some(user));
    field(placed.next_back()?, "why")
}

/// Returns the last `n_lines` lines, each cut to `width` characters.
pub(super) fn last_lines(log: &str, n_lines: usize, width: usize) -> String {
    let lines: Vec<&str> = log.lines().collect();
    let skipped = lines.len().saturating_sub(n_lines);
    let cut = |line: &&str| match line.char_indices().nth(width) {
        Some((at, _)) => format!("{}…", line.get(..at).unwrap_or_default()),
        None => (*line).to_owned(),
    };
    let last = lines.iter().skip(skipped).map(cut);
    last.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
2026-11-22T08:00:00.1Z  INFO broker::frontend::https::listen: listening for HTTP address=127.0.0.1:41001
2026-11-22T08:00:00.2Z  INFO broker::view::state: member joined node=s1 address=127.0.0.1:41002
2026-11-22T08:00:00.3Z  INFO broker::view::state: member joined node=s10 address=127.0.0.1:41003
2026-11-22T08:00:00.4Z  INFO broker::task::select_session: session placed user=alice profile=farm node=s1 why=\"0.14 (cpu 0.14, memory 0.01), best of 3\"
2026-11-22T08:00:00.5Z  INFO broker::task::select_session: session placed user=alice profile=farm node=s1 why=\"has a running session\"
2026-11-22T08:00:00.6Z  INFO broker::view::state: member left node=s1
";

    #[test]
    fn the_fields_of_a_line_are_found() {
        let line = LOG.lines().nth(3).unwrap();
        assert_eq!(field(line, "node"), Some("s1"));
        assert_eq!(
            field(line, "why"),
            Some("0.14 (cpu 0.14, memory 0.01), best of 3")
        );
        assert_eq!(field(line, "cpu"), None);
    }

    #[test]
    fn an_address_is_found_by_the_words_of_its_line() {
        let expected = "127.0.0.1:41001".parse().ok();
        assert_eq!(address(LOG, "listening for HTTP", "address"), expected);
        assert_eq!(address(LOG, "replica started", "advertise"), None);
    }

    #[test]
    fn the_last_word_on_a_server_counts() {
        assert!(!sees(LOG, "s1"));
        assert!(sees(LOG, "s10"));
        assert!(!sees(LOG, "s2"));
        let back = format!("{LOG}t INFO broker::view::state: member joined node=s1\n");
        assert!(sees(&back, "s1"));
    }

    #[test]
    fn the_last_reason_of_a_user_counts() {
        assert_eq!(why(LOG, "alice"), Some("has a running session"));
        assert_eq!(why(LOG, "ali"), None);
    }

    #[test]
    fn the_end_of_a_log_is_cut_by_lines() {
        assert_eq!(last_lines("a\nb\nc\n", 2, 80), "b\nc");
        assert_eq!(last_lines("a\n", 2, 80), "a");
        assert_eq!(last_lines("", 2, 80), "");
        assert_eq!(last_lines("long\nüüü\n", 2, 3), "lon…\nüüü");
    }
}
