//! Does `x2gobroker-pubkeyauthorizer` take a broker's keys, and nothing else that a web
//! server says?

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

use tests::wait::{Progress, now, wait_for};

use super::account::{Account, Outcome, owner_and_mode};
use crate::site::Site;
use crate::small_farm::{Plan, SmallFarm};

const PROGRAM: &str = "x2gobroker-pubkeyauthorizer";
const MAY: &str = "command=\"/usr/lib/x2go/x2gobroker-agent\",no-port-forwarding,\
                   no-X11-forwarding,no-agent-forwarding,no-pty";
/// What the certificates of members are for.
const MEMBER: &str = "member.x2gofarm.internal";
const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

fn keys(site: &Site) -> String {
    let folder = site.path("keys");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("id_ed25519.pub"), format!("{KEY} me@here\n")).unwrap();
    format!("[http]\npublic-keys-directory = {}\n", folder.display())
}

/// A real replica that shows its keys over HTTP and HTTPS.
fn farm() -> SmallFarm {
    SmallFarm::up(Plan {
        servers: &[],
        sections: |site| keys(site),
        ..Plan::ONE_SERVER
    })
}

fn authorized(account: &Account) -> String {
    fs::read_to_string(account.ssh("authorized_keys")).unwrap()
}

#[test]
fn the_keys_of_a_replica_are_taken_once() {
    let Some(account) = Account::new() else {
        return;
    };
    let farm = farm();
    let url = format!("http://{}/pubkeys/", farm.http);
    let taken = account.run(PROGRAM, &["-t", &url]);
    assert_eq!(taken.code, Some(0), "{taken:?}");
    assert!(
        taken.complaint.contains("WARNING: over http://"),
        "{taken:?}"
    );
    let line = authorized(&account);
    assert!(
        line.starts_with(&format!("{MAY} {KEY} x2gobroker@")),
        "{line}"
    );
    assert_eq!(line.lines().count(), 1, "{line}");
    let file = account.ssh("authorized_keys");
    assert_eq!(owner_and_mode(&file), "990:990 644");
    let again = account.run(PROGRAM, &["--broker-url", &url]);
    assert_eq!(again.code, Some(0), "{again:?}");
    assert!(again.out.starts_with("was there already: "), "{again:?}");
    assert_eq!(authorized(&account), line);
}

#[test]
fn lines_of_others_and_permissions_stay() {
    let Some(account) = Account::new() else {
        return;
    };
    let farm = farm();
    let url = format!("http://{}/pubkeys/", farm.http);
    // The folder and an empty file of the account.
    assert_eq!(account.run(PROGRAM, &["-b", &url]).code, Some(0));
    fs::write(account.ssh("authorized_keys"), "# mine\nssh-rsa AAAA me").unwrap();
    let only = PermissionsExt::from_mode(0o600);
    fs::set_permissions(account.ssh("authorized_keys"), only).unwrap();
    assert_eq!(account.run(PROGRAM, &["-b", &url]).code, Some(0));
    let text = authorized(&account);
    assert!(
        text.starts_with("# mine\nssh-rsa AAAA me\ncommand="),
        "{text}"
    );
    assert_eq!(
        owner_and_mode(&account.ssh("authorized_keys")),
        "990:990 600"
    );
}

#[test]
fn over_https_the_certificate_must_be_the_broker_s() {
    let Some(account) = Account::new() else {
        return;
    };
    let farm = SmallFarm::up(Plan {
        servers: &[],
        https: true,
        // The section is there already, for the certificate.
        sections: |site| keys(site).replace("[http]\n", ""),
        ..Plan::ONE_SERVER
    });
    let url = |host: &str| {
        let port = farm.https.unwrap().port();
        format!("https://{host}:{port}/pubkeys/")
    };
    // Where the account may read it.
    let roots = account.home().join("root.crt");
    fs::copy(farm.site.path("ca/root.crt"), &roots).unwrap();
    fs::set_permissions(&roots, PermissionsExt::from_mode(0o644)).unwrap();
    let roots = roots.display().to_string();
    // No root of the system leads to it; and it is not that of localhost.
    for args in [
        &["-t", &url(MEMBER)][..],
        &["-t", &url("localhost"), "--ca-file", &roots],
    ] {
        let refused = account.run(PROGRAM, args);
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert!(refused.complaint.contains("--ca-file"), "{refused:?}");
    }
    assert!(!account.ssh("authorized_keys").exists());
    let taken = account.run(PROGRAM, &["-t", &url(MEMBER), "--ca-file", &roots]);
    assert_eq!(taken.code, Some(0), "{taken:?}");
    assert_eq!(taken.complaint, "");
}

/// A web server that answers one connection with these bytes and stays silent then.
fn server(answer: Vec<u8>) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let served = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 1024];
        let _ = stream.read(&mut request);
        let _ = stream.write_all(&answer);
        // Until the other side goes away.
        let _ = stream.read_to_end(&mut Vec::new());
    });
    (address, served)
}

