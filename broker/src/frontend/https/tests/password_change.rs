//! `setpass` where a script of the operator has a say.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::{Arc, Mutex};

use tokio::net::UnixListener;
use tokio::task::JoinSet;

use super::Site;
use crate::auth::testing::{Farm, serve_passwords};

#[tokio::test]
async fn a_password_stays_where_a_script_refuses_who_was_let_in() {
    let scripts = tempfile::tempdir().unwrap();
    if scripts.path().metadata().unwrap().uid() != 0 {
        println!("skipped: only root can make scripts that belong to root");
        return;
    }
    let text = "#!/bin/sh\nread -r request\ncase $request in\n\
                *'\"user\":\"kiosk\"'*) echo '{\"refuse\": \"not the kiosk\"}';;\n\
                *'\"authenticated\":true'*) :> $0.asked;;\nesac\n";
    let script = scripts.path().join("check");
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).unwrap();
    let farm = Farm::new("lab");
    let password = Arc::new(Mutex::new(b"first".to_vec()));
    let mut service = JoinSet::new();
    let listener = UnixListener::bind(farm.socket()).unwrap();
    service.spawn(serve_passwords(listener, Arc::clone(&password)));
    let config = format!(
        "[global]\nallow-password-change = true\npost_auth_scripts = check\n\
         [scripts]\ndirectory = {}\n",
        scripts.path().display()
    );
    let site = Site::in_farm(&farm, &config, "[a]\nhost=s1\n");
    let change = async |user: &str, old: &str| {
        let form = format!("task=setpass&user={user}&password={old}&newpass=second");
        let got = site.post("/plain/", &form).await;
        let kept = String::from_utf8(password.lock().unwrap().clone()).unwrap();
        (got.head[..3].to_owned(), got.body, kept)
    };

    let (status, _, kept) = change("kiosk", "first").await;
    assert_eq!((status.as_str(), kept.as_str()), ("401", "first"));
    let (status, _, kept) = change("alice", "wrong").await;
    assert_eq!((status.as_str(), kept.as_str()), ("401", "first"));
    assert!(!scripts.path().join("check.asked").exists());
    let (status, body, kept) = change("alice", "first").await;
    assert_eq!((status.as_str(), kept.as_str()), ("200", "second"));
    assert!(body.contains("Access granted"), "{body}");
    assert!(scripts.path().join("check.asked").exists());
}
