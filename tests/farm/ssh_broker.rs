//! Does the real x2goclient start a session through a broker over SSH: with a password, with
//! a key, and where sshd runs x2gobroker-ssh instead of what the client wants?

use std::time::Duration;

use tests::lab::{CLIENT_HOST, Desktop, HostName, Lab, Login, password};
use tests::process::Process;
use tests::wait::now;

use crate::mesh::program;
use crate::site::{BROKER, Setup, Site};

const S1: HostName = HostName::server(1);
const URL: &str = "ssh://broker1:22/usr/bin/x2gobroker-ssh";
const SSH: &str = "/usr/bin/x2gobroker-ssh";

#[test]
fn a_session_starts_over_ssh_with_a_password_with_a_key_and_with_a_forced_command() {
    let setup = Setup {
        servers: 1,
        profiles: PROFILES,
        ssh: true,
        ..Setup::default()
    };
    let Some(site) = Site::up(setup) else {
        return;
    };
    let _sshd = start_sshd(&site.lab);
    let public = make_key(&site.lab);
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|user| Person {
        user,
        public: &public,
    });
    carol.let_in(&site.lab, "");
    alice.let_in(&site.lab, "");
    // sshd runs this, whatever bob's client wants; a pty is for its first command.
    bob.let_in(&site.lab, &format!("command=\"{SSH}\",restrict,pty "));

    only_members_of_the_group_are_answered_and_each_as_themselves(&site, [&alice, &bob, &carol]);

    let with_password = client(&site, 1, "alice", "Farm", &[]);
    session_runs(&site, with_password, "alice", |desktop| {
        desktop.type_password(&password("alice")).unwrap();
    });
    let key = format!("--broker-ssh-key={KEY}");
    let with_key = client(&site, 2, "alice", "With key", &[&key]);
    session_runs(&site, with_key, "alice", |desktop| {
        answer_server(desktop, "alice");
    });
    let forced = client(&site, 3, "bob", "With key", &[&key]);
    session_runs(&site, forced, "bob", |desktop| {
        answer_server(desktop, "bob");
    });
}

fn only_members_of_the_group_are_answered_and_each_as_themselves(
    site: &Site,
    [alice, bob, carol]: [&Person<'_>; 3],
) {
    let list = format!("{SSH} --user alice --task listsessions");
    let begun = now();
    let answer = alice.run(&site.lab, &list).unwrap();
    println!("ssh with listsessions took {:.1?}", begun.elapsed());
    assert!(answer.starts_with("AUTHID:"), "{answer}");
    assert!(answer.contains("\nuser=alice\n"), "{answer}");
    assert!(answer.ends_with("END_USER_SESSIONS\n\n"), "{answer}");
    // Whoever is named, bob is bob; and his forced command runs nothing else.
    let answer = bob.run(&site.lab, &list).unwrap();
    assert!(answer.contains("\nuser=bob\n"), "{answer}");
    let refused = bob.run(&site.lab, "id").unwrap_err();
    let refused = format!("{refused:#}");
    assert!(refused.contains("exit status: 2"), "{refused}");
    assert!(
        refused.contains("only the session broker can be run here"),
        "{refused}"
    );
    let refused = carol.run(&site.lab, &list).unwrap_err();
    let refused = format!("{refused:#}");
    assert!(refused.contains("exit status: 126"), "{refused}");
    assert!(
        refused.contains("members of the group x2gobroker-users"),
        "{refused}"
    );
}

fn client<'a>(
    site: &'a Site,
    number: u32,
    user: &str,
    profile: &str,
    options: &[&str],
) -> Desktop<'a> {
    let login = Login {
        broker_url: URL,
        user,
        password: &password(user),
        profile,
    };
    let options = [&["--no-menu"], options].concat();
    Desktop::open(&site.lab, number, login, &options).unwrap()
}

