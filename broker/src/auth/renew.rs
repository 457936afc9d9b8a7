//! Is the AUTHID that came good, and which is the next?

use std::sync::{MutexGuard, PoisonError};

use proto::Secret;
use tokio::time::Instant;
use tracing::{debug, error};

use super::authid::{AuthId, Facts, MakeError};
use super::spent::Spent;
use super::{Authenticated, Authenticator, Renewal, WhyDenied, decision};
use crate::config::AuthConfig;

impl Authenticator {
    /// Takes an AUTHID of ours, and gives the next.
    pub(super) fn take(
        &self,
        how: &AuthConfig,
        authid: &Secret,
        who: &Authenticated,
        renewal: Renewal,
    ) -> Result<Option<Secret>, WhyDenied> {
        let identity = self.inner.identity.borrow().clone();
        let now = self.now();
        let facts = AuthId::verify(
            authid.expose(),
            &self.site,
            &how.mechanism,
            &identity,
            self.inner.clock.now(),
        );
        let facts = facts.map_err(|error| {
            debug!(
                error = &error as &dyn std::error::Error,
                "an AUTHID proves nothing"
            );
            WhyDenied::AuthIdForeign
        })?;
        decision::good(&how.authid, &facts, who.user(), who.client, now)?;
        if how.authid.is_static {
            return Ok(Some(authid.clone()));
        }
        match renewal {
            Renewal::Next => {}
            Renewal::Unspent | Renewal::Keep => {
                return match self.spent().holds(&facts) {
                    true => Err(WhyDenied::AuthIdSpent),
                    false => Ok(None),
                };
            }
        }
        let used = self.spent().spend(&facts, now);
        let used = used.or(Err(WhyDenied::AuthIdSpent))?;
        // An error means that no other replica listens.
        let _ = self.inner.used.send((used, Instant::now()));
        let timeout = how.authid.timeout;
        let next = facts.next(who.user(), who.client, now, timeout);
        Ok(self.signed(how, next))
    }

    /// None, with an error in the log, when this host can't make one: the client then asks
    /// with its password again.
    pub(super) fn new_authid(
        &self,
        how: &AuthConfig,
        who: &Authenticated,
        renewal: Renewal,
    ) -> Option<Secret> {
        if renewal == Renewal::Keep {
            return None;
        }
        let timeout = how.authid.timeout;
        let now = self.now();
        let facts = Facts::new(who.user(), who.client, now, now, timeout);
        self.signed(how, facts)
    }

    fn signed(&self, how: &AuthConfig, facts: Result<Facts, MakeError>) -> Option<Secret> {
        let identity = self.inner.identity.borrow().clone();
        let made =
            facts.and_then(|facts| AuthId::sign(&facts, &self.site, &how.mechanism, &identity));
        made.inspect_err(|error| {
            error!(
                error = error as &dyn std::error::Error,
                "no AUTHID can be made"
            );
        })
        .ok()
    }

    /// Milliseconds since 1970.
    pub(super) fn now(&self) -> u64 {
        u64::try_from(self.inner.clock.since_epoch().as_millis()).unwrap_or(u64::MAX)
    }

    pub(super) fn spent(&self) -> MutexGuard<'_, Spent> {
        let spent = self.inner.spent.lock();
        spent.unwrap_or_else(PoisonError::into_inner)
    }
}
