//! Is the lab itself what the other farm tests take it for?

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use tests::binaries::own_folder;
use tests::lab::{CLIENT_HOST, DATABASE_HOST, HostName, Lab, Plan};
use tests::process::{Process, command};
use tests::wait::{Progress, wait_for};

use crate::skipped;

const SMALL: Plan = Plan {
    brokers: 1,
    servers: 1,
};
const S1: HostName = HostName::server(1);

fn small_lab() -> Lab {
    Lab::up(SMALL, &own_folder().unwrap()).unwrap()
}

#[test]
fn a_server_has_its_name_accounts_and_an_empty_session_database() {
    if skipped() {
        return;
    }
    let lab = small_lab();
    println!("a lab with {SMALL:?} was up after {:?}", lab.took());
    assert_eq!(lab.exec(S1, "alice", &["hostname"]).unwrap().trim(), "s1");
    assert_eq!(
        lab.exec(S1, "alice", &["id", "-un"]).unwrap().trim(),
        "alice"
    );
    assert_eq!(
        lab.exec(S1, "alice", &["pwd"]).unwrap().trim(),
        "/home/alice"
    );
    assert!(lab.sessions(S1, "alice").unwrap().is_empty());
    let seen = lab
        .exec(CLIENT_HOST, "desk", &["getent", "hosts", "s1"])
        .unwrap();
    assert!(seen.starts_with("10.77.0.101 "), "{seen}");
}

#[test]
fn servers_of_a_lab_with_postgresql_share_one_session_database_and_leave_nothing() {
    if skipped() {
        return;
    }
    let plan = Plan {
        brokers: 1,
        servers: 2,
    };
    let lab = Lab::up_with_one_database(plan, &own_folder().unwrap()).unwrap();
    println!("a lab with PostgreSQL was up after {:?}", lab.took());
    let (s1, s2, broker) = (S1, HostName::server(2), HostName::broker(1));
    lab.share_database(broker).unwrap();
    let insert = "INSERT INTO sessions (session_id, display, uname, server, status) \
                  VALUES ('alice-50-1_stD_dp24', '50', 'alice', 's2', 'S')";
    let psql = [
        "psql",
        "-U",
        "postgres",
        "-d",
        "x2go_sessions",
        "-c",
        insert,
    ];
    lab.exec(DATABASE_HOST, "root", &psql).unwrap();
    assert_eq!(lab.sessions(s1, "alice").unwrap(), []);
    assert_eq!(lab.sessions(s2, "alice").unwrap()[0].state, "S");
    for host in [s1, s2, broker] {
        let servers = lab.exec(host, "bob", &["x2gogetservers"]).unwrap();
        assert_eq!(servers.trim(), "s2 1", "{host}");
    }
    let folder = lab.shared().parent().unwrap().to_owned();
    let pid = ["sh", "-c", "pgrep -o postgres"];
    assert!(lab.exec(DATABASE_HOST, "root", &pid).is_ok());
    let service = lab.start(DATABASE_HOST, "root", "service", &["sleep", "600"]);
    let service = service.unwrap();
    let theirs = namespaces_of(service.pid());
    drop(service);
    drop(lab);
    assert_eq!(users_of(&theirs), Vec::<u32>::new());
    assert!(!folder.exists());
}

#[test]
fn two_labs_are_up_side_by_side() {
    if skipped() {
        return;
    }
    let (one, two) = (small_lab(), small_lab());
    one.write(S1, "alice", "/home/alice/note", "of lab one")
        .unwrap();
    assert!(two.exec(S1, "alice", &["cat", "note"]).is_err());
    two.cut_off(S1).unwrap();
    assert!(answers(&one));
    assert!(!answers(&two));
}

#[test]
fn a_host_that_is_cut_off_is_a_black_hole_until_it_is_restored() {
    if skipped() {
        return;
    }
    let lab = small_lab();
    assert!(answers(&lab));
    lab.cut_off(S1).unwrap();
    // Nobody says "refused" or "no route": the caller can only give up.
    let call = [
        "timeout",
        "3",
        "bash",
        "-c",
        "exec 3<>/dev/tcp/s1/22 && read -u 3 line",
    ];
    let error = lab.exec(CLIENT_HOST, "desk", &call).unwrap_err();
    assert!(
        error.root_cause().to_string().contains("exit status: 124"),
        "{error:#}"
    );
    lab.restore(S1).unwrap();
    assert!(answers(&lab));
}

#[test]
fn a_dropped_lab_leaves_nothing() {
    if skipped() {
        return;
    }
    let lab = small_lab();
    let folder = lab.shared().parent().unwrap().to_owned();
    let service = lab
        .start(S1, "alice", "service", &["sleep", "600"])
        .unwrap();
    let theirs = namespaces_of(service.pid());
    drop(service);
    drop(lab);
    assert_eq!(users_of(&theirs), Vec::<u32>::new());
    assert!(!folder.exists());
}

#[test]
fn a_lab_whose_owner_was_killed_leaves_nothing() {
    if skipped() {
        return;
    }
    let log = tempfile::NamedTempFile::new().unwrap();
    let mut owner = command(own_folder().unwrap().join("lab"));
    let mut owner = Process::start_tied("lab", owner.args(["1", "1"]), log.path()).unwrap();
    owner
        .wait_for_log(Duration::from_secs(60), &["the lab is up"])
        .unwrap();
    let line = owner
        .wait_for_log(Duration::from_secs(1), &["logs in "])
        .unwrap();
    let folder = PathBuf::from(line.split("logs in ").nth(1).unwrap());
    let line = owner
        .wait_for_log(Duration::from_secs(1), &["s1: ", "--target "])
        .unwrap();
    let first = line
        .split("--target ")
        .nth(1)
        .unwrap()
        .split(' ')
        .next()
        .unwrap();
    let theirs = namespaces_of(first.parse().unwrap());
    assert!(folder.exists() && !users_of(&theirs).is_empty());
    owner.kill().unwrap();
    let gone = wait_for(Duration::from_secs(20), || {
        let left = users_of(&theirs);
        Progress::when(left.is_empty() && !folder.exists(), || {
            format!("left: {left:?}")
        })
    });
    gone.unwrap();
}

/// Whether sshd on s1 greets the client host.
fn answers(lab: &Lab) -> bool {
    let call = [
        "timeout",
        "3",
        "bash",
        "-c",
        "exec 3<>/dev/tcp/s1/22 && read -u 3 line",
    ];
    lab.exec(CLIENT_HOST, "desk", &call).is_ok()
}

/// The namespaces of a process that are not ours.
fn namespaces_of(pid: u32) -> BTreeSet<PathBuf> {
    let links = |pid: &str| -> BTreeSet<PathBuf> {
        let kinds = ["mnt", "net", "pid", "uts", "ipc"].into_iter();
        kinds
            .filter_map(|kind| fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok())
            .collect()
    };
    let theirs: BTreeSet<PathBuf> = &links(&pid.to_string()) - &links("self");
    assert_eq!(theirs.len(), 5);
    theirs
}

/// The processes that use one of these namespaces.
fn users_of(namespaces: &BTreeSet<PathBuf>) -> Vec<u32> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let uses = |pid: &u32| {
        let links = fs::read_dir(format!("/proc/{pid}/ns"))
            .into_iter()
            .flatten()
            .flatten();
        links
            .filter_map(|link| fs::read_link(link.path()).ok())
            .any(|ns| namespaces.contains(&ns))
    };
    pids.filter(uses).collect()
}
