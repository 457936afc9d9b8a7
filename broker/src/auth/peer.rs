//! Where does a request come from, and who does the kernel say is at the other end?

use std::net::IpAddr;

use proto::{BrokerUser, BrokerUserError};

use crate::config::{AuthConfig, Mechanism};

/// Where a request comes from.
#[derive(Clone, Debug)]
pub struct Source {
    /// The address of the client.
    pub client: IpAddr,
    /// Who asks, where that is known without a password.
    pub peer: Option<LocalPeer>,
}

/// Somebody of this host whom the kernel has named, or whom its own account speaks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalPeer(BrokerUser);

impl From<IpAddr> for Source {
    fn from(client: IpAddr) -> Self {
        Self { client, peer: None }
    }
}

impl LocalPeer {
    /// Who asks through a socket: `account` is whose process is at its other end, and
    /// `wanted` whom it asks for, if not for itself. Only the account `magic` may name
    /// somebody else; whoever else does is answered as who they are.
    ///
    /// # Errors
    /// When the name can't be that of a user.
    pub fn new(account: &str, wanted: &str, magic: &str) -> Result<Self, BrokerUserError> {
        let is_magic = !magic.is_empty() && account == magic;
        let user = if is_magic && !wanted.is_empty() {
            wanted
        } else {
            account
        };
        BrokerUser::parse(user).map(Self)
    }

    /// The user.
    #[must_use]
    pub fn user(&self) -> &BrokerUser {
        &self.0
    }
}

/// Where the kernel says who asks, nobody is asked for a password. All else stays, and an
/// AUTHID that is given then opens nothing where a password is wanted.
pub(super) fn instead_of_password(how: &AuthConfig) -> AuthConfig {
    AuthConfig {
        mechanism: Mechanism::LocalPeer,
        ..how.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::LocalPeer;

    #[test]
    fn only_the_magic_user_speaks_for_others() {
        let cases = [
            ("alice", "", "x2gobroker", Some("alice")),
            ("alice", "alice", "x2gobroker", Some("alice")),
            ("alice", "bob", "x2gobroker", Some("alice")),
            ("root", "bob", "x2gobroker", Some("root")),
            ("x2gobroker", "bob", "x2gobroker", Some("bob")),
            ("x2gobroker", "", "x2gobroker", Some("x2gobroker")),
            ("x2gobroker", "-x", "x2gobroker", None),
            // Without a magic user nobody is it.
            ("", "bob", "", None),
            ("a b", "", "x2gobroker", None),
        ];
        for (account, wanted, magic, expected) in cases {
            let peer = LocalPeer::new(account, wanted, magic).ok();
            let user = peer.as_ref().map(|peer| peer.user().as_str());
            assert_eq!(user, expected, "{account} for {wanted:?}");
        }
    }
}
