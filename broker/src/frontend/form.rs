//! What does a client ask, in the form fields of its request?
//!
//! Fields come from the query and from the body; of a repeated field the last value
//! counts, the body's after the query's. Every content type but `multipart/form-data` is
//! read as a form, since old clients send odd ones.

mod multipart;

use proto::{PublicKey, Secret};
use tracing::debug;

use crate::auth::{Credentials, LONGEST_PASSWORD};
use crate::task::request::{EventFields, Request, Task};

/// Why a request can't be read. The answer is 400 for each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// A field that the broker needs is not UTF-8.
    #[error("the form field {field} is not UTF-8")]
    NotUtf8 {
        /// Its name.
        field: &'static str,
    },
    /// More than [`MAX_BODY_BYTES`].
    #[error("the body is larger than 1 MB")]
    TooLarge,
}

/// Whose words a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// `/plain/`: X2Go Client.
    Plain,
    /// `/json/`: python-x2go. A profile may be called `profile-id`, and `sid` goes before
    /// it; `listprofiles` is `listsessions`.
    Json,
}

/// Reads the fields that X2Go Client sends. `query` is what stands behind `?` in the URL, or empty;
/// `content_type` is empty when the client sent none.
///
/// # Errors
/// When a field is not UTF-8, the body is too large, or its type can't be read.
pub fn parse(query: &str, content_type: &str, body: &[u8]) -> Result<Request, FormError> {
    parse_as(Dialect::Plain, query, content_type, body)
}

/// As [`parse`], for either kind of client.
///
/// # Errors
/// As [`parse`].
pub fn parse_as(
    dialect: Dialect,
    query: &str,
    content_type: &str,
    body: &[u8],
) -> Result<Request, FormError> {
    if body.len() > MAX_BODY_BYTES {
        return Err(FormError::TooLarge);
    }
    let mut fields = Fields::default();
    fields.take(query.as_bytes())?;
    if is_multipart(content_type) {
        for (name, value) in multipart::fields(content_type, body) {
            fields.set(name, value.to_vec())?;
        }
    } else {
        fields.take(body)?;
    }
    Ok(fields.into_request(dialect))
}

/// The values of [`FIELDS`], in that order.
#[derive(Default)]
struct Fields([String; FIELDS.len()]);

impl Fields {
    fn into_request(self, dialect: Dialect) -> Request {
        let Self(
            [
                task,
                user,
                password,
                login,
                sid,
                authid,
                pubkey,
                new_password,
                event,
                server,
                client,
                command,
                display,
                started,
                elapsed,
                profile_id,
            ],
        ) = self;
        let task_word = stripped(&task);
        let (task, sid) = match (dialect, stripped(&sid)) {
            (Dialect::Json, sid) if sid.is_empty() => {
                (json_task(&task_word), stripped(&profile_id))
            }
            (Dialect::Json, sid) => (json_task(&task_word), sid),
            (Dialect::Plain, sid) => (Task::parse(&task_word), sid),
        };
        Request {
            task,
            task_word,
            credentials: Credentials {
                user: stripped(&user),
                password: Secret::new(password),
                login: stripped(&login),
                authid: Secret::new(stripped(&authid)),
            },
            sid,
            pubkey: public_key(&pubkey),
            new_password: Secret::new(new_password),
            event: EventFields {
                event: stripped(&event),
                server: stripped(&server),
                client: stripped(&client),
                command: stripped(&command),
                display: stripped(&display),
                started: stripped(&started),
                elapsed: stripped(&elapsed),
            },
        }
    }

    fn take(&mut self, form: &[u8]) -> Result<(), FormError> {
        for pair in form.split(|&b| b == b'&') {
            let separator = pair.iter().position(|&b| b == b'=');
            let (name, value) = match separator.and_then(|at| pair.split_at_checked(at)) {
                Some((name, value)) => (name, value.get(1..).unwrap_or_default()),
                None => (pair, [].as_slice()),
            };
            self.set(&decoded(name), decoded(value))?;
        }
        Ok(())
    }

