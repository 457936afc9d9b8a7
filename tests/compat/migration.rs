//! Does MIGRATION.md hold the table of differences, as it is?
//!
//! `UPDATE_EXPECT=1 cargo nextest run -p tests --test compat migration` writes it anew.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::differences::{Difference, Kind, Table};

/// The part of MIGRATION.md that is made here, without its heading.
fn section(table: &Table) -> String {
    let mut text = String::from(
        "\nMade from `tests/compat/differences.toml`: each difference from the recorded answers of\n\
         0.0.4.3 stands here, or the tests fail. The kind says why it is\n\
         allowed: ours is safer, or plainly right.\n\n",
    );
    text += "| x2gobroker 0.0.4.3 | here | reason | kind |\n|---|---|---|---|\n";
    for row in table.rows().filter(|row| row.kind != Kind::NotYet) {
        text += &line(row);
    }
    if table.rows().any(|row| row.kind == Kind::NotYet) {
        text += "\nTo come, each with its issue:\n\n";
        text += "| x2gobroker 0.0.4.3 | here, so far | issue | kind |\n|---|---|---|---|\n";
        for row in table.rows().filter(|row| row.kind == Kind::NotYet) {
            text += &line(row);
        }
    }
    text
}

fn line(row: &Difference) -> String {
    let kind = match row.kind {
        Kind::Safer => "safer",
        Kind::Right => "right",
        Kind::NotYet => "to come",
    };
    let cells = [&row.original, &row.here, &row.reason].map(|cell| cell.replace('|', "\\|"));
    let mut line = String::new();
    let _infallible = writeln!(line, "| {} | {kind} |", cells.join(" | "));
    line
}

#[test]
fn migration_md_holds_the_table_of_differences() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../MIGRATION.md");
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(HEADING).unwrap();
    let (found, after) = rest.split_once("\n## ").unwrap();
    let wanted = section(&crate::table());
    if found == wanted {
        return;
    }
    assert!(
        std::env::var_os("UPDATE_EXPECT").is_some(),
        "MIGRATION.md is not what tests/compat/differences.toml says; put differences there, and \
         write MIGRATION.md anew with UPDATE_EXPECT=1"
    );
    fs::write(&path, format!("{before}{HEADING}{wanted}\n## {after}")).unwrap();
}

const HEADING: &str = "## What differs, and why\n";
