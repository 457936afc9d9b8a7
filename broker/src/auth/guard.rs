//! May this password be looked at now? There must be a place for it, and not too many may
//! have been wrong.

use std::net::IpAddr;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use proto::{BrokerUser, Secret};
use tracing::{info, warn};

use super::failures::Failures;
use super::sharing::LoginNews;
use super::{Authenticated, Authenticator, WhyDenied};
use crate::config::{AuthConfig, FailureLimits};

impl Authenticator {
    pub(super) async fn check_password(
        &self,
        how: &AuthConfig,
        password: &Secret,
        who: &Authenticated,
    ) -> Result<(), WhyDenied> {
        let client = who.client;
        let passwords = &self.inner.passwords;
        let Some(user) = who.user() else {
            return passwords
                .check(&how.mechanism, None, password, client)
                .await;
        };
        let asked = passwords.check(&how.mechanism, Some(user), password, client);
        self.guarded(&how.failures, user, client, asked).await
    }

    /// Asks about a password of `user` when there is a place for it and not too many were
    /// wrong, and counts what comes of it.
    pub(super) async fn guarded<T>(
        &self,
        limits: &FailureLimits,
        user: &BrokerUser,
        client: IpAddr,
        asked: impl Future<Output = Result<T, WhyDenied>>,
    ) -> Result<T, WhyDenied> {
        let slot = self.inner.slots.take(user, client).await;
        let _slot = slot.ok_or(WhyDenied::Unavailable)?;
        let checked = self.failures().check(limits, user, client, self.now());
        checked.map_err(|error| {
            info!(%user, %client, wait = error.wait, "too many wrong passwords");
            WhyDenied::TooSoon
        })?;
        let checked = asked.await;
        let now = self.now();
        let news = match checked {
            Ok(_) => LoginNews::LetIn(self.failures().let_in(user, client, now)),
            Err(WhyDenied::Password) => {
                LoginNews::Failed(self.failures().failed(user, client, now))
            }
            Err(_) => return checked,
        };
        // An error means that no other replica listens.
        let _ = self.inner.logins.send(news);
        checked
    }

    /// Waits for passwords that are still checked or changed: what comes of them is recorded.
    pub async fn checks_end(&self, limit: Duration) {
        let checks = &self.inner.checks;
        checks.close();
        if tokio::time::timeout(limit, checks.wait()).await.is_err() {
            warn!(
                n_open = checks.len(),
                "passwords are still checked or changed; nothing is recorded of that"
            );
        }
    }

    pub(super) fn failures(&self) -> MutexGuard<'_, Failures> {
        let failures = self.inner.failures.lock();
        failures.unwrap_or_else(PoisonError::into_inner)
    }
}
