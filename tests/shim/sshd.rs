//! Does a real sshd let temporary keys in, from the users' files and by its
//! `AuthorizedKeysCommand`? Each log-in has an sshd of its own on the ends of a pipe
//! (`sshd -i`), so no port is needed.

use std::fs;
use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use proto::v1;
use tests::binaries;
use tests::process::{command, run};
use tests::wait::{Progress, wait_for};

use crate::stage::{BROKER, Caller, ROOT};
use crate::temporary_keys::{Server, outcome};

const HELPER: &str = "/usr/lib/x2go/x2gobroker-authorizedkeys";

/// A server with an sshd that looks for keys like this, and a client's key pair.
struct LogIn {
    server: Server,
    key: v1::KeyGrant,
}

impl LogIn {
    fn up(settings: &str, sshd_config: &str) -> Option<Self> {
        let server = Server::up(settings)?;
        let folder = server.folder.display().to_string();
        for name in ["host", "id", "own"] {
            let path = server.folder.join(name);
            let kind = if name == "id" { "rsa" } else { "ed25519" };
            let mut make = command("ssh-keygen");
            make.args(["-q", "-t", kind, "-N", "", "-C", "me@here", "-f"]);
            run(make.arg(path)).unwrap();
        }
        let config = format!(
            "HostKey {folder}/host\nUsePAM no\nStrictModes yes\nPasswordAuthentication no\n\
             PidFile none\n{sshd_config}\n"
        );
        fs::write(server.folder.join("sshd_config"), config).unwrap();
        let program = binaries::binary("x2gobroker-authorizedkeys").unwrap();
        server.stage.root(&format!(
            "install -m 755 {} {HELPER}; mkdir -p /run/sshd",
            program.display()
        ));
        let public_key = fs::read_to_string(server.folder.join("id.pub")).unwrap();
        let key = v1::KeyGrant {
            public_key: public_key.trim_end().to_owned(),
            client: String::new(),
            file: "%h/.x2go/authorized_keys".to_owned(),
            seconds: 4,
        };
        Some(Self { server, key })
    }

    /// Logs in as alice and runs something.
    fn ssh(&self, identity: &str, options: &[&str], argv: &[&str]) -> Output {
        let folder = self.server.folder.display();
        let mut ssh = self.server.stage.enter(ROOT);
        ssh.args(["ssh", "-F", "none", "-i"]);
        ssh.arg(self.server.folder.join(identity));
        let proxy = format!("ProxyCommand=/usr/sbin/sshd -i -e -f {folder}/sshd_config");
        for option in [
            proxy.as_str(),
            "IdentitiesOnly=yes",
            "IdentityAgent=none",
            "BatchMode=yes",
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
        ] {
            ssh.args(["-o", option]);
        }
        ssh.args(options).arg("alice@server").args(argv);
        ssh.output().unwrap()
    }

    fn lets_in(&self, identity: &str) -> bool {
        let output = self.ssh(identity, &[], &["id", "-un"]);
        output.status.success() && output.stdout == b"alice\n"
    }

    fn wait_until_shut(&self) {
        let shut = wait_for(LIMIT, || {
            Progress::when(!self.lets_in("id"), || "the key still lets in".to_owned())
        });
        shut.unwrap();
    }

