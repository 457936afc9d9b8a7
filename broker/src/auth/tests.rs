//! Credentials as clients send them, answered by replicas of one farm.

mod peers;

use std::net::IpAddr;
use std::time::Duration;

use proto::{BrokerUser, Secret};

use super::authid::{AuthId, Facts};
use super::testing::Farm;
use super::{Authenticator, Credentials, Granted, Renewal, WhyDenied};
use crate::config::{AuthConfig, AuthIdConfig, FailureLimits, Mechanism};
use crate::logins::{LoginRule, LoginRules};

pub(super) fn open() -> AuthConfig {
    AuthConfig {
        require_password: true,
        require_authid: false,
        mechanism: Mechanism::None,
        authid: AuthIdConfig {
            preset: None,
            preset_file: None,
            verify_ip: true,
            timeout: Duration::from_secs(36_000),
            is_static: false,
        },
        failures: FailureLimits {
            free: 3,
            free_shared: 30,
            longest_delay: Duration::from_secs(60),
            halve_after: Duration::from_secs(300),
        },
        allow_password_change: false,
    }
}

pub(super) fn credentials(user: &str, password: &str, authid: &str) -> Credentials {
    Credentials {
        user: user.to_owned(),
        password: Secret::new(password.to_owned()),
        login: String::new(),
        authid: Secret::new(authid.to_owned()),
    }
}

const DESK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 77, 0, 20));
const OTHER_DESK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 77, 0, 21));

/// Somebody who uses the AUTHID of the last answer, as X2Go Client does.
pub(super) struct Client {
    how: AuthConfig,
    user: &'static str,
    from: IpAddr,
    pub(super) authid: String,
}

impl Client {
    pub(super) fn new(how: AuthConfig) -> Self {
        Self {
            how,
            user: "alice",
            from: DESK,
            authid: String::new(),
        }
    }

    pub(super) async fn ask(&mut self, replica: &Authenticator) -> Result<Granted, WhyDenied> {
        let granted = self
            .send(replica, self.user, self.from, Renewal::Next)
            .await?;
        if let Some(next) = &granted.authid {
            next.expose().clone_into(&mut self.authid);
        }
        Ok(granted)
    }

    /// Why this AUTHID is not good; it is not used up.
    pub(super) async fn try_with(
        &self,
        replica: &Authenticator,
        authid: &str,
    ) -> Option<WhyDenied> {
        let sent = credentials(self.user, "", authid);
        let logins = LoginRules::default();
        let granted = replica.authenticate(&self.how, &logins, &sent, self.from, Renewal::Keep);
        granted.await.err().map(|denied| denied.why)
    }

    /// Sends its AUTHID without learning the next.
    async fn send(
        &self,
        replica: &Authenticator,
        user: &str,
        from: IpAddr,
        renewal: Renewal,
    ) -> Result<Granted, WhyDenied> {
        let credentials = credentials(user, "pw", &self.authid);
        let logins = LoginRules::default();
        let granted = replica.authenticate(&self.how, &logins, &credentials, from, renewal);
        granted.await.map_err(|denied| denied.why)
    }
}

fn why(result: Result<Granted, WhyDenied>) -> Option<WhyDenied> {
    result.err()
}

#[tokio::test]
async fn an_authid_of_one_replica_opens_another_and_is_used_up() {
    let farm = Farm::new("office");
    let (one, two) = (farm.replica("broker1"), farm.replica("broker2"));
    let mut client = Client::new(open());
    let granted = client.ask(&one).await.unwrap();
    assert_eq!(granted.who.user().map(BrokerUser::as_str), Some("alice"));
    let first = client.authid.clone();
    client.ask(&two).await.unwrap();
    assert_ne!(first, client.authid);
    client.ask(&one).await.unwrap();
    client.authid = first;
    assert_eq!(why(client.ask(&two).await), Some(WhyDenied::AuthIdSpent));
}

#[tokio::test]
async fn an_authid_in_wrong_hands_stays_good_in_the_right_ones() {
    let farm = Farm::new("office");
    let one = farm.replica("broker1");
    let mut client = Client::new(open());
    client.ask(&one).await.unwrap();
    let elsewhere = client.send(&one, "alice", OTHER_DESK, Renewal::Next).await;
    assert_eq!(why(elsewhere), Some(WhyDenied::AuthIdAddress));
    let as_bob = client.send(&one, "bob", DESK, Renewal::Next).await;
    assert_eq!(why(as_bob), Some(WhyDenied::AuthIdUser));
    client.ask(&one).await.unwrap();
}

