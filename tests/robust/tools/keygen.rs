//! Does `x2gobroker-keygen` make a key that OpenSSH and old programs read, once?

use std::fs;
use std::os::unix::fs::symlink;

use tests::process::{command, run};

use super::account::{Account, owner_and_mode};

const PROGRAM: &str = "x2gobroker-keygen";

#[test]
fn a_key_pair_is_made_once_as_the_account_of_the_broker() {
    let Some(account) = Account::new() else {
        return;
    };
    let made = account.run(PROGRAM, &[]);
    assert_eq!(made.code, Some(0), "{made:?}");
    let (private, public) = (account.ssh("id_rsa"), account.ssh("id_rsa.pub"));
    // As x2gobroker 0.0.4.3 leaves them.
    assert_eq!(owner_and_mode(&account.ssh("")), "990:990 750");
    assert_eq!(owner_and_mode(&private), "990:990 600");
    assert_eq!(owner_and_mode(&public), "990:990 644");
    let pem = fs::read_to_string(&private).unwrap();
    assert!(
        pem.starts_with("-----BEGIN RSA PRIVATE KEY-----\n"),
        "no PKCS#1"
    );
    let line = fs::read_to_string(&public).unwrap();
    assert!(
        line.starts_with("ssh-rsa AAAA") && !line.contains('\n'),
        "{line}"
    );
    assert_eq!(line.split(' ').count(), 2, "{line}");
    // It belongs to the private one, and has bits enough.
    let derived = run(command("ssh-keygen").arg("-yf").arg(&private)).unwrap();
    assert_eq!(derived.trim(), line);
    let told = run(command("ssh-keygen").arg("-lf").arg(&private)).unwrap();
    assert!(told.starts_with("3072 "), "{told}");
    let names = run(command("ls").arg("-A").arg(account.ssh(""))).unwrap();
    assert_eq!(names, "id_rsa\nid_rsa.pub\n");

    let again = account.run(PROGRAM, &["-t", "rsa"]);
    assert_eq!(again.code, Some(0), "{again:?}");
    assert!(again.out.contains("nothing was changed"), "{again:?}");
    assert_eq!(fs::read_to_string(&private).unwrap(), pem);

    let forced = account.run(PROGRAM, &["--force", "--key_type=RSA"]);
    assert_eq!(forced.code, Some(0), "{forced:?}");
    assert_ne!(fs::read_to_string(&private).unwrap(), pem);
    assert_ne!(fs::read_to_string(&public).unwrap(), line);
}

#[test]
fn a_public_key_that_is_missing_comes_back() {
    let Some(account) = Account::new() else {
        return;
    };
    assert_eq!(account.run(PROGRAM, &[]).code, Some(0));
    let line = fs::read_to_string(account.ssh("id_rsa.pub")).unwrap();
    fs::remove_file(account.ssh("id_rsa.pub")).unwrap();
    let back = account.run(PROGRAM, &[]);
    assert_eq!(back.code, Some(0), "{back:?}");
    assert_eq!(fs::read_to_string(account.ssh("id_rsa.pub")).unwrap(), line);
}

#[test]
fn nothing_of_root_is_touched_through_a_link() {
    let Some(account) = Account::new() else {
        return;
    };
    let target = account.home().join("../of-root");
    fs::create_dir(&target).unwrap();
    symlink(&target, account.home().join(".ssh")).unwrap();
    let refused = account.run(PROGRAM, &[]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(
        refused.complaint.contains("Permission denied"),
        "{refused:?}"
    );
    assert_eq!(fs::read_dir(&target).unwrap().count(), 0);
}

#[test]
fn who_is_neither_root_nor_the_broker_is_told_to_be() {
    let Some(account) = Account::new() else {
        return;
    };
    let refused = account.run_as(2001, PROGRAM, &[]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(
        refused
            .complaint
            .contains("run this as root, or as x2gobroker"),
        "{refused:?}"
    );
    assert_eq!(account.run_as(990, PROGRAM, &[]).code, Some(0));
}

#[test]
fn dsa_is_refused_with_a_reason() {
    let Some(account) = Account::new() else {
        return;
    };
    let refused = account.run(PROGRAM, &["-t", "DSA"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.complaint.contains("no longer taken"), "{refused:?}");
}

#[test]
fn a_public_key_of_another_pair_is_noticed() {
    let Some(account) = Account::new() else {
        return;
    };
    assert_eq!(account.run(PROGRAM, &[]).code, Some(0));
    let (private, public) = (account.ssh("id_rsa"), account.ssh("id_rsa.pub"));
    let line = fs::read_to_string(&public).unwrap();
    // Somebody may have put an owner behind it.
    fs::write(&public, format!("{line} me@here\n")).unwrap();
    assert_eq!(account.run(PROGRAM, &[]).code, Some(0));
    let other = line.replace("ssh-rsa AAAA", "ssh-rsa AAAB");
    fs::write(&public, &other).unwrap();
    let pem = fs::read_to_string(&private).unwrap();
    let refused = account.run(PROGRAM, &[]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(
        refused.complaint.contains("does not belong to"),
        "{refused:?}"
    );
    assert_eq!(fs::read_to_string(&public).unwrap(), other);
    assert_eq!(fs::read_to_string(&private).unwrap(), pem);
    let forced = account.run(PROGRAM, &["--force"]);
    assert_eq!(forced.code, Some(0), "{forced:?}");
    assert_eq!(account.run(PROGRAM, &[]).code, Some(0));
}
