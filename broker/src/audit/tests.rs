//! Records of requests, and a writer whose disk is full.

use std::net::IpAddr;
use std::path::Path;
use std::sync::atomic::Ordering;

use serde_json::Value;

use super::{Audit, AuditTarget, AuditWriter, By, MOST_QUEUED, Record};
use crate::auth::testing::Farm;
use crate::auth::{Credentials, WhyDenied};
use crate::config::Mechanism;
use proto::Secret;

const DESK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 77, 0, 20));

fn audit(target: AuditTarget) -> (Audit, AuditWriter) {
    let farm = Farm::new("office");
    Audit::new(target, "broker1", farm.clock)
}

fn record(user: &str) -> Record {
    let credentials = Credentials {
        user: user.to_owned(),
        password: Secret::new("pl4nted".to_owned()),
        login: String::new(),
        authid: Secret::new("pl4nted".to_owned()),
    };
    Record::authentication("", &Mechanism::Pam, &credentials, DESK)
}

/// Takes what is queued, as JSON.
fn queued(writer: &mut AuditWriter) -> Vec<Value> {
    let mut lines = Vec::new();
    while let Ok(line) = writer.queued.try_recv() {
        assert!(line.bytes().all(|b| (b' '..=b'~').contains(&b)), "{line}");
        assert!(!line.contains("pl4nted"), "{line}");
        lines.push(serde_json::from_str(&line).unwrap());
    }
    lines
}

#[test]
fn a_record_is_one_line_whatever_a_client_sends() {
    let (audit, mut writer) = audit(AuditTarget::Log);
    let odd = "x\n{\"record\":\"decision\"}\r\u{1b}[2J\u{7f}\u{9b}\u{2028}\u{202e}ä𝄞\"\\";
    let long = "y".repeat(100_000);
    audit.take(record(odd).with("profile", odd).with("long", long));
    audit.take(record("alice").ended(By::Password, Err(WhyDenied::Password)));
    let found = queued(&mut writer);
    assert_eq!(found.len(), 2);
    assert_eq!(found[0]["profile"], odd);
    assert_eq!(found[0]["user"], Value::Null);
    assert_eq!(found[0]["long"].as_str().unwrap().chars().count(), 257);
    let expected = serde_json::json!({
        "record": "authentication", "time": "2026-11-22T07:30:00.000Z", "replica": "broker1",
        "broker": "", "client": "10.77.0.20", "user": "alice", "login": null,
        "mechanism": "pam", "by": "password", "answer": "denied",
        "why": "user or password is wrong, or the account is closed",
    });
    assert_eq!(found[1], expected);
}

#[tokio::test]
async fn records_are_appended_to_a_file_that_only_some_may_read() {
    use std::os::unix::fs::PermissionsExt as _;
    let here = tempfile::tempdir().unwrap();
    let path = here.path().join("audit.log");
    let (audit, mut writer) = audit(AuditTarget::File(path.clone()));
    for name in ["alice", "bob"] {
        audit.take(record(name));
        let line = writer.queued.recv().await.unwrap();
        writer.write(vec![line]).await;
    }
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(text.ends_with('\n'));
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
}

/// full(4): each write fails as on a disk without room.
#[tokio::test]
async fn a_full_disk_loses_records_and_tells_how_many_later() {
    let (audit, mut writer) = audit(AuditTarget::File("/dev/full".into()));
    for _ in 0..3 {
        audit.take(record("alice"));
        let line = writer.queued.recv().await.unwrap();
        writer.write(vec![line]).await;
    }
    assert_eq!(writer.n_lost.load(Ordering::Relaxed), 3);
    let here = tempfile::tempdir().unwrap();
    let path = here.path().join("audit.log");
    writer.target = AuditTarget::File(path.clone());
    writer.write(vec!["{}".to_owned()]).await;
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(r#""n_records":3"#), "{text}");
    assert_eq!(writer.n_lost.load(Ordering::Relaxed), 0);
}

#[test]
fn a_writer_that_stands_still_holds_nobody_up() {
    let (audit, writer) = audit(AuditTarget::File(Path::new("/nowhere/at/all").into()));
    for _ in 0..MOST_QUEUED + 5 {
        audit.take(record("alice"));
    }
    assert_eq!(writer.n_lost.load(Ordering::Relaxed), 5);
}
