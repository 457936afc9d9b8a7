//! With which options is the OpenSSH client started?

use std::path::Path;

use super::agent::SshWay;
use crate::profiles::HostKeyPolicy;

/// The connection of which all calls to a server make use. It stays until it is killed.
pub(super) fn master(way: &SshWay, socket: &Path) -> Vec<String> {
    let mut argv = common(way, socket);
    argv.extend(["-M", "-N"].map(str::to_owned));
    argv.extend(target(way));
    argv
}

/// One call over that connection; should it just have broken, over one of its own.
pub(super) fn call(way: &SshWay, socket: &Path, command: String) -> Vec<String> {
    let mut argv = common(way, socket);
    argv.extend(target(way));
    argv.push(command);
    argv
}

fn target(way: &SshWay) -> [String; 6] {
    let port = way.server.port.to_string();
    let words = ["-l", &way.user, "-p", &port, "--", &way.server.host];
    words.map(str::to_owned)
}

fn common(way: &SshWay, socket: &Path) -> Vec<String> {
    // No file of the operator's: what is done with the broker's key stands here alone.
    let mut argv: Vec<String> = ["-F", "none", "-T", "-n", "-x", "-a"]
        .map(str::to_owned)
        .into();
    argv.extend(["-S".to_owned(), socket.display().to_string()]);
    let key = format!("IdentityFile={}", quoted(&way.directory.join("id_rsa")));
    let options = OPTIONS.iter().map(|option| (*option).to_owned());
    for option in options.chain([key]).chain(host_keys(way)) {
        argv.extend(["-o".to_owned(), option]);
    }
    argv
}

/// What Paramiko's policies mean, in OpenSSH's words. A key that is known and differs is
/// refused under each of them.
fn host_keys(way: &SshWay) -> Vec<String> {
    let known = quoted(&way.directory.join("known_hosts"));
    let check = |how: &str| format!("StrictHostKeyChecking={how}");
    match way.policy {
        HostKeyPolicy::Reject => vec![check("yes"), format!("UserKnownHostsFile={known}")],
        HostKeyPolicy::AutoAdd => {
            vec![check("accept-new"), format!("UserKnownHostsFile={known}")]
        }
        // New keys go to the first file, where nothing stays: the next log-in warns again.
        HostKeyPolicy::Warn => vec![
            check("accept-new"),
            format!("UserKnownHostsFile=/dev/null {known}"),
        ],
    }
}

/// A path in an option of ssh_config(5), where blanks separate and `%` expands.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string().replace('%', "%%");
    format!("\"{text}\"")
}

const OPTIONS: &[&str] = &[
    "BatchMode=yes",
    "ControlMaster=no",
    "ControlPersist=no",
    "PreferredAuthentications=publickey",
    "PasswordAuthentication=no",
    "KbdInteractiveAuthentication=no",
    "IdentitiesOnly=yes",
    "IdentityAgent=none",
    "ForwardAgent=no",
    "ForwardX11=no",
    "ClearAllForwardings=yes",
    "PermitLocalCommand=no",
    "UpdateHostKeys=no",
    "CheckHostIP=no",
    "EscapeChar=none",
    // A server that is gone is noticed within 12 s also while nothing is asked.
    "ServerAliveInterval=4",
    "ServerAliveCountMax=3",
    "ConnectTimeout=3",
    "ConnectionAttempts=1",
];

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{SshWay, call, master};
    use crate::names::ServerAddress;
    use crate::profiles::HostKeyPolicy;

    fn way(policy: HostKeyPolicy) -> SshWay {
        let server = ServerAddress {
            host: "s1".to_owned(),
            port: 2222,
        };
        SshWay {
            server,
            user: "x2gobroker".to_owned(),
            policy,
            directory: "/var/lib/x2gobroker/.ssh".into(),
        }
    }

    fn has(argv: &[String], option: &str) -> bool {
        argv.windows(2)
            .any(|pair| pair[0] == "-o" && pair[1] == option)
    }

    #[test]
    fn the_command_is_one_operand_behind_the_host() {
        let way = way(HostKeyPolicy::Reject);
        let argv = call(&way, Path::new("/run/1"), "/agent 'a' 'b'".to_owned());
        let end = [
            "-l",
            "x2gobroker",
            "-p",
            "2222",
            "--",
            "s1",
            "/agent 'a' 'b'",
        ];
        assert!(argv.ends_with(&end.map(str::to_owned)), "{argv:?}");
        assert!(!argv.contains(&"-M".to_owned()));
        assert!(master(&way, Path::new("/run/1")).contains(&"-M".to_owned()));
    }

    #[test]
    fn nobody_is_asked_and_nothing_is_forwarded() {
        let argv = master(&way(HostKeyPolicy::Reject), Path::new("/run/1"));
        for option in [
            "BatchMode=yes",
            "ForwardAgent=no",
            "ClearAllForwardings=yes",
        ] {
            assert!(has(&argv, option), "{option}");
        }
        let key = "IdentityFile=\"/var/lib/x2gobroker/.ssh/id_rsa\"";
        assert!(has(&argv, key), "{argv:?}");
    }

    #[test]
    fn policies_are_those_of_the_packaged_file() {
        let known = "/var/lib/x2gobroker/.ssh/known_hosts";
        let table = [
            (HostKeyPolicy::Reject, "yes", format!("\"{known}\"")),
            (HostKeyPolicy::AutoAdd, "accept-new", format!("\"{known}\"")),
            (
                HostKeyPolicy::Warn,
                "accept-new",
                format!("/dev/null \"{known}\""),
            ),
        ];
        for (policy, check, file) in table {
            let argv = master(&way(policy), Path::new("/run/1"));
            assert!(has(&argv, &format!("StrictHostKeyChecking={check}")));
            assert!(has(&argv, &format!("UserKnownHostsFile={file}")));
        }
    }
}
