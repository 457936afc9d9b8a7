//! What must be checked before somebody is let in, in which order, and when is an AUTHID
//! good?

use std::net::IpAddr;

use proto::{BrokerUser, Secret};
use ring::digest::{SHA256, digest};
use tracing::debug;

use super::authid::Facts;
use super::{Credentials, WhyDenied};
use crate::config::{AuthConfig, AuthIdConfig};
use crate::logins::{Login, LoginRules};

/// What is to be done about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// No credentials are required.
    LetIn,
    /// It brought the preset AUTHID, and no password is required.
    LetInByPreset,
    /// The password decides.
    AskForPassword,
    /// The AUTHID of a former answer decides; the password is not looked at.
    CheckAuthId,
}

/// The user of a request, and the account that they ask for.
///
/// # Errors
/// When the name can't be one, or the rules do not give the account to the user.
pub fn login(logins: &LoginRules, credentials: &Credentials) -> Result<Option<Login>, WhyDenied> {
    let Credentials { user, login, .. } = credentials;
    if user.is_empty() {
        return if login.is_empty() {
            Ok(None)
        } else {
            Err(WhyDenied::Login)
        };
    }
    let user = BrokerUser::parse(user).or(Err(WhyDenied::User))?;
    let granted = logins.login(&user, login);
    granted.map(Some).map_err(|why| {
        debug!(%user, %why, "a login is refused");
        WhyDenied::Login
    })
}

/// Says what is to be done, in the order of the original.
///
/// # Errors
/// When nothing can help.
pub fn step(
    how: &AuthConfig,
    credentials: &Credentials,
    preset: Option<&Secret>,
) -> Result<Step, WhyDenied> {
    let authid = &credentials.authid;
    let is_preset = preset.is_some_and(|preset| is_same(preset, authid));
    if !how.require_password && !how.require_authid {
        return Ok(Step::LetIn);
    }
    if credentials.user == PROBE_USER && credentials.password.expose() == PROBE_PASSWORD {
        return Err(WhyDenied::Probe);
    }
    if how.require_authid && authid.expose().is_empty() {
        return Err(WhyDenied::AuthIdMissing);
    }
    if !how.require_password {
        return if is_preset {
            Ok(Step::LetInByPreset)
        } else {
            Err(WhyDenied::AuthIdMissing)
        };
    }
    if authid.expose().is_empty() || is_preset {
        return Ok(Step::AskForPassword);
    }
    Ok(Step::CheckAuthId)
}

/// Compares digests, so that the time it takes tells nothing of the secret.
fn is_same(preset: &Secret, given: &Secret) -> bool {
    let digest = |secret: &Secret| digest(&SHA256, secret.expose().as_bytes());
    digest(preset).as_ref() == digest(given).as_ref()
}

/// Whether an AUTHID of this farm is good for this request. Whether it was used before is
/// another question, asked last: an AUTHID in wrong hands stays good in the right ones.
///
/// # Errors
/// Says what is wrong.
pub fn good(
    how: &AuthIdConfig,
    facts: &Facts,
    user: Option<&BrokerUser>,
    client: IpAddr,
    now: u64,
) -> Result<(), WhyDenied> {
    if facts.user.as_ref() != user {
        return Err(WhyDenied::AuthIdUser);
    }
    if how.verify_ip && facts.client != client.to_canonical() {
        return Err(WhyDenied::AuthIdAddress);
    }
    let timeout = u64::try_from(how.timeout.as_millis()).unwrap_or(u64::MAX);
    let is_young = now.saturating_sub(facts.first) <= timeout && now <= facts.expires;
    let is_past =
        facts.first <= now.saturating_add(MAX_SKEW) && facts.issued <= now.saturating_add(MAX_SKEW);
    if is_young && is_past {
        Ok(())
    } else {
        Err(WhyDenied::AuthIdOld)
    }
}

/// What greeters send to learn whether credentials are checked at all.
const PROBE_USER: &str = "check-credentials";
const PROBE_PASSWORD: &str = "FALSE";

/// How far ahead the clock of another replica may be, in milliseconds: more than any that
/// is kept by NTP. What comes from further ahead would live longer than it may.
pub const MAX_SKEW: u64 = 120_000;

#[cfg(test)]
mod tests;
