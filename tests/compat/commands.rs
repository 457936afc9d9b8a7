//! Does x2gobroker-ssh of ours answer each recorded command line as the original's did?
//!
//! Standard output and the exit code are what clients see. Of standard error, which people
//! see, it counts whether a failure is explained.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use tests::lab;
use tests::process::command;
use tests::wait::now;

use crate::case::recorded;
use crate::differences::Table;
use crate::normal;
use crate::notes::Varying;
use crate::replay::Outcome;
use crate::site::{Replica, Site};

/// The folder of the recorded command lines.
pub(crate) const FOLDER: &str = "ssh-broker";

/// A recorded command line, and what came of it.
#[derive(Debug)]
struct Recorded {
    name: String,
    user: String,
    words: Vec<String>,
    outcome: String,
}

/// Replays all of them on one replica.
pub(crate) fn replay(table: &Table) {
    let folder = recorded().join(FOLDER);
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    let files = fs::read_dir(&folder).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.ends_with(".txt")).collect();
    // An AUTHID comes from a case with a shorter name.
    names.sort_by_key(|name| (name.len(), name.clone()));
    let cases: Vec<Recorded> = names.iter().map(|name| parse(name, &read(name))).collect();
    assert!(cases.len() > 15, "only {} cases", cases.len());

    let begun = now();
    let site = Site::new();
    site.identity("broker", "broker");
    let config = read("x2gobroker.conf");
    let mut replica = site.start(&config, &read("sessionprofiles.conf")).unwrap();
    let up = replica
        .daemon
        .wait_for_log(UP_LIMIT, &["listening for SSH"]);
    up.unwrap();
    let mut outcome = Outcome::default();
    let mut authids = Vec::new();
    outcome.begin(FOLDER);
    for case in &cases {
        let ours = run(case, &mut authids, &replica);
        let (theirs, ours) = (masked(&case.outcome), masked(&ours));
        let allowed = table.allowed(FOLDER, &case.name, &theirs);
        let title = format!("{FOLDER}, {}: {}", case.name, case.words.join(" "));
        outcome.judge(&title, &allowed, &theirs, &ours);
    }
    outcome.finish(table, begun.elapsed());
}

fn parse(file: &str, text: &str) -> Recorded {
    let (line, outcome) = text.split_once('\n').unwrap();
    let (user, words) = line
        .strip_prefix("$ (as ")
        .and_then(|rest| rest.split_once(" on broker) "))
        .unwrap();
    let words = words.split(' ').map(|word| word.replace("''", ""));
    let (exit, rest) = outcome.split_once("\n--- stdout\n").unwrap();
    let Some((stdout, stderr)) = rest.split_once("--- stderr\n") else {
        panic!("{file} has no standard error");
    };
    Recorded {
        name: file.trim_end_matches(".txt").to_owned(),
        user: user.to_owned(),
        words: words.collect(),
        outcome: outcome_text(exit, stdout, stderr),
    }
}

/// Runs a case as its user, with our AUTHIDs in place of those of the original.
fn run(case: &Recorded, authids: &mut Vec<(String, String)>, replica: &Replica) -> String {
    let id = lab::account_id(&case.user).unwrap().to_string();
    let mut start = command("setpriv");
    start.args(["--reuid", &id, "--regid", &id, "--init-groups"]);
    start.env_clear().env("PATH", "/usr/bin:/bin");
    for word in &case.words {
        let ours = authids.iter().find(|(theirs, _)| theirs == word);
        start.arg(ours.map_or(word, |(_, ours)| ours));
    }
    start.stdin(Stdio::null());
    let output = start.output().unwrap();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    authids.extend(authid(&case.outcome).zip(authid(&stdout)));
    assert!(
        !stderr.contains("panicked"),
        "{stderr}\n{}",
        replica.daemon.story()
    );
    let exit = format!("exit {}", output.status.code().unwrap());
    outcome_text(&exit, &stdout, &stderr)
}

fn outcome_text(exit: &str, stdout: &str, stderr: &str) -> String {
    let explained = match (exit, stderr.trim()) {
        ("exit 0", _) => "",
        ("exit 254", _) => "",
        (_, "") => "(not explained)\n",
        (_, _) => "(explained)\n",
    };
    format!("{exit}\n{explained}{stdout}")
}

/// Without what varies from run to run: AUTHIDs, and which host of a profile is handed out.
fn masked(text: &str) -> String {
    let hosts = ["10.77.0.101:22", "10.77.0.102:2022", "s3.lab.test:3022"];
    let hosts = Varying::Host(hosts.map(str::to_owned).to_vec());
    normal::mask(&normal::mask(text, &Varying::AuthId), &hosts)
}

fn authid(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("AUTHID:")?;
    rest.split('\n').next().map(str::to_owned)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Programs are up in tens of milliseconds; the machine may be busy.
const UP_LIMIT: Duration = Duration::from_secs(15);
