//! `x2gobroker-ca` as an operator uses it.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use pki::Clock;
use tempfile::TempDir;

use crate::farm::{DAY, start};

struct Desk {
    here: TempDir,
    clock: Clock,
    hand: pki::ManualClock,
}

impl Desk {
    fn new() -> Self {
        let (clock, hand) = Clock::manual(start());
        Self {
            here: tempfile::tempdir().unwrap(),
            clock,
            hand,
        }
    }

    /// Runs a command line, in which HERE stands for the directory, and gives the exit
    /// code, the output and the errors.
    fn run(&self, line: &str) -> (u8, String, String) {
        let here = self.here.path().display().to_string();
        let line = format!("x2gobroker-ca {line}");
        let arguments = line
            .split_whitespace()
            .map(|word| OsString::from(word.replace("HERE", &here)));
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = pki::cli::run(arguments, &self.clock, &mut out, &mut err);
        let text = |bytes| String::from_utf8(bytes).unwrap().replace(&here, "HERE");
        (code, text(out), text(err))
    }

    fn good(&self, line: &str) -> String {
        let (code, out, err) = self.run(line);
        assert_eq!((code, err.as_str()), (0, ""), "{line}");
        out
    }

    fn failure(&self, line: &str) -> String {
        let (code, out, err) = self.run(line);
        assert_eq!((code, out.as_str()), (1, ""), "{line}: {err}");
        err
    }

    fn mode(&self, path: &str) -> u32 {
        fs::metadata(self.here.path().join(path))
            .unwrap()
            .permissions()
            .mode()
            & 0o7777
    }
}

#[test]
fn init_makes_a_ca_whose_keys_only_its_owner_can_read() {
    let desk = Desk::new();
    let out = desk.good("init --farm office --dir HERE/ca");
    assert!(
        out.starts_with("Made the CA of the farm office in HERE/ca:\n"),
        "{out}"
    );
    assert!(out.contains("x2gobroker-ca issue --role agent|broker --node HOSTNAME --dir HERE/ca"));
    assert_eq!(desk.mode("ca"), 0o700);
    for (file, mode) in [
        ("root.crt", 0o644),
        ("root.key", 0o600),
        ("issuing.crt", 0o644),
        ("issuing.key", 0o600),
    ] {
        assert_eq!(desk.mode(&format!("ca/{file}")), mode, "{file}");
    }
}

#[test]
fn a_second_init_is_refused_and_changes_nothing() {
    let desk = Desk::new();
    desk.good("init --farm office --dir HERE/ca");
    let read = || fs::read(desk.here.path().join("ca/root.key")).unwrap();
    let before = read();
    let err = desk.failure("init --farm other --dir HERE/ca");
    assert_eq!(
        err,
        "x2gobroker-ca: HERE/ca/root.crt is there already: this directory holds a CA, and \
         replacing it would cut off every member it issued to; give another --dir\n"
    );
    assert_eq!(read(), before);
    // Also when only one of the files is left.
    for file in ["root.crt", "root.key", "issuing.crt"] {
        fs::remove_file(desk.here.path().join("ca").join(file)).unwrap();
    }
    let err = desk.failure("init --farm other --dir HERE/ca");
    assert!(
        err.contains("HERE/ca/issuing.key is there already"),
        "{err}"
    );
}

#[test]
fn issue_writes_three_files_says_what_to_do_and_keeps_a_log() {
    let desk = Desk::new();
    desk.good("init --farm office --dir HERE/ca");
    let out = desk.good("issue --role agent --node Web1.Example.org --dir HERE/ca");
    let dir = "HERE/ca/issued/agent-web1.example.org";
    for part in [
        "Issued x2gofarm://office/agent/web1.example.org\n",
        "valid until 2027-02-20T07:30:00Z\n",
        &format!("Wrote into {dir}:\n"),
        "leaf.key  its private key, mode 0600\n",
        "Copy these three files to /etc/x2go/pki/agent on web1.example.org",
        &format!("scp -p {dir}/* root@web1.example.org:/etc/x2go/pki/agent/\n"),
    ] {
        assert!(out.contains(part), "{part:?} is missing in: {out}");
    }
    let member = "ca/issued/agent-web1.example.org";
    assert_eq!(desk.mode(member), 0o700);
    assert_eq!(desk.mode(&format!("{member}/leaf.key")), 0o600);
    let identity = pki::load_identity(&desk.here.path().join(member), &desk.clock).unwrap();
    assert_eq!(
        identity.subject().to_uri(),
        "x2gofarm://office/agent/web1.example.org"
    );

    desk.good("issue --role broker --node b1 --dir HERE/ca --out HERE/b1 --days 7");
    let b1 = pki::load_identity(&desk.here.path().join("b1"), &desk.clock).unwrap();
    assert_eq!(
        b1.not_after().as_secs(),
        start().as_secs() + 7 * DAY.as_secs()
    );
    assert_eq!(b1.not_before().as_secs(), start().as_secs() - 60);
    assert_eq!(
        fs::read_to_string(desk.here.path().join("ca/issued.log")).unwrap(),
        format!(
            "{} agent web1.example.org 2027-02-20T07:30:00Z\n{} broker b1 2026-11-29T07:30:00Z\n",
            identity.serial(),
            b1.serial()
        )
    );
    assert_eq!(desk.mode("ca/issued.log"), 0o600);
    assert_ne!(identity.serial(), b1.serial());
    assert_eq!(identity.serial().len(), 32);
}