fn answered(account: &Account, head: &str, body: &str) -> Outcome {
    let answer = format!(
        "HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let (address, served) = server(answer.into_bytes());
    let outcome = account.run(PROGRAM, &["-t", &format!("http://{address}/pubkeys/")]);
    served.join().unwrap();
    outcome
}

#[test]
fn what_is_no_key_for_the_agent_is_left_out() {
    let Some(account) = Account::new() else {
        return;
    };
    let body = format!(
        "{KEY} free@everywhere\ncommand=\"/bin/sh\" {KEY}\n<html>\n\n\
         {MAY},command=\"/bin/sh\" {KEY}\n{MAY} ssh-dss AAAA\n"
    );
    let refused = answered(&account, "200 OK", &body);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(
        refused.complaint.contains("line 1 was left out"),
        "{refused:?}"
    );
    assert!(
        refused.complaint.contains("x2gobroker-keygen"),
        "{refused:?}"
    );
    assert!(!account.ssh("authorized_keys").exists());

    // Beside them, one that is: as the original broker shows it, and of a modern type.
    let good = format!("{body}{MAY} {KEY} x2gobroker@old\n");
    assert_eq!(answered(&account, "200 OK", &good).code, Some(0));
    assert_eq!(
        authorized(&account),
        format!("{MAY} {KEY} x2gobroker@old\n")
    );
}

#[test]
fn odd_answers_are_told_and_change_nothing() {
    let Some(account) = Account::new() else {
        return;
    };
    for (head, body, words) in [
        ("404 Not Found", "no", "404"),
        ("200 OK", "", "shows no key"),
        (
            "301 Moved\r\nLocation: https://other/",
            "",
            "https://other/",
        ),
        ("200 OK", &"x".repeat(300_000), "can't be read"),
    ] {
        let refused = answered(&account, head, body);
        assert_eq!(refused.code, Some(1), "{head}: {refused:?}");
        assert!(refused.complaint.contains(words), "{head}: {refused:?}");
    }
    assert!(!account.ssh("authorized_keys").exists());
    for url in [
        "http://127.0.0.1:1/pubkeys/",
        "ftp://broker/",
        "https://me:pw@127.0.0.1:1/",
    ] {
        let refused = account.run(PROGRAM, &["-t", url]);
        assert_eq!(refused.code, Some(1), "{url}: {refused:?}");
    }
    assert_eq!(account.run(PROGRAM, &[]).code, Some(2));
}

#[test]
fn a_server_that_never_ends_is_left_in_time() {
    let Some(account) = Account::new() else {
        return;
    };
    let (address, _served) = server(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nx".to_vec());
    let begun = now();
    let refused = account.run(PROGRAM, &["-t", &format!("http://{address}/pubkeys/")]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(
        refused.complaint.contains("no whole answer within"),
        "{refused:?}"
    );
    assert!(begun.elapsed() < Duration::from_secs(40));
}

#[test]
fn a_key_file_that_is_a_link_is_left_alone() {
    let Some(account) = Account::new() else {
        return;
    };
    let farm = farm();
    let url = format!("http://{}/pubkeys/", farm.http);
    assert_eq!(account.run(PROGRAM, &["-t", &url]).code, Some(0));
    let file = account.ssh("authorized_keys");
    fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink(Path::new("/etc/passwd"), &file).unwrap();
    let refused = account.run(PROGRAM, &["-t", &url]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(
        refused.complaint.contains("no ordinary file"),
        "{refused:?}"
    );
}

#[test]
fn a_key_that_is_there_without_its_command_is_warned_of() {
    let Some(account) = Account::new() else {
        return;
    };
    let body = format!("{MAY} {KEY} x2gobroker@old\n");
    assert_eq!(answered(&account, "200 OK", &body).code, Some(0));
    let warned = |outcome: &Outcome| outcome.complaint.contains("without command=");
    let again = answered(&account, "200 OK", &body);
    assert!(!warned(&again), "{again:?}");
    let free = format!("no-pty {KEY} me@here\n");
    fs::write(account.ssh("authorized_keys"), &free).unwrap();
    let found = answered(&account, "200 OK", &body);
    assert_eq!(found.code, Some(0), "{found:?}");
    assert!(warned(&found), "{found:?}");
    assert_eq!(authorized(&account), free);
}

#[test]
fn nothing_is_written_while_another_run_has_the_folder() {
    let Some(account) = Account::new() else {
        return;
    };
    let body = format!("{MAY} {KEY} x2gobroker@old\n");
    assert_eq!(answered(&account, "200 OK", "").code, Some(1));
    let folder = fs::File::open(account.ssh("")).unwrap();
    folder.lock().unwrap();
    // What another run of long ago has left, with the name that all had once.
    fs::create_dir(account.ssh(".authorized_keys.x2gobroker")).unwrap();
    std::thread::scope(|scope| {
        let run = scope.spawn(|| answered(&account, "200 OK", &body));
        let wrote = wait_for(Duration::from_secs(1), || {
            let is_there = account.ssh("authorized_keys").exists();
            Progress::when(is_there, || "nothing is written".to_owned())
        });
        assert!(wrote.is_err(), "written in spite of the lock");
        fs::write(account.ssh("authorized_keys"), "# of the other run\n").unwrap();
        let only = PermissionsExt::from_mode(0o644);
        fs::set_permissions(account.ssh("authorized_keys"), only).unwrap();
        folder.unlock().unwrap();
        let taken = run.join().unwrap();
        assert_eq!(taken.code, Some(0), "{taken:?}");
    });
    assert_eq!(authorized(&account), format!("# of the other run\n{body}"));
}
