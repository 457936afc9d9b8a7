//! Where does a replay run? In namespaces of its own: the addresses, names and accounts of
//! the lab that the cases were recorded in, and nothing of them outside.
//!
//! A test starts itself once more inside. There it is the first process, so that the
//! kernel ends everything with it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tests::binaries;
use tests::lab;
use tests::process::{command, run};

/// The variable that says that a test is inside already.
const INSIDE: &str = "X2GOBROKER_COMPAT_INSIDE";
/// The address of the broker; clients have [`CLIENTS`].
pub(crate) const BROKER: &str = "10.77.0.10";
/// The addresses of the clients in the cases.
const CLIENTS: [&str; 2] = ["10.77.0.20", "10.77.0.21"];

/// Runs `replay` on the stage. `test` is the name of the test that calls this.
///
/// Without root, namespaces or libpam it says so and does nothing, or fails if
/// `X2GOBROKER_FARM=required`.
pub(crate) fn on_stage(test: &str, replay: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return replay();
    }
    let unshared = run(command("unshare").args(["-m", "-u", "-n", "-p", "-f", "true"]));
    let can = unshared
        .map(drop)
        .and_then(|()| binaries::add_authservice());
    if let Err(error) = can {
        let required = std::env::var_os("X2GOBROKER_FARM").is_some_and(|value| value == "required");
        assert!(!required, "the replay is required, but: {error:#}");
        println!("skipped: needs root, namespaces and the authservice: {error:#}");
        return;
    }
    let layer = tempfile::tempdir().unwrap();
    write_layer(layer.path());
    // Built outside, as there is no network inside.
    let programs = binaries::folder().unwrap();
    install(layer.path(), &programs);
    let mut inside = command("unshare");
    inside.args(["--mount", "--net", "--uts", "--ipc", "--pid", "--fork"]);
    inside.args(["--kill-child", "--mount-proc", "bash", "-ec", SET, "stage"]);
    inside
        .arg(layer.path())
        .arg(std::env::current_exe().unwrap());
    inside.args(["--exact", test, "--nocapture"]);
    inside.env(INSIDE, "1").env("X2GOBROKER_BIN_DIR", programs);
    let status = inside.status().unwrap();
    assert!(status.success(), "see above");
}

/// The setuid program of an X2Go server as it is packaged, a fake x2goserver for it, and
/// the key of the broker.
fn install(layer: &Path, programs: &Path) {
    let path = |name: &str| layer.join(name);
    fs::create_dir_all(path("usr/bin")).unwrap();
    fs::create_dir_all(path("usr/lib/x2go")).unwrap();
    let keys = path("var/lib/x2gobroker/.ssh");
    fs::create_dir_all(&keys).unwrap();
    fs::write(
        keys.join("id_rsa.pub"),
        "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQ==",
    )
    .unwrap();
    let set_mode = |name: &str, mode| {
        fs::set_permissions(path(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    let agent = "usr/lib/x2go/x2gobroker-agent";
    fs::copy(programs.join("x2gobroker-agent"), path(agent)).unwrap();
    set_mode(agent, 0o4750);
    let ssh = "usr/bin/x2gobroker-ssh";
    fs::copy(programs.join("x2gobroker-ssh"), path(ssh)).unwrap();
    set_mode(ssh, 0o755);
    let suspend = "usr/bin/x2gosuspend-session";
    fs::write(path(suspend), SUSPEND).unwrap();
    set_mode(suspend, 0o755);
}

/// Accounts and names of the lab, on top of the files of this machine.
fn write_layer(layer: &Path) {
    lab::write_accounts(layer).unwrap();
    let hosts = SERVERS_AND_MORE
        .iter()
        .map(|(address, name)| format!("{address} {name}.lab.test {name}\n"));
    let hosts: String = ["127.0.0.1 localhost\n".to_owned()]
        .into_iter()
        .chain(hosts)
        .collect();
    fs::write(layer.join("etc/hosts"), hosts).unwrap();
    fs::write(layer.join("etc/resolv.conf"), "").unwrap();
    let switch = fs::read_to_string("/etc/nsswitch.conf").unwrap();
    let line = |line: &str| {
        if line.starts_with("hosts:") {
            "hosts: files\n".to_owned()
        } else {
            format!("{line}\n")
        }
    };
    fs::write(
        layer.join("etc/nsswitch.conf"),
        switch.lines().map(line).collect::<String>(),
    )
    .unwrap();
    fs::create_dir_all(layer.join("etc/pam.d")).unwrap();
    fs::write(layer.join("etc/pam.d/x2gobroker"), PAM).unwrap();
}

const SERVERS_AND_MORE: [(&str, &str); 6] = [
    (BROKER, "broker"),
    (CLIENTS[0], "client"),
    (CLIENTS[1], "client2"),
    ("10.77.0.101", "s1"),
    ("10.77.0.102", "s2"),
    ("10.77.0.103", "s3"),
];

/// What the package of the original has there, without the parts of this machine.
const PAM: &str = "\
auth required pam_unix.so
account required pam_unix.so
password required pam_deny.so
session required pam_deny.so
";

/// x2gosuspend-session(8): the session is suspended when it returns. The test does it.
const SUSPEND: &str = r#"#!/bin/bash
asked=/run/x2goserver/$(hostname)/$1
: >"$asked"
while [ -e "$asked" ]; do sleep 0.02; done
"#;

/// Lays the files of `$1` over `/etc`, makes the network of the broker and its clients, and
/// becomes the rest of its arguments.
const SET: &str = r#"
    mount --make-rprivate /
    chmod 755 "$1"
    for folder in /etc /usr/bin /usr/lib /var/lib; do
        mount -t overlay overlay -o "lowerdir=$1$folder:$folder" "$folder"
    done
    mount -t tmpfs -o mode=755 run /run
    mkdir /run/x2goserver /run/x2gobroker-ssh
    mkdir -m 777 /run/x2goserver/s1 /run/x2goserver/s2 /run/x2goserver/s3
    shift
    hostname broker
    ip link set lo up
    ip link add br0 type bridge
    for address in 10 20 21; do ip address add 10.77.0.$address/24 dev br0; done
    ip link set br0 up
    exec "$@"
"#;
