//! Who learns how an authentication ended? The audit log all of it, the log what an operator
//! looks for.

use std::net::IpAddr;

use tracing::{debug, info};

use super::{Authenticator, Credentials, Granted, WhyDenied};
use crate::audit::{By, Record};
use crate::config::AuthConfig;

/// What the audit log tells of an authentication.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) how: &'a AuthConfig,
    pub(super) credentials: &'a Credentials,
    pub(super) client: IpAddr,
}

impl Authenticator {
    pub(super) fn tell(
        credentials: &Credentials,
        client: IpAddr,
        checked: &Result<Granted, WhyDenied>,
    ) {
        match checked {
            Ok(_) => {}
            // What an operator, or fail2ban, looks for.
            Err(why @ (WhyDenied::Password | WhyDenied::TooSoon)) => {
                info!(user = credentials.user, %client, %why, "access denied");
            }
            // A script of the operator, most likely: nobody gets in by SSH then.
            Err(WhyDenied::Peer) => info!(
                user = credentials.user,
                %client,
                "access denied: over SSH the user is the one of the account, and a pre-auth \
                 script must not give another"
            ),
            Err(why) => debug!(user = credentials.user, %client, %why, "access denied"),
        }
    }

    /// Tells the audit log how an authentication ended.
    pub(super) fn audited<T>(
        &self,
        asked: Asked<'_>,
        by: By,
        checked: Result<T, WhyDenied>,
    ) -> Result<T, WhyDenied> {
        let Asked {
            how,
            credentials,
            client,
        } = asked;
        let record = Record::authentication(&self.site, &how.mechanism, credentials, client);
        let ended = match &checked {
            Ok(_) => Ok(()),
            Err(why) => Err(*why),
        };
        self.inner.audit.take(record.ended(by, ended));
        checked
    }

    /// The same, while more is to be checked.
    pub(super) fn audited_if_denied<T>(
        &self,
        asked: Asked<'_>,
        by: By,
        checked: Result<T, WhyDenied>,
    ) -> Result<T, WhyDenied> {
        match checked {
            Ok(good) => Ok(good),
            denied => self.audited(asked, by, denied),
        }
    }
}
