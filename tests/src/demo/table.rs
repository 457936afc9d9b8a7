//! How is it laid out? Pure functions from facts to lines of at most 100 columns.

use std::time::Duration;

/// Lays cells out in columns, the header first, with a line under it. A column of numbers
/// (all its cells begin with a digit) is set to the right. Lines have no spaces at the end.
pub(super) fn table(header: &[&str], rows: &[Vec<String>]) -> Vec<String> {
    let header: Vec<String> = header.iter().map(|&name| name.to_owned()).collect();
    let columns: Vec<Column> = (0..header.len())
        .map(|column_idx| {
            let cells = || rows.iter().filter_map(|row| row.get(column_idx));
            let all = cells().chain(header.get(column_idx));
            let numeric = |cell: &String| cell.starts_with(|first: char| first.is_ascii_digit());
            Column {
                width: all.map(|cell| cell.chars().count()).max().unwrap_or(0),
                right: !rows.is_empty() && cells().all(numeric) && column_idx + 1 < header.len(),
            }
        })
        .collect();
    let rule: Vec<String> = columns
        .iter()
        .map(|column| "─".repeat(column.width))
        .collect();
    let lines = [&header, &rule].into_iter().chain(rows);
    lines.map(|cells| line(&columns, cells)).collect()
}

struct Column {
    width: usize,
    right: bool,
}

fn line(columns: &[Column], cells: &[String]) -> String {
    let cells = columns.iter().zip(cells).map(|(column, cell)| {
        let width = column.width;
        if column.right {
            format!("{cell:>width$}")
        } else {
            format!("{cell:<width$}")
        }
    });
    let cells: Vec<String> = cells.collect();
    cells.join("  ").trim_end().to_owned()
}

/// A box of a picture: a name and what stands under it.
pub(super) struct Member {
    pub(super) name: String,
    pub(super) lines: Vec<String>,
}

/// Draws replicas above, servers below, and the mesh between them, with a legend on the
/// right.
pub(super) fn picture(replicas: &[Member], servers: &[Member]) -> Vec<String> {
    let width = row_width(servers.len().max(replicas.len()));
    let indent = " ".repeat(width.saturating_sub(row_width(replicas.len())) / 2);
    let mut lines = Vec::new();
    let mut draw = |left: String, legend: &str| {
        lines.push(format!("{left:<width$}   {legend}").trim_end().to_owned());
    };
    draw(
        format!("{:^width$}", "X2Go Client (played by this demo)"),
        "",
    );
    let stems = row(replicas, |_| format!("{:^1$}", '│', BOX_INNER + 2));
    draw(format!("{indent}{stems}"), "any replica will do");
    let above = boxes(replicas, '┴', '┬');
    let legend = [
        "",
        "two replicas of the broker:",
        "x2gobroker-daemon, with no",
        "database of their own",
    ];
    for (idx, row) in above.into_iter().enumerate() {
        draw(format!("{indent}{row}"), legend.get(idx).unwrap_or(&""));
    }
    let mut mesh = vec!['═'; width];
    for (n_boxes, indent, joint) in [(replicas.len(), indent.len(), '╧'), (servers.len(), 0, '╤')]
    {
        for member_idx in 0..n_boxes {
            let middle = indent + member_idx * (BOX_INNER + 3) + BOX_INNER / 2 + 1;
            if let Some(place) = mesh.get_mut(middle) {
                *place = joint;
            }
        }
    }
    draw(
        mesh.into_iter().collect(),
        "the mesh: gRPC over mutual TLS, gossip",
    );
    let below = boxes(servers, '┴', '─');
    let legend = [
        "",
        "three X2Go servers, each with",
        "x2gobroker-agentd beside the",
        "session database of x2goserver",
    ];
    for (idx, row) in below.into_iter().enumerate() {
        draw(row, legend.get(idx).unwrap_or(&""));
    }
    lines
}

/// Draws boxes in a row; `top` and `bottom` are in the middle of their edges.
fn boxes(members: &[Member], top: char, bottom: char) -> Vec<String> {
    let n_lines = members
        .iter()
        .map(|member| member.lines.len())
        .max()
        .unwrap_or(0);
    let half = "─".repeat(BOX_INNER / 2);
    let edge = |left, middle, right| row(members, |_| format!("{left}{half}{middle}{half}{right}"));
    let cell = |text: &str| format!("│ {text:<width$}│", width = BOX_INNER - 1);
    let mut lines = vec![
        edge('┌', top, '┐'),
        row(members, |member| cell(&member.name)),
    ];
    for idx in 0..n_lines {
        let line = |member: &Member| cell(member.lines.get(idx).map_or("", String::as_str));
        lines.push(row(members, line));
    }
    lines.push(edge('└', bottom, '┘'));
    lines
}

fn row(members: &[Member], cell: impl Fn(&Member) -> String) -> String {
    let cells: Vec<String> = members.iter().map(cell).collect();
    cells.join(" ")
}

fn row_width(n_boxes: usize) -> usize {
    (n_boxes * (BOX_INNER + 3)).saturating_sub(1)
}