#[tokio::test]
async fn the_login_of_somebody_else_needs_a_rule() {
    let farm = Farm::new("lab");
    let replica = farm.replica("broker1");
    let mut logins = LoginRules::default();
    let asks = |login: &str, logins: LoginRules| {
        let mut credentials = credentials("bob", "pw", "");
        login.clone_into(&mut credentials.login);
        let replica = replica.clone();
        async move {
            let how = open();
            let granted = replica
                .authenticate(&how, &logins, &credentials, DESK, Renewal::Next)
                .await;
            granted.map(|granted| granted.who.account().unwrap().to_string())
        }
    };
    let denied = asks("alice", logins.clone()).await.unwrap_err();
    assert_eq!(denied.why, WhyDenied::Login);
    assert_eq!(asks("bob", logins.clone()).await.unwrap(), "bob");
    logins.add(LoginRule::parse("bob", "alice").unwrap());
    assert_eq!(asks("alice", logins.clone()).await.unwrap(), "alice");
    assert_eq!(asks("", logins.clone()).await.unwrap(), "bob");
    let denied = asks("root", logins).await.unwrap_err();
    assert_eq!(denied.why, WhyDenied::Login);
}

#[tokio::test]
async fn testcon_uses_up_no_authid() {
    let farm = Farm::new("office");
    let one = farm.replica("broker1");
    let mut client = Client::new(open());
    client.ask(&one).await.unwrap();
    for _ in 0..3 {
        let tested = client.send(&one, "alice", DESK, Renewal::Keep).await;
        assert!(tested.unwrap().authid.is_none());
    }
    let used = client.authid.clone();
    client.ask(&one).await.unwrap();
    client.authid = used;
    let tested = client.send(&one, "alice", DESK, Renewal::Keep).await;
    assert_eq!(why(tested), Some(WhyDenied::AuthIdSpent));
}

#[tokio::test]
async fn events_that_cross_each_other_are_all_let_in_by_one_authid() {
    let farm = Farm::new("office");
    let (one, two) = (farm.replica("broker1"), farm.replica("broker2"));
    let mut client = Client::new(open());
    // {plain-clientevent}: with a password there is an AUTHID in the answer.
    let begun = client.send(&one, "alice", DESK, Renewal::Unspent).await;
    let given = begun.unwrap().authid.unwrap();
    given.expose().clone_into(&mut client.authid);
    for replica in [&one, &two, &one] {
        let event = client.send(replica, "alice", DESK, Renewal::Unspent).await;
        // A client that was told one here could take it for newer than that of a list.
        assert!(event.unwrap().authid.is_none());
    }
    let elsewhere = client.send(&one, "alice", OTHER_DESK, Renewal::Unspent);
    assert_eq!(why(elsewhere.await), Some(WhyDenied::AuthIdAddress));
    let used = client.authid.clone();
    client.ask(&one).await.unwrap();
    client.authid = used;
    let late = client.send(&one, "alice", DESK, Renewal::Unspent).await;
    assert_eq!(why(late), Some(WhyDenied::AuthIdSpent));
}

#[tokio::test]
async fn a_static_authid_stays_the_same_and_ends_in_time() {
    let farm = Farm::new("office");
    let (one, two) = (farm.replica("broker1"), farm.replica("broker2"));
    let mut how = open();
    how.authid.is_static = true;
    how.authid.timeout = Duration::from_secs(3);
    let mut client = Client::new(how);
    client.ask(&one).await.unwrap();
    let first = client.authid.clone();
    for replica in [&two, &one, &two] {
        client.ask(replica).await.unwrap();
        assert_eq!(client.authid, first);
    }
    farm.hand.advance(Duration::from_secs(4));
    assert_eq!(why(client.ask(&one).await), Some(WhyDenied::AuthIdOld));
}

#[tokio::test]
async fn the_time_of_an_authid_counts_from_the_password_and_not_from_its_last_use() {
    let farm = Farm::new("office");
    let one = farm.replica("broker1");
    let mut how = open();
    how.authid.timeout = Duration::from_secs(3);
    let mut client = Client::new(how);
    client.ask(&one).await.unwrap();
    farm.hand.advance(Duration::from_secs(2));
    client.ask(&one).await.unwrap();
    farm.hand.advance(Duration::from_secs(2));
    assert_eq!(why(client.ask(&one).await), Some(WhyDenied::AuthIdOld));
}

