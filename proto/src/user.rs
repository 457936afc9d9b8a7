//! What counts as a user name?

use std::fmt;
use std::sync::Arc;

/// The name of a user, as X2Go servers know it.
///
/// Letters, digits and `_ . @ + -`; starts with a letter, a digit or `_`; never two dots
/// in a row; at most 64 bytes. So it can stand in a session ID, a log line or a `|`
/// record without quoting, and never looks like an option or a path. `user@realm` is a
/// name like any other: systems that get their users from a directory have such accounts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Username(Arc<str>);

/// The name by which somebody logs in at the broker: a [`Username`], or such a name with
/// a domain before it, `DOMAIN\user`. The latter is the account of nobody on an X2Go
/// server, so a rule must say which account is meant.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BrokerUser(Arc<str>);

/// Why a text is not a user name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UsernameError {
    /// Nothing was given.
    #[error("a user name is empty")]
    Empty,
    /// Longer than 64 bytes.
    #[error("a user name is longer than {MAX_BYTES} bytes")]
    TooLong,
    /// A character that no X2Go user name holds.
    #[error("a user name holds the character {0:?}; allowed are letters, digits and _ . @ + -")]
    Character(char),
    /// It starts like an option or a hidden file.
    #[error("a user name starts with {0:?}; it must start with a letter, a digit or _")]
    Start(char),
    /// It holds two dots in a row, as paths do.
    #[error("a user name holds two dots in a row")]
    Dots,
}

/// Why a text is not the name of somebody who logs in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BrokerUserError {
    /// What stands before the `\`.
    #[error("a domain must be 1 to {MAX_BYTES} letters, digits or . _ - and start with no . or -")]
    Domain,
    /// The name itself.
    #[error(transparent)]
    User(#[from] UsernameError),
}

