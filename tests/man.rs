//! Does each program have a man page, and is all in it true?
//!
//! The pages in `deploy/man` are made from the programs' own options:
//! `UPDATE_EXPECT=1 cargo nextest run -p tests --test man` writes them anew. The page of the
//! setuid program, which has no options, is written by hand; that of x2gobroker-authservice
//! is made by a test of its own crate.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use clap::{Command, CommandFactory as _};
use tests::binaries;
use tests::process::{command, run};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../deploy/man")
}

/// The commands of all programs but three.
fn programs() -> impl Iterator<Item = Command> {
    let others = [
        agent::authorized_keys::Cli::command(),
        agent::cli::Cli::command(),
        pki::cli::Cli::command(),
    ];
    broker::cli::commands().into_iter().chain(others)
}

/// The same with their subcommands, by the names of their pages.
fn commands() -> BTreeMap<String, Command> {
    let mut all = BTreeMap::new();
    for command in programs() {
        let name = command.get_name().to_owned();
        add(&mut all, command, &name, section(&name));
    }
    all
}

fn add(all: &mut BTreeMap<String, Command>, command: Command, name: &str, section: &str) {
    let mut command = command.disable_help_subcommand(true);
    command.build();
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        let page = format!("{name}-{}", sub.get_name());
        // Its full name begins its page. Clap keeps names for as long as the program runs.
        let page: &'static str = page.leak();
        add(all, sub.clone().name(page), page, section);
    }
    all.insert(format!("{name}.{section}"), command);
}

/// Where x2gobroker 0.0.4.3 has them.
fn section(name: &str) -> &'static str {
    match name {
        "x2gobroker" | "x2gobroker-daemon" | "x2gobroker-testauth" => "1",
        _ => "8",
    }
}

fn page(name: &str, command: &Command) -> Vec<u8> {
    let (_, section) = name.rsplit_once('.').unwrap();
    let mut page = Vec::new();
    let man = clap_mangen::Man::new(command.clone()).section(section);
    man.render(&mut page).unwrap();
    page
}

/// What a reader sees, nearly: without the escapes of roff.
fn text(name: &str) -> String {
    let page = fs::read_to_string(folder().join(name)).unwrap();
    page.replace("\\-", "-")
        .replace("\\fB", "")
        .replace("\\fI", "")
        .replace("\\fR", "")
}

/// The page of x2gobroker-ssh, whose command line is of its own kind: the text of --help.
fn ssh_page() -> Vec<u8> {
    let program = binaries::binary("x2gobroker-ssh").unwrap();
    let help = run(command(program).arg("--help")).unwrap();
    let (_, text) = help.split_once("\n\n").unwrap();
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    let lines: String = text.lines().map(|line| format!("\\&{line}\n")).collect();
    let page = format!(
        ".TH x2gobroker-ssh 1\n.SH NAME\nx2gobroker\\-ssh \\- asks the session broker of this \
         host, for a client that has logged in by SSH\n.SH SYNOPSIS\n\\fBx2gobroker\\-ssh\\fR \
         [\\fIoptions\\fR]\n.SH DESCRIPTION\n.nf\n{lines}.fi\n"
    );
    page.into_bytes()
}

#[test]
fn the_pages_are_what_the_programs_say() {
    let may_write = std::env::var_os("UPDATE_EXPECT").is_some();
    let made = commands().into_iter().map(|(name, command)| {
        let page = page(&name, &command);
        (name, page)
    });
    for (name, wanted) in made.chain([("x2gobroker-ssh.1".to_owned(), ssh_page())]) {
        let path = folder().join(&name);
        if fs::read(&path).is_ok_and(|found| found == wanted) {
            continue;
        }
        assert!(
            may_write,
            "deploy/man/{name} is not what the program says; write it anew with UPDATE_EXPECT=1"
        );
        fs::write(&path, wanted).unwrap();
    }
}

#[test]
fn each_page_is_of_a_program() {
    let found = fs::read_dir(folder()).unwrap();
    let found: BTreeSet<String> = found
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let mut wanted: BTreeSet<String> = commands().into_keys().collect();
    wanted.extend(BY_OTHERS.map(str::to_owned));
    assert_eq!(found, wanted);
}

#[test]
fn each_program_has_a_page_with_each_of_its_options() {
    let folder = binaries::folder().unwrap();
    let mut n_options = 0;
    for program in programs() {
        let program = program.get_name();
        let name = format!("{program}.{}", section(program));
        let help = run(command(folder.join(program)).arg("--help")).unwrap();
        let text = text(&name);
        let words = help.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
        for option in words.filter(|word| word.starts_with("--") && word.len() > 2) {
            n_options += 1;
            assert!(text.contains(option), "{name} does not have {option}");
        }
    }
    assert!(n_options > 60, "only {n_options} options were found");
}

#[test]
fn the_page_of_the_setuid_program_has_each_of_its_tasks() {
    let text = text("x2gobroker-agent.8");
    let tasks = shim::answer::available_tasks(true);
    for task in tasks.lines().chain(["ping", "listdesktops"]) {
        assert!(text.contains(task), "{task}");
    }
}

/// See the first lines of this file.
const BY_OTHERS: [&str; 3] = [
    "x2gobroker-agent.8",
    "x2gobroker-authservice.8",
    "x2gobroker-ssh.1",
];
