//! Does ours answer as x2gobroker 0.0.4.3 did? Each recorded case, against real programs.
//!
//! The cases are data (`tests/golden`, or the folder `X2GOBROKER_COMPAT_CASES`): a request,
//! the answer of the original, the configuration, and notes on the state before and on what
//! varies from run to run. A difference is allowed only if it stands, with its reason, in
//! `differences.toml`; MIGRATION.md's table is made from that. `X2GOBROKER_COMPAT_ANSWERS=DIR`
//! keeps our answers.
//!
//! Needs root and namespaces, and libpam to link with. Without them the replays say so and
//! pass, or fail when `X2GOBROKER_FARM=required`.
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]
#![expect(clippy::print_stdout, reason = "a replay prints its figures")]

mod case;
mod commands;
mod differences;
mod keys;
mod message;
mod migration;
mod normal;
mod notes;
mod replay;
mod servers;
mod site;
mod stage;
mod state;
mod talk;

use differences::Table;

fn table() -> Table {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/compat/differences.toml");
    Table::parse(&std::fs::read_to_string(file).unwrap()).unwrap()
}

#[test]
fn cases_without_servers_are_answered_as_recorded() {
    stage::on_stage("cases_without_servers_are_answered_as_recorded", || {
        replay::replay(&table(), |case| !case.asks_servers());
    });
}

#[test]
fn cases_with_servers_are_answered_as_recorded() {
    stage::on_stage("cases_with_servers_are_answered_as_recorded", || {
        replay::replay(&table(), case::Case::asks_servers);
    });
}

#[test]
fn command_lines_of_x2gobroker_ssh_are_answered_as_recorded() {
    let test = "command_lines_of_x2gobroker_ssh_are_answered_as_recorded";
    stage::on_stage(test, || commands::replay(&table()));
}

#[test]
fn each_folder_is_replayed_or_has_a_reason() {
    let root = case::recorded();
    let table = table();
    let replayed = case::load_all(&root).unwrap();
    for folder in case::folders(&root).unwrap() {
        let is_replayed =
            folder == commands::FOLDER || replayed.iter().any(|case| case.name == folder);
        let reason = table
            .not_replayed
            .iter()
            .find(|entry| entry.folder == folder);
        let has_reason = reason.is_some_and(|entry| !entry.reason.is_empty());
        assert!(
            is_replayed != has_reason,
            "{folder}: replayed {is_replayed}, a reason {has_reason}"
        );
    }
}

#[test]
fn the_table_names_cases_and_tests_that_exist() {
    let root = case::recorded();
    if std::env::var_os("X2GOBROKER_COMPAT_CASES").is_some() {
        return;
    }
    let table = table();
    for name in table.cases() {
        assert!(root.join(name).is_dir(), "no case {name}");
    }
    let workspace = root.parent().and_then(|tests| tests.parent()).unwrap();
    for file in table.rows().filter_map(|row| row.shown_by.as_deref()) {
        assert!(workspace.join(file).exists(), "no test {file}");
    }
}
