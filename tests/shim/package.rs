//! Do the files for packagers fit the program?

use std::path::Path;

use shim::own_file::{OwnFile, check};

use crate::stage::PROGRAM;

fn text(name: &str) -> String {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    std::fs::read_to_string(workspace.join("deploy").join(name)).unwrap()
}

#[test]
fn a_package_installs_the_program_as_it_wants_to_be() {
    let modes = text("modes.txt");
    let row = modes.lines().find(|line| line.ends_with(PROGRAM)).unwrap();
    let fields: Vec<&str> = row.split(' ').collect();
    assert_eq!(fields, ["4750", "root", "x2gobroker", PROGRAM]);
    let mode = u32::from_str_radix(fields.first().unwrap(), 8).unwrap();
    assert_eq!(check(OwnFile { owner: 0, mode }, 0), Ok(()));
}

#[test]
fn the_group_of_the_program_is_made_by_the_package() {
    let sysusers = text("sysusers.d/x2gobroker-agent.conf");
    let account = format!("u {} ", shim::caller::ACCOUNT);
    assert!(sysusers.lines().any(|line| line.starts_with(&account)));
}

#[test]
fn the_agent_s_unit_lets_a_setuid_program_work() {
    // systemd.exec(5), NoNewPrivileges=: these imply it for a service with User=.
    let implying = [
        "SystemCallFilter",
        "SystemCallLog",
        "SystemCallArchitectures",
        "RestrictAddressFamilies",
        "RestrictNamespaces",
        "RestrictFileSystems",
        "RestrictRealtime",
        "RestrictSUIDSGID",
        "PrivateDevices",
        "ProtectKernelTunables",
        "ProtectKernelModules",
        "ProtectKernelLogs",
        "ProtectClock",
        "ProtectHostname",
        "MemoryDenyWriteExecute",
        "DynamicUser",
        "LockPersonality",
    ];
    // These hide what is worked on, or the rights to do it.
    let hiding = [
        "ProtectHome",
        "PrivateTmp",
        "PrivateUsers",
        "CapabilityBoundingSet",
        // They make a mount namespace: what is unmounted there stays mounted elsewhere.
        "ProtectSystem",
        "ProtectControlGroups",
        "ReadOnlyPaths",
    ];
    let unit = text("systemd/x2gobroker-agentd.service");
    let keys: Vec<&str> = unit
        .lines()
        .filter_map(|line| Some(line.split_once('=')?.0))
        .collect();
    for key in implying.iter().chain(&hiding) {
        assert!(
            !keys.contains(key),
            "{key}= keeps the setuid program from its work"
        );
    }
    assert!(unit.lines().any(|line| line == "NoNewPrivileges=no"));
}
