//! Do the units that are shipped do on a real systemd what they are for?

use std::path::Path;
use std::time::Duration;

use tests::lab::{Booted, HostName, Lab, Plan, password};
use tests::wait::{Progress, wait_for};

use crate::mesh::{IDENTITY, PROFILES_PATH, install_shim, program};
use crate::old_farm::OldFarm;

const BROKER: HostName = HostName::broker(1);
const SERVER: HostName = HostName::server(1);
const DAEMON: &str = "x2gobroker-daemon.service";
const AUTHSERVICE: &str = "x2gobroker-authservice.service";
const AGENT: &str = "x2gobroker-agentd.service";
const UNITS: [&str; 6] = [
    DAEMON,
    AUTHSERVICE,
    AGENT,
    "x2gobroker-loadchecker.service",
    "x2gobroker-daemon.socket",
    "x2gobroker-loadchecker.socket",
];
const FOLDER: &str = "/etc/systemd/system";
const PROFILES: &str = "\
[DEFAULT]
command=TERMINAL
user=BROKER_USER

[local]
name=Local
host=s8,s9
broker-agent-query-mode=LOCAL

[auto]
name=Auto
host=s1
broker-session-autologin=true
";

#[test]
fn systemd_finds_nothing_wrong_with_the_units_and_the_drop_in() {
    if crate::skipped() {
        return;
    }
    let plan = Plan {
        brokers: 1,
        servers: 0,
    };
    let lab = Lab::up(plan, &tests::binaries::folder().unwrap()).unwrap();
    install_units(&lab, BROKER);
    let verify = "systemd-analyze verify --man=no \"$@\" 2>&1";
    let check = || {
        let paths = UNITS.map(|unit| format!("{FOLDER}/{unit}"));
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        let argv = [&["sh", "-c", verify, "verify"], &paths[..]].concat();
        lab.exec(BROKER, "root", &argv).unwrap()
    };
    assert_eq!(check(), "");
    install_drop_in(&lab);
    assert_eq!(check(), "");
    // It would have said so.
    let wrong = "[Service]\nNoNewPrivilege=no\n";
    let path = format!("{FOLDER}/{DAEMON}.d/wrong.conf");
    lab.write(BROKER, "root", &path, wrong).unwrap();
    assert!(check().contains("Unknown key"), "{}", check());
}

#[test]
fn the_services_start_and_the_daemon_runs_a_setuid_program_only_with_the_drop_in() {
    if crate::skipped() {
        return;
    }
    let plan = Plan {
        brokers: 1,
        servers: 1,
    };
    let farm = OldFarm::up(plan);
    let lab = &farm.lab;
    configure(lab);
    let (broker, server) = (lab.boot(BROKER).unwrap(), lab.boot(SERVER).unwrap());
    // Type=notify: it returns when they are ready.
    start(&broker, &[AUTHSERVICE, DAEMON]);
    start(&server, &[AGENT]);

    // The agent has the setuid program write into a home, and the daemon asks the authservice.
    wait_for_answer(&broker, "auto", |answer| {
        answer.contains("SERVER:s1:22") && answer.contains("BEGIN RSA PRIVATE KEY")
    });
    let keys = ["cat", "/home/alice/.x2go/authorized_keys"];
    let keys = lab.exec(SERVER, "alice", &keys).unwrap();
    assert!(keys.contains("ssh-rsa"), "{keys}");

    // Without the drop-in nothing is setuid for the daemon, which says so.
    let journal = broker.journal(DAEMON).unwrap();
    assert!(journal.contains(FORBIDDEN), "{journal}");
    wait_for_answer(&broker, "local", |answer| {
        let refused = broker.journal(DAEMON).unwrap();
        answer.contains("no-X2Go-Server-available") && refused.contains("the agent of this host")
    });

    // Its configuration is read again by the process that is there.
    broker.exec(&["systemctl", "reload", DAEMON]).unwrap();
    let read = wait_for(ANSWER_LIMIT, || {
        let journal = broker.journal(DAEMON).unwrap();
        Progress::when(journal.matches(READ).count() == 2, || journal.clone())
    });
    read.unwrap();

    install_drop_in(lab);
    broker.exec(&["systemctl", "daemon-reload"]).unwrap();
    broker.exec(&["systemctl", "restart", DAEMON]).unwrap();
    wait_for_answer(&broker, "local", |answer| {
        answer.contains("SERVER:s8:22") || answer.contains("SERVER:s9:22")
    });
    let journal = broker.journal(DAEMON).unwrap();
    assert!(!journal.contains(FORBIDDEN), "{journal}");
    for (booted, unit) in [(&broker, DAEMON), (&broker, AUTHSERVICE), (&server, AGENT)] {
        assert_eq!(of(booted, unit, "NRestarts"), "0", "{unit}");
        booted.exec(&["systemctl", "stop", unit]).unwrap();
        assert_eq!(of(booted, unit, "Result"), "success", "{unit}");
    }
}