    /// Runs the helper as sshd does; returns what it prints.
    fn helper(&self, caller: Caller, user: &str) -> String {
        let socket = self.server.folder.join("run/keys.sock");
        let begun = now();
        let mut helper = self.server.stage.enter(caller);
        let output = helper
            .args([HELPER, "--socket"])
            .arg(socket)
            .arg(user)
            .output()
            .unwrap();
        let took = begun.elapsed();
        assert!(output.status.success(), "{output:?}");
        println!("the helper took {took:.1?}");
        assert!(took < HELPER_LIMIT, "{took:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sshd_takes_a_temporary_key_from_the_users_file_with_a_pty_and_forwarded_ports() {
    let files = example("sshd-keys-files.conf");
    let Some(log_in) = LogIn::up("keys_expiry = 'on'", &files) else {
        return;
    };
    assert!(!log_in.lets_in("id"));
    let mut client = log_in.server.client();
    let installed = outcome(&mut client, "alice", log_in.key.clone()).await;
    assert_eq!(installed, v1::KeyOutcome::Installed);
    // As x2goclient checks its log-in.
    let output = log_in.ssh("id", &["-tt"], &["echo", "LOGIN OK"]);
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!(text.trim_end(), "LOGIN OK", "{output:?}");
    // -W needs a forwarded port; nobody listens there, which only sshd can know.
    let output = log_in.ssh("id", &["-W", "127.0.0.1:1"], &[]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("Connection refused"), "{text}");
    log_in.wait_until_shut();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sshd_asks_the_agent_for_temporary_keys_and_no_home_is_touched() {
    let Some(mut log_in) = LogIn::up(COMMAND, "") else {
        return;
    };
    let folder = log_in.server.folder.display().to_string();
    let lines = example("sshd-keys-command.conf");
    assert!(lines.contains(&format!("{HELPER} %u\n")), "{lines}");
    let asking = format!("{HELPER} --socket {folder}/run/keys.sock %u");
    let lines = lines.replace(&format!("{HELPER} %u"), &asking);
    let config = log_in.server.folder.join("sshd_config");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(config, text + &lines).unwrap();
    // Another way to log in, which must go on.
    log_in.server.stage.root(&format!(
        "install -d -o 2001 -g 2001 -m 700 /home/alice/.ssh
         install -o 2001 -g 2001 -m 600 {folder}/own.pub /home/alice/.ssh/authorized_keys"
    ));
    assert!(log_in.lets_in("own"));
    assert!(!log_in.lets_in("id"));
    let mut client = log_in.server.client();
    let installed = outcome(&mut client, "alice", log_in.key.clone()).await;
    assert_eq!(installed, v1::KeyOutcome::Installed);
    assert!(log_in.lets_in("id"));
    let line = log_in.helper(BROKER, "alice");
    assert!(line.starts_with("no-X11-forwarding,no-user-rc"), "{line}");
    assert_eq!(line.lines().count(), 1);
    assert_eq!(log_in.helper(BROKER, "bob"), "");
    assert_eq!(log_in.helper(BROKER, "../alice"), "");
    assert_eq!(
        log_in.helper(Caller(2002, 2002), "alice"),
        "",
        "bob may not ask"
    );
    // As in the files, which the setuid program keeps.
    for user in ["root", "small", "rooted", "nobody", "x2gobroker"] {
        let refused = outcome(&mut client, user, log_in.key.clone()).await;
        assert_eq!(refused, v1::KeyOutcome::Refused, "{user}");
    }
    assert_eq!(log_in.server.stage.root("ls -A /home/alice"), ".ssh\n");
    log_in.wait_until_shut();

    let mut agent = log_in.server.agent.take().unwrap();
    agent.signal("STOP").unwrap();
    assert_eq!(log_in.helper(BROKER, "alice"), "");
    assert!(log_in.lets_in("own"), "while the agent hangs");
    agent.kill().unwrap();
    assert_eq!(log_in.helper(BROKER, "alice"), "");
    assert!(log_in.lets_in("own"), "while the agent is away");
}

/// Read by the real sshd, with groups and accounts that each host has.
#[test]
fn the_broker_answers_its_group_over_ssh_but_leaves_its_own_account_its_keys() {
    if !Path::new(SSHD).exists() {
        println!("skipped: no sshd");
        return;
    }
    let lines = example("sshd-broker.conf");
    let lines = lines.replace("!x2gobroker", "!games");
    let lines = lines.replace("Group x2gobroker-users", "Group root,games");
    let folder = tempfile::tempdir().unwrap();
    let (config, key) = (folder.path().join("config"), folder.path().join("key"));
    fs::write(&config, lines).unwrap();
    let made = command("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(&key)
        .status();
    assert!(made.unwrap().success());
    for (user, expected) in [("root", "/usr/bin/x2gobroker-ssh"), ("games", "none")] {
        let output = command(SSHD)
            .args([
                "-T",
                "-C",
                &format!("user={user},host=h,addr=192.0.2.1"),
                "-f",
            ])
            .arg(&config)
            .arg("-h")
            .arg(&key)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let forced = text
            .lines()
            .find_map(|line| line.strip_prefix("forcecommand "));
        assert_eq!(forced, Some(expected), "{user}: {text}");
    }
}

#[expect(clippy::disallowed_methods, reason = "figures are told to the reader")]
fn now() -> Instant {
    Instant::now()
}

/// What administrators are told to write.
fn example(name: &str) -> String {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    fs::read_to_string(workspace.join("deploy/examples").join(name)).unwrap()
}

const SSHD: &str = "/usr/sbin/sshd";
const COMMAND: &str = "keys = 'command'\nkeys_socket = 'FOLDER/run/keys.sock'";
/// A second, and the start of a program on a busy machine.
const HELPER_LIMIT: Duration = Duration::from_millis(2500);
/// Everything here takes moments, but for a busy machine.
const LIMIT: Duration = Duration::from_secs(20);
