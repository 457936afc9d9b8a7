//! Does the setuid program do to real sessions what it says, also over SSH?

use std::time::Duration;

use tests::lab::{Desktop, HostName, Lab, Login, SERVICE, password};
use tests::wait::now;

use crate::mesh::Mesh;

const PROGRAM: &str = "/usr/lib/x2go/x2gobroker-agent";

#[test]
fn a_real_session_is_suspended_and_terminated_when_the_call_returns() {
    let Some(mesh) = Mesh::up() else { return };
    for server in mesh.lab.servers() {
        install(&mesh.lab, server);
    }
    let login = Login {
        broker_url: "http://broker1:8080/plain/",
        user: "alice",
        password: &password("alice"),
        profile: "Farm",
    };
    let mut desktop = Desktop::log_in(&mesh.lab, 1, login).unwrap();
    let session = desktop.wait_until_running(SESSION_LIMIT, "alice").unwrap();
    desktop.wait_until_seen(SESSION_LIMIT, "XTerm").unwrap();
    let ask = |task: &[&str]| {
        let argv = [&[PROGRAM, "alice"], task].concat();
        mesh.lab.exec(session.server, SERVICE, &argv).unwrap()
    };
    let states = || -> Vec<String> {
        let listed = mesh.lab.x2golistsessions(session.server, "alice");
        let listed = listed.unwrap();
        listed.into_iter().map(|session| session.state).collect()
    };

    let listed = ask(&["listsessions"]);
    assert!(
        listed.starts_with("OK\n") && listed.contains(&session.id),
        "{listed}"
    );
    let begun = now();
    assert_eq!(ask(&["suspendsession", &session.id]), "OK\n");
    println!("suspended after {:.1?}", begun.elapsed());
    assert_eq!(states(), ["S"], "as soon as the call has returned");
    // Again is no error, as for x2gosuspend-session.
    assert_eq!(ask(&["suspendsession", &session.id]), "OK\n");

    let begun = now();
    assert_eq!(ask(&["terminatesession", &session.id]), "OK\n");
    println!("terminated after {:.1?}", begun.elapsed());
    let left = states();
    assert!(
        !left.iter().any(|state| state == "R" || state == "S"),
        "{left:?}"
    );
}

#[test]
fn a_forced_command_of_sshd_reads_what_the_original_broker_sends() {
    let Some(mesh) = Mesh::up() else { return };
    let (broker, server) = (HostName::broker(1), HostName::server(1));
    install(&mesh.lab, server);
    let home = "/var/lib/x2gobroker";
    let key = format!("{home}/.ssh/id");
    mesh.lab
        .make_folder(broker, SERVICE, &format!("{home}/.ssh"))
        .unwrap();
    let make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", &key];
    mesh.lab.exec(broker, SERVICE, &make).unwrap();
    let public = mesh
        .lab
        .exec(broker, SERVICE, &["cat", &format!("{key}.pub")])
        .unwrap();
    let keys = format!("command=\"{PROGRAM}\",restrict {public}");
    let file = format!("{home}/.ssh/authorized_keys");
    mesh.lab.write(server, SERVICE, &file, &keys).unwrap();
    let ask = |asked: &str| {
        let options = [
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "BatchMode=yes",
            "LogLevel=ERROR",
        ];
        let mut argv = vec!["ssh", "-i", &key];
        argv.extend(options.iter().flat_map(|option| ["-o", *option]));
        let whom = format!("{SERVICE}@{server}");
        argv.extend([whom.as_str(), asked]);
        mesh.lab.exec(broker, SERVICE, &argv)
    };
    assert_eq!(ask(&format!("sh -c '{PROGRAM} foo ping'")).unwrap(), "OK\n");
    let line =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIII me@here";
    let add = format!("sh -c '{PROGRAM} alice addauthkey \"{line}\" \"%h/.x2go/authorized_keys\"'");
    assert_eq!(ask(&add).unwrap(), "OK\n");
    let keys = mesh
        .lab
        .exec(server, "alice", &["cat", ".x2go/authorized_keys"])
        .unwrap();
    assert_eq!(keys, format!("{line}\n"));
    for refused in [
        "id",
        "sh -c 'id'",
        "sh -c '/usr/lib/x2go/x2gobroker-agent foo ping; id'",
    ] {
        assert!(ask(refused).is_err(), "{refused}");
    }
}

/// Installs the program as a package does.
fn install(lab: &Lab, server: HostName) {
    let program = format!("{}/x2gobroker-agent", Lab::PROGRAMS);
    let install = [
        "install", "-o", "root", "-g", SERVICE, "-m", "4750", &program, PROGRAM,
    ];
    lab.exec(server, "root", &install).unwrap();
}

/// A session starts in 5 to 10 s on an idle machine; it runs a hundred scripts.
const SESSION_LIMIT: Duration = Duration::from_secs(90);
