//! Does the program itself keep to its manual: options, exit codes, signals?
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and starts the program"
)]

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pki::{Clock, FarmName, IssueRequest, NodeName, Role};

fn agentd() -> Command {
    Command::new(env!("CARGO_BIN_EXE_x2gobroker-agentd"))
}

fn with_config(folder: &Path, config: &str, option: &str) -> Output {
    let path = folder.join("agentd.toml");
    std::fs::write(&path, config).unwrap();
    agentd()
        .arg("--config")
        .arg(path)
        .arg(option)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn it_tells_its_version_and_its_configuration() {
    let output = agentd().arg("--version").output().unwrap();
    let version = format!("x2gobroker-agentd {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(text(&output.stdout), version);
    let folder = tempfile::tempdir().unwrap();
    let output = with_config(folder.path(), "seeds = ['b1']", "--show-config");
    assert!(output.status.success());
    let shown = text(&output.stdout);
    for line in [
        "seeds = [\"b1\"]",
        "listen = \"0.0.0.0:7464\"",
        "gossip = \"lan\"",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{shown}");
    }
}

#[test]
fn a_check_says_all_that_is_wrong_and_fails() {
    let folder = tempfile::tempdir().unwrap();
    let database = "session_database = '/x'\nadvertise = '10.0.0.1:1'\nnode = 's1'\n";
    let output = with_config(folder.path(), database, "--check");
    assert!(output.status.success(), "{output:?}");
    let bad = format!("{database}listen = 'x'\ngossip = 'y'\n");
    let output = with_config(folder.path(), &bad, "--check");
    assert_eq!(output.status.code(), Some(1));
    let expected = "x2gobroker-agentd: the configuration is wrong\n  \
        listen: \"x\" is not ADDRESS:PORT\n  gossip: \"y\" is neither lan nor local\n";
    assert_eq!(text(&output.stderr), expected);
    let output = with_config(folder.path(), "lissten = 'x'\n", "--check");
    let told = text(&output.stderr);
    assert!(
        told.contains("agentd.toml can't be parsed") && told.contains("lissten"),
        "{told}"
    );
}

#[test]
fn a_missing_identity_is_told_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let config = format!("{}identity = '/nowhere'\n", config(folder.path()));
    let path = folder.path().join("agentd.toml");
    std::fs::write(&path, config).unwrap();
    let output = agentd().arg("--config").arg(path).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stderr);
    for words in [
        "the identity in /nowhere can't be used",
        "--role agent",
        "leaf.crt: No such",
    ] {
        assert!(told.contains(words) && told.lines().count() == 1, "{told}");
    }
}

#[test]
fn both_signals_end_it_well() {
    let folder = tempfile::tempdir().unwrap();
    let dir = |name: &str| folder.path().join(name);
    pki::init_ca(
        &dir("ca"),
        &FarmName::parse("office").unwrap(),
        &Clock::system(),
    )
    .unwrap();
    let request = IssueRequest::new(Role::Agent, NodeName::parse("s1").unwrap());
    pki::issue(&dir("ca"), &request, &dir("identity"), &Clock::system()).unwrap();
    let config = format!(
        "{}identity = '{}'\n",
        config(folder.path()),
        dir("identity").display()
    );
    let path = dir("agentd.toml");
    std::fs::write(&path, config).unwrap();
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut child = agentd()
            .arg("--config")
            .arg(&path)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("agent began") {
            line.clear();
            assert!(
                log.read_line(&mut line).unwrap() > 0,
                "it ended without having begun"
            );
        }
        kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
        let mut rest = String::new();
        log.read_to_string(&mut rest).unwrap();
        assert!(child.wait().unwrap().success(), "{signal}: {rest}");
        assert!(rest.contains("agent ended"), "{signal}: {rest}");
        assert!(!rest.contains("did not end in time"), "{signal}: {rest}");
    }
}

/// A configuration without an identity. There is no session database: the agent runs all
/// the same, and says that it is not ready.
fn config(folder: &Path) -> String {
    format!(
        "node = 's1'\nlisten = '127.0.0.1:0'\nstate_directory = '{0}'\n\
         session_database = '{0}/x2go_sessions'\ngossip = 'local'\n",
        folder.display()
    )
}
