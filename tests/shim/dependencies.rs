//! What is in the setuid program beside our own code? Exactly what its list says.

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
