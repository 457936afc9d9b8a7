//! Do the crates depend on each other as ARCHITECTURE.md says, and are the pure modules pure?

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Which crate may use which of ours.
const OURS: &[(&str, &[&str])] = &[
    ("proto", &[]),
    ("pki", &[]),
    ("agent/gossip", &["pki", "proto"]),
    ("agent/shim", &[]),
    ("agent", &["gossip", "pki", "proto", "shim"]),
    ("broker", &["gossip", "pki", "proto"]),
    ("broker/authservice", &["proto"]),
    ("tests", &["agent", "broker", "gossip", "pki", "proto"]),
    ("deploy", &[]),
];

/// Foreign crates that only these of ours may name.
const OWNERS: &[(&str, &[&str])] = &[
    ("chitchat", &["agent/gossip"]),
    ("async-trait", &["agent/gossip"]),
    ("aws-lc-rs", &["broker"]),
    ("rcgen", &["pki"]),
    ("x509-parser", &["pki"]),
    ("rustls", &["pki"]),
    ("prost", &["proto"]),
    // The broker asks the system for the groups of its users, and std can't.
    (
        "nix",
        &["agent", "agent/shim", "broker", "broker/authservice"],
    ),
    ("nonstick", &["broker/authservice"]),
    ("rusqlite", &["agent", "tests"]),
    ("axum", &["broker", "tests"]),
];

/// Modules that decide, and so must not reach for the world.
const PURE: &[&str] = &[
    "proto/src",
    "broker/src/acl.rs",
    "broker/src/acl",
    "broker/src/agent_key.rs",
    "broker/src/autologin/pair.rs",
    "broker/src/ini.rs",
    "broker/src/ini",
    "broker/src/logins.rs",
    "broker/src/names.rs",
    "broker/src/names",
    "broker/src/placement.rs",
    "broker/src/placement",
    "broker/src/profiles.rs",
    "broker/src/profiles",
    "broker/src/frontend/form.rs",
    "broker/src/cli/ssh/options.rs",
    "broker/src/cli/ssh/original_command.rs",
    "broker/src/cli/ssh/words.rs",
    "broker/src/frontend/plain.rs",
    "broker/src/task/list_sessions.rs",
    "agent/src/admission.rs",
    "agent/src/evacuation/due.rs",
    "agent/src/keys/ledger.rs",
    "agent/src/keys/ledger/removal.rs",
    "agent/src/keys/line.rs",
    "agent/src/keys/offers.rs",
    "agent/gossip/src/change.rs",
    "agent/shim/src/answer.rs",
    "agent/shim/src/authorized_keys.rs",
    "agent/shim/src/caller.rs",
    "agent/shim/src/location.rs",
    "agent/shim/src/own_file.rs",
    "agent/shim/src/request.rs",
    "agent/shim/src/request",
    "agent/shim/src/target.rs",
];

const IMPURE: &[&str] = &[
    "tokio::",
    "std::fs",
    "std::net::Tcp",
    "std::net::Udp",
    "std::process",
    "std::env",
    "SystemTime",
    "Instant::now",
    "Clock",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// The crates that a manifest names, by section.
fn dependencies(krate: &str) -> BTreeMap<String, BTreeSet<String>> {
    let path = root().join(krate).join("Cargo.toml");
    let text = fs::read_to_string(&path).expect("each crate has a manifest");
    let mut sections = BTreeMap::<String, BTreeSet<String>>::new();
    let mut section = String::new();
    for line in text.lines().map(str::trim) {
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|line| line.strip_suffix(']'))
        {
            name.clone_into(&mut section);
        } else if section.ends_with("dependencies") && !line.starts_with('#') {
            let name = line.split(['.', ' ', '=']).next().unwrap_or_default();
            if !name.is_empty() {
                sections
                    .entry(section.clone())
                    .or_default()
                    .insert(name.to_owned());
            }
        }
    }
    sections
}

#[test]
fn crates_use_of_ours_only_what_the_table_says() {
    let names: BTreeSet<&str> = OURS
        .iter()
        .map(|(krate, _)| krate.rsplit('/').next().unwrap())
        .collect();
    for (krate, allowed) in OURS {
        let used: BTreeSet<String> = dependencies(krate)
            .remove("dependencies")
            .unwrap_or_default();
        let ours = used
            .iter()
            .map(String::as_str)
            .filter(|name| names.contains(name));
        let more: Vec<&str> = ours.filter(|name| !allowed.contains(name)).collect();
        assert!(more.is_empty(), "{krate} must not use {more:?}");
    }
}

#[test]
fn foreign_crates_have_one_owner() {
    for (krate, _) in OURS {
        let used = dependencies(krate)
            .remove("dependencies")
            .unwrap_or_default();
        for (foreign, owners) in OWNERS {
            let named = used.contains(*foreign);
            assert!(
                !named || owners.contains(krate),
                "{foreign} belongs to {owners:?}, not {krate}"
            );
        }
    }
}

#[test]
fn every_crate_follows_the_workspace() {
    for (krate, _) in OURS {
        let text = fs::read_to_string(root().join(krate).join("Cargo.toml")).unwrap();
        assert!(
            text.contains("[lints]\nworkspace = true"),
            "{krate} has lints of its own"
        );
        for (_, names) in dependencies(krate) {
            for name in names {
                let inherits = [
                    format!("{name}.workspace = true"),
                    format!("{name} = {{ workspace = true"),
                ];
                assert!(
                    inherits.iter().any(|line| text.contains(line)),
                    "{krate}: {name} must take its version from the workspace"
                );
            }
        }
    }
}

#[test]
fn pure_modules_reach_for_nothing() {
    let mut n_files = 0;
    for place in PURE {
        for file in rust_files(&root().join(place)) {
            n_files += 1;
            let text = fs::read_to_string(&file).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            let lines = code
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"));
            for line in lines {
                let found = IMPURE.iter().find(|word| line.contains(**word));
                assert!(found.is_none(), "{}: {line}", file.display());
            }
        }
    }
    assert!(
        n_files > 30,
        "only {n_files} pure files were found: the table is out of date"
    );
}

fn rust_files(place: &Path) -> Vec<PathBuf> {
    if place.is_file() {
        return vec![place.to_owned()];
    }
    let Ok(entries) = fs::read_dir(place) else {
        return Vec::new();
    };
    let paths = entries.map(|entry| entry.unwrap().path());
    let is_test = |path: &PathBuf| {
        path.file_stem()
            .is_some_and(|stem| stem == "tests" || stem == "testing")
    };
    let all = paths.filter(|path| !is_test(path)).flat_map(|path| {
        if path.is_dir() {
            rust_files(&path)
        } else {
            vec![path]
        }
    });
    all.filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect()
}
