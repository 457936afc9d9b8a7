//! Which credentials do clients need?

use std::path::PathBuf;
use std::time::Duration;

use proto::Secret;

use super::raw::RawConfig;

/// Which credentials each backend wants from clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendAuth {
    /// The backend `inifile`.
    pub inifile: AuthConfig,
    /// The backend `zeroconf`.
    pub zeroconf: AuthConfig,
}

/// Which credentials clients of one backend need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthConfig {
    /// `require-password`.
    pub require_password: bool,
    /// `require-cookie`: each request must bring an AUTHID.
    pub require_authid: bool,
    /// Who knows whether a password is right.
    pub mechanism: Mechanism,
    /// What an AUTHID is good for.
    pub authid: AuthIdConfig,
    /// What wrong passwords cost.
    pub failures: FailureLimits,
    /// Whether `setpass` changes passwords.
    pub allow_password_change: bool,
}

/// How many passwords may be wrong, and what more of them cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailureLimits {
    /// So many of a user at an address cost nothing.
    pub free: u32,
    /// So many at an address, or of a user anywhere, cost nothing.
    pub free_shared: u32,
    /// The longest delay; zero for none at all.
    pub longest_delay: Duration,
    /// How long until half of them are forgotten.
    pub halve_after: Duration,
}

/// Who knows whether a password is right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// PAM, asked through the authservice.
    Pam,
    /// Nobody: any password is good.
    None,
    /// A web server that takes user and password.
    HttpsGet(HttpsGetConfig),
    /// The kernel, which says who is at the other end of a socket of this host. Nobody
    /// configures it: the SSH front end has no other.
    LocalPeer,
}

/// The web server of the mechanism `https_get`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpsGetConfig {
    /// Its name, which must stand in its certificate.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The page that only good credentials open.
    pub path: String,
    /// The roots that its certificate may lead to; else those of the system.
    pub ca_file: Option<PathBuf>,
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

impl BackendAuth {
    /// None only together with an error. Nothing here ever falls back to less than what
    /// was asked for.
    pub(super) fn build(raw: &mut RawConfig<'_>) -> Option<Self> {
        let authid = AuthIdConfig::build(raw);
        let require_password = raw.flag("global", "require-password", true);
        let require_authid = raw.flag("global", "require-cookie", false);
        let failures = FailureLimits::build(raw);
        let allow_password_change = raw.flag("global", "allow-password-change", false);
        let https_get = HttpsGetConfig::build(raw);
        let mut of = |section| {
            let mechanism = mechanism(raw, section, https_get.clone())?;
            Some(AuthConfig {
                require_password,
                require_authid,
                mechanism,
                authid: authid.clone(),
                failures,
                allow_password_change,
            })
        };
        let (inifile, zeroconf) = (of("broker_inifile"), of("broker_zeroconf"));
        Some(Self {
            inifile: inifile?,
            zeroconf: zeroconf?,
        })
    }
}

impl FailureLimits {
    fn build(raw: &mut RawConfig<'_>) -> Self {
        let free = raw.number("limits", "free-login-failures", 1..=1000, 5);
        let free_shared = raw.number("limits", "free-shared-login-failures", 1..=100_000, 50);
        let longest = raw.number("limits", "longest-login-delay", 0..=600, 60);
        let halve_after = raw.number("limits", "login-failures-halve-after", 1..=86_400, 300);
        Self {
            free,
            free_shared,
            longest_delay: Duration::from_secs(longest.into()),
            halve_after: Duration::from_secs(halve_after.into()),
        }
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

impl HttpsGetConfig {
    /// None where no host is given; it is missed only when the mechanism is wanted.
    fn build(raw: &mut RawConfig<'_>) -> Option<Self> {
        let section = "authmech_https_get";
        let port = raw.number(section, "port", 1..=u32::from(u16::MAX), 443);
        let path = raw.text(section, "path").unwrap_or("/");
        let host = raw.text(section, "host");
        let ca_file = raw.text(section, "ca-file").map(PathBuf::from);
        if let Some(key) = raw.entry(section, "path")
            && !is_path(path)
        {
            raw.error(
                key,
                "this is not a path that begins with / and holds no blank",
            );
            return None;
        }
        Some(Self {
            host: host?.to_owned(),
            port: u16::try_from(port).unwrap_or(443),
            path: path.to_owned(),
            ca_file,
        })
    }
}

/// What can stand in the first line of an HTTP request.
fn is_path(text: &str) -> bool {
    text.starts_with('/') && text.chars().all(|c| c.is_ascii_graphic() && c != '#')
}

fn mechanism(
    raw: &mut RawConfig<'_>,
    section: &'static str,
    https_get: Option<HttpsGetConfig>,
) -> Option<Mechanism> {
    let own = raw.entry(section, "auth-mech");
    let Some(key) = own.or_else(|| raw.entry("global", "default-auth-mech")) else {
        return Some(Mechanism::Pam);
    };
    match key.value() {
        "pam" => Some(Mechanism::Pam),
        "none" => Some(Mechanism::None),
        "https_get" => {
            if https_get.is_none() {
                raw.error(key, "https_get needs a [authmech_https_get] host");
            }
            https_get.map(Mechanism::HttpsGet)
        }
        mech => {
            raw.error(key, format!("{mech:?} is none of pam, none, https_get"));
            None
        }
    }
}
