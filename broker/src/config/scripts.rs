//! Which scripts of the operator run, and how?

use std::collections::HashMap;
use std::time::Duration;

use super::raw::RawConfig;
use crate::scripts::{ScriptsConfig, Stage};

/// The keys of the original name them; `[scripts]` says where they lie.
pub(super) fn scripts(raw: &mut RawConfig<'_>) -> ScriptsConfig {
    let directory = raw.text("scripts", "directory").unwrap_or(DIRECTORY).into();
    let deadline = raw.number("scripts", "deadline", 1..=60, 5);
    let stages = [
        (Stage::PreAuth, "pre_auth_scripts"),
        (Stage::PostAuth, "post_auth_scripts"),
        (Stage::SelectSession, "select_session_scripts"),
    ];
    let mut names = HashMap::new();
    for (stage, key) in stages {
        let Some(key) = raw.entry("global", key) else {
            continue;
        };
        let items = key.value().split(',').map(str::trim);
        let items: Vec<&str> = items.filter(|name| !name.is_empty()).collect();
        for name in items.iter().filter(|name| !is_file_name(name)) {
            raw.error(
                key,
                format!("{name:?} is no file name; scripts lie in [scripts] directory"),
            );
        }
        names.insert(stage, items.into_iter().map(str::to_owned).collect());
    }
    ScriptsConfig {
        directory,
        deadline: Duration::from_secs(deadline.into()),
        names,
    }
}

fn is_file_name(name: &str) -> bool {
    let in_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    name.chars().all(in_name) && !name.starts_with(['.', '-'])
}

const DIRECTORY: &str = "/etc/x2go/broker/scripts";
