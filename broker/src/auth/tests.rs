//! Credentials as clients send them, answered by replicas of one farm.

use std::net::IpAddr;
use std::time::Duration;

use proto::{BrokerUser, Secret};

use super::testing::Farm;
use super::{Authenticator, Credentials, Granted, Renewal, WhyDenied};
use crate::config::{AuthConfig, AuthIdConfig, Mechanism};
use crate::logins::{LoginRule, LoginRules};

fn open() -> AuthConfig {
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
    }
}

fn credentials(user: &str, password: &str, authid: &str) -> Credentials {
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
struct Client {
    how: AuthConfig,
    user: &'static str,
    from: IpAddr,
    authid: String,
}

impl Client {
    fn new(how: AuthConfig) -> Self {
        Self {
            how,
            user: "alice",
            from: DESK,
            authid: String::new(),
        }
    }

    async fn ask(&mut self, replica: &Authenticator) -> Result<Granted, WhyDenied> {
        let granted = self
            .send(replica, self.user, self.from, Renewal::Next)
            .await?;
        if let Some(next) = &granted.authid {
            next.expose().clone_into(&mut self.authid);
        }
        Ok(granted)
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
