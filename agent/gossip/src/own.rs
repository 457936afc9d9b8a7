//! What do we say about ourselves, and may it be said? Refuses whatever would stop
//! chitchat from delivering.

use std::collections::BTreeMap;

use pki::Role;
use proto::{
    KEY_KEYS, KEY_LOAD, KEY_NAMES, KEY_READINESS, KEY_ROLE, KEY_SOFTWARE, KEY_VERSION,
    MAX_VALUE_BYTES,
};

/// Why a value is not advertised.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdvertiseError {
    /// The key is not one of the advert's.
    #[error("{key:?} is not a key of the advert")]
    UnknownKey {
        /// The key.
        key: &'static str,
    },
    /// The role is what the configuration says.
    #[error("a member can't change its role")]
    Role,
    /// The value is too long.
    #[error("the value of {key} has {bytes} bytes; fewer than {MAX_VALUE_BYTES} can be gossiped")]
    TooLong {
        /// The key.
        key: &'static str,
        /// Length of the value.
        bytes: usize,
    },
    /// All values together are too long.
    #[error("with {key}, the advert would have {bytes} bytes; {MAX_OWN_BYTES} are the most")]
    TooMuch {
        /// The key.
        key: &'static str,
        /// Length of all keys and values together.
        bytes: usize,
    },
}

/// Our keys as they should be, and how often a push was asked for.
#[derive(Debug, Clone)]
pub(crate) struct OwnKeys {
    keys: BTreeMap<&'static str, String>,
    n_pushes: u64,
}

impl OwnKeys {
    pub(crate) fn new(role: Role) -> Self {
        let keys = [(KEY_VERSION, FORMAT), (KEY_ROLE, role.as_str())];
        Self {
            keys: keys.map(|(key, value)| (key, value.to_owned())).into(),
            n_pushes: 0,
        }
    }

    /// Sets one key. Gives whether it was another value before.
    pub(crate) fn set(&mut self, key: &'static str, value: String) -> Result<bool, AdvertiseError> {
        if !KNOWN.contains(&key) {
            return Err(AdvertiseError::UnknownKey { key });
        }
        if self.keys.get(key) == Some(&value) {
            return Ok(false);
        }
        if key == KEY_ROLE {
            return Err(AdvertiseError::Role);
        }
        let bytes = value.len();
        if bytes >= MAX_VALUE_BYTES {
            return Err(AdvertiseError::TooLong { key, bytes });
        }
        let others = self.keys.iter().filter(|(other, _)| **other != key);
        let bytes = others
            .map(|(key, value)| key.len() + value.len())
            .sum::<usize>()
            + key.len()
            + value.len();
        if bytes > MAX_OWN_BYTES {
            return Err(AdvertiseError::TooMuch { key, bytes });
        }
        self.keys.insert(key, value);
        Ok(true)
    }

    /// Asks for a push, and gives its number.
    pub(crate) fn ask_for_push(&mut self) -> u64 {
        self.n_pushes = self.n_pushes.saturating_add(1);
        self.n_pushes
    }

    /// How often a push was asked for.
    pub(crate) fn n_pushes(&self) -> u64 {
        self.n_pushes
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.keys.iter().map(|(key, value)| (*key, value.as_str()))
    }

    pub(crate) fn contains(&self, key: &str) -> bool {
        self.keys.contains_key(key)
    }
}

const KNOWN: [&str; 7] = [
    KEY_VERSION,
    KEY_ROLE,
    KEY_SOFTWARE,
    KEY_NAMES,
    KEY_READINESS,
    KEY_LOAD,
    KEY_KEYS,
];

/// The value of [`KEY_VERSION`].
const FORMAT: &str = "1";

/// A member's whole state must fit one message of 64 KB, with room for the digest.
const MAX_OWN_BYTES: usize = 48 * 1024;

#[cfg(test)]
mod tests {
    use pki::Role;
    use proto::{KEY_LOAD, KEY_NAMES, KEY_READINESS, KEY_ROLE, KEY_SOFTWARE, MAX_VALUE_BYTES};

    use super::{AdvertiseError, OwnKeys};

    #[test]
    fn a_value_that_would_block_the_gossip_is_refused() {
        let mut own = OwnKeys::new(Role::Agent);
        let long = "x".repeat(MAX_VALUE_BYTES - 1);
        assert_eq!(own.set(KEY_NAMES, long.clone()), Ok(true));
        assert_eq!(own.set(KEY_NAMES, long.clone()), Ok(false));
        let too_long = AdvertiseError::TooLong {
            key: KEY_NAMES,
            bytes: MAX_VALUE_BYTES,
        };
        assert_eq!(
            own.set(KEY_NAMES, "x".repeat(MAX_VALUE_BYTES)),
            Err(too_long)
        );
        assert_eq!(own.set(KEY_LOAD, long.clone()), Ok(true));
        assert_eq!(own.set(KEY_SOFTWARE, "x".repeat(10_000)), Ok(true));
        assert!(matches!(
            own.set(KEY_READINESS, long),
            Err(AdvertiseError::TooMuch {
                key: KEY_READINESS,
                ..
            })
        ));
        assert_eq!(own.set(KEY_LOAD, "1".to_owned()), Ok(true));
        assert_eq!(own.set(KEY_READINESS, "ready".to_owned()), Ok(true));
    }

    #[test]
    fn only_the_keys_of_the_advert_can_be_set() {
        let mut own = OwnKeys::new(Role::Agent);
        let unknown = AdvertiseError::UnknownKey { key: "cookie" };
        assert_eq!(own.set("cookie", String::new()), Err(unknown));
        assert_eq!(
            own.set(KEY_ROLE, "broker".to_owned()),
            Err(AdvertiseError::Role)
        );
        assert_eq!(own.set(KEY_ROLE, "agent".to_owned()), Ok(false));
    }
}