fn session_runs(
    site: &Site,
    mut desktop: Desktop<'_>,
    user: &str,
    log_in: impl FnOnce(&mut Desktop<'_>),
) {
    let begun = now();
    log_in(&mut desktop);
    let session = desktop.wait_until_running(SESSION_LIMIT, user);
    let session = session.unwrap_or_else(|error| panic!("{error:#}\n{}", site.story()));
    println!("{} runs after {:.1?}", session.id, begun.elapsed());
    assert_eq!(session.server, S1);
    let asked = site
        .replica
        .log_lines(&["asked over SSH", "selectsession", user]);
    assert!(!asked.is_empty(), "{}", site.story());
    let from = Lab::address(CLIENT_HOST).to_string();
    assert!(asked.iter().all(|line| line.contains(&from)), "{asked:?}");
    drop(desktop);
    let end = ["x2goterminate-session", session.id.as_str()];
    site.lab.exec(S1, user, &end).unwrap();
}

/// The key opens the broker without a form; the X2Go server asks for its own password.
fn answer_server(desktop: &mut Desktop<'_>, user: &str) {
    let asked = desktop.wait_for_message(SESSION_LIMIT).unwrap();
    assert_eq!(asked, format!("{user}@s1:22"), "{}", desktop.story());
    desktop.type_into_message(&password(user)).unwrap();
}

fn start_sshd(lab: &Lab) -> Process {
    let install = ["install", "-m", "755", &program("x2gobroker-ssh"), SSH];
    lab.exec(BROKER, "root", &install).unwrap();
    let sshd = ["/usr/sbin/sshd", "-D", "-e"];
    let mut sshd = lab.start(BROKER, "root", "sshd", &sshd).unwrap();
    sshd.wait_for_log(SSHD_LIMIT, &["Server listening"])
        .unwrap();
    sshd
}

/// Makes a key on the client host, and returns its public half.
fn make_key(lab: &Lab) -> String {
    let make = [
        "ssh-keygen",
        "-q",
        "-t",
        "rsa",
        "-m",
        "PEM",
        "-N",
        "",
        "-f",
        KEY,
    ];
    lab.exec(CLIENT_HOST, "desk", &make).unwrap();
    let public = format!("{KEY}.pub");
    lab.exec(CLIENT_HOST, "desk", &["cat", &public]).unwrap()
}

/// Somebody whose account the key opens.
struct Person<'a> {
    user: &'static str,
    public: &'a str,
}

impl Person<'_> {
    /// Opens the account on the broker, with these options.
    fn let_in(&self, lab: &Lab, options: &str) {
        let path = format!("/home/{}/.ssh/authorized_keys", self.user);
        let line = format!("{options}{}", self.public);
        lab.write(BROKER, self.user, &path, &line).unwrap();
    }

    /// What a command prints that they run on the broker by ssh(1).
    fn run(&self, lab: &Lab, line: &str) -> anyhow::Result<String> {
        let to = format!("{}@broker1", self.user);
        let ssh = [
            "ssh",
            "-i",
            KEY,
            "-o",
            "StrictHostKeyChecking=no",
            &to,
            line,
        ];
        lab.exec(CLIENT_HOST, "desk", &ssh)
    }
}

/// One that takes the password of the broker, and one for those who showed it a key: with
/// `key` X2Go Client begins at once, and asks for a password when the key does not do.
const PROFILES: &str = "\
[DEFAULT]
command=TERMINAL
user=BROKER_USER
rootless=true
sound=false
print=false
fstunnel=false
host=s1

[farm]
name=Farm
usebrokerpass=true

[key]
name=With key
key=/nowhere
";
const KEY: &str = "/home/desk/broker-key";
/// A session starts in 5 to 10 s on an idle machine; it runs a hundred scripts.
const SESSION_LIMIT: Duration = Duration::from_secs(90);
/// sshd reads its keys and binds; slow only on a machine that is busy.
const SSHD_LIMIT: Duration = Duration::from_secs(20);
