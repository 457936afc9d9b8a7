//! Does each known fault of the original have a test that shows it is not made here?

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn every_fault_of_the_original_has_a_test_that_exists() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = fs::read_to_string(here.join("faults.toml")).unwrap();
    let mut sources = String::new();
    for folder in ["broker", "agent", "proto", "tests"] {
        collect(&here.parent().unwrap().join(folder), &mut sources);
    }
    let lines = table.lines().filter(|line| line.starts_with("tests = "));
    let names: Vec<&str> = lines
        .flat_map(|line| line.split('"').skip(1).step_by(2))
        .collect();
    assert!(names.len() > 15, "the table is not read: {names:?}");
    let is_test = |name: &&&str| {
        let function = format!("fn {name}()");
        let at = sources.find(&function);
        at.is_some_and(|at| {
            let before = sources.get(..at).unwrap_or_default();
            let (above, _) = before.rsplit_once('\n').unwrap_or_default();
            above.trim_end().ends_with("test]")
        })
    };
    let missing: Vec<&&str> = names.iter().filter(|name| !is_test(name)).collect();
    assert!(missing.is_empty(), "no such test: {missing:?}");
}

/// Adds the text of all Rust files below a folder.
fn collect(folder: &Path, sources: &mut String) {
    let entries = fs::read_dir(folder).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        let is_built = path.file_name().is_some_and(|name| name == "target");
        if path.is_dir() && !is_built {
            collect(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            sources.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}
