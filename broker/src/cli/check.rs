//! What is wrong with the configuration, all of it, in all files?

use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use crate::config::load::Origin;
use crate::ini::{Problem, ProblemKind};

/// One problem for programs that read them. Names and meanings never change.
#[derive(Serialize)]
struct Told<'a> {
    severity: &'static str,
    kind: &'static str,
    file: &'a str,
    line: Option<u32>,
    section: Option<&'a str>,
    key: Option<&'a str>,
    text: &'a str,
}

/// All problems, sorted by file and line.
pub(super) fn problems(origin: &Origin, default_files: &Path) -> Vec<Problem> {
    let mut problems = origin.inspect(default_files);
    problems.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
    problems.dedup();
    problems
}

/// Whether somebody should mend it before the broker is started.
pub(super) fn is_wrong(problem: &Problem) -> bool {
    problem.is_error() || problem.kind == ProblemKind::Unknown
}

/// A list of objects, one a line.
pub(super) fn json(problems: &[Problem]) -> Result<String> {
    let lines = problems.iter().map(|problem| {
        serde_json::to_string(&Told {
            severity: severity(problem),
            kind: problem.kind.word(),
            file: &problem.file,
            line: problem.line,
            section: problem.section.as_deref(),
            key: problem.key.as_deref(),
            text: &problem.text,
        })
    });
    let lines: Vec<String> = lines.collect::<Result<_, _>>()?;
    Ok(match lines.is_empty() {
        true => "[]\n".to_owned(),
        false => format!("[\n{}\n]\n", lines.join(",\n")),
    })
}

/// A line for each, and one that counts them.
pub(super) fn text(problems: &[Problem]) -> String {
    let mut text = String::new();
    for problem in problems {
        text += &format!("{}: {problem}\n", severity(problem));
    }
    let n_errors = problems.iter().filter(|problem| problem.is_error()).count();
    let n_warnings = problems.len() - n_errors;
    text + &format!("{n_errors} error(s), {n_warnings} warning(s)\n")
}

fn severity(problem: &Problem) -> &'static str {
    match problem.is_error() {
        true => "error",
        false => "warning",
    }
}

/// Where the packages of x2gobroker 0.0.4.3 install the files of their init scripts.
pub(super) const DEFAULT_FILES: &str = "/etc/default";

#[cfg(test)]
mod tests {
    use super::{is_wrong, json, text};
    use crate::ini::{Problem, ProblemKind};

    #[test]
    fn problems_are_told_to_people_and_to_programs() {
        let wrong = Problem {
            line: Some(3),
            section: Some("global".to_owned()),
            key: Some("verify-ip".to_owned()),
            ..Problem::of_file("a \"file\"", "this is neither true nor false")
        };
        let ignored = Problem::of_file("b", "this has no effect").as_warning();
        let ignored = ignored.of_kind(ProblemKind::Ignored);
        let all = [wrong, ignored];
        assert_eq!(all.each_ref().map(is_wrong), [true, false]);
        let expected = "error: a \"file\":3: [global] verify-ip: this is neither true nor false\n\
            warning: b: this has no effect\n1 error(s), 1 warning(s)\n";
        assert_eq!(text(&all), expected);
        let expected = "[\n{\"severity\":\"error\",\"kind\":\"wrong\",\"file\":\"a \\\"file\\\"\",\
            \"line\":3,\"section\":\"global\",\"key\":\"verify-ip\",\
            \"text\":\"this is neither true nor false\"},\n\
            {\"severity\":\"warning\",\"kind\":\"ignored\",\"file\":\"b\",\"line\":null,\
            \"section\":null,\"key\":null,\"text\":\"this has no effect\"}\n]\n";
        assert_eq!(json(&all).unwrap(), expected);
        assert_eq!(json(&[]).unwrap(), "[]\n");
    }
}
