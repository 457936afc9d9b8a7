//! Who is asking? Turns what a client sent into a proof that it was let in.
//!
//! [`decision`] says, as functions of their arguments, what is to be checked and whether
//! an AUTHID is good; [`authid`] reads and writes AUTHIDs, which any replica of the farm
//! can check by itself; [`spent`] remembers which were used. Passwords are for the
//! mechanisms in `password`.

pub mod authid;
mod change;
pub mod decision;
pub mod failures;
mod guard;
mod https_get;
pub mod pam;
pub(crate) mod password;
mod peer;
mod preset;
mod proof;
mod renew;
pub mod sharing;
mod slots;
pub mod spent;
mod told;

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use pki::{Clock, IdentityWatch};
use tokio::sync::broadcast;
use tokio_util::task::TaskTracker;

use crate::audit::{Audit, By};
use crate::config::{AuthConfig, Mechanism};
use crate::logins::LoginRules;
pub use change::{PasswordChange, WhyKept};
use decision::Step;
use failures::Failures;
pub(crate) use password::LONGEST_PASSWORD;
use password::Passwords;
pub use peer::{LocalPeer, Source};
pub use proof::{Authenticated, Credentials, Denied, Granted, Renewal, WhyDenied};
use sharing::LoginNews;
use slots::Slots;
use spent::Spent;
use told::Asked;

/// Checks credentials. Cloning is cheap; all clones know which AUTHIDs are spent.
#[derive(Clone)]
pub struct Authenticator {
    inner: Arc<Inner>,
    /// The broker whose clients are checked; empty for the main one.
    site: Arc<str>,
}

struct Inner {
    identity: IdentityWatch,
    clock: Clock,
    passwords: Passwords,
    spent: Mutex<Spent>,
    failures: Mutex<Failures>,
    slots: Slots,
    /// For other replicas.
    used: broadcast::Sender<sharing::News>,
    /// For other replicas, too.
    logins: broadcast::Sender<LoginNews>,
    audit: Audit,
    /// Passwords that are being checked, or wait for it; bounded by the slots.
    checks: TaskTracker,
}

impl Authenticator {
    /// Checks AUTHIDs by the farm's root in `identity`, and passwords for PAM through the
    /// socket of the authservice.
    #[must_use]
    pub fn new(identity: IdentityWatch, clock: Clock, authservice: &Path, audit: Audit) -> Self {
        let salt = identity.borrow().derive_key("x2gobroker login failures");
        let inner = Inner {
            identity,
            clock,
            passwords: Passwords::new(authservice),
            spent: Mutex::new(Spent::default()),
            failures: Mutex::new(Failures::new(salt)),
            slots: Slots::default(),
            used: sharing::announcements(),
            logins: sharing::announcements(),
            audit,
            checks: TaskTracker::new(),
        };
        Self {
            inner: Arc::new(inner),
            site: "".into(),
        }
    }

    /// The same for the clients of a named broker: AUTHIDs of one do not open another.
    #[must_use]
    pub fn at(&self, site: &str) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            site: site.into(),
        }
    }

    /// Checks the credentials of a request from `source`: an address, or a process of this
    /// host that needs no password, since the kernel says who it is.
    ///
    /// A request for another login than the user's own needs a rule: the answer will hold
    /// the sessions of that account.
    ///
    /// # Errors
    /// When they are not good, or could not be checked.
    pub async fn authenticate(
        &self,
        how: &AuthConfig,
        logins: &LoginRules,
        credentials: &Credentials,
        source: impl Into<Source>,
        renewal: Renewal,
    ) -> Result<Granted, Denied> {
        let Source { client, peer } = source.into();
        let login = decision::login(logins, credentials);
        let asked = Asked {
            how,
            credentials,
            client,
        };
        let who = login.map(|login| Authenticated { login, client });
        let checked = match (who, &peer) {
            (Ok(who), None) => self.check(how, credentials, who, renewal).await,
            (Ok(who), Some(peer)) if who.user() == Some(peer.user()) => {
                let how = peer::instead_of_password(how);
                self.check(&how, credentials, who, renewal).await
            }
            (Ok(_), Some(_)) => self.audited(asked, By::Nothing, Err(WhyDenied::Peer)),
            (Err(why), _) => self.audited(asked, By::Nothing, Err(why)),
        };
        Self::tell(credentials, client, &checked);
        checked_or_denied(checked)
    }

    async fn check(
        &self,
        how: &AuthConfig,
        credentials: &Credentials,
        who: Authenticated,
        renewal: Renewal,
    ) -> Result<Granted, WhyDenied> {
        let preset = preset::of(&how.authid).await;
        let client = who.client;
        let step = decision::step(how, credentials, preset.as_ref());
        let asked = Asked {
            how,
            credentials,
            client,
        };
        let authid = match self.audited_if_denied(asked, By::Nothing, step)? {
            Step::LetIn => self.audited(asked, By::Nothing, Ok(None))?,
            Step::LetInByPreset => self.audited(asked, By::Preset, Ok(preset))?,
            Step::AskForPassword if how.mechanism == Mechanism::LocalPeer => {
                let made = self.new_authid(how, &who, renewal);
                self.audited(asked, By::Peer, Ok(made))?
            }
            Step::AskForPassword => {
                // In a task of its own: a client that hangs up does not undo that it guessed,
                // nor free its place while the question is still asked.
                let queued = self.inner.slots.enter(client);
                let queued = queued.ok_or(WhyDenied::Unavailable);
                let queued = self.audited_if_denied(asked, By::Password, queued)?;
                let (this, how_checked) = (self.clone(), how.clone());
                let (sent, asker) = (credentials.clone(), who.clone());
                let checking = self.inner.checks.spawn(async move {
                    let _queued = queued;
                    let asked = Asked {
                        how: &how_checked,
                        credentials: &sent,
                        client,
                    };
                    let checked = this.check_password(asked.how, &sent.password, &asker).await;
                    this.audited(asked, By::Password, checked)
                });
                checking.await.unwrap_or(Err(WhyDenied::Unavailable))?;
                self.new_authid(how, &who, renewal)
            }
            Step::CheckAuthId => {
                let taken = self.take(how, &credentials.authid, &who, renewal);
                self.audited(asked, By::AuthId, taken)?
            }
        };
        Ok(Granted { who, authid })
    }

    /// Takes records.
    pub(crate) fn audit(&self) -> &Audit {
        &self.inner.audit
    }

    /// The broker whose clients are checked; empty for the main one.
    pub(crate) fn site(&self) -> &str {
        &self.site
    }
}

fn checked_or_denied(checked: Result<Granted, WhyDenied>) -> Result<Granted, Denied> {
    checked.map_err(|why| Denied { why })
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticator").finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
