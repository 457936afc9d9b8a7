//! May this process start the setuid agent of this host?
//!
//! `LOCAL` needs that. The packaged unit forbids it; an example of a drop-in allows it.

use tracing::warn;

use crate::profiles::AgentQueryMode;
use crate::settings::{Settings, SettingsWatch};

/// Says so in the log where a setting asks for `LOCAL` and the kernel lets no program of this
/// process become anybody else.
pub(super) fn warn_where_it_cannot_work(settings: &[SettingsWatch]) {
    let wanted = settings.iter().any(|one| asks_local(&one.borrow()));
    if wanted && std::fs::read_to_string(STATUS).is_ok_and(|status| forbids_setuid(&status)) {
        warn!(
            "agent-query-mode is LOCAL, but the agent of this host is setuid and this process may \
             start no such program (NoNewPrivileges); see the example \
             x2gobroker-daemon-local-agent.conf"
        );
    }
}

fn asks_local(settings: &Settings) -> bool {
    settings.backend("inifile").is_some_and(|backend| {
        let mut own = backend.profiles.iter().map(|profile| profile.query_mode);
        own.any(|mode| mode.unwrap_or(backend.query_mode) == AgentQueryMode::Local)
    })
}

/// proc_pid_status(5): `NoNewPrivs`, 0 or 1.
fn forbids_setuid(status: &str) -> bool {
    let mut fields = status.lines().filter_map(|line| line.split_once(':'));
    fields.any(|(name, value)| name == "NoNewPrivs" && value.trim() == "1")
}

const STATUS: &str = "/proc/self/status";

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{STATUS, forbids_setuid};

    #[test]
    fn it_is_read_whether_setuid_programs_may_be_started() {
        assert!(forbids_setuid("Name:\tx\nNoNewPrivs:\t1\nSeccomp:\t0\n"));
        assert!(!forbids_setuid("Name:\tx\nNoNewPrivs:\t0\nSeccomp:\t1\n"));
        assert!(!forbids_setuid(""));
        let own = std::fs::read_to_string(STATUS).unwrap();
        assert!(own.contains("\nNoNewPrivs:\t"), "{own}");
    }

    /// systemd.exec(5), `NoNewPrivileges=`: these imply it without `CAP_SYS_ADMIN`.
    const IMPLY_IT: [&str; 14] = [
        "NoNewPrivileges",
        "DynamicUser",
        "LockPersonality",
        "MemoryDenyWriteExecute",
        "PrivateDevices",
        "ProtectClock",
        "ProtectHostname",
        "ProtectKernelLogs",
        "ProtectKernelModules",
        "ProtectKernelTunables",
        "RestrictAddressFamilies",
        "RestrictNamespaces",
        "RestrictRealtime",
        "SystemCallArchitectures",
    ];

    #[test]
    fn the_example_undoes_all_of_the_unit_that_forbids_it() {
        let deploy = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy");
        let settings = |file: &str, is_it: fn(&str) -> bool| -> BTreeSet<String> {
            let text = std::fs::read_to_string(format!("{deploy}/{file}")).unwrap();
            let pairs = text.lines().filter_map(|line| line.split_once('='));
            let wanted = pairs.filter(|(_, value)| is_it(value));
            wanted.map(|(name, _)| name.to_owned()).collect()
        };
        let unit = settings("systemd/x2gobroker-daemon.service", |_| true);
        let undone = settings("examples/x2gobroker-daemon-local-agent.conf", |value| {
            matches!(value, "no" | "")
        });
        let mut must =
            IMPLY_IT
                .iter()
                .chain(&["RestrictSUIDSGID", "SystemCallFilter", "ProtectHome"]);
        let left = must.find(|name| unit.contains(**name) && !undone.contains(**name));
        assert_eq!(left, None);
        assert!(undone.contains("NoNewPrivileges"));
    }
}
