//! Which credentials do clients need?

use std::path::PathBuf;
use std::time::Duration;

use proto::Secret;

use super::raw::RawConfig;

/// Which credentials clients need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthConfig {
    /// How users prove who they are.
    pub authentication: Authentication,
    /// Remembered for AUTHIDs, which this version does not give out.
    pub authid: AuthIdConfig,
}

/// How users prove who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// `require-password = false`: not at all; a user name may be missing.
    NotRequired,
    /// `auth-mech = none`: any password is good.
    AnyPassword,
}

/// How AUTHIDs are given and taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthIdConfig {
    /// The value that clients begin with.
    pub preset: Option<Secret>,
    /// The file with that value; goes before `preset`.
    pub preset_file: Option<PathBuf>,
    /// Whether it is good from one address only.
    pub verify_ip: bool,
    /// How long after the password it is good.
    pub timeout: Duration,
    /// Whether it stays the same.
    pub is_static: bool,
}

impl AuthConfig {
    /// None only together with an error. Nothing here ever falls back to less than what
    /// was asked for.
    pub(super) fn build(raw: &mut RawConfig<'_>) -> Option<Self> {
        let authid = AuthIdConfig::build(raw);
        let password = raw.flag("global", "require-password", true);
        let cookie = raw.flag("global", "require-cookie", false);
        if let Some(key) = raw.entry("global", "require-cookie")
            && cookie
        {
            raw.error(
                key,
                "this version can't require an AUTHID yet; set it to false",
            );
            return None;
        }
        let authentication = if password {
            mech(raw)?
        } else {
            Authentication::NotRequired
        };
        Some(Self {
            authentication,
            authid,
        })
    }
}

impl AuthIdConfig {
    fn build(raw: &mut RawConfig<'_>) -> Self {
        let preset = raw.text("global", "my-cookie");
        let preset_file = raw.text("global", "my-cookie-file");
        let timeout = raw.number("global", "auth-timeout", 0..=u32::MAX, 36_000);
        Self {
            preset: preset.map(|preset| Secret::new(preset.to_owned())),
            preset_file: preset_file.map(PathBuf::from),
            verify_ip: raw.flag("global", "verify-ip", true),
            timeout: Duration::from_secs(timeout.into()),
            is_static: raw.flag("global", "use-static-cookie", false),
        }
    }
}

fn mech(raw: &mut RawConfig<'_>) -> Option<Authentication> {
    let own = raw.entry("broker_inifile", "auth-mech");
    let Some(key) = own.or_else(|| raw.entry("global", "default-auth-mech")) else {
        raw.file_error(
            "no default-auth-mech is given, which means pam, and this version can't do that \
             yet; nobody could log in. Set [global] default-auth-mech = none to let everybody in",
        );
        return None;
    };
    match key.value() {
        "none" => Some(Authentication::AnyPassword),
        mech @ ("pam" | "https_get") => {
            let text = format!(
                "this version can't do {mech} yet; set it to none to let everybody in without \
                 a password check"
            );
            raw.error(key, text);
            None
        }
        mech => {
            raw.error(key, format!("{mech:?} is none of pam, none, https_get"));
            None
        }
    }
}