/// Breaks a record into lines of at most `width` characters, each behind a `|`. A field
/// that is longer stays whole.
pub(super) fn wrap_record(record: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for field in record.split_inclusive('|') {
        let Some(last) = lines.last_mut() else { break };
        if last.is_empty() || last.chars().count() + field.chars().count() <= width {
            last.push_str(field);
        } else {
            lines.push(field.to_owned());
        }
    }
    lines
}

/// Replaces the session cookie of a record, its seventh field, by dots.
pub(super) fn hide_cookie(record: &str) -> String {
    let fields = record.split('|').enumerate();
    let shown = fields.map(|(idx, field)| {
        if idx == COOKIE_IDX {
            "••••••••"
        } else {
            field
        }
    });
    shown.collect::<Vec<_>>().join("|")
}

/// Writes a duration as a person reads it: `4.2 ms`, `37 ms`, `1.3 s`.
pub(super) fn duration(duration: Duration) -> String {
    let ms = duration.as_secs_f64() * 1000.0;
    if ms < 10.0 {
        format!("{ms:.1} ms")
    } else if ms < 1000.0 {
        format!("{ms:.0} ms")
    } else {
        format!("{:.1} s", duration.as_secs_f64())
    }
}

/// Writes how many sessions are where: `s1 4, s2 4, s3 4`. Servers without any are told,
/// too.
pub(super) fn spread(servers: &[&str], of_sessions: &[&str]) -> String {
    let counts = servers.iter().map(|server| {
        let there = of_sessions
            .iter()
            .filter(|of_session| *of_session == server);
        format!("{server} {}", there.count())
    });
    counts.collect::<Vec<_>>().join(", ")
}

/// Room for `mesh 127.0.0.1:40001` would be too wide: ports alone fit. Odd, so that there
/// is a middle.
const BOX_INNER: usize = 15;
const COOKIE_IDX: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(rows: &[&[&str]]) -> Vec<Vec<String>> {
        let row = |row: &&[&str]| row.iter().map(|&cell| cell.to_owned()).collect();
        rows.iter().map(row).collect()
    }

    #[test]
    fn words_stand_left_and_numbers_right() {
        let lines = table(
            &["user", "ms", "why"],
            &rows(&[&["alice", "4.2", "best of 3"], &["zoë", "12.0", ""]]),
        );
        assert_eq!(
            lines,
            [
                "user     ms  why",
                "─────  ────  ─────────",
                "alice   4.2  best of 3",
                "zoë    12.0",
            ]
        );
    }

    #[test]
    fn the_last_column_stands_left_even_if_it_begins_with_numbers() {
        let lines = table(
            &["user", "why"],
            &rows(&[&["a", "0.14, best"], &["b", "0.2"]]),
        );
        assert_eq!(lines.last().map(String::as_str), Some("b     0.2"));
    }

    #[test]
    fn a_table_without_rows_is_its_header() {
        assert_eq!(table(&["user", "why"], &[]), ["user  why", "────  ───"]);
    }

    #[test]
    fn the_picture_shows_each_member_and_fits_100_columns() {
        let member = |name: &str| Member {
            name: name.to_owned(),
            lines: vec!["mesh :41001".to_owned(), "HTTP :41002".to_owned()],
        };
        let lines = picture(
            &[member("broker1"), member("broker2")],
            &[member("s1"), member("s2"), member("s3")],
        );
        let text = lines.join("\n");
        assert!(
            text.contains("│ broker1       │ │ broker2       │"),
            "{text}"
        );
        assert!(
            text.contains("│ s1            │ │ s2            │ │ s3            │"),
            "{text}"
        );
        assert!(
            lines.iter().all(|line| line.chars().count() <= 100),
            "{text}"
        );
    }

    #[test]
    fn a_record_is_broken_behind_its_bars() {
        assert_eq!(wrap_record("ab|cd|ef|g", 6), ["ab|cd|", "ef|g"]);
        assert_eq!(wrap_record("abcdefgh|i", 4), ["abcdefgh|", "i"]);
        assert_eq!(wrap_record("", 4), [""]);
    }

    #[test]
    fn the_cookie_of_a_record_is_not_shown() {
        let record = "2245|alice-50-1_stDXFCE_dp24|50|s1|S|2026|7f6f58b8|10.77.0.20";
        let shown = "2245|alice-50-1_stDXFCE_dp24|50|s1|S|2026|••••••••|10.77.0.20";
        assert_eq!(hide_cookie(record), shown);
        assert_eq!(hide_cookie("short|record"), "short|record");
    }

    #[test]
    fn a_duration_has_as_many_digits_as_matter() {
        let check = |micros, text: &str| assert_eq!(duration(Duration::from_micros(micros)), text);
        check(420, "0.4 ms");
        check(4_200, "4.2 ms");
        check(37_400, "37 ms");
        check(1_340_000, "1.3 s");
    }

    #[test]
    fn a_spread_tells_also_who_has_none() {
        let text = spread(&["s1", "s2", "s3"], &["s1", "s3", "s1"]);
        assert_eq!(text, "s1 2, s2 0, s3 1");
    }
}
