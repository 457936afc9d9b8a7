//! Does the backend `zeroconf` answer, and with which desktop?

use super::raw::RawConfig;

/// The backend `zeroconf`: one desktop on the host that the client itself calls localhost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZeroconfConfig {
    /// Whether it answers; else clients get 404.
    pub enabled: bool,
    /// The desktop, in capitals.
    pub desktop_shell: String,
}

impl ZeroconfConfig {
    pub(super) fn build(raw: &mut RawConfig<'_>) -> Self {
        let section = "broker_zeroconf";
        let desktop = raw.text(section, "desktop-shell").unwrap_or("KDE");
        let is_word = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        if let Some(key) = raw.entry(section, "desktop-shell")
            && (!desktop.chars().all(is_word) || desktop.len() > MAX_DESKTOP_BYTES)
        {
            raw.error(key, "this is not the name of a desktop");
        }
        Self {
            enabled: raw.flag(section, "enable", false),
            desktop_shell: desktop.to_ascii_uppercase(),
        }
    }
}

/// No desktop has a longer name.
const MAX_DESKTOP_BYTES: usize = 64;