#[tokio::test]
async fn an_authid_lives_through_a_restart_of_the_replica_that_made_it() {
    let farm = Farm::new("office");
    let mut client = Client::new(open());
    client.ask(&farm.replica("broker1")).await.unwrap();
    // With its certificate renewed, and another in between.
    client.ask(&farm.replica("broker1")).await.unwrap();
    client.ask(&farm.replica("broker2")).await.unwrap();
}

#[tokio::test]
async fn the_preset_authid_and_the_right_password_let_in() {
    let here = tempfile::tempdir().unwrap();
    let file = here.path().join("x2gobroker.authid");
    std::fs::write(&file, "# comment\n\n  of-the-file and more\nsecond\n").unwrap();
    let farm = Farm::new("office");
    let one = farm.replica("broker1");
    let mut how = open();
    how.require_authid = true;
    how.authid.preset = Some(Secret::new("of-the-key".to_owned()));
    // What is preset, what is sent, what becomes of it.
    for (preset_file, authid, refused) in [
        (None, "of-the-key", None),
        (None, "", Some(WhyDenied::AuthIdMissing)),
        (None, "of-the-file", Some(WhyDenied::AuthIdForeign)),
        (Some(file.clone()), "of-the-file", None),
        (
            Some(file.clone()),
            "of-the-key",
            Some(WhyDenied::AuthIdForeign),
        ),
        (Some(here.path().join("none")), "of-the-key", None),
        // A directory is there and can't be read.
        (
            Some(here.path().into()),
            "of-the-key",
            Some(WhyDenied::AuthIdForeign),
        ),
    ] {
        how.authid.preset_file = preset_file;
        let mut client = Client::new(how.clone());
        authid.clone_into(&mut client.authid);
        assert_eq!(why(client.ask(&one).await), refused, "{authid}");
        if refused.is_none() {
            assert_ne!(client.authid, authid);
            client.ask(&one).await.unwrap();
        }
    }
    // Without a password the preset one is all, and stays.
    how.require_password = false;
    how.authid.preset_file = Some(file);
    let mut client = Client::new(how);
    client.user = "";
    for _ in 0..2 {
        "of-the-file".clone_into(&mut client.authid);
        let granted = client.ask(&one).await.unwrap();
        assert!(granted.who.user().is_none());
        assert_eq!(client.authid, "of-the-file");
    }
}

#[tokio::test]
async fn an_authid_that_many_use_at_once_lets_one_of_them_in() {
    let farm = Farm::new("office");
    let one = farm.replica("broker1");
    let mut client = Client::new(open());
    client.ask(&one).await.unwrap();
    let mut racing = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (one, how) = (one.clone(), client.how.clone());
        let sent = credentials("alice", "", &client.authid);
        racing.spawn(async move {
            let rules = LoginRules::default();
            let granted = one.authenticate(&how, &rules, &sent, DESK, Renewal::Next);
            granted.await.is_ok()
        });
    }
    let let_in = racing.join_all().await.into_iter().filter(|&ok| ok);
    assert_eq!(let_in.count(), 1);
}

#[tokio::test]
async fn without_the_authservice_nobody_is_let_in_by_password_and_authids_go_on() {
    let farm = Farm::new("office");
    let one = farm.replica("broker1");
    let mut how = open();
    how.mechanism = Mechanism::Pam;
    let mut client = Client::new(how.clone());
    assert_eq!(why(client.ask(&one).await), Some(WhyDenied::Unavailable));
    client.user = "";
    assert_eq!(why(client.ask(&one).await), Some(WhyDenied::Password));
    let alice = BrokerUser::parse("alice").unwrap();
    let now = super::testing::START * 1000;
    let facts = Facts::new(Some(&alice), DESK, now, now, how.authid.timeout).unwrap();
    let replica = farm.member(pki::Role::Broker, "broker2");
    let authid = AuthId::sign(&facts, "", &how.mechanism, &replica).unwrap();
    client.user = "alice";
    authid.expose().clone_into(&mut client.authid);
    client.ask(&one).await.unwrap();
}

/// An authservice that knows one password.
async fn serve(listener: tokio::net::UnixListener) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = [0; 4];
        stream.read_exact(&mut head).await.unwrap();
        let mut message = vec![0; proto::pam_message_length(head).unwrap()];
        stream.read_exact(&mut message).await.unwrap();
        let question = proto::PamQuestion::read(&message).unwrap();
        let verdict = match question.password.as_slice() {
            b"right" => proto::PamVerdict::Granted,
            _ => proto::PamVerdict::Refused,
        };
        stream.write_all(&verdict.to_frame()).await.unwrap();
    }
}

