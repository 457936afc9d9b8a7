//! Does each key of the packaged files do what its comment says?
//!
//! The files are those of x2gobroker 0.0.4.3: each commented key is switched on alone, with
//! its value and with another one, and the effect is looked at; then all at once.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Case, example, texts};
use crate::acl::{Asker, ClientNames, GroupName, Groups};
use crate::config::{Config, Mechanism};
use crate::profiles::{AgentQueryMode, HostKeyPolicy, SessionProfiles};
use crate::scripts::Stage;

/// What a key does.
enum Effect {
    /// What the packaged value leads to; another value, and what that leads to.
    Is(fn(&Config) -> bool, &'static str, fn(&Config) -> bool),
    /// Nothing, for a reason that has these words.
    Nothing(&'static str),
}

use Effect::{Is, Nothing};

const MESH: &str = "agents are asked through the mesh";

#[rustfmt::skip]
const KEYS: &[(&str, &str, Effect)] = &[
    ("global", "require-password", Is(|c| c.auth.inifile.require_password, "no", |c| !c.auth.inifile.require_password)),
    ("global", "require-cookie", Is(|c| !c.auth.inifile.require_authid, "yes", |c| c.auth.inifile.require_authid)),
    ("global", "use-static-cookie", Is(|c| !c.auth.inifile.authid.is_static, "1", |c| c.auth.inifile.authid.is_static)),
    ("global", "auth-timeout", Is(|c| c.auth.inifile.authid.timeout == Duration::from_secs(36_000), "60", |c| c.auth.inifile.authid.timeout == Duration::from_secs(60))),
    ("global", "cookie-directory", Nothing("the broker writes no cookie files")),
    ("global", "pre_auth_scripts", Is(|c| scripts(c, Stage::PreAuth).is_empty(), "a,b", |c| scripts(c, Stage::PreAuth) == "a b")),
    ("global", "post_auth_scripts", Is(|c| scripts(c, Stage::PostAuth).is_empty(), "a,b", |c| scripts(c, Stage::PostAuth) == "a b")),
    ("global", "select_session_scripts", Is(|c| scripts(c, Stage::SelectSession).is_empty(), "a,b", |c| scripts(c, Stage::SelectSession) == "a b")),
    ("global", "my-cookie", Is(|c| preset(c) == "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx", "y", |c| preset(c) == "y")),
    ("global", "my-cookie-file", Is(|c| preset_file(c) == "/etc/x2go/broker/x2gobroker.authid", "/a", |c| preset_file(c) == "/a")),
    ("global", "verify-ip", Is(|c| c.auth.inifile.authid.verify_ip, "off", |c| !c.auth.inifile.authid.verify_ip)),
    ("global", "enable-plain-output", Is(|c| c.frontends.plain, "False", |c| !c.frontends.plain)),
    ("global", "enable-json-output", Is(|c| c.frontends.json, "false", |c| !c.frontends.json)),
    ("global", "enable-uccs-output", Is(|c| !c.frontends.uccs, "true", |c| c.frontends.uccs)),
    ("global", "my-uccs-url-base", Is(|c| c.frontends.uccs_url_base == "http://localhost:8080/", "https://b/x/", |c| c.frontends.uccs_url_base == "https://b/x/")),
    ("global", "default-auth-mech", Is(|c| c.auth.inifile.mechanism == Mechanism::Pam, "none", |c| c.auth.inifile.mechanism == Mechanism::None)),
    ("global", "default-user-db", Is(|_| true, "libnss", |_| true)),
    ("global", "default-group-db", Is(|_| true, "libnss", |_| true)),
    ("global", "ignore-primary-group-memberships", Is(|c| c.accounts.ignore_primary_groups, "false", |c| !c.accounts.ignore_primary_groups)),
    ("global", "default-session-autologin", Is(|c| !c.autologin.enabled, "true", |c| c.autologin.enabled)),
    ("global", "default-authorized-keys", Is(|c| c.autologin.file.as_str() == "%h/.x2go/authorized_keys", "/k/%u", |c| c.autologin.file.as_str() == "/k/%u")),
    ("global", "default-sshproxy-authorized-keys", Is(|c| c.autologin.proxy_file.as_str() == "%h/.x2go/authorized_keys", "/k/%u", |c| c.autologin.proxy_file.as_str() == "/k/%u")),
    ("global", "default-agent-query-mode", Is(|c| c.inifile.query_mode == AgentQueryMode::None, "LOCAL", |c| c.inifile.query_mode == AgentQueryMode::Local)),
    ("global", "default-agent-hostkey-policy", Is(|c| c.inifile.old_agents.host_key_policy == HostKeyPolicy::Reject, "AutoAddPolicy", |c| c.inifile.old_agents.host_key_policy == HostKeyPolicy::AutoAdd)),
    ("global", "default-portscan-x2goservers", Nothing(MESH)),
    ("global", "default-use-load-checker", Nothing(MESH)),
    ("global", "load-checker-intervals", Nothing(MESH)),
    ("authmech_https_get", "host", Is(|_| true, "b.test", |_| true)),
    ("authmech_https_get", "path", Is(|_| true, "/b", |_| true)),
    ("authmech_https_get", "port", Is(|_| true, "8443", |_| true)),
    ("broker_zeroconf", "enable", Is(|c| !c.zeroconf.enabled, "true", |c| c.zeroconf.enabled)),
    ("broker_zeroconf", "auth-mech", Is(|c| c.auth.zeroconf.mechanism == Mechanism::Pam, "none", |c| c.auth.zeroconf.mechanism == Mechanism::None)),
    ("broker_zeroconf", "user-db", Is(|_| true, "libnss", |_| true)),
    ("broker_zeroconf", "group-db", Is(|_| true, "libnss", |_| true)),
    ("broker_zeroconf", "desktop-shell", Is(|c| c.zeroconf.desktop_shell == "KDE", "mate", |c| c.zeroconf.desktop_shell == "MATE")),
    ("broker_inifile", "enable", Is(|c| c.inifile.enabled, "no", |c| !c.inifile.enabled)),
    ("broker_inifile", "session-profiles", Is(|c| profiles(c) == "/etc/x2go/broker/x2gobroker-sessionprofiles.conf", "/p", |c| profiles(c) == "/p")),
    ("broker_inifile", "use-load-checker", Nothing(MESH)),
    ("broker_ldap", "enable", Nothing(LDAP)),
    ("broker_ldap", "auth-mech", Nothing(LDAP)),
    ("broker_ldap", "user-db", Nothing(LDAP)),
    ("broker_ldap", "group-db", Nothing(LDAP)),
    ("broker_ldap", "uri", Nothing(LDAP)),
    ("broker_ldap", "base", Nothing(LDAP)),
    ("broker_ldap", "user-search-filter", Nothing(LDAP)),
    ("broker_ldap", "host-search-filter", Nothing(LDAP)),
    ("broker_ldap", "group-search-filter", Nothing(LDAP)),
    ("broker_ldap", "starttls", Nothing(LDAP)),
    ("broker_ldap", "agent-query-mode", Nothing(LDAP)),
    ("broker_ldap", "use-load-checker", Nothing(LDAP)),
];

const LDAP: &str = "there is no backend ldap";

#[rustfmt::skip]
const SETTINGS: &[(&str, Effect)] = &[
    ("X2GOBROKER_DAEMON_USER", Is(|c| c.process.user == "x2gobroker", "u", |c| c.process.user == "u")),
    ("X2GOBROKER_DAEMON_GROUP", Is(|c| c.process.group == "x2gobroker", "g", |c| c.process.group == "g")),
    ("X2GOBROKER_AGENT_USER", Is(|c| c.inifile.old_agents.user == "x2gobroker", "u", |c| c.inifile.old_agents.user == "u")),
    ("X2GOBROKER_DEBUG", Is(|c| !c.process.debug, "1", |c| c.process.debug)),
    ("X2GOBROKER_DEFAULT_BACKEND", Is(|c| c.frontends.default_backend == "inifile", "zeroconf", |c| c.frontends.default_backend == "zeroconf")),
    ("X2GOBROKER_CONFIG", Is(|_| true, "/c", |_| true)),
    ("X2GOBROKER_SESSIONPROFILES", Is(|c| profiles(c) == "/etc/x2go/broker/x2gobroker-sessionprofiles.conf", "/p", |c| profiles(c) == "/p")),
    ("X2GOBROKER_AGENT_CMD", Is(|c| c.frontends.public_keys.agent_command == "/usr/lib/x2go/x2gobroker-agent", "/a", |c| c.frontends.public_keys.agent_command == "/a")),
    ("X2GOBROKER_AUTHSERVICE_SOCKET", Is(|c| socket(c) == "/run/x2gobroker/x2gobroker-authservice.socket", "/s", |c| socket(c) == "/s")),
    ("X2GOBROKER_LOADCHECKER_SOCKET", Nothing("load-checker-socket")),
    ("DAEMON_BIND_ADDRESS", Is(|c| http(c) == "127.0.0.1:8080", "10.0.0.1:81", |c| http(c) == "10.0.0.1:81")),
];

fn scripts(config: &Config, stage: Stage) -> String {
    let names = config.scripts.names.get(&stage);
    names.map_or_else(String::new, |names| names.join(" "))
}

fn preset(config: &Config) -> &str {
    let preset = config.auth.inifile.authid.preset.as_ref();
    preset.map_or("", |preset| preset.expose())
}

fn preset_file(config: &Config) -> String {
    let file = config.auth.inifile.authid.preset_file.as_ref();
    file.map_or_else(String::new, |file| file.display().to_string())
}

fn profiles(config: &Config) -> String {
    config.inifile.session_profiles.display().to_string()
}

fn socket(config: &Config) -> String {
    config.authservice_socket.display().to_string()
}

fn http(config: &Config) -> String {
    config
        .http
        .http
        .map_or_else(String::new, |address| address.to_string())
}

/// The commented keys of a packaged file, each with its section and line.
fn commented(text: &str) -> Vec<(String, String, usize)> {
    let mut section = String::new();
    let mut keys = Vec::new();
    for (idx, line) in text.lines().enumerate() {
        let bare = line.strip_prefix('#').unwrap_or(line);
        if let Some((name, _)) = bare.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            name.clone_into(&mut section);
        } else if let Some((key, _)) = bare.split_once('=').filter(|_| line.starts_with('#')) {
            let letters = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
            let key = key.trim_end();
            if !key.is_empty() && key.chars().all(letters) {
                keys.push((section.clone(), key.to_owned(), idx));
            }
        }
    }
    keys
}

/// The file with one line switched on, perhaps with another value. Of commented sections
/// the header counts as well.
fn switched_on(text: &str, idx: usize, section: &str, value: Option<&str>) -> String {
    let header = format!("#[{section}]");
    let lines = text.lines().enumerate().map(|(at, line)| {
        let bare = line.strip_prefix('#').unwrap_or(line);
        match value {
            Some(value) if at == idx => {
                let (key, _) = bare.split_once('=').unwrap();
                format!("{key}= {value}")
            }
            _ if at == idx || line.starts_with(&header) => bare.to_owned(),
            _ => line.to_owned(),
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn check(name: &str, effect: &Effect, parse: impl Fn(Option<&str>) -> (Config, Vec<String>)) {
    let (config, problems) = parse(None);
    match effect {
        Is(packaged, other, changed) => {
            assert!(packaged(&config), "{name} as packaged");
            let (config, more) = parse(Some(other));
            assert!(changed(&config), "{name} = {other}");
            let told = problems.iter().chain(&more);
            let told = told.filter(|problem| !problem.contains("whatever stands here"));
            assert_eq!(told.collect::<Vec<_>>(), Vec::<&String>::new(), "{name}");
        }
        Nothing(reason) => {
            assert_eq!(problems.len(), 1, "{name}: {problems:?}");
            assert!(problems[0].contains(reason), "{name}: {problems:?}");
        }
    }
}

#[test]
fn each_key_of_the_packaged_configuration_does_what_its_comment_says() {
    let text = example("x2gobroker.conf", false);
    let keys = commented(&text);
    let in_file: BTreeSet<_> = keys
        .iter()
        .map(|(s, k, _)| (s.as_str(), k.as_str()))
        .collect();
    let in_table: BTreeSet<_> = KEYS.iter().map(|(s, k, _)| (*s, *k)).collect();
    assert_eq!(in_file, in_table);
    for (section, key, idx) in &keys {
        let row = KEYS.iter().find(|(s, k, _)| s == section && k == key);
        check(&format!("[{section}] {key}"), &row.unwrap().2, |value| {
            let text = switched_on(&text, *idx, section, value);
            let (config, problems) = Case::of(&text).parse().unwrap();
            (config, texts(&problems))
        });
    }
}

#[test]
fn each_key_of_the_packaged_defaults_does_what_its_comment_says() {
    let text = example("defaults.conf", false);
    let mut n_checked = 0;
    for (section, key, idx) in &commented(&text) {
        // HTTPS needs both; the programs of the other sections are not the daemon.
        let is_of_https = key.starts_with("X2GOBROKER_SSL_");
        let parse = |value: Option<&str>| {
            let defaults = switched_on(&text, *idx, section, value);
            let case = Case {
                defaults: &defaults,
                ..Case::of("")
            };
            case.parse()
                .map(|(config, problems)| (config, texts(&problems)))
        };
        if is_of_https {
            let problems = texts(&parse(None).unwrap_err());
            assert!(problems[0].contains("HTTPS needs both"), "{problems:?}");
        } else if ["common", "daemon"].contains(&section.as_str()) {
            let row = SETTINGS.iter().find(|(name, _)| name == key);
            let (_, effect) = row.unwrap_or_else(|| panic!("{key} has no row"));
            check(key, effect, |value| parse(value).unwrap());
        } else {
            assert_eq!(
                parse(None).unwrap().1,
                Vec::<String>::new(),
                "[{section}] {key}"
            );
        }
        n_checked += 1;
    }
    assert_eq!(
        n_checked, 16,
        "the packaged file has so many commented keys"
    );
}

/// The packaged session profiles with the commented profile of that ID switched on.
fn with_profile(text: &str, id: &str) -> String {
    let header = format!("#[{id}]");
    let mut is_on = false;
    let lines = text.lines().map(|line| {
        is_on = line == header || (is_on && line.starts_with('#') && !line.starts_with("#["));
        let is_key = line.contains('=') || line == header;
        match line.strip_prefix('#') {
            Some(rest) if is_on && is_key && !rest.starts_with([' ', '#']) => rest.to_owned(),
            _ => line.to_owned(),
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Who is shown a profile: of these groups, from this address.
fn is_shown(text: &str, id: &str, user: &str, group: &str, client: &str) -> bool {
    let (profiles, _) = SessionProfiles::parse("profiles", text).unwrap();
    let groups = [GroupName::parse(group).unwrap()];
    profiles.get(id).unwrap().acl.allows(&Asker {
        user: Some(user),
        groups: Groups::Known(&groups),
        client: client.parse().unwrap(),
        client_names: &ClientNames::default(),
    })
}

#[test]
fn each_packaged_profile_is_shown_to_whom_its_comment_says() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/data/example/x2gobroker-sessionprofiles.conf"
    );
    let text = std::fs::read_to_string(path).unwrap();
    for (id, user, group, client, expected) in [
        ("pool-A-server-A", "u", "gnome-users", "10.1.2.3", true),
        ("pool-A-server-A", "u", "admins", "10.1.2.3", true),
        ("pool-A-server-A", "u", "gnome-users", "10.2.2.3", false),
        ("pool-A-server-A", "u", "kde-users", "10.1.2.3", false),
        ("pool-A-server-B", "u", "gnome-users", "10.2.2.3", true),
        ("pool-A-server-B", "u", "gnome-users", "10.1.2.3", false),
        ("pool-A-server-C", "u", "kde-users", "192.0.2.1", true),
        ("pool-A-server-C", "u", "gnome-users", "192.0.2.1", false),
        ("pool-B-server-D-LXDE", "u", "admins", "192.0.2.1", false),
        ("pool-C-XFCE", "u", "students", "192.0.2.1", true),
        ("pool-C-XFCE", "testuser-A", "others", "192.0.2.1", true),
        ("pool-C-XFCE", "testuser-C", "others", "192.0.2.1", false),
    ] {
        let text = with_profile(&text, id);
        let (profiles, problems) = SessionProfiles::parse("profiles", &text).unwrap();
        assert_eq!(
            profiles.len(),
            4,
            "{id} beside the three that are not commented"
        );
        let acl_problems = problems.iter().filter(|p| p.to_string().contains("acl-"));
        assert_eq!(acl_problems.count(), 0, "{id}");
        // As packaged, ALL in each deny list wins: nobody is shown it (as by 0.0.4.3).
        assert!(
            !is_shown(&text, id, user, group, client),
            "{id} as packaged"
        );
        // With the order that its comment has in mind, it is as the comment says; a user
        // list decides before the groups, so that one is taken out where groups count.
        let mut text = text.replace("acl-any-order=deny-allow", "acl-any-order=allow-deny");
        if group == "students" {
            text = text.replace("acl-users-deny=ALL\n", "");
        }
        let shown = is_shown(&text, id, user, group, client);
        assert_eq!(shown, expected, "{id} {user} {group} {client}");
    }
}
