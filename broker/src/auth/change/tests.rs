//! `setpass`, before an authservice that keeps the passwords of a few.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};

use proto::Secret;
use tokio::net::UnixListener;
use tokio::task::JoinSet;

use super::{PasswordChange, WhyKept};
use crate::auth::testing::{Farm, serve_passwords};
use crate::auth::tests::{credentials, open};
use crate::auth::{Authenticator, Credentials, WhyDenied};
use crate::config::{AuthConfig, Mechanism};
use crate::logins::LoginRules;

const DESK: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 20));

struct Desk {
    replica: Authenticator,
    how: AuthConfig,
    password: Arc<Mutex<Vec<u8>>>,
    _farm: Farm,
    _service: JoinSet<()>,
}

impl Desk {
    fn new() -> Self {
        let farm = Farm::new("office");
        let password = Arc::new(Mutex::new(b"first".to_vec()));
        let mut service = JoinSet::new();
        let listener = UnixListener::bind(farm.socket()).unwrap();
        service.spawn(serve_passwords(listener, Arc::clone(&password)));
        let mut how = open();
        how.mechanism = Mechanism::Pam;
        how.allow_password_change = true;
        Self {
            replica: farm.replica("broker1"),
            how,
            password,
            _farm: farm,
            _service: service,
        }
    }

    async fn change(
        &self,
        sent: &Credentials,
        new: &str,
    ) -> Result<(PasswordChange, Option<Secret>), WhyDenied> {
        let (rules, new) = (LoginRules::default(), Secret::new(new.to_owned()));
        let changed = self
            .replica
            .set_password(&self.how, &rules, sent, &new, DESK);
        let changed = changed.await.map_err(|denied| denied.why);
        changed.map(|(granted, change)| (change, granted.authid))
    }

    fn password(&self) -> String {
        String::from_utf8(self.password.lock().unwrap().clone()).unwrap()
    }
}

#[tokio::test]
async fn a_password_is_changed_with_the_old_one_and_an_authid_is_spent_only_then() {
    let desk = Desk::new();
    let first = credentials("alice", "first", "");
    let (change, authid) = desk.change(&first, "second").await.unwrap();
    assert_eq!(change, PasswordChange::Changed);
    assert_eq!(desk.password(), "second");
    let authid = authid.unwrap();
    // An AUTHID lets in, and is no proof of the old password.
    let wrong = credentials("alice", "first", authid.expose());
    let denied = desk.change(&wrong, "third").await.unwrap_err();
    assert_eq!(denied, WhyDenied::Password);
    let right = credentials("alice", "second", authid.expose());
    let (kept, none) = desk.change(&right, "x").await.unwrap();
    assert_eq!(kept, PasswordChange::Kept(WhyKept::NotTaken));
    assert!(none.is_none());
    let (change, next) = desk.change(&right, "third").await.unwrap();
    assert_eq!((change, next.is_some()), (PasswordChange::Changed, true));
    let denied = desk.change(&right, "fourth").await.unwrap_err();
    assert_eq!(denied, WhyDenied::AuthIdSpent);
    assert_eq!(desk.password(), "third");
}

#[tokio::test]
async fn wrong_old_passwords_count_as_at_a_login() {
    let desk = Desk::new();
    let wrong = credentials("alice", "guess", "");
    for _ in 0..4 {
        let denied = desk.change(&wrong, "second").await.unwrap_err();
        assert_eq!(denied, WhyDenied::Password);
    }
    let right = credentials("alice", "first", "");
    let denied = desk.change(&right, "second").await.unwrap_err();
    assert_eq!((denied, &*desk.password()), (WhyDenied::TooSoon, "first"));
}

#[tokio::test]
async fn nothing_is_changed_where_it_is_not_allowed_or_not_understood() {
    let mut desk = Desk::new();
    let right = credentials("alice", "first", "");
    // An authservice of an older version looks at the old password only.
    let odd = credentials("odd", "first", "");
    let denied = desk.change(&odd, "second").await.unwrap_err();
    assert_eq!(denied, WhyDenied::Unavailable);
    desk.how.mechanism = Mechanism::None;
    let (kept, _) = desk.change(&right, "second").await.unwrap();
    assert_eq!(kept, PasswordChange::Kept(WhyKept::NotByPam));
    let nobody = credentials("", "", "");
    desk.how.require_password = false;
    desk.how.mechanism = Mechanism::Pam;
    let (kept, _) = desk.change(&nobody, "second").await.unwrap();
    assert_eq!(kept, PasswordChange::Kept(WhyKept::Unproven));
    desk.how.require_password = true;
    desk.how.allow_password_change = false;
    let (kept, authid) = desk.change(&right, "second").await.unwrap();
    assert_eq!(kept, PasswordChange::Kept(WhyKept::Off));
    assert!(authid.is_none());
    assert_eq!(desk.password(), "first");
}