#[tokio::test]
async fn after_too_many_wrong_passwords_the_right_one_must_wait() {
    let farm = Farm::new("office");
    let one = farm.replica("broker1");
    let mut service = tokio::task::JoinSet::new();
    service.spawn(serve(
        tokio::net::UnixListener::bind(farm.socket()).unwrap(),
    ));
    let mut how = open();
    how.mechanism = Mechanism::Pam;
    let ask = async |user: &str, password: &str, from| {
        let sent = credentials(user, password, "");
        let rules = LoginRules::default();
        let granted = one.authenticate(&how, &rules, &sent, from, Renewal::Next);
        granted.await.map_err(|denied| denied.why).err()
    };
    assert_eq!(ask("alice", "right", DESK).await, None);
    for _ in 0..4 {
        assert_eq!(ask("alice", "wrong", DESK).await, Some(WhyDenied::Password));
    }
    assert_eq!(ask("alice", "right", DESK).await, Some(WhyDenied::TooSoon));
    assert_eq!(ask("alice", "right", OTHER_DESK).await, None);
    assert_eq!(ask("bob", "right", DESK).await, None);
    farm.hand.advance(Duration::from_millis(1001));
    assert_eq!(ask("alice", "right", DESK).await, None);
}

#[tokio::test]
async fn path_characters_in_user_or_authid_open_nothing() {
    let farm = Farm::new("lab");
    let replica = farm.replica("broker1");
    let (how, logins) = (open(), LoginRules::default());
    let cases = [
        ("../../etc/passwd", "", WhyDenied::User),
        ("/etc/passwd", "", WhyDenied::User),
        ("alice/..", "", WhyDenied::User),
        ("alice", "../../../tmp/planted", WhyDenied::AuthIdForeign),
        ("alice", "/tmp/planted", WhyDenied::AuthIdForeign),
        ("alice", "x_../alice", WhyDenied::AuthIdForeign),
    ];
    for (user, authid, why) in cases {
        let credentials = credentials(user, "pw", authid);
        let denied = replica
            .authenticate(&how, &logins, &credentials, DESK, Renewal::Next)
            .await;
        assert_eq!(denied.unwrap_err().why, why, "{user} {authid}");
    }
}

#[tokio::test]
async fn hanging_up_does_not_undo_a_wrong_password() {
    let farm = Farm::new("office");
    let one = farm.replica("broker1");
    let listener = tokio::net::UnixListener::bind(farm.socket()).unwrap();
    let mut how = open();
    how.mechanism = Mechanism::Pam;
    let rules = LoginRules::default();
    let wrong = credentials("alice", "wrong", "");
    // Nobody answers yet, and each client is gone before somebody does.
    for _ in 0..4 {
        let asked = one.authenticate(&how, &rules, &wrong, DESK, Renewal::Next);
        let gone = tokio::time::timeout(Duration::from_millis(50), asked).await;
        assert!(gone.is_err(), "{gone:?}");
    }
    let mut service = tokio::task::JoinSet::new();
    service.spawn(serve(listener));
    // They are waited for, at a stop.
    one.checks_end(Duration::from_secs(20)).await;
    assert!(one.inner.checks.is_empty());
    let right = credentials("alice", "right", "");
    let asked = one.authenticate(&how, &rules, &right, DESK, Renewal::Next);
    let denied = tokio::time::timeout(Duration::from_secs(20), asked).await;
    assert_eq!(denied.unwrap().unwrap_err().why, WhyDenied::TooSoon);
}

#[tokio::test]
async fn what_is_no_answer_about_a_password_is_not_counted() {
    let farm = Farm::new("office");
    let one = farm.replica("broker1");
    let mut how = open();
    // Nobody listens there, and nobody at the socket of the authservice.
    let web = Mechanism::HttpsGet(crate::config::HttpsGetConfig {
        host: "127.0.0.1".to_owned(),
        port: 9,
        path: "/".to_owned(),
        ca_file: Some("/nonexistent".into()),
    });
    for mechanism in [web, Mechanism::Pam] {
        how.mechanism = mechanism;
        for _ in 0..2 * how.failures.free {
            let mut client = Client::new(how.clone());
            assert_eq!(why(client.ask(&one).await), Some(WhyDenied::Unavailable));
        }
    }
}
