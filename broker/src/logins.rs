//! By which name may this user log in to X2Go servers?
//!
//! Everybody has the account of their own name and no other, unless a rule says more: in
//! `[logins]` of `x2gobroker.conf`, a line `USER = ACCOUNT, ACCOUNT …`. An answer to a
//! wrong login would hold somebody else's session.

use proto::{BrokerUser, Username, UsernameError};

/// Which users may use which accounts. Without rules, each their own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoginRules {
    rules: Vec<LoginRule>,
}

/// One line: what these users may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginRule {
    users: Users,
    /// The first one is what users with a domain get who ask for none.
    accounts: Vec<Account>,
}

/// Whom a rule is about.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Users {
    /// `alice`, or `CORP\alice`.
    One(BrokerUser),
    /// `CORP\*`: everybody of a domain that stands first.
    OfDomain(String),
    /// `*@example.org`: everybody of a realm that stands last.
    OfRealm(String),
    /// `*`.
    Everybody,
}

/// What a rule allows.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Account {
    /// This account.
    Named(Username),
    /// `%u`: the account of the user's name without its domain.
    OwnWithoutDomain,
    /// `*`: any account but root.
    AnyButRoot,
}

/// A user and the account that was asked for, when the rules allow it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// Who logs in: for the password, ACLs and groups.
    pub user: BrokerUser,
    /// The account on the X2Go servers: for sessions and keys.
    pub account: Username,
}

/// No rule lets this user have this account.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoginRefused {
    /// What was asked for is no account.
    #[error("the login can't be the name of an account")]
    NoAccount(#[source] UsernameError),
    /// Somebody else's.
    #[error("{user} may not log in as {account}; a line in [logins] could allow it")]
    NotAllowed {
        /// Who asked.
        user: BrokerUser,
        /// For what.
        account: Username,
    },
    /// A user with a domain, and no rule.
    #[error("no line in [logins] says which account {user} has")]
    NoRule {
        /// Who asked.
        user: BrokerUser,
    },
}

/// A line that can't be a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoginRuleError {
    /// What stands before the `=`.
    #[error("{0:?} is no user; write a user name, DOMAIN\\user, DOMAIN\\*, *@REALM or *")]
    Users(String),
    /// One of what stands behind it.
    #[error("{0:?} is no account; write a user name, %u or *")]
    Account(String),
    /// Nothing stands there.
    #[error("no account is given; users may log in by their own name without a rule")]
    NoAccounts,
    /// Everybody as everybody.
    #[error("this would let everybody have anybody's sessions; name the users or the accounts")]
    EverybodyAsAnybody,
    /// Where there is no domain, there is nothing to leave out.
    #[error("%u leaves a domain out; it goes with DOMAIN\\… or *@REALM")]
    NoDomain,
    /// A domain has more users than an operator knows.
    #[error("* lets these users have anybody's sessions; name each of them")]
    TooManyAsAnybody,
}

impl LoginRules {
    /// Adds a rule.
    pub fn add(&mut self, rule: LoginRule) {
        self.rules.push(rule);
    }

    /// The account that a user gets who asks for `login`; an empty one, or the user's own
    /// name, asks for the user's own account.
    ///
    /// # Errors
    /// When the rules do not allow it.
    pub fn login(&self, user: &BrokerUser, login: &str) -> Result<Login, LoginRefused> {
        let granted = |account| Login {
            user: user.clone(),
            account,
        };
        if login.is_empty() || login == user.as_str() {
            let own = self.own_account(user);
            return own
                .map(granted)
                .ok_or_else(|| LoginRefused::NoRule { user: user.clone() });
        }
        let account = Username::parse(login).map_err(LoginRefused::NoAccount)?;
        let mut allowed = self.of(user).flat_map(|rule| &rule.accounts);
        if allowed.any(|allowed| allowed.allows(user, &account)) {
            return Ok(granted(account));
        }
        Err(LoginRefused::NotAllowed {
            user: user.clone(),
            account,
        })
    }

    /// The first account that a rule gives to a user with a domain, else the account of
    /// the user's very name. What everybody may have is nobody's own.
    fn own_account(&self, user: &BrokerUser) -> Option<Username> {
        let has_domain = without_domain(user).is_some();
        let mut mapped = self
            .of(user)
            .filter(|rule| has_domain && rule.users != Users::Everybody)
            .flat_map(|rule| &rule.accounts)
            .filter_map(|account| account.name_for(user));
        mapped.next().or_else(|| user.username())
    }

    /// The rules about this user; those that name the user come first.
    fn of(&self, user: &BrokerUser) -> impl Iterator<Item = &LoginRule> {
        let about = |named: bool| {
            self.rules.iter().filter(move |rule| {
                matches!(rule.users, Users::One(_)) == named && rule.users.hold(user)
            })
        };
        about(true).chain(about(false))
    }
}