#[test]
fn the_root_key_is_not_needed_to_issue() {
    let desk = Desk::new();
    desk.good("init --farm office --dir HERE/ca");
    fs::remove_file(desk.here.path().join("ca/root.key")).unwrap();
    desk.good("issue --role operator --node desk --dir HERE/ca");
}

#[test]
fn a_leaf_is_renewed_in_place_but_never_over_that_of_another_member() {
    let desk = Desk::new();
    desk.good("init --farm office --dir HERE/ca");
    desk.good("issue --role agent --node web1 --dir HERE/ca --out HERE/pki");
    let serial = || {
        let dir = desk.here.path().join("pki");
        pki::load_identity(&dir, &desk.clock)
            .unwrap()
            .serial()
            .to_owned()
    };
    let before = serial();
    desk.good("issue --role agent --node web1 --dir HERE/ca --out HERE/pki");
    let renewed = serial();
    assert_ne!(before, renewed);
    for other in ["--role agent --node web2", "--role broker --node web1"] {
        let err = desk.failure(&format!("issue {other} --dir HERE/ca --out HERE/pki"));
        let found = "HERE/pki holds the certificate of x2gofarm://office/agent/web1, not of";
        assert!(
            err.contains(found) && err.ends_with("give another --out\n"),
            "{err}"
        );
    }
    assert_eq!(serial(), renewed);
}

#[test]
fn a_leaf_never_outlives_the_issuing_ca_and_an_ended_ca_issues_nothing() {
    let desk = Desk::new();
    desk.good("init --farm office --dir HERE/ca");
    desk.hand.advance(5 * 365 * DAY - 10 * DAY);
    let out = desk.good("issue --role agent --node web1 --dir HERE/ca");
    assert!(out.contains("valid until 2031-11-21T07:30:00Z"), "{out}");
    desk.hand.advance(11 * DAY);
    let err = desk.failure("issue --role agent --node web2 --dir HERE/ca");
    assert_eq!(
        err,
        "x2gobroker-ca: the issuing CA HERE/ca/issuing.crt is valid from 2026-11-22T07:29:00Z \
         to 2031-11-21T07:30:00Z, and not now\n"
    );
}

#[test]
fn issue_without_a_usable_ca_says_what_to_do() {
    let desk = Desk::new();
    let issue = "issue --role agent --node web1 --dir HERE/ca";
    assert_eq!(
        desk.failure(issue),
        "x2gobroker-ca: HERE/ca holds no CA (issuing.crt is missing); \
         make one with: x2gobroker-ca init --farm NAME --dir HERE/ca\n"
    );
    fs::write(desk.here.path().join("file"), "").unwrap();
    assert_eq!(
        desk.failure("issue --role agent --node web1 --dir HERE/file"),
        "x2gobroker-ca: cannot read HERE/file/issuing.crt: Not a directory (os error 20)\n"
    );
    desk.good("init --farm office --dir HERE/ca");
    let key = desk.here.path().join("ca/issuing.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(
        desk.failure(issue),
        "x2gobroker-ca: HERE/ca/issuing.key has mode 0644: other users can read this private \
         key or change it; run: chmod 600 HERE/ca/issuing.key\n"
    );
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&key, "no key").unwrap();
    let err = desk.failure(issue);
    assert!(
        err.contains("the issuing CA key is not a P-256 key in PKCS#8"),
        "{err}"
    );
}

