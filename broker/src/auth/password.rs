//! Is this the user's password? Asks whoever the configuration says.

use std::net::IpAddr;
use std::path::Path;

use proto::{BrokerUser, MAX_PAM_MESSAGE, PamVerdict, Secret};
use tracing::{info, warn};

use super::https_get::HttpsGet;
use super::pam::Pam;
use super::{PasswordChange, WhyDenied, WhyKept};
use crate::config::Mechanism;

/// Those who can be asked.
#[derive(Debug)]
pub(crate) struct Passwords {
    pam: Pam,
    https_get: HttpsGet,
}

impl Passwords {
    pub(crate) fn new(authservice: &Path) -> Self {
        Self {
            pam: Pam::new(authservice),
            https_get: HttpsGet::default(),
        }
    }

    pub(crate) async fn check(
        &self,
        mechanism: &Mechanism,
        user: Option<&BrokerUser>,
        password: &Secret,
        client: IpAddr,
    ) -> Result<(), WhyDenied> {
        if matches!(mechanism, Mechanism::None | Mechanism::LocalPeer) {
            return Ok(());
        }
        let can_be = (1..=LONGEST_PASSWORD).contains(&password.expose().len());
        let Some(user) = user.filter(|_| can_be) else {
            return Err(WhyDenied::Password);
        };
        match mechanism {
            Mechanism::None | Mechanism::LocalPeer => Ok(()),
            Mechanism::Pam => self.by_pam(user, password, client).await,
            Mechanism::HttpsGet(config) => {
                let opened = self.https_get.opens(config, user, password).await;
                match opened {
                    Ok(true) => Ok(()),
                    Ok(false) => Err(WhyDenied::Password),
                    Err(error) => {
                        let error = &error as &dyn std::error::Error;
                        warn!(error, %user, "a password could not be checked");
                        Err(WhyDenied::Unavailable)
                    }
                }
            }
        }
    }

    /// Changes the password of a user who has shown the old one.
    pub(super) async fn change(
        &self,
        user: &BrokerUser,
        old: &Secret,
        new: &Secret,
        client: IpAddr,
    ) -> Result<PasswordChange, WhyDenied> {
        let from = client.to_canonical().to_string();
        match self.pam.change(user, old, new, &from).await {
            Ok(PamVerdict::Changed) => {
                info!(%user, %client, "a password was changed");
                Ok(PasswordChange::Changed)
            }
            Ok(PamVerdict::NewPasswordRefused) => Ok(PasswordChange::Kept(WhyKept::NotTaken)),
            Ok(PamVerdict::Refused | PamVerdict::PasswordExpired) => Err(WhyDenied::Password),
            Ok(verdict) => {
                warn!(%user, ?verdict, "PAM could not be asked");
                Err(WhyDenied::Unavailable)
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                warn!(error, %user, "a password could not be changed");
                Err(WhyDenied::Unavailable)
            }
        }
    }

    async fn by_pam(
        &self,
        user: &BrokerUser,
        password: &Secret,
        client: IpAddr,
    ) -> Result<(), WhyDenied> {
        let client = client.to_canonical().to_string();
        match self.pam.ask(user, password, &client).await {
            Ok(PamVerdict::Granted) => Ok(()),
            Ok(PamVerdict::Refused) => Err(WhyDenied::Password),
            Ok(PamVerdict::PasswordExpired) => {
                info!(%user, "the password has run out; it must be changed elsewhere");
                Err(WhyDenied::Password)
            }
            Ok(verdict) => {
                warn!(%user, ?verdict, "PAM could not be asked");
                Err(WhyDenied::Unavailable)
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                warn!(error, %user, "a password could not be checked");
                Err(WhyDenied::Unavailable)
            }
        }
    }
}

/// PAM takes none that is longer, and no web server a header with it.
pub(crate) const LONGEST_PASSWORD: usize = MAX_PAM_MESSAGE;