/// The files of both hosts, as an administrator writes them.
fn configure(lab: &Lab) {
    install_units(lab, BROKER);
    install_units(lab, SERVER);
    install_shim(lab, BROKER);
    install_shim(lab, SERVER);
    let create = ["x2godbadmin", "--createdb"];
    lab.exec(BROKER, "root", &create).unwrap();
    let broker = format!(
        "[global]\ndefault-auth-mech = pam\n\
         [broker_inifile]\nenable = true\nsession-profiles = {PROFILES_PATH}\n\
         [mesh]\nidentity = {IDENTITY}\nadvertise = {}:7465\n",
        Lab::address(BROKER),
    );
    let agent = format!(
        "identity = \"{IDENTITY}\"\nadvertise = \"{}:7464\"\nseeds = [\"{BROKER}:7465\"]\n",
        Lab::address(SERVER),
    );
    for (host, path, text) in [
        (BROKER, "/etc/x2go/x2gobroker.conf", broker.as_str()),
        (BROKER, PROFILES_PATH, PROFILES),
        (SERVER, "/etc/x2go/x2gobroker-agentd.toml", &agent),
    ] {
        lab.write(host, "root", path, text).unwrap();
        lab.exec(host, "root", &["chmod", "644", path]).unwrap();
    }
    let folders = ["chmod", "755", "/etc/x2go", "/etc/x2go/broker"];
    lab.exec(BROKER, "root", &folders).unwrap();
    let pam = include_str!("../../deploy/pam.d/x2gobroker");
    lab.write(BROKER, "root", "/etc/pam.d/x2gobroker", pam)
        .unwrap();
}

/// The units, and the programs where they say.
fn install_units(lab: &Lab, host: HostName) {
    for unit in UNITS {
        let path = format!("{FOLDER}/{unit}");
        lab.write(host, "root", &path, &deployed("systemd", unit))
            .unwrap();
    }
    for name in ["daemon", "authservice", "agentd", "loadchecker"] {
        let program = program(&format!("x2gobroker-{name}"));
        let place = ["ln", "-s", &program, "/usr/sbin/"];
        lab.exec(host, "root", &place).unwrap();
    }
}

/// Where its own first line says.
fn install_drop_in(lab: &Lab) {
    let text = deployed("examples", "x2gobroker-daemon-local-agent.conf");
    let (first, _) = text.split_once(": ").unwrap();
    let path = first.trim_start_matches("# ");
    lab.write(BROKER, "root", path, &text).unwrap();
}

fn deployed(folder: &str, name: &str) -> String {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    std::fs::read_to_string(workspace.join("deploy").join(folder).join(name)).unwrap()
}

fn start(booted: &Booted<'_>, units: &[&str]) {
    let started = booted.exec(&[&["systemctl", "start"], units].concat());
    if let Err(error) = started {
        panic!("{error:#}\n{}", journals(booted, units));
    }
}

/// Asks for a session as alice until the answer is right.
fn wait_for_answer(broker: &Booted<'_>, profile: &str, is_right: impl Fn(&str) -> bool) {
    let password = password("alice");
    let form = format!("task=selectsession&sid={profile}&user=alice&password={password}");
    let ask = ["curl", "-sS", "-d", &form, "http://127.0.0.1:8080/plain/"];
    let right = wait_for(ANSWER_LIMIT, || match broker.exec(&ask) {
        Ok(answer) => Progress::when(is_right(&answer), || answer.clone()),
        Err(error) => Progress::NotYet(format!("{error:#}")),
    });
    right.unwrap_or_else(|error| panic!("{error}\n{}", journals(broker, &[DAEMON, AUTHSERVICE])));
}

fn of(booted: &Booted<'_>, unit: &str, property: &str) -> String {
    let shown = booted.exec(&["systemctl", "show", "-P", property, unit]);
    shown.unwrap().trim().to_owned()
}

fn journals(booted: &Booted<'_>, units: &[&str]) -> String {
    let journals = units
        .iter()
        .map(|unit| booted.journal(unit).unwrap_or_default());
    journals.collect()
}

/// What the daemon logs where a profile wants what its unit forbids.
const FORBIDDEN: &str = "NoNewPrivileges";
/// What it logs at its start, and when its configuration was read again.
const READ: &str = "configuration and session profiles read";
/// Old agents are asked ten rounds of gossip after the start.
const ANSWER_LIMIT: Duration = Duration::from_secs(40);
