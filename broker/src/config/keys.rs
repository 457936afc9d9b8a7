//! Which keys are known, and which of them have an effect in this version?

use crate::ini::{Entry, flag};

/// What a key of `x2gobroker.conf` does.
pub(super) enum Effect {
    /// It is read.
    Used,
    /// Nothing, for this reason.
    None(&'static str),
}

/// What this key does. Known keys whose value asks for nothing are as good as used.
pub(super) fn effect(section: &str, entry: &Entry) -> Effect {
    let key = entry.key.as_str();
    // Its keys are names that the operator chooses.
    if section == crate::ini::DEFAULT_SECTION || FREE_SECTIONS.contains(&section) {
        return Effect::Used;
    }
    if USED
        .iter()
        .any(|(s, keys)| *s == section && keys.contains(&key))
    {
        return Effect::Used;
    }
    let asks_for_nothing = entry.value.is_empty() || flag(&entry.value) == Some(false);
    let without = WITHOUT_EFFECT
        .iter()
        .find(|(s, k, _)| *s == section && *k == key);
    match without {
        Some(_) if asks_for_nothing => Effect::Used,
        Some((_, _, text)) => Effect::None(text),
        None if UNUSED_SECTIONS.contains(&section) => Effect::None(NOT_YET),
        None => Effect::None(UNKNOWN),
    }
}

/// Whether `defaults.conf` may hold this key.
pub(super) fn is_known_setting(key: &str) -> bool {
    SETTINGS.contains(&key)
}

pub(super) const UNKNOWN: &str = "this key is not known and has no effect";
const NOT_YET: &str = "this has no effect in this version";
const MESH: &str = "this has no effect: agents are asked through the mesh";

const USED: &[(&str, &[&str])] = &[
    (
        "global",
        &[
            "require-password",
            "require-cookie",
            "use-static-cookie",
            "auth-timeout",
            "my-cookie",
            "my-cookie-file",
            "verify-ip",
            "enable-plain-output",
            "plain-values",
            "default-auth-mech",
            "default-agent-query-mode",
            "client-events",
            "client-live-event",
            "session-counts",
            "offer-all-sessions",
            "default-user-db",
            "default-group-db",
            "ignore-primary-group-memberships",
            "pre_auth_scripts",
            "post_auth_scripts",
            "select_session_scripts",
        ],
    ),
    (
        "broker_inifile",
        &[
            "enable",
            "session-profiles",
            "auth-mech",
            "agent-query-mode",
            "user-db",
            "group-db",
        ],
    ),
    ("broker_zeroconf", &["auth-mech", "user-db", "group-db"]),
    ("authmech_https_get", &["host", "port", "path", "ca-file"]),
    (
        "mesh",
        &[
            "node",
            "identity",
            "listen",
            "advertise",
            "seeds",
            "state-directory",
            "gossip",
        ],
    ),
    ("scripts", &["directory", "deadline"]),
    (
        "http",
        &[
            "https-bind",
            "unix-socket",
            "unix-socket-mode",
            "trusted-proxies",
            "forwarded-header",
            "base-path",
            "host-names",
        ],
    ),
    (
        "limits",
        &[
            "max-connections",
            "max-connections-per-client",
            "request-timeout",
            "idle-timeout",
        ],
    ),
];

const WITHOUT_EFFECT: &[(&str, &str, &str)] = &[
    (
        "global",
        "cookie-directory",
        "this has no effect: the broker writes no cookie files",
    ),
    ("global", "enable-json-output", NOT_YET),
    ("global", "enable-uccs-output", NOT_YET),
    ("global", "my-uccs-url-base", NOT_YET),
    ("global", "default-session-autologin", NOT_YET),
    ("global", "default-authorized-keys", NOT_YET),
    ("global", "default-sshproxy-authorized-keys", NOT_YET),
    ("global", "default-agent-hostkey-policy", MESH),
    ("global", "default-portscan-x2goservers", MESH),
    ("global", "default-use-load-checker", MESH),
    ("global", "load-checker-intervals", MESH),
    ("broker_inifile", "use-load-checker", MESH),
    ("broker_zeroconf", "enable", NOT_YET),
    ("broker_zeroconf", "desktop-shell", NOT_YET),
];

/// Sections whose keys are names that the operator chooses.
const FREE_SECTIONS: &[&str] = &["brokers", "logins"];

/// Sections of the original of which nothing is read.
const UNUSED_SECTIONS: &[&str] = &["authmech_pam", "broker_ldap"];

const SETTINGS: &[&str] = &[
    "DAEMON_BIND_ADDRESS",
    "X2GOBROKER_AGENT_CMD",
    "X2GOBROKER_AGENT_USER",
    "X2GOBROKER_AUTHSERVICE_SOCKET",
    "X2GOBROKER_CONFIG",
    "X2GOBROKER_DAEMON_GROUP",
    "X2GOBROKER_DAEMON_USER",
    "X2GOBROKER_DEBUG",
    "X2GOBROKER_DEFAULT_BACKEND",
    "X2GOBROKER_LOADCHECKER_SOCKET",
    "X2GOBROKER_SESSIONPROFILES",
    "X2GOBROKER_SSL_CERTFILE",
    "X2GOBROKER_SSL_KEYFILE",
];
