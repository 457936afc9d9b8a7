//! Who is asking? Turns what a client sent into a proof that it was let in.

use std::net::IpAddr;

use proto::{Secret, Username};

use crate::config::{AuthConfig, Authentication};

/// What a client says about itself, cleaned but not yet checked.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Who the client says it is; may be empty.
    pub user: String,
    /// As typed: white space counts.
    pub password: Secret,
    /// The account on the X2Go server; empty for the user's own.
    pub login: String,
    /// The one-time value of the last answer; may be empty.
    pub authid: Secret,
}

/// Somebody was let in.
#[derive(Clone, Debug)]
pub struct Granted {
    /// Who.
    pub who: Authenticated,
    /// The value for the client's next request, where there is one.
    pub authid: Option<Secret>,
}

/// Checks credentials. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Authenticator {}

impl Authenticator {
    /// Checks the credentials of a request.
    ///
    /// # Errors
    /// When they are not good.
    #[expect(
        clippy::unused_async,
        reason = "passwords will be checked by another process"
    )]
    pub async fn authenticate(
        &self,
        how: &AuthConfig,
        credentials: &Credentials,
        client: IpAddr,
    ) -> Result<Granted, Denied> {
        let who = authenticate(how.authentication, credentials, client)?;
        Ok(Granted { who, authid: None })
    }
}

/// Somebody whose credentials were found good. Only an [`Authenticator`] makes one, so
/// whoever holds it need not ask again.
#[derive(Clone, Debug)]
pub struct Authenticated {
    user: Option<Username>,
    client: IpAddr,
}

/// The credentials are not good. Says no more, since the client is told no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("access denied")]
pub struct Denied;

impl Authenticated {
    /// The user; `None` where no credentials are required and no name was given.
    #[must_use]
    pub fn user(&self) -> Option<&Username> {
        self.user.as_ref()
    }

    /// Where the request came from.
    #[must_use]
    pub fn client(&self) -> IpAddr {
        self.client
    }
}

/// Checks the credentials of a request.
///
/// The login on the X2Go server is the authenticated user: a request for another login
/// is denied, since the answer would hold that user's session.
///
/// # Errors
/// When the user is missing where one is needed, is no user name, or differs from the
/// login.
fn authenticate(
    how: Authentication,
    request: &Credentials,
    client: IpAddr,
) -> Result<Authenticated, Denied> {
    let user = match (request.user.as_str(), how) {
        ("", Authentication::NotRequired) => None,
        ("", Authentication::AnyPassword) => return Err(Denied),
        (name, Authentication::NotRequired | Authentication::AnyPassword) => {
            Some(Username::parse(name).or(Err(Denied))?)
        }
    };
    let login = request.login.as_str();
    if !login.is_empty() && user.as_ref().map(Username::as_str) != Some(login) {
        return Err(Denied);
    }
    Ok(Authenticated { user, client })
}

#[cfg(test)]
mod tests {
    use super::{Denied, authenticate};
    use crate::config::Authentication;
    use crate::frontend::form;

    fn check(how: Authentication, body: &str) -> Result<Option<String>, Denied> {
        let request = form::parse("", "", body.as_bytes()).unwrap().credentials;
        let who = authenticate(how, &request, "10.0.0.1".parse().unwrap())?;
        Ok(who.user().map(ToString::to_string))
    }

    #[test]
    fn a_user_must_have_a_name_that_can_be_one() {
        use Authentication::{AnyPassword, NotRequired};
        assert_eq!(
            check(AnyPassword, "user=alice&password=x"),
            Ok(Some("alice".to_owned()))
        );
        assert_eq!(check(NotRequired, "task=listsessions"), Ok(None));
        for how in [AnyPassword, NotRequired] {
            assert_eq!(check(how, "user=..%2Fetc&password=x"), Err(Denied));
            assert_eq!(check(how, "user=alice%7Cbob"), Err(Denied));
        }
        assert_eq!(check(AnyPassword, "password=x"), Err(Denied));
    }

    #[test]
    fn nobody_gets_the_sessions_of_another_login() {
        let how = Authentication::AnyPassword;
        assert_eq!(check(how, "user=bob&password=x&login=alice"), Err(Denied));
        assert!(check(how, "user=bob&password=x&login=bob").is_ok());
        assert_eq!(
            check(Authentication::NotRequired, "login=alice"),
            Err(Denied)
        );
    }
}
