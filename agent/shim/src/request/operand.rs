//! Which texts can be a user name, a session ID, the name of a key file?

use super::RequestError;

/// The name of a user: letters, digits and `_ . @ + -`, starting with a letter, a digit or
/// `_`, never two dots in a row, at most 64 bytes. The same rule as everywhere in the
/// project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserName(String);

/// The ID of a session of a known user: `USER-DISPLAY-UNIXTIME_` and more of letters, digits
/// and `_ . @ + - : , = %`, at most 500 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionId(String);

/// Where a user's keys are, such as `%h/.x2go/authorized_keys`, not yet filled in.
///
/// No control characters, no `.` or `..` between slashes, and of `%` only `%h %u %U %G %%`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFile(String);

impl UserName {
    /// Checks and takes a user name.
    ///
    /// # Errors
    /// When it can't be one.
    pub fn parse(bytes: &[u8]) -> Result<Self, RequestError> {
        let allowed = |b: &u8| b.is_ascii_alphanumeric() || b"_.@+-".contains(b);
        let starts = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
        let good = bytes.len() <= MAX_NAME_BYTES
            && bytes.first().is_some_and(starts)
            && bytes.iter().all(allowed)
            && !bytes.windows(2).any(|two| two == b"..");
        let name = str::from_utf8(bytes).ok().filter(|_| good);
        name.map(|name| Self(name.to_owned()))
            .ok_or(RequestError::UserName)
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl SessionId {
    /// Checks and takes the ID of a session of `user`.
    ///
    /// # Errors
    /// When it can't be one.
    pub fn parse(user: &UserName, bytes: &[u8]) -> Result<Self, RequestError> {
        let allowed = |b: &u8| b.is_ascii_alphanumeric() || b"_.@+-:,=%".contains(b);
        let good = bytes.len() <= MAX_ID_BYTES && bytes.iter().all(allowed);
        let text = str::from_utf8(bytes).ok().filter(|_| good);
        text.filter(|text| is_session_of(user, text))
            .map(|text| Self(text.to_owned()))
            .ok_or(RequestError::SessionId)
    }

    /// The ID as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

// A record of x2goserver names its session USER-DISPLAY-UNIXTIME_stTYPECOMMAND_dpDEPTH.
fn is_session_of(user: &UserName, text: &str) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let parts = text
        .strip_prefix(user.as_str())
        .and_then(|rest| rest.strip_prefix('-'))
        .and_then(|rest| rest.split_once('_'))
        .and_then(|(numbers, kind)| Some((numbers.split_once('-')?, kind)));
    parts.is_some_and(|((display, time), kind)| {
        number(display) && number(time) && kind.starts_with("st")
    })
}

impl KeyFile {
    /// Checks and takes the name of a key file.
    ///
    /// # Errors
    /// When it can't be one.
    pub fn parse(bytes: &[u8]) -> Result<Self, RequestError> {
        let text = str::from_utf8(bytes).map_err(|_bytes| RequestError::KeyFile)?;
        let good = !text.is_empty()
            && text.len() <= MAX_FILE_BYTES
            && !text.starts_with(['-', '~'])
            && !text.ends_with('/')
            && !text.chars().any(char::is_control)
            && !text.split('/').any(|part| part == "." || part == "..")
            && has_known_placeholders(text);
        if good {
            Ok(Self(text.to_owned()))
        } else {
            Err(RequestError::KeyFile)
        }
    }

    /// The name as text, with its placeholders.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn has_known_placeholders(text: &str) -> bool {
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c == '%' && !matches!(chars.next(), Some('h' | 'u' | 'U' | 'G' | '%')) {
            return false;
        }
    }
    true
}

/// As long as the longest name that useradd(8) and directories give.
const MAX_NAME_BYTES: usize = 64;
/// The width of the column in x2goserver's session database.
const MAX_ID_BYTES: usize = 500;
/// Far beyond any configured location; what it becomes is bounded again.
const MAX_FILE_BYTES: usize = 1024;
