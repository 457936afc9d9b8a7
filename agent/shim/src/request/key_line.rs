//! Which texts are one line of an authorized-keys file that a broker may add?

use super::RequestError;

/// One line with a public key, as `[OPTIONS ]TYPE BASE64[ COMMENT]`.
///
/// The options are a closed set, none of which runs a program or sets a variable. Quotes
/// occur only in `from="…"` and `expiry-time="…"`, around addresses and digits; a control
/// character occurs nowhere. So the text is one line for every reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyLine(String);

impl KeyLine {
    /// Checks and takes a line.
    ///
    /// # Errors
    /// When it is not exactly one plain line with a public key.
    pub fn parse(bytes: &[u8]) -> Result<Self, RequestError> {
        let text = str::from_utf8(bytes).map_err(|_bytes| RequestError::KeyLine)?;
        let good = text.len() <= MAX_BYTES && !text.chars().any(char::is_control);
        if good && is_key_line(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(RequestError::KeyLine)
        }
    }

    /// The line as text, without an end of line.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_key_line(text: &str) -> bool {
    let is_type = |word: &str| TYPES.contains(&word);
    let (first, rest) = text.split_once(' ').unwrap_or((text, ""));
    if is_type(first) {
        return is_key(rest);
    }
    let (second, key) = rest.split_once(' ').unwrap_or((rest, ""));
    are_options(first) && is_type(second) && is_key(key)
}

fn is_key(text: &str) -> bool {
    let (key, comment) = text.split_once(' ').unwrap_or((text, ""));
    let body = key.trim_end_matches('=');
    let digit = |b: u8| b.is_ascii_alphanumeric() || b == b'+' || b == b'/';
    let is_base64 = !body.is_empty() && key.len() - body.len() <= 2 && body.bytes().all(digit);
    is_base64 && comment.bytes().all(is_comment_byte)
}

/// What brokers and clients write: `USER@ADDRESS`, and the words of a user's own comment.
/// Nothing that a shell, or a script that reads the file, would treat in any special way.
fn is_comment_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"_.@+-:,=%/ ".contains(&b)
}

/// sshd(8) separates options by commas and allows no blanks but in quotes; there are none.
fn are_options(text: &str) -> bool {
    let mut rest = text;
    loop {
        let Some(after) = after_option(rest) else {
            return false;
        };
        match after.strip_prefix(',') {
            Some(more) => rest = more,
            None => return after.is_empty(),
        }
    }
}

/// What follows the option at the start of the text, if there is one that we know.
fn after_option(text: &str) -> Option<&str> {
    let end = text.find([',', '=']).unwrap_or(text.len());
    let (name, after) = text.split_at_checked(end)?;
    let is = |known: &&str| name.eq_ignore_ascii_case(known);
    if let Some(value) = after.strip_prefix("=\"") {
        let (value, after) = value.split_once('"')?;
        let good = match VALUED.iter().find(|known| is(known))? {
            &"from" => value.bytes().all(is_address_byte),
            _ => value.bytes().all(|b| b.is_ascii_digit() || b == b'Z'),
        };
        return (good && !value.is_empty()).then_some(after);
    }
    FLAGS.iter().any(is).then_some(after)
}

/// Addresses, networks, names and patterns, as `from=` takes them.
fn is_address_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b".:,*?!/-_%".contains(&b)
}

const FLAGS: &[&str] = &[
    "restrict",
    "no-agent-forwarding",
    "no-port-forwarding",
    "no-pty",
    "no-user-rc",
    "no-X11-forwarding",
    "agent-forwarding",
    "port-forwarding",
    "pty",
    "user-rc",
    "X11-forwarding",
];

const VALUED: &[&str] = &["from", "expiry-time"];

const TYPES: &[&str] = &[
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "ssh-dss",
];

/// An RSA key of 16384 bits, the largest that OpenSSH makes, has less than 3000.
const MAX_BYTES: usize = 8192;
