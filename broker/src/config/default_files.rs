//! What do the files of init scripts in `/etc/default` say that nobody hears?
//!
//! Init scripts of x2gobroker 0.0.4.3 read them as shell and hand the values on in the
//! environment; under systemd nobody reads them, there or here: `defaults.conf` counts.

use std::path::Path;

use super::keys;
use super::load::{self, Origin};
use crate::ini::{Ini, Problem, ProblemKind, flag};

/// `KEY=value` in a line of shell.
#[derive(Debug, PartialEq, Eq)]
struct Assignment<'a> {
    line: u32,
    name: &'a str,
    value: &'a str,
}

/// What is set there and does not count.
pub(super) fn inspect(origin: &Origin, directory: &Path) -> Vec<Problem> {
    let defaults = load::read_if_exists(&origin.defaults_file).unwrap_or_default();
    let (defaults, _) = Ini::parse_leniently(&defaults);
    let counts = |assignment: &Assignment<'_>| {
        let entries = ["daemon", "common"].map(|section| defaults.get(section, assignment.name));
        let mut entries = entries
            .into_iter()
            .flatten()
            .map(|entry| entry.value.as_str());
        let environment = origin.environment.get(assignment.name).map(String::as_str);
        environment.or(entries.next()) == Some(assignment.value)
    };
    let mut problems = Vec::new();
    for file in FILES {
        let path = directory.join(file);
        let text = match load::read_if_exists(&path) {
            Ok(text) => text,
            Err(problem) => {
                problems.push(problem.as_warning());
                continue;
            }
        };
        for assignment in assignments(&text).filter(|assignment| !counts(assignment)) {
            if let Some((kind, text)) = remark(&assignment) {
                let problem = Problem {
                    line: Some(assignment.line),
                    key: Some(assignment.name.to_owned()),
                    ..Problem::of_file(&path.display().to_string(), text)
                };
                problems.push(problem.as_warning().of_kind(kind));
            }
        }
    }
    problems
}

fn remark(assignment: &Assignment<'_>) -> Option<(ProblemKind, String)> {
    let is_on = flag(assignment.value).unwrap_or(true);
    let text = match (assignment.name, is_on) {
        ("START_BROKER" | "START_AUTHSERVICE", true) | ("START_LOADCHECKER", false) => return None,
        ("START_LOADCHECKER", true) => {
            "this counts for init scripts only; enable x2gobroker-loadchecker.socket under systemd"
        }
        (name, false) if name.starts_with("START_") => {
            "this counts for init scripts only; use systemctl disable under systemd"
        }
        (name, _) if keys::is_setting(name) => {
            "this counts for init scripts only; under systemd put it into defaults.conf"
        }
        (name, _) => return keys::unknown_setting(name),
    };
    Some((ProblemKind::Ignored, text.to_owned()))
}

/// The assignments of a text of shell; whatever else stands there is for the shell.
fn assignments(text: &str) -> impl Iterator<Item = Assignment<'_>> {
    let lines = (1..).zip(text.lines());
    lines.filter_map(|(line, text)| {
        let text = text.trim();
        let text = text.strip_prefix("export ").unwrap_or(text).trim_start();
        let (name, value) = text.split_once('=')?;
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(is_name) {
            return None;
        }
        let value = unquoted(value);
        Some(Assignment { line, name, value })
    })
}

/// The word behind `=`: in quotes, or up to a blank.
fn unquoted(text: &str) -> &str {
    for quote in ['\'', '"'] {
        let quoted = text.strip_prefix(quote);
        if let Some((inner, _)) = quoted.and_then(|text| text.split_once(quote)) {
            return inner;
        }
    }
    text.split_whitespace().next().unwrap_or_default()
}

/// In the order in which init scripts read them.
const FILES: [&str; 4] = [
    "python-x2gobroker",
    "x2gobroker-daemon",
    "x2gobroker-authservice",
    "x2gobroker-loadchecker",
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{Assignment, assignments, inspect};
    use crate::config::load::Origin;

    #[test]
    fn shell_assignments_are_found() {
        let text = "# A=1\n  B=2 # two\nexport C='a b'\nD=\"x\"\nE=\n. /other\nif x=1; then\n";
        let expected = [(2, "B", "2"), (3, "C", "a b"), (4, "D", "x"), (5, "E", "")];
        let found: Vec<_> = assignments(text).collect();
        let expected = expected.map(|(line, name, value)| Assignment { line, name, value });
        assert_eq!(found, expected);
    }

    #[test]
    fn what_only_an_init_script_hears_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            std::fs::write(directory.path().join(name), text).unwrap();
        };
        write(
            "x2gobroker-daemon",
            "START_BROKER=true\nDAEMON_BIND_ADDRESS=127.0.0.1:8443\nX2GOBROKER_DEBUG=1\n\
             X2GOBROKER_DEBGU=1\n",
        );
        write("x2gobroker-loadchecker", "START_LOADCHECKER=true\n");
        write("defaults.conf", "[common]\nX2GOBROKER_DEBUG=1\n");
        let origin = Origin {
            config_file: directory.path().join("none"),
            defaults_file: directory.path().join("defaults.conf"),
            environment: BTreeMap::new(),
            bind: None,
            host_name: "broker1".to_owned(),
        };
        let problems = inspect(&origin, directory.path());
        let told: Vec<_> = problems
            .iter()
            .map(|p| (p.line.unwrap(), p.key.as_deref().unwrap(), p.kind.word()))
            .collect();
        let expected = [
            (2, "DAEMON_BIND_ADDRESS", "ignored"),
            (4, "X2GOBROKER_DEBGU", "unknown"),
            (1, "START_LOADCHECKER", "ignored"),
        ];
        assert_eq!(told, expected);
        assert!(problems[1].text.ends_with("did you mean X2GOBROKER_DEBUG?"));
    }
}