#[test]
fn a_wrong_command_line_is_exit_code_2_and_help_is_0() {
    let desk = Desk::new();
    for (line, expected) in [
        ("", "Usage:"),
        ("init", "--farm <FARM>"),
        (
            "init --farm Office --dir HERE/ca",
            "farm name \"Office\" holds 'O'",
        ),
        ("issue --role chief --node a", "\"chief\" is not a role"),
        (
            "issue --role agent --node a/b",
            "node name \"a/b\" holds '/'",
        ),
        (
            "issue --role agent --node a --days 0",
            "0 is not in 1..=65535",
        ),
        ("frobnicate", "unrecognized subcommand"),
    ] {
        let (code, out, err) = desk.run(line);
        assert_eq!((code, out.as_str()), (2, ""), "{line}");
        assert!(err.contains(expected), "{line}: {err}");
    }
    for line in ["--help", "issue --help", "--version"] {
        let (code, out, err) = desk.run(line);
        assert_eq!((code, err.as_str()), (0, ""), "{line}");
        assert!(out.contains("x2gobroker-ca"), "{out}");
    }
}

#[test]
fn show_prints_what_certificates_say() {
    let desk = Desk::new();
    desk.good("init --farm office --dir HERE/ca");
    desk.good("issue --role agent --node web1 --dir HERE/ca --out HERE/web1 --days 30");
    desk.hand.advance(10 * DAY);
    let serial = pki::load_identity(&desk.here.path().join("web1"), &desk.clock).unwrap();
    let shown = desk.good("show HERE/web1");
    let leaf = shown.lines().take(10).collect::<Vec<_>>().join("\n");
    let issuer = leaf.lines().find(|line| line.contains("issuer")).unwrap();
    assert!(
        issuer.starts_with("  issuer      O=office, CN=X2Go farm issuing CA "),
        "{issuer}"
    );
    assert_eq!(
        leaf.replace(issuer, "  (issuer)")
            .replace(serial.serial(), "SERIAL"),
        "HERE/web1/leaf.crt\n  \
           farm        office\n  \
           role        agent\n  \
           node        web1\n  \
           subject     O=office, OU=agent, CN=web1\n  \
           (issuer)\n  \
           serial      SERIAL\n  \
           not before  2026-11-22T07:29:00Z\n  \
           not after   2026-12-22T07:30:00Z\n  \
           days left   20"
    );
    // The issuing CA stands behind the leaf, and the root in its own file.
    let files: Vec<&str> = shown
        .lines()
        .filter(|line| line.starts_with("HERE"))
        .collect();
    assert_eq!(
        files,
        [
            "HERE/web1/leaf.crt",
            "HERE/web1/leaf.crt",
            "HERE/web1/roots.pem"
        ]
    );

    let shown = desk.good("show HERE/ca");
    let files: Vec<&str> = shown
        .lines()
        .filter(|line| line.starts_with("HERE"))
        .collect();
    assert_eq!(files, ["HERE/ca/root.crt", "HERE/ca/issuing.crt"]);
    assert_eq!(shown.matches("role        CA").count(), 2, "{shown}");
    assert!(
        shown.contains("not after   2046-11-17T07:30:00Z"),
        "{shown}"
    );

    desk.hand.advance(25 * DAY);
    let shown = desk.good("show HERE/web1/leaf.crt");
    assert!(shown.contains("days left   EXPIRED 5 days ago"), "{shown}");
    desk.hand.set(pki::UnixTime::since_unix_epoch(DAY));
    assert!(
        desk.good("show HERE/web1/leaf.crt")
            .contains("days left   not valid yet")
    );
}

#[test]
fn show_of_something_else_says_so() {
    let desk = Desk::new();
    let neither = "is neither the directory of a CA (issuing.crt) nor of a member (leaf.crt)";
    assert_eq!(
        desk.failure("show HERE"),
        format!("x2gobroker-ca: HERE {neither}\n")
    );
    let err = desk.failure("show HERE/none");
    assert!(
        err.starts_with("x2gobroker-ca: cannot read HERE/none: No such file"),
        "{err}"
    );
    fs::write(desk.here.path().join("text"), "hello").unwrap();
    assert_eq!(
        desk.failure("show HERE/text"),
        "x2gobroker-ca: HERE/text holds no certificate\n"
    );
    let junk = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    fs::write(desk.here.path().join("junk"), junk).unwrap();
    let err = desk.failure("show HERE/junk");
    assert!(
        err.starts_with("x2gobroker-ca: HERE/junk is not usable: it is not an X.509"),
        "{err}"
    );
}

#[test]
fn two_inits_at_the_same_time_make_one_ca() {
    let desk = Desk::new();
    let dir = desk.here.path().join("ca");
    let farm = pki::FarmName::parse("office").unwrap();
    let made = |dir: &Path| pki::init_ca(dir, &farm, &desk.clock).is_ok();
    let made: Vec<bool> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..4).map(|_| scope.spawn(|| made(&dir))).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(made.iter().filter(|made| **made).count(), 1, "{made:?}");
    desk.good("issue --role agent --node web1 --dir HERE/ca --out HERE/web1");
    pki::load_identity(&desk.here.path().join("web1"), &desk.clock).unwrap();
}