impl Username {
    /// Checks and takes a user name.
    ///
    /// # Errors
    /// When it is empty, too long or holds what no user name holds.
    pub fn parse(text: &str) -> Result<Self, UsernameError> {
        check(text)?;
        Ok(Self(text.into()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl BrokerUser {
    /// Checks and takes the name of somebody who logs in.
    ///
    /// # Errors
    /// When it is neither a user name nor `DOMAIN\user`.
    pub fn parse(text: &str) -> Result<Self, BrokerUserError> {
        let user = match text.split_once(DOMAIN_SEPARATOR) {
            Some((domain, _)) if !is_domain(domain) => return Err(BrokerUserError::Domain),
            Some((_, user)) => user,
            None => text,
        };
        check(user)?;
        Ok(Self(text.into()))
    }

    /// The name as text, domain included.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same for all spellings: domains and realms have no case. What counts or forbids
    /// by name goes by this.
    #[must_use]
    pub fn canonical(&self) -> String {
        match domain(&self.0) {
            Some((of, name)) if self.0.contains(DOMAIN_SEPARATOR) => {
                format!("{}{DOMAIN_SEPARATOR}{name}", of.to_ascii_lowercase())
            }
            Some((of, name)) => format!("{name}@{}", of.to_ascii_lowercase()),
            None => self.as_str().to_owned(),
        }
    }

    /// The account of that very name; none when a domain stands before it.
    #[must_use]
    pub fn username(&self) -> Option<Username> {
        let is_one = !self.0.contains(DOMAIN_SEPARATOR);
        is_one.then(|| Username(Arc::clone(&self.0)))
    }
}

impl From<&Username> for BrokerUser {
    fn from(user: &Username) -> Self {
        Self(Arc::clone(&user.0))
    }
}

impl fmt::Display for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for BrokerUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn check(text: &str) -> Result<(), UsernameError> {
    let first = text.chars().next().ok_or(UsernameError::Empty)?;
    if text.len() > MAX_BYTES {
        return Err(UsernameError::TooLong);
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_.@+-".contains(c);
    if let Some(bad) = text.chars().find(|&c| !allowed(c)) {
        return Err(UsernameError::Character(bad));
    }
    if !first.is_ascii_alphanumeric() && first != '_' {
        return Err(UsernameError::Start(first));
    }
    if text.contains("..") {
        return Err(UsernameError::Dots);
    }
    Ok(())
}

fn is_domain(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    (1..=MAX_BYTES).contains(&text.len())
        && text.chars().all(allowed)
        && !text.starts_with(['.', '-'])
        && !text.contains("..")
}

/// Whether two names mean the same user: the one of [`BrokerUser::canonical`], without
/// writing it.
#[must_use]
pub fn is_same_user(one: &str, other: &str) -> bool {
    if one == other {
        return true;
    }
    let same_form = one.contains(DOMAIN_SEPARATOR) == other.contains(DOMAIN_SEPARATOR);
    match (domain(one), domain(other)) {
        (Some((of, name)), Some((also_of, also))) => {
            same_form && name == also && of.eq_ignore_ascii_case(also_of)
        }
        _ => false,
    }
}

/// Domain and name of `DOMAIN\user` or `user@realm`.
fn domain(text: &str) -> Option<(&str, &str)> {
    let by_realm = || text.rsplit_once('@').map(|(name, realm)| (realm, name));
    text.split_once(DOMAIN_SEPARATOR).or_else(by_realm)
}

/// What stands between a domain and a user in the names of Windows domains.
const DOMAIN_SEPARATOR: char = '\\';

const MAX_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use super::{BrokerUser, BrokerUserError, Username, UsernameError, is_same_user};

    #[test]
    fn names_of_unix_and_directory_users_are_taken() {
        for name in [
            "alice",
            "a",
            "_apt",
            "j.doe",
            "doe@example.org",
            "x-1",
            "A+b",
            "7up",
            "a.",
        ] {
            assert_eq!(Username::parse(name).unwrap().as_str(), name);
            let user = BrokerUser::parse(name).unwrap();
            assert_eq!(user.username(), Some(Username::parse(name).unwrap()));
        }
    }

    #[test]
    fn domains_and_realms_have_no_case_and_users_have() {
        let same = [
            ("CORP\\alice", "corp\\alice"),
            ("j.doe@Example.ORG", "j.doe@example.org"),
            ("alice", "alice"),
        ];
        for (one, other) in same {
            assert!(
                is_same_user(one, other) && is_same_user(other, one),
                "{one}"
            );
            let canonical = |text| BrokerUser::parse(text).unwrap().canonical();
            assert_eq!(
                (canonical(one), canonical(other)),
                (other.to_owned(), other.to_owned())
            );
        }
        let different = [
            ("CORP\\alice", "CORP\\Alice"),
            ("CORP\\alice", "LAB\\alice"),
            ("CORP\\alice", "alice@CORP"),
            ("Alice", "alice"),
            ("alice", "CORP\\alice"),
        ];
        for (one, other) in different {
            assert!(
                !is_same_user(one, other) && !is_same_user(other, one),
                "{one}"
            );
        }
    }

    #[test]
    fn texts_that_could_be_more_than_a_name_are_refused() {
        let cases = [
            ("", UsernameError::Empty),
            ("-rf", UsernameError::Start('-')),
            (".ssh", UsernameError::Start('.')),
            ("@realm", UsernameError::Start('@')),
            ("a b", UsernameError::Character(' ')),
            ("a|b", UsernameError::Character('|')),
            ("../x", UsernameError::Character('/')),
            ("a/b", UsernameError::Character('/')),
            ("a..b", UsernameError::Dots),
            ("a\nb", UsernameError::Character('\n')),
            ("a\rb", UsernameError::Character('\r')),
            ("a\0", UsernameError::Character('\0')),
            ("a\u{7f}", UsernameError::Character('\u{7f}')),
            ("jürgen", UsernameError::Character('ü')),
            ("$(id)", UsernameError::Character('$')),
            ("a'b", UsernameError::Character('\'')),
            ("a:b", UsernameError::Character(':')),
            ("%u", UsernameError::Character('%')),
        ];
        for (text, error) in cases {
            assert_eq!(Username::parse(text), Err(error.clone()), "{text:?}");
            assert_eq!(BrokerUser::parse(text), Err(error.into()), "{text:?}");
        }
        assert_eq!(
            Username::parse(&"x".repeat(65)),
            Err(UsernameError::TooLong)
        );
        let domain = UsernameError::Character('\\');
        assert_eq!(Username::parse("CORP\\alice"), Err(domain));
    }

    #[test]
    fn whoever_logs_in_may_have_a_domain_and_is_no_account_then() {
        for name in ["CORP\\alice", "corp.example.org\\j.doe", "7-x_y\\_a"] {
            let user = BrokerUser::parse(name).unwrap();
            assert_eq!((user.as_str(), user.username()), (name, None));
        }
        let long = format!("{}\\alice", "d".repeat(65));
        for name in [
            "\\alice",
            ".x\\alice",
            "-x\\alice",
            "a b\\c",
            "a..b\\c",
            &long,
        ] {
            assert_eq!(BrokerUser::parse(name), Err(BrokerUserError::Domain));
        }
        for (name, error) in [
            ("CORP\\", UsernameError::Empty),
            ("CORP\\a\\b", UsernameError::Character('\\')),
            ("CORP\\-a", UsernameError::Start('-')),
            ("CORP\\../a", UsernameError::Character('/')),
        ] {
            assert_eq!(BrokerUser::parse(name), Err(error.into()), "{name}");
        }
    }
}
