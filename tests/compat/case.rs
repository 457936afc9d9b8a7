//! What is in the folder of a recorded case?

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

use crate::message;
use crate::notes::{NotedStep, Notes};

/// A recorded case: what was asked of the original, and what it answered.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// The name of its folder.
    pub(crate) name: String,
    pub(crate) notes: Notes,
    /// `x2gobroker.conf`.
    pub(crate) config: String,
    /// `x2gobroker-sessionprofiles.conf`.
    pub(crate) profiles: String,
    /// The connections, each with its requests.
    pub(crate) connections: Vec<Vec<Step>>,
}

/// One request and its answer.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// Counted from 1 through the whole case.
    pub(crate) number: usize,
    pub(crate) noted: NotedStep,
    pub(crate) request: Vec<u8>,
    pub(crate) recorded: Vec<u8>,
}

/// Where the recorded cases are: in this crate, or where `X2GOBROKER_COMPAT_CASES` says.
pub(crate) fn recorded() -> PathBuf {
    let own = || Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    std::env::var_os("X2GOBROKER_COMPAT_CASES").map_or_else(own, PathBuf::from)
}

/// The names of all folders, also of those that hold no HTTP.
pub(crate) fn folders(root: &Path) -> anyhow::Result<Vec<String>> {
    let entries = fs::read_dir(root).with_context(|| format!("reading {}", root.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.path().is_dir() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// Loads all cases that are spoken over HTTP.
pub(crate) fn load_all(root: &Path) -> anyhow::Result<Vec<Case>> {
    let is_http = |name: &String| root.join(name).join("notes.txt").exists();
    let names = folders(root)?.into_iter().filter(is_http);
    names.map(|name| load(root, &name)).collect()
}

fn load(root: &Path, name: &str) -> anyhow::Result<Case> {
    let folder = root.join(name);
    let read = |file: &str| {
        let bytes = fs::read(folder.join(file)).with_context(|| format!("{name}/{file}"))?;
        anyhow::Ok(bytes)
    };
    let text = |file: &str| anyhow::Ok(String::from_utf8(read(file)?)?);
    let notes = Notes::parse(&text("notes.txt")?).with_context(|| name.to_owned())?;
    let mut files: Vec<String> = fs::read_dir(&folder)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<std::io::Result<_>>()?;
    files.sort_by_key(|file| (file.len(), file.clone()));
    let mut connections: Vec<Vec<(Vec<u8>, Vec<u8>)>> = Vec::new();
    for file in &files {
        if let Some(rest) = file.strip_prefix("request") {
            let request = message::in_full(read(file)?)?;
            connections.push(vec![(request, read(&format!("response{rest}"))?)]);
        } else if let Some(stream) = file.strip_suffix(".c2s") {
            let requests = message::split(&read(file)?)?;
            let answers = message::split(&read(&format!("{stream}.s2c"))?)?;
            ensure!(
                requests.len() == answers.len(),
                "{name}/{file}: a request without its answer"
            );
            connections.push(requests.into_iter().zip(answers).collect());
        }
    }
    let mut noted = notes.steps.iter();
    let mut number = 0;
    let mut step = |(request, recorded)| {
        number += 1;
        let noted = noted
            .next()
            .with_context(|| format!("{name}: step {number} is not noted"))?;
        Ok(Step {
            number,
            noted: noted.clone(),
            request,
            recorded,
        })
    };
    let connections: anyhow::Result<Vec<Vec<Step>>> = connections
        .into_iter()
        .map(|steps| steps.into_iter().map(&mut step).collect())
        .collect();
    Ok(Case {
        name: name.to_owned(),
        config: text("x2gobroker.conf")?,
        profiles: text("sessionprofiles.conf")?,
        connections: connections?,
        notes,
    })
}

impl Case {
    /// Whether the original asked servers in this case.
    pub(crate) fn asks_servers(&self) -> bool {
        let mut lines = self.config.lines().filter_map(|line| line.split_once('='));
        lines.any(|(key, value)| {
            key.trim().ends_with("agent-query-mode") && !value.trim().eq_ignore_ascii_case("none")
        })
    }
}
