//! Somebody whom the kernel has named: what they need, and what their AUTHIDs open.

use proto::Secret;

use super::{DESK, credentials, open, why};
use crate::auth::testing::{Farm, Replica};
use crate::auth::{Credentials, Granted, LocalPeer, Renewal, Source, WhyDenied};
use crate::config::{AuthConfig, Mechanism};
use crate::logins::LoginRules;

/// As alice's process asks, for whom `sent` says.
async fn ask(
    replica: &Replica,
    how: &AuthConfig,
    sent: &Credentials,
) -> Result<Granted, WhyDenied> {
    let source = Source {
        client: DESK,
        peer: Some(LocalPeer::new("alice", "", "x2gobroker").unwrap()),
    };
    let logins = LoginRules::default();
    let granted = replica.authenticate(how, &logins, sent, source, Renewal::Next);
    granted.await.map_err(|denied| denied.why)
}

async fn ask_over_http(
    replica: &Replica,
    how: &AuthConfig,
    sent: &Credentials,
) -> Result<Granted, WhyDenied> {
    let logins = LoginRules::default();
    let granted = replica.authenticate(how, &logins, sent, DESK, Renewal::Next);
    granted.await.map_err(|denied| denied.why)
}

fn by_pam() -> AuthConfig {
    AuthConfig {
        mechanism: Mechanism::Pam,
        ..open()
    }
}

#[tokio::test]
async fn who_is_named_by_the_kernel_needs_no_password_and_uses_each_authid_once() {
    let farm = Farm::new("lab");
    let (one, two) = (farm.replica("one"), farm.replica("two"));
    let how = by_pam();
    let granted = ask(&one, &how, &credentials("alice", "", ""))
        .await
        .unwrap();
    assert_eq!(granted.who.user().unwrap().as_str(), "alice");
    let authid = granted.authid.unwrap();
    let next = credentials("alice", "", authid.expose());
    assert!(ask(&two, &how, &next).await.is_ok(), "on any replica");
    assert_eq!(
        why(ask(&two, &how, &next).await),
        Some(WhyDenied::AuthIdSpent)
    );
    let foreign = credentials("alice", "", "c11eb164-ef4c-49c2-b1bb-837e3a857b8f");
    let refused = why(ask(&one, &how, &foreign).await);
    assert_eq!(refused, Some(WhyDenied::AuthIdForeign));
}

#[tokio::test]
async fn nobody_else_is_let_in_through_the_socket() {
    let farm = Farm::new("lab");
    let replica = farm.replica("one");
    let mut how = by_pam();
    for require_password in [true, false] {
        how.require_password = require_password;
        for user in ["bob", "", "alic"] {
            let refused = why(ask(&replica, &how, &credentials(user, "", "")).await);
            assert_eq!(refused, Some(WhyDenied::Peer), "{user:?}");
        }
        let mut for_bob = credentials("alice", "", "");
        "bob".clone_into(&mut for_bob.login);
        let refused = why(ask(&replica, &how, &for_bob).await);
        assert_eq!(refused, Some(WhyDenied::Login));
    }
}

#[tokio::test]
async fn an_authid_opens_only_the_way_that_it_came_by() {
    let farm = Farm::new("lab");
    let replica = farm.replica("one");
    let how = open();
    let over_ssh = ask(&replica, &how, &credentials("alice", "", "")).await;
    let over_http = ask_over_http(&replica, &how, &credentials("alice", "pw", "")).await;
    let authid = |granted: Result<Granted, WhyDenied>| granted.unwrap().authid.unwrap();
    let sent = |authid: &Secret| credentials("alice", "", authid.expose());
    let [over_ssh, over_http] = [over_ssh, over_http].map(authid);
    let crossed = ask_over_http(&replica, &how, &sent(&over_ssh)).await;
    assert_eq!(why(crossed), Some(WhyDenied::AuthIdForeign));
    let crossed = ask(&replica, &how, &sent(&over_http)).await;
    assert_eq!(why(crossed), Some(WhyDenied::AuthIdForeign));
    assert!(ask(&replica, &how, &sent(&over_ssh)).await.is_ok());
    assert!(
        ask_over_http(&replica, &how, &sent(&over_http))
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn what_else_is_required_is_required_here_too() {
    let farm = Farm::new("lab");
    let replica = farm.replica("one");
    let mut how = by_pam();
    how.require_authid = true;
    let refused = why(ask(&replica, &how, &credentials("alice", "", "")).await);
    assert_eq!(refused, Some(WhyDenied::AuthIdMissing));
    how.authid.preset = Some(Secret::new("preset".to_owned()));
    let granted = ask(&replica, &how, &credentials("alice", "", "preset")).await;
    assert!(granted.unwrap().authid.is_some());
    how.require_password = false;
    how.require_authid = false;
    let granted = ask(&replica, &how, &credentials("alice", "", "")).await;
    assert!(granted.unwrap().authid.is_none());
}
