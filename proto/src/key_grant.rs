//! Which key is to open which account, and for how long?

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::{PublicKey, WireError, v1};

/// A public key that is to open a user's account for a short while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyGrant {
    /// The key. Which of its options are kept is the agent's matter.
    pub key: PublicKey,
    /// Where the client is, if that is known.
    pub client: Option<IpAddr>,
    /// Which file of the user it goes to.
    pub file: KeyFile,
    /// How long it opens the account, at most [`MAX_KEY_LIFE`].
    pub life: Duration,
}

/// What has become of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyOutcome {
    /// None was asked for, or the user does not get in, or the agent is too old to know.
    NotAsked,
    /// It opens the account now.
    Installed,
    /// It never will: not for this user, this key or this server.
    Refused,
    /// Not in time. Whatever was begun is taken back.
    Failed,
}

/// Where a user's keys are, such as `%h/.x2go/authorized_keys`, not yet filled in.
///
/// `%h` is the home, `%u` the user's name, `%U` and `%G` their numbers, `%%` a percent sign.
/// No other placeholder, no control character, no `.` or `..` between slashes, at most 1024
/// bytes; the same rule as that of the setuid program.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyFile(Arc<str>);

/// A text that can't name a key file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the name of a key file: at most {MAX_FILE_BYTES} bytes, of % only %h %u %U %G %%")]
pub struct KeyFileError;

impl KeyFile {
    /// Checks and takes the name of a key file.
    ///
    /// # Errors
    /// When it can't be one.
    pub fn parse(text: &str) -> Result<Self, KeyFileError> {
        let good = !text.is_empty()
            && text.len() <= MAX_FILE_BYTES
            && !text.starts_with(['-', '~'])
            && !text.ends_with('/')
            && !text.chars().any(char::is_control)
            && !text.split('/').any(|part| part == "." || part == "..")
            && has_known_placeholders(text);
        good.then(|| Self(text.into())).ok_or(KeyFileError)
    }

    /// The name as text, with its placeholders.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for KeyFile {
    /// Where 0.0.4.3 puts keys unless it is told otherwise (`default-authorized-keys`).
    fn default() -> Self {
        Self("%h/.x2go/authorized_keys".into())
    }
}

impl fmt::Display for KeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
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

impl From<KeyGrant> for v1::KeyGrant {
    fn from(grant: KeyGrant) -> Self {
        Self {
            public_key: grant.key.as_str().to_owned(),
            client: grant.client.map(|ip| ip.to_string()).unwrap_or_default(),
            file: grant.file.as_str().to_owned(),
            seconds: u32::try_from(grant.life.as_secs()).unwrap_or(u32::MAX),
        }
    }
}

impl TryFrom<v1::KeyGrant> for KeyGrant {
    type Error = WireError;

    fn try_from(wire: v1::KeyGrant) -> Result<Self, WireError> {
        let wrong = |field| WireError::new("KeyGrant", field);
        let client = match wire.client.as_str() {
            "" => None,
            // A socket that listens for both families names IPv4 clients ::ffff:A.B.C.D.
            text => Some(
                text.parse::<IpAddr>()
                    .or(Err(wrong("client")))?
                    .to_canonical(),
            ),
        };
        let life = match wire.seconds {
            0 => KEY_LIFE,
            seconds => Duration::from_secs(seconds.into()).min(MAX_KEY_LIFE),
        };
        Ok(Self {
            key: PublicKey::parse(&wire.public_key).or(Err(wrong("public_key")))?,
            client,
            file: KeyFile::parse(&wire.file).or(Err(wrong("file")))?,
            life,
        })
    }
}

impl From<KeyOutcome> for v1::KeyOutcome {
    fn from(outcome: KeyOutcome) -> Self {
        match outcome {
            KeyOutcome::NotAsked => Self::None,
            KeyOutcome::Installed => Self::Installed,
            KeyOutcome::Refused => Self::Refused,
            KeyOutcome::Failed => Self::Failed,
        }
    }
}

impl KeyOutcome {
    /// Reads the field of an answer. What a later agent may say counts as failed.
    #[must_use]
    pub fn from_wire(wire: i32) -> Self {
        match v1::KeyOutcome::try_from(wire) {
            Ok(v1::KeyOutcome::None) => Self::NotAsked,
            Ok(v1::KeyOutcome::Installed) => Self::Installed,
            Ok(v1::KeyOutcome::Refused) => Self::Refused,
            Ok(v1::KeyOutcome::Failed) | Err(_) => Self::Failed,
        }
    }
}