impl LoginRule {
    /// Reads a line: users, and their accounts separated by commas.
    ///
    /// # Errors
    /// When it is no rule, or one that is too wide to be meant.
    pub fn parse(users: &str, accounts: &str) -> Result<Self, LoginRuleError> {
        let users = Users::parse(users)?;
        let accounts = accounts.split([',', '\n']).map(str::trim);
        let accounts = accounts.filter(|account| !account.is_empty());
        let accounts: Vec<Account> = accounts.map(Account::parse).collect::<Result<_, _>>()?;
        let has_domain = match &users {
            Users::One(user) => without_domain(user).is_some(),
            Users::OfDomain(_) | Users::OfRealm(_) => true,
            Users::Everybody => false,
        };
        if accounts.is_empty() {
            return Err(LoginRuleError::NoAccounts);
        }
        if accounts.contains(&Account::AnyButRoot) {
            match &users {
                Users::One(_) => {}
                Users::Everybody => return Err(LoginRuleError::EverybodyAsAnybody),
                Users::OfDomain(_) | Users::OfRealm(_) => {
                    return Err(LoginRuleError::TooManyAsAnybody);
                }
            }
        }
        if accounts.contains(&Account::OwnWithoutDomain) && !has_domain {
            return Err(LoginRuleError::NoDomain);
        }
        Ok(Self { users, accounts })
    }
}

impl Users {
    fn parse(text: &str) -> Result<Self, LoginRuleError> {
        let error = || LoginRuleError::Users(text.to_owned());
        if text == ANY {
            return Ok(Self::Everybody);
        }
        // A name stands in for `*`, so that domains have the same form in both places.
        if let Some(domain) = text.strip_suffix("\\*") {
            let has_form = BrokerUser::parse(&format!("{domain}\\x")).is_ok();
            return has_form
                .then(|| Self::OfDomain(domain.to_owned()))
                .ok_or_else(error);
        }
        if let Some(realm) = text.strip_prefix("*@") {
            let has_form = !realm.is_empty() && Username::parse(&format!("x@{realm}")).is_ok();
            return has_form
                .then(|| Self::OfRealm(realm.to_owned()))
                .ok_or_else(error);
        }
        BrokerUser::parse(text)
            .map(Self::One)
            .ok()
            .ok_or_else(error)
    }

    /// Domains and realms have no case; users have.
    fn hold(&self, user: &BrokerUser) -> bool {
        match self {
            Self::Everybody => true,
            Self::One(one) => match (parts(one), parts(user)) {
                (Some((domain, name)), Some((of, own))) => {
                    name == own && domain.eq_ignore_ascii_case(of) && same_form(one, user)
                }
                (None, None) => one == user,
                (Some(_), None) | (None, Some(_)) => false,
            },
            Self::OfDomain(domain) => {
                let parts = user.as_str().split_once('\\');
                parts.is_some_and(|(of, _)| domain.eq_ignore_ascii_case(of))
            }
            Self::OfRealm(realm) => {
                !user.as_str().contains('\\')
                    && parts(user).is_some_and(|(of, _)| realm.eq_ignore_ascii_case(of))
            }
        }
    }
}

impl Account {
    fn parse(text: &str) -> Result<Self, LoginRuleError> {
        match text {
            ANY => Ok(Self::AnyButRoot),
            "%u" => Ok(Self::OwnWithoutDomain),
            name => {
                let account = Username::parse(name).ok().map(Self::Named);
                account.ok_or_else(|| LoginRuleError::Account(name.to_owned()))
            }
        }
    }

    fn allows(&self, user: &BrokerUser, account: &Username) -> bool {
        match self {
            Self::AnyButRoot => account.as_str() != ROOT,
            Self::Named(_) | Self::OwnWithoutDomain => {
                self.name_for(user).as_ref() == Some(account)
            }
        }
    }

    /// The one account that is meant, if it is one.
    fn name_for(&self, user: &BrokerUser) -> Option<Username> {
        match self {
            Self::Named(account) => Some(account.clone()),
            Self::OwnWithoutDomain => {
                without_domain(user).filter(|account| account.as_str() != ROOT)
            }
            Self::AnyButRoot => None,
        }
    }
}

/// Domain and name of `DOMAIN\user` or `user@realm`.
fn parts(user: &BrokerUser) -> Option<(&str, &str)> {
    let text = user.as_str();
    let by_realm = || text.rsplit_once('@').map(|(name, realm)| (realm, name));
    text.split_once('\\').or_else(by_realm)
}

fn same_form(one: &BrokerUser, other: &BrokerUser) -> bool {
    one.as_str().contains('\\') == other.as_str().contains('\\')
}

fn without_domain(user: &BrokerUser) -> Option<Username> {
    let (_, name) = parts(user)?;
    Username::parse(name).ok()
}

const ANY: &str = "*";

/// Nobody becomes root by a rule that does not name it.
const ROOT: &str = "root";

#[cfg(test)]
mod tests;
