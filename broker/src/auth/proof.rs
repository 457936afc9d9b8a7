//! What did a client show, and what does that prove?

use std::net::IpAddr;

use proto::{BrokerUser, Secret, Username};

use crate::logins::Login;
#[cfg(test)]
use crate::logins::LoginRules;

/// What a client sent to be let in: cleaned form fields, not yet checked.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Who it says it is; may be empty.
    pub user: String,
    /// As typed; may be empty.
    pub password: Secret,
    /// The account on the X2Go server; empty for the user.
    pub login: String,
    /// The AUTHID of its last answer, or the one that it begins with; may be empty.
    pub authid: Secret,
}

/// Somebody whose credentials were found good. Only [`authenticate`](super::Authenticator::authenticate) makes
/// one, so whoever holds it need not ask again.
#[derive(Clone, Debug)]
pub struct Authenticated {
    pub(super) login: Option<Login>,
    pub(super) client: IpAddr,
}

/// Somebody was let in.
#[derive(Clone, Debug)]
pub struct Granted {
    /// Who.
    pub who: Authenticated,
    /// What the client must send next time; none where no credentials are required.
    pub authid: Option<Secret>,
}

/// Whether the answer of a request can tell the client its next AUTHID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// It can: the AUTHID that came is spent.
    Next,
    /// It can, but the client does not wait for it before it sends its next request, as with
    /// events: the AUTHID that came stays good, or what crosses it on its way would be
    /// refused. Who came with a password is given one.
    Unspent,
    /// It can't, as for `testcon`: the AUTHID that came stays good.
    Keep,
}

/// The credentials are not good. The client is told no more than that; the reason is for
/// the log of this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("access denied")]
pub struct Denied {
    /// Why.
    pub why: WhyDenied,
}

/// Why somebody was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WhyDenied {
    /// The user name is missing, or can't be one.
    #[error("no user name, or one that can't be")]
    User,
    /// The login is not the user's own, and no rule allows it.
    #[error("a login that no rule gives to this user")]
    Login,
    /// The user and password that greeters send to see whether credentials are checked.
    #[error("only asked whether credentials are checked")]
    Probe,
    /// An AUTHID is required and none was sent, or not the preset one.
    #[error("no AUTHID, or not the preset one")]
    AuthIdMissing,
    /// The AUTHID is not one of this farm.
    #[error("the AUTHID is not one of this farm")]
    AuthIdForeign,
    /// It was given to somebody else.
    #[error("the AUTHID of another user")]
    AuthIdUser,
    /// It was given to another address.
    #[error("the AUTHID of another address")]
    AuthIdAddress,
    /// The password is too long ago.
    #[error("the AUTHID is too old")]
    AuthIdOld,
    /// It was used before.
    #[error("the AUTHID was used before")]
    AuthIdSpent,
    /// The password is wrong, or the account may not be used.
    #[error("user or password is wrong, or the account is closed")]
    Password,
    /// Too many were wrong; this one was not looked at.
    #[error("too many wrong passwords")]
    TooSoon,
    /// Nobody could be asked about the password.
    #[error("the password can't be checked now")]
    Unavailable,
    /// A script of the operator said no.
    #[error("refused by a script")]
    Script,
    /// The request is for somebody else than who is at the other end of the socket.
    #[error("another user than the one of the socket")]
    Peer,
}

impl Authenticated {
    /// The user; `None` where no credentials are required and no name was given.
    #[must_use]
    pub fn user(&self) -> Option<&BrokerUser> {
        self.login.as_ref().map(|login| &login.user)
    }

    /// The account on the X2Go servers: the user's own, unless a rule gives another.
    #[must_use]
    pub fn account(&self) -> Option<&Username> {
        self.login.as_ref().map(|login| &login.account)
    }

    /// Where the request came from.
    #[must_use]
    pub fn client(&self) -> IpAddr {
        self.client
    }
}

#[cfg(test)]
impl Authenticated {
    /// Somebody whose credentials need no check; nobody for an empty name.
    pub(crate) fn for_test(user: &str) -> Self {
        let user = BrokerUser::parse(user).ok();
        let login = user.and_then(|user| LoginRules::default().login(&user, "").ok());
        Self {
            login,
            client: IpAddr::from([10, 77, 0, 20]),
        }
    }
}
