//! What has the demo claimed, and did it hold?

use std::fs;
use std::io::{IsTerminal as _, Stdout, Write as _, stdout};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::interrupt::Interrupted;
use super::log::last_lines;
use super::table::duration;

/// The screen, and what was claimed on it.
#[derive(Debug)]
pub(super) struct Report {
    out: Stdout,
    colours: bool,
    n_steps: usize,
    claims: Vec<Claim>,
    /// The folder with the logs of the programs.
    logs: PathBuf,
}

#[derive(Debug)]
struct Claim {
    text: String,
    held: bool,
    /// When it did not hold: the ends of the logs at that moment, by the program's name.
    logs: Vec<(String, String)>,
}

impl Report {
    /// Prints to standard output, with colours if that is a terminal.
    pub(super) fn on_stdout() -> Self {
        let out = stdout();
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let colours = out.is_terminal() && !no_colour;
        Self {
            out,
            colours,
            n_steps: 0,
            claims: Vec::new(),
            logs: PathBuf::new(),
        }
    }

    /// From now on, claims that don't hold show what stands in the logs of this folder.
    pub(super) fn use_logs(&mut self, folder: PathBuf) {
        self.logs = folder;
    }

    /// Prints lines as they are.
    pub(super) fn text(&mut self, text: &str) {
        // Nobody is left to tell when this fails.
        let _ = writeln!(self.out, "{text}");
    }

    /// Begins the next step of the show.
    pub(super) fn step(&mut self, title: &str, sentence: &str) {
        self.n_steps += 1;
        let title = self.paint(BOLD, &format!("{}. {title}", self.n_steps));
        self.text(&format!("\n{title}"));
        self.text(&indented(sentence));
        self.text("");
    }

    /// Prints lines that belong to the step, a little to the right.
    pub(super) fn lines<T: AsRef<str>>(&mut self, lines: &[T]) {
        for line in lines {
            self.text(&indented(line.as_ref()));
        }
    }

    /// Prints lines that explain those above.
    pub(super) fn note(&mut self, text: &str) {
        for line in text.lines() {
            let line = self.paint(DIM, line.trim_end());
            self.text(&indented(&line));
        }
    }

    /// Claims something: prints it with ✓ or ✗. The logs of the programs `about` tell more.
    pub(super) fn check<T: AsRef<str>>(&mut self, about: &[T], held: bool, text: &str) {
        let mark = if held {
            self.paint(GREEN, "✓")
        } else {
            self.paint(RED, "✗")
        };
        self.text(&indented(&format!("{mark} {text}")));
        let about = about.iter().filter(|_| !held).map(AsRef::as_ref);
        let logs = about.filter_map(|name| Some((name.to_owned(), log_end(&self.logs, name)?)));
        let logs = logs.collect();
        self.claims.push(Claim {
            text: text.to_owned(),
            held,
            logs,
        });
    }

    /// Claims that a wait has ended well, and tells how long it took. Without success it
    /// tells what was missing, and returns false.
    ///
    /// # Errors
    /// [`Interrupted`].
    pub(super) fn check_wait<T: AsRef<str>>(
        &mut self,
        about: &[T],
        waited: anyhow::Result<Duration>,
        text: &str,
    ) -> anyhow::Result<bool> {
        match waited {
            Ok(took) => self.check(about, true, &format!("{text} after {}", duration(took))),
            Err(error) if error.is::<Interrupted>() => return Err(error),
            Err(error) => {
                self.check(about, false, &format!("{text}: {error:#}"));
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Prints the end: whether all claims held, and else which did not, with the logs that
    /// may tell why. Returns whether all held.
    pub(super) fn verdict(&mut self, took: Duration) -> bool {
        let n_claims = self.claims.len();
        let claims = std::mem::take(&mut self.claims);
        let broken: Vec<Claim> = claims.into_iter().filter(|claim| !claim.held).collect();
        if broken.is_empty() {
            let text = format!("All {n_claims} claims held, in {}.", duration(took));
            let text = self.paint(GREEN, &text);
            self.text(&format!("\n{text}"));
            return true;
        }
        let text = format!("{} of {n_claims} claims did not hold:", broken.len());
        let text = self.paint(RED, &text);
        self.text(&format!("\n{text}"));
        for claim in broken {
            self.text(&format!("\n✗ {}", claim.text));
            for (name, log) in claim.logs {
                self.note(&format!("\nThe log of {name} ended then with:"));
                self.lines(&[log]);
            }
        }
        false
    }

    /// Prints why the demo could not go on.
    pub(super) fn failed(&mut self, error: &anyhow::Error) {
        let text = self.paint(RED, &format!("The demo failed: {error:#}"));
        self.text(&format!("\n{text}"));
    }

    fn paint(&self, colour: &str, text: &str) -> String {
        if self.colours {
            format!("\x1b[{colour}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// Returns the end of the newest log of this program, if it has one.
fn log_end(folder: &Path, name: &str) -> Option<String> {
    let of_program = |path: &PathBuf| {
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        let start = stem.and_then(|stem| stem.strip_prefix(name));
        start.is_some_and(|start| start.is_empty() || start.starts_with('-'))
    };
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    let logs = files.map(|file| file.path()).filter(of_program);
    let changed = |path: &PathBuf| fs::metadata(path).and_then(|facts| facts.modified()).ok();
    let bytes = fs::read(logs.max_by_key(changed)?).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    Some(last_lines(&text, N_LOG_LINES, LOG_WIDTH))
}

fn indented(text: &str) -> String {
    let lines = text
        .lines()
        .map(|line| format!("   {line}").trim_end().to_owned());
    lines.collect::<Vec<_>>().join("\n")
}

const BOLD: &str = "1";
const DIM: &str = "2";
const RED: &str = "31";
const GREEN: &str = "32";
/// Enough to see what a program did last.
const N_LOG_LINES: usize = 12;
/// Errors carry long chains of sources; their beginnings say most.
const LOG_WIDTH: usize = 240;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_programs_newest_log_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text| fs::write(folder.path().join(name), text).unwrap();
        write("s10.log", "another program\n");
        assert_eq!(log_end(folder.path(), "s1"), None);
        write("s1-2.log", "member joined\nmember left\n");
        let end = log_end(folder.path(), "s1");
        assert_eq!(end.as_deref(), Some("member joined\nmember left"));
    }

    #[test]
    fn every_line_is_moved_to_the_right() {
        assert_eq!(indented("a\n\n  b"), "   a\n\n     b");
    }
}
