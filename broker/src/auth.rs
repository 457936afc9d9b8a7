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
mod https_get;
pub mod pam;
pub(crate) mod password;
mod peer;
mod preset;
pub mod sharing;
mod slots;
pub mod spent;

use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pki::{Clock, IdentityWatch};
use proto::{BrokerUser, Secret, Username};
use tokio::sync::broadcast;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tracing::{debug, error, info, warn};

use crate::audit::{Audit, By, Record};
use crate::config::{AuthConfig, FailureLimits, Mechanism};
use crate::logins::{Login, LoginRules};
use authid::{AuthId, Facts, MakeError};
pub use change::{PasswordChange, WhyKept};
use decision::Step;
use failures::Failures;
use password::Passwords;
pub use peer::{LocalPeer, Source};
use sharing::LoginNews;
use slots::Slots;
use spent::Spent;

/// What a client sent to be let in: cleaned form fields, not yet checked.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Who it says it is; may be empty.
    pub user: String,
    /// As typed; may be empty.
    pub password: Secret,
    /// The account on the X2Go server; empty for the user.
    pub login: String,
    /// The AUTHID of its last answer, or the one that it begins with; may be empty.
    pub authid: Secret,
}

/// Somebody whose credentials were found good. Only [`Authenticator::authenticate`] makes
/// one, so whoever holds it need not ask again.
#[derive(Clone, Debug)]
pub struct Authenticated {
    login: Option<Login>,
    client: IpAddr,
}

/// Somebody was let in.
#[derive(Clone, Debug)]
pub struct Granted {
    /// Who.
    pub who: Authenticated,
    /// What the client must send next time; none where no credentials are required.
    pub authid: Option<Secret>,
}

/// Whether the answer of a request can tell the client its next AUTHID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// It can: the AUTHID that came is spent.
    Next,
    /// It can, but the client does not wait for it before it sends its next request, as with
    /// events: the AUTHID that came stays good, or what crosses it on its way would be
    /// refused. Who came with a password is given one.
    Unspent,
    /// It can't, as for `testcon`: the AUTHID that came stays good.
    Keep,
}

/// The credentials are not good. The client is told no more than that; the reason is for
/// the log of this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("access denied")]
pub struct Denied {
    /// Why.
    pub why: WhyDenied,
}

/// Why somebody was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WhyDenied {
    /// The user name is missing, or can't be one.
    #[error("no user name, or one that can't be")]
    User,
    /// The login is not the user's own, and no rule allows it.
    #[error("a login that no rule gives to this user")]
    Login,
    /// The user and password that greeters send to see whether credentials are checked.
    #[error("only asked whether credentials are checked")]
    Probe,
    /// An AUTHID is required and none was sent, or not the preset one.
    #[error("no AUTHID, or not the preset one")]
    AuthIdMissing,
    /// The AUTHID is not one of this farm.
    #[error("the AUTHID is not one of this farm")]
    AuthIdForeign,
    /// It was given to somebody else.
    #[error("the AUTHID of another user")]
    AuthIdUser,
    /// It was given to another address.
    #[error("the AUTHID of another address")]
    AuthIdAddress,
    /// The password is too long ago.
    #[error("the AUTHID is too old")]
    AuthIdOld,
    /// It was used before.
    #[error("the AUTHID was used before")]
    AuthIdSpent,
    /// The password is wrong, or the account may not be used.
    #[error("user or password is wrong, or the account is closed")]
    Password,
    /// Too many were wrong; this one was not looked at.
    #[error("too many wrong passwords")]
    TooSoon,
    /// Nobody could be asked about the password.
    #[error("the password can't be checked now")]
    Unavailable,
    /// A script of the operator said no.
    #[error("refused by a script")]
    Script,
    /// The request is for somebody else than who is at the other end of the socket.
    #[error("another user than the one of the socket")]
    Peer,
}

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
    /// Passwords that are being checked; bounded by the slots.
    checks: TaskTracker,
}

/// What the audit log tells of an authentication.
#[derive(Clone, Copy)]
struct Asked<'a> {
    how: &'a AuthConfig,
    credentials: &'a Credentials,
    client: IpAddr,
}

impl Authenticated {
    /// The user; `None` where no credentials are required and no name was given.
    #[must_use]
    pub fn user(&self) -> Option<&BrokerUser> {
        self.login.as_ref().map(|login| &login.user)
    }

    /// The account on the X2Go servers: the user's own, unless a rule gives another.
    #[must_use]
    pub fn account(&self) -> Option<&Username> {
        self.login.as_ref().map(|login| &login.account)
    }

    /// Where the request came from.
    #[must_use]
    pub fn client(&self) -> IpAddr {
        self.client
    }
}

#[cfg(test)]
impl Authenticated {
    /// Somebody whose credentials need no check; nobody for an empty name.
    pub(crate) fn for_test(user: &str) -> Self {
        let user = BrokerUser::parse(user).ok();
        let login = user.and_then(|user| LoginRules::default().login(&user, "").ok());
        Self {
            login,
            client: IpAddr::from([10, 77, 0, 20]),
        }
    }
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

    fn tell(credentials: &Credentials, client: IpAddr, checked: &Result<Granted, WhyDenied>) {
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
                let (this, how_checked) = (self.clone(), how.clone());
                let (sent, asker) = (credentials.clone(), who.clone());
                let checking = self.inner.checks.spawn(async move {
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

    /// Tells the audit log how an authentication ended.
    fn audited<T>(
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
    fn audited_if_denied<T>(
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

    /// Takes records.
    pub(crate) fn audit(&self) -> &Audit {
        &self.inner.audit
    }

    /// The broker whose clients are checked; empty for the main one.
    pub(crate) fn site(&self) -> &str {
        &self.site
    }

    async fn check_password(
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
    async fn guarded<T>(
        &self,
        limits: &FailureLimits,
        user: &BrokerUser,
        client: IpAddr,
        asked: impl Future<Output = Result<T, WhyDenied>>,
    ) -> Result<T, WhyDenied> {
        let slot = self.inner.slots.take(user, failures::prefix(client)).await;
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

    fn spent(&self) -> MutexGuard<'_, Spent> {
        let spent = self.inner.spent.lock();
        spent.unwrap_or_else(PoisonError::into_inner)
    }

    fn failures(&self) -> MutexGuard<'_, Failures> {
        let failures = self.inner.failures.lock();
        failures.unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an AUTHID of ours, and gives the next.
    fn take(
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
    fn new_authid(
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
    fn now(&self) -> u64 {
        u64::try_from(self.inner.clock.since_epoch().as_millis()).unwrap_or(u64::MAX)
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
