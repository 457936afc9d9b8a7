//! Are the lists that reviewers rely on true: what is in the setuid program beside our own
//! code, and which test stands against which hole?

use std::collections::BTreeSet;
use std::path::Path;

use tests::process::{command, run};

#[test]
fn the_tree_of_dependencies_is_the_reviewed_one() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut tree = command(cargo);
    tree.args(["tree", "--offline", "--locked", "--package", "shim"]);
    tree.args([
        "--edges",
        "normal,build",
        "--prefix",
        "none",
        "--format",
        "{p}",
    ]);
    let tree = run(tree.current_dir(workspace)).unwrap();
    let tree: BTreeSet<&str> = tree
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with("shim "))
        .collect();
    let list = workspace.join("agent/shim/dependencies.txt");
    let list = std::fs::read_to_string(list).unwrap();
    let list: BTreeSet<&str> = list
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .collect();
    assert_eq!(
        tree, list,
        "a change of this list needs a review of its own: agent/shim/dependencies.txt"
    );
}

#[test]
fn every_test_that_the_list_of_holes_names_is_there() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let list = std::fs::read_to_string(workspace.join("agent/shim/CVES.md")).unwrap();
    let named: Vec<&str> = list
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|word| word.contains("::"))
        .collect();
    assert!(named.len() > 20, "only {named:?}");
    for test in named {
        let (module, name) = test.rsplit_once("::").unwrap();
        // Unit tests stand in the module itself, or in a file `tests.rs` below it.
        let unit = module.strip_suffix("::tests");
        let files = match unit {
            Some(module) => vec![
                format!("agent/shim/src/{module}.rs"),
                format!("agent/shim/src/{module}/tests.rs"),
            ],
            None => vec![format!("tests/shim/{module}.rs")],
        };
        let has = |file: &String| {
            std::fs::read_to_string(workspace.join(file))
                .is_ok_and(|text| text.contains(&format!("fn {name}()")))
        };
        assert!(files.iter().any(has), "there is no test {test}");
    }
}
