//! How does somebody get another password?
//!
//! PAM alone changes it, for who shows the old one. Whether that was allowed, or worked,
//! is told as [`PasswordChange`]: an AUTHID is spent only when something was changed, since
//! X2Go Client reads no new one from an answer that does not please it.

use std::net::IpAddr;

use proto::{BrokerUser, Secret};

use super::decision::Step;
use super::told::Asked;
use super::{Authenticated, Authenticator, Credentials, Denied, Granted, Renewal, WhyDenied};
use super::{Source, checked_or_denied, decision, preset};
use crate::audit::By;
use crate::config::{AuthConfig, Mechanism};
use crate::logins::LoginRules;

/// What became of a wish for another password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordChange {
    /// It is the new one from now on.
    Changed,
    /// It is the old one.
    Kept(WhyKept),
}

/// Why a password stayed as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WhyKept {
    /// The configuration does not allow it.
    #[error("allow-password-change is off")]
    Off,
    /// Users are not checked by PAM.
    #[error("only PAM changes passwords, and this backend does not ask it")]
    NotByPam,
    /// Nobody's password, or the old one was not sent: over SSH, clients send none.
    #[error("no user, or no old password")]
    Unproven,
    /// PAM does not want this one.
    #[error("PAM does not take the new password")]
    NotTaken,
}

impl Authenticator {
    /// Checks the credentials of a request, and changes the password to `new`. The old
    /// password must be right whatever else lets this client in, and wrong ones count as at
    /// a login.
    ///
    /// # Errors
    /// When the credentials are not good, or the old password is wrong or can't be checked.
    pub async fn set_password(
        &self,
        how: &AuthConfig,
        logins: &LoginRules,
        credentials: &Credentials,
        new: &Secret,
        source: impl Into<Source>,
    ) -> Result<(Granted, PasswordChange), Denied> {
        let source = source.into();
        let client = source.client;
        if let Some(why) = kept(how, credentials) {
            let let_in = self.authenticate(how, logins, credentials, source, Renewal::Keep);
            return Ok((let_in.await?, PasswordChange::Kept(why)));
        }
        let login = decision::login(logins, credentials);
        let changed = match login.map(|login| Authenticated { login, client }) {
            Ok(who) => self.change(how, credentials, new, who).await,
            Err(why) => {
                let asked = Asked {
                    how,
                    credentials,
                    client,
                };
                self.audited(asked, By::Nothing, Err(why))
            }
        };
        let (granted, change) = match changed {
            Ok((granted, change)) => (Ok(granted), change),
            Err(why) => (Err(why), PasswordChange::Changed),
        };
        Self::tell(credentials, client, &granted);
        Ok((checked_or_denied(granted)?, change))
    }

    async fn change(
        &self,
        how: &AuthConfig,
        credentials: &Credentials,
        new: &Secret,
        who: Authenticated,
    ) -> Result<(Granted, PasswordChange), WhyDenied> {
        let preset = preset::of(&how.authid).await;
        let asked = Asked {
            how,
            credentials,
            client: who.client,
        };
        let step = decision::step(how, credentials, preset.as_ref());
        let step = self.audited_if_denied(asked, By::Nothing, step)?;
        if step == Step::CheckAuthId {
            let good = self.take(how, &credentials.authid, &who, Renewal::Keep);
            self.audited_if_denied(asked, By::AuthId, good)?;
        }
        let user = who.user().cloned().ok_or(WhyDenied::User);
        let user = self.audited_if_denied(asked, By::Nothing, user)?;
        let change = self.put_wish(how, user, credentials, new, who.client);
        let change = change.await?;
        let renewal = match change {
            PasswordChange::Changed => Renewal::Next,
            PasswordChange::Kept(_) => Renewal::Keep,
        };
        let authid = match step {
            Step::LetIn => None,
            Step::LetInByPreset => preset,
            Step::AskForPassword => self.new_authid(how, &who, renewal),
            // Somebody else may have used it meanwhile: the password is changed all the same.
            Step::CheckAuthId => self
                .take(how, &credentials.authid, &who, renewal)
                .unwrap_or_default(),
        };
        Ok((Granted { who, authid }, change))
    }

    /// In a task of its own: whoever hangs up changes nothing about what PAM does.
    async fn put_wish(
        &self,
        how: &AuthConfig,
        user: BrokerUser,
        credentials: &Credentials,
        new: &Secret,
        client: IpAddr,
    ) -> Result<PasswordChange, WhyDenied> {
        let queued = self.inner.slots.enter(client).ok_or(WhyDenied::Unavailable);
        let asked = Asked {
            how,
            credentials,
            client,
        };
        let queued = self.audited_if_denied(asked, By::Password, queued)?;
        let (this, how) = (self.clone(), how.clone());
        let (sent, new) = (credentials.clone(), new.clone());
        let changing = self.inner.checks.spawn(async move {
            let _queued = queued;
            let passwords = &this.inner.passwords;
            let asked = passwords.change(&user, &sent.password, &new, client);
            let changed = this.guarded(&how.failures, &user, client, asked).await;
            let asked = Asked {
                how: &how,
                credentials: &sent,
                client,
            };
            this.audited(asked, By::Password, changed)
        });
        changing.await.unwrap_or(Err(WhyDenied::Unavailable))
    }
}

/// Why nobody need be asked.
fn kept(how: &AuthConfig, credentials: &Credentials) -> Option<WhyKept> {
    if !how.allow_password_change {
        return Some(WhyKept::Off);
    }
    if how.mechanism != Mechanism::Pam {
        return Some(WhyKept::NotByPam);
    }
    let is_unproven = credentials.user.is_empty() || credentials.password.expose().is_empty();
    is_unproven.then_some(WhyKept::Unproven)
}

#[cfg(test)]
mod tests;
