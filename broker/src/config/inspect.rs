//! What is wrong with all files of a configuration, even if some of them can't be used?

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::load::{self, Origin};
use super::{Config, InifileConfig, NamedBroker, default_files};
use crate::ini::{Problem, ProblemKind};

/// What a configuration leads to, as far as it can be read.
#[derive(Debug)]
pub(super) struct Leads {
    pub(super) inifile: InifileConfig,
    pub(super) preset_file: Option<PathBuf>,
    pub(super) brokers: Vec<NamedBroker>,
}

impl Origin {
    /// All that is wrong with the files and the environment, and with what they lead to.
    /// `default_files` is the directory of the files of init scripts.
    #[must_use]
    pub fn inspect(&self, default_files: &Path) -> Vec<Problem> {
        let (mut problems, leads) = self.inspect_one();
        for named in &leads.brokers {
            let origin = Self {
                config_file: named.config_file.clone(),
                ..self.clone()
            };
            problems.extend(origin.inspect_one().0);
        }
        problems.extend(default_files::inspect(self, default_files));
        problems
    }

    fn inspect_one(&self) -> (Vec<Problem>, Leads) {
        let mut problems = Vec::new();
        let mut text_of = |read: Result<String, Problem>| {
            read.unwrap_or_else(|problem| {
                problems.push(problem);
                String::new()
            })
        };
        let config = text_of(load::read(&self.config_file));
        let defaults = text_of(load::read_if_exists(&self.defaults_file));
        let names = self.file_names();
        let (found, leads) = Config::inspect(&self.sources(&names, &config, &defaults));
        problems.extend(found);
        if leads.inifile.enabled {
            match load::session_profiles(&leads.inifile) {
                Ok((_, found)) | Err(found) => problems.extend(found),
            }
        }
        problems.extend(leads.preset_file.as_deref().and_then(preset_file));
        (problems, leads)
    }
}

/// What is wrong with `x2gobroker.authid`.
fn preset_file(path: &Path) -> Option<Problem> {
    let name = path.display().to_string();
    let text = match load::read(path) {
        Ok(text) => text,
        Err(problem) => return Some(problem),
    };
    let mut lines = text.lines().map(str::trim);
    if !lines.any(|line| !line.is_empty() && !line.starts_with('#')) {
        let text = "there is no AUTHID in this file; put one into a line of its own";
        return Some(Problem::of_file(&name, text));
    }
    let mode = std::fs::metadata(path).ok()?.mode();
    (mode & READABLE_BY_OTHERS != 0).then(|| {
        let text = "everybody on this host can read the AUTHID; chmod 0640 this file";
        let problem = Problem::of_file(&name, text).as_warning();
        problem.of_kind(ProblemKind::Wrong)
    })
}

const READABLE_BY_OTHERS: u32 = 0o004;
