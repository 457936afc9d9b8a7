//! How do users get onto the X2Go servers without typing a password again?

use std::ops::RangeInclusive;
use std::time::Duration;

use proto::{KEY_LIFE, KeyFile, MAX_KEY_LIFE};

use super::raw::RawConfig;

/// What of autologin is configured for all profiles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AutologinConfig {
    /// Whether profiles that say nothing of it have it.
    pub enabled: bool,
    /// The file that keys go to on X2Go servers, unless a profile names another.
    pub file: KeyFile,
    /// The same on SSH proxies.
    pub proxy_file: KeyFile,
    /// How long a key opens an account.
    pub life: Duration,
}

impl AutologinConfig {
    pub(super) fn build(raw: &mut RawConfig<'_>) -> Self {
        let default = u32::try_from(KEY_LIFE.as_secs()).unwrap_or_default();
        let life = raw.number("global", "autologin-key-life", LIFE_SECONDS, default);
        Self {
            enabled: raw.flag("global", "default-session-autologin", false),
            file: key_file(raw, "default-authorized-keys"),
            proxy_file: key_file(raw, "default-sshproxy-authorized-keys"),
            life: Duration::from_secs(life.into()),
        }
    }
}

fn key_file(raw: &mut RawConfig<'_>, key: &'static str) -> KeyFile {
    let entry = raw.entry("global", key);
    let Some(entry) = entry.filter(|entry| !entry.value().is_empty()) else {
        return KeyFile::default();
    };
    KeyFile::parse(entry.value()).unwrap_or_else(|error| {
        raw.error(entry, format!("this is {error}"));
        KeyFile::default()
    })
}

/// A second is too short for any client.
const LIFE_SECONDS: RangeInclusive<u32> = 2..=MAX_SECONDS;

#[expect(
    clippy::cast_possible_truncation,
    reason = "ten minutes fit, and a const can't use try_from"
)]
const MAX_SECONDS: u32 = MAX_KEY_LIFE.as_secs() as u32;
