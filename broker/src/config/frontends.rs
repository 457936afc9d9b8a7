//! Which front ends answer, and how?

use std::path::PathBuf;

use super::raw::RawConfig;
use crate::ini::flag;

/// Which front ends answer, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrontendConfig {
    /// `/plain/` answers.
    pub plain: bool,
    /// `/json/` answers.
    pub json: bool,
    /// `/uccs/` answers.
    pub uccs: bool,
    /// What the URLs in answers of `/uccs/` begin with.
    pub uccs_url_base: String,
    /// The backend of a URL that names none.
    pub default_backend: String,
    /// `/plain/` and `/json/` take GET, with the fields in the query. Off by default: a
    /// password in a URL ends up in the logs of proxies.
    pub allow_get: bool,
    /// What `/plain/` answers to somebody who is not let in.
    pub refusal: Refusal,
    /// `testcon` without credentials is answered as X2Go Client's connectivity test wants.
    pub anonymous_testcon: bool,
    /// What `/pubkeys` shows.
    pub public_keys: PublicKeysConfig,
}

/// What `/plain/` answers to somebody who is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// 401, at which X2Go Client tells of it and ends.
    Status,
    /// 200 without "Access granted": X2Go Client shows its login form again.
    LoginForm,
}

/// What `/pubkeys` shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKeysConfig {
    /// Where the broker's keys are: `id_*.pub`.
    pub directory: PathBuf,
    /// What these keys may run on an X2Go server.
    pub agent_command: String,
    /// Whose keys they are: `user@host`.
    pub owner: String,
}

impl FrontendConfig {
    pub(super) fn build(raw: &mut RawConfig<'_>) -> Self {
        let setting = raw.setting("X2GOBROKER_DEFAULT_BACKEND");
        let default_backend = setting.map_or("inifile", |setting| setting.value);
        let debug = raw.setting("X2GOBROKER_DEBUG");
        let debug = debug.is_some_and(|setting| flag(setting.value) == Some(true));
        Self {
            plain: raw.flag("global", "enable-plain-output", true),
            json: raw.flag("global", "enable-json-output", true),
            uccs: raw.flag("global", "enable-uccs-output", false),
            uccs_url_base: uccs_url_base(raw),
            default_backend: default_backend.to_owned(),
            allow_get: raw.flag("http", "allow-get", debug),
            refusal: refusal(raw),
            anonymous_testcon: raw.flag("http", "anonymous-testcon", true),
            public_keys: PublicKeysConfig::build(raw),
        }
    }
}

impl PublicKeysConfig {
    fn build(raw: &mut RawConfig<'_>) -> Self {
        let directory = raw.text("http", "public-keys-directory");
        let command = raw.setting("X2GOBROKER_AGENT_CMD");
        let text = command.map_or(AGENT_COMMAND, |setting| setting.value);
        if let Some(setting) = command
            && text.contains(|c: char| c == '"' || c == '\\' || c.is_control())
        {
            raw.setting_error(setting, "this is not the path of a program");
        }
        let user = raw.setting("X2GOBROKER_DAEMON_USER");
        let user = user.map_or("x2gobroker", |setting| setting.value);
        Self {
            directory: directory.unwrap_or(PUBLIC_KEYS).into(),
            agent_command: text.to_owned(),
            owner: format!("{user}@{}", raw.sources().host_name),
        }
    }
}

fn uccs_url_base(raw: &RawConfig<'_>) -> String {
    let base = raw.text("global", "my-uccs-url-base");
    let base = base.unwrap_or(UCCS_URL_BASE).to_owned();
    if base.ends_with('/') {
        base
    } else {
        base + "/"
    }
}

fn refusal(raw: &mut RawConfig<'_>) -> Refusal {
    let Some(key) = raw.entry("http", "refusal") else {
        return Refusal::Status;
    };
    match key.value() {
        "401" => Refusal::Status,
        "login-form" => Refusal::LoginForm,
        _ => {
            raw.error(key, "this is neither 401 nor login-form");
            Refusal::Status
        }
    }
}

const UCCS_URL_BASE: &str = "http://localhost:8080/";

/// The home directory of the user `x2gobroker` is /var/lib/x2gobroker.
const PUBLIC_KEYS: &str = "/var/lib/x2gobroker/.ssh";

const AGENT_COMMAND: &str = "/usr/lib/x2go/x2gobroker-agent";