/// How long an agent may take over a key, beyond what an answer without one takes. Then it
/// says that the key failed, and takes back what it has begun. Whoever asks waits a little
/// longer than this. A key is there after some milliseconds, but the home may be on a server
/// that is far away.
pub const KEY_LIMIT: Duration = Duration::from_secs(2);

/// How long a key opens an account unless somebody says otherwise: as in 0.0.4.3.
pub const KEY_LIFE: Duration = Duration::from_secs(20);

/// A key that is needed for longer is no temporary one.
pub const MAX_KEY_LIFE: Duration = Duration::from_secs(600);

/// Far beyond any configured location.
const MAX_FILE_BYTES: usize = 1024;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{KEY_LIFE, KeyFile, KeyGrant, KeyOutcome, MAX_KEY_LIFE};
    use crate::{PublicKey, v1};

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIII";

    fn wire() -> v1::KeyGrant {
        v1::KeyGrant {
            public_key: format!("{KEY} me@here"),
            client: "10.77.0.20".to_owned(),
            file: "%h/.x2go/authorized_keys".to_owned(),
            seconds: 30,
        }
    }

    #[test]
    fn a_grant_survives_the_wire() {
        let grant = KeyGrant {
            key: PublicKey::parse(KEY).unwrap(),
            client: Some("fd77::20".parse().unwrap()),
            file: KeyFile::default(),
            life: Duration::from_secs(30),
        };
        let wire = v1::KeyGrant::from(grant.clone());
        assert_eq!(KeyGrant::try_from(wire), Ok(grant));
    }

    #[test]
    fn what_is_left_out_has_a_default_and_a_long_life_is_cut() {
        for (seconds, life) in [
            (0, KEY_LIFE),
            (1, Duration::from_secs(1)),
            (u32::MAX, MAX_KEY_LIFE),
        ] {
            let client = String::new();
            let grant = KeyGrant::try_from(v1::KeyGrant {
                seconds,
                client,
                ..wire()
            });
            let grant = grant.unwrap();
            assert_eq!((grant.life, grant.client), (life, None));
        }
        let client = "::ffff:10.77.0.20".to_owned();
        let mapped = KeyGrant::try_from(v1::KeyGrant { client, ..wire() }).unwrap();
        assert_eq!(mapped.client, Some("10.77.0.20".parse().unwrap()));
    }

    #[test]
    fn a_field_that_can_not_be_right_is_named() {
        let with = |field: &str, value: &str| {
            let mut wire = wire();
            let place = match field {
                "public_key" => &mut wire.public_key,
                "client" => &mut wire.client,
                _ => &mut wire.file,
            };
            value.clone_into(place);
            wire
        };
        let rows = [
            ("public_key", "ssh-rsa AAAA".to_owned()),
            ("public_key", format!("{KEY}\n")),
            ("client", "client1".to_owned()),
            ("file", "%h/../x".to_owned()),
            ("file", String::new()),
        ];
        for (field, value) in rows {
            let error = KeyGrant::try_from(with(field, &value)).unwrap_err();
            assert_eq!(error.field, field, "{value}");
        }
    }

    #[test]
    fn places_of_keys_are_those_that_the_setuid_program_takes() {
        // The list of agent/shim/src/request/tests.rs, and x2gobroker.conf's examples.
        for good in [
            "%h/.x2go/authorized_keys",
            "/var/lib/x2gobroker/ssh/%u/authorized_keys",
            "/keys/%U.%G/100%%",
            ".ssh/x y",
            "%u",
        ] {
            assert!(KeyFile::parse(good).is_ok(), "{good}");
        }
        let long = "x".repeat(1025);
        for bad in [
            "", "-x", "~/x", "%h/", "%x", "%", "a/./b", "../x", "/x/..", "a\nb", &long,
        ] {
            assert!(KeyFile::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_outcome_that_is_not_known_counts_as_failed() {
        let all = [
            KeyOutcome::NotAsked,
            KeyOutcome::Installed,
            KeyOutcome::Refused,
            KeyOutcome::Failed,
        ];
        for outcome in all {
            let wire = v1::KeyOutcome::from(outcome);
            assert_eq!(KeyOutcome::from_wire(wire.into()), outcome);
        }
        assert_eq!(KeyOutcome::from_wire(99), KeyOutcome::Failed);
    }
}