    /// Keeps a field if it is one that is read. A value that is too long to mean anything is
    /// cut, so that requests which wait take little memory: what is left is still too long.
    fn set(&mut self, name: &[u8], value: Vec<u8>) -> Result<(), FormError> {
        let mut known = FIELDS.iter().zip(&mut self.0);
        if let Some(((field, longest), slot)) =
            known.find(|((field, _), _)| field.as_bytes() == name)
        {
            let mut value = String::from_utf8(value).or(Err(FormError::NotUtf8 { field }))?;
            if let Some((end, _)) = value.char_indices().find(|(at, _)| at > longest) {
                value.truncate(end);
                value.shrink_to_fit();
            }
            // A password may hold any character, and is no password any more without it.
            *slot = match *field {
                "password" | "newpass" => value,
                _ => value.replace(is_odd_control, " "),
            };
        }
        Ok(())
    }
}

fn json_task(word: &str) -> Task {
    match word {
        "listprofiles" => Task::ListSessions,
        word => Task::parse(word),
    }
}

/// Undoes the encoding of a URL's path, where `+` is a plus. What is no UTF-8 becomes
/// replacement characters, which no name has.
#[must_use]
pub fn unescaped(path: &str) -> String {
    let bytes = decoded(path.replace('+', "%2B").as_bytes());
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A client without a key can still log in with a password, so a bad one is none.
fn public_key(text: &str) -> Option<PublicKey> {
    let text = text.trim();
    let key = PublicKey::parse(text);
    if let Err(error) = &key
        && !text.is_empty()
    {
        debug!(%error, "a client's key is no key");
    }
    key.ok()
}

/// Undoes form encoding. A `%` that is not followed by two hexadecimal digits stays.
fn decoded(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, behind)) = rest.split_first() {
        let escaped = behind.split_at_checked(2).filter(|_| first == b'%');
        let (byte, behind) = match escaped.and_then(|(hex, rest)| Some((hex_byte(hex)?, rest))) {
            Some(pair) => pair,
            None if first == b'+' => (b' ', behind),
            None => (first, behind),
        };
        bytes.push(byte);
        rest = behind;
    }
    bytes
}

fn hex_byte(digits: &[u8]) -> Option<u8> {
    let digit = |b: &u8| char::from(*b).to_digit(16);
    let [high, low] = digits else { return None };
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

/// A field that came another way than in a form, as if it had come in one.
#[must_use]
pub(crate) fn cleaned(text: &str) -> String {
    text.replace(is_odd_control, " ").trim().to_owned()
}

/// Control characters that become blanks; TAB, LF, VT, FF and CR stay.
fn is_odd_control(c: char) -> bool {
    matches!(c, '\u{0}'..='\u{8}' | '\u{e}'..='\u{1f}')
}

fn stripped(text: &str) -> String {
    text.trim().to_owned()
}

fn is_multipart(content_type: &str) -> bool {
    let start = content_type.trim_start().get(..MULTIPART.len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(MULTIPART))
}

const MULTIPART: &str = "multipart/form-data";

/// What is read, and the longest value that can be right, in bytes.
const FIELDS: [(&str, usize); 16] = [
    ("task", LONGEST_WORD),
    ("user", LONGEST_WORD),
    ("password", LONGEST_PASSWORD),
    ("login", LONGEST_WORD),
    ("sid", LONGEST_WORD),
    ("authid", LONGEST_WORD),
    ("pubkey", LONGEST_KEY),
    ("newpass", LONGEST_PASSWORD),
    ("event", LONGEST_WORD),
    ("server", LONGEST_WORD),
    ("client", LONGEST_WORD),
    ("cmd", LONGEST_WORD),
    ("display", LONGEST_WORD),
    ("start", LONGEST_WORD),
    ("elapsed", LONGEST_WORD),
    ("profile-id", LONGEST_WORD),
];

/// AUTHIDs are the longest, with less than a KB; a preset one may be longer.
const LONGEST_WORD: usize = 4 << 10;
/// Of RSA with 16,384 bits, with options and a comment: 4 KB.
const LONGEST_KEY: usize = 16 << 10;

/// The original took 100 MB; no client sends more than some KB.
pub const MAX_BODY_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests;
