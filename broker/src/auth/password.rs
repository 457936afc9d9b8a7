//! Is this the user's password? Asks whoever the configuration says.

use std::path::{Path, PathBuf};

use proto::{BrokerUser, Secret};

use super::WhyDenied;
use crate::config::Mechanism;

/// Those who can be asked.
#[derive(Debug)]
pub(super) struct Passwords {
    #[expect(dead_code, reason = "PAM is not asked yet")]
    authservice: PathBuf,
}

impl Passwords {
    pub(super) fn new(authservice: &Path) -> Self {
        Self {
            authservice: authservice.to_owned(),
        }
    }

    #[expect(clippy::unused_async, reason = "PAM is not asked yet")]
    pub(super) async fn check(
        &self,
        mechanism: &Mechanism,
        user: Option<&BrokerUser>,
        password: &Secret,
    ) -> Result<(), WhyDenied> {
        match mechanism {
            Mechanism::None => Ok(()),
            Mechanism::Pam | Mechanism::HttpsGet(_)
                if user.is_none() || password.expose().is_empty() =>
            {
                Err(WhyDenied::Password)
            }
            Mechanism::Pam | Mechanism::HttpsGet(_) => Err(WhyDenied::Unavailable),
        }
    }
}
