//! Which groups count, and who may log in as whom?

use super::raw::RawConfig;
use crate::logins::{LoginRule, LoginRules};

/// What of users and their accounts is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountsConfig {
    /// `ignore-primary-group-memberships`: a primary group counts only if it names the
    /// user as a member.
    pub ignore_primary_groups: bool,
    /// `[logins]`: who may use which accounts on the X2Go servers.
    pub logins: LoginRules,
}

impl AccountsConfig {
    pub(super) fn build(raw: &mut RawConfig<'_>) -> Self {
        for (section, key) in DATABASES {
            if let Some(key) = raw.entry(section, key)
                && !["", "libnss"].contains(&key.value())
            {
                let text = "this is not libnss; users and groups are those of the system (NSS)";
                raw.warn(key, text);
            }
        }
        let key = "ignore-primary-group-memberships";
        Self {
            ignore_primary_groups: raw.flag("global", key, true),
            logins: logins(raw),
        }
    }
}

fn logins(raw: &mut RawConfig<'_>) -> LoginRules {
    let mut rules = LoginRules::default();
    let keys = raw.keys_of("logins");
    if keys.len() > MAX_RULES {
        raw.file_error("more than 10000 lines in [logins]; allow a domain or everybody at once");
        return rules;
    }
    for key in keys {
        match LoginRule::parse(key.name(), key.value()) {
            Ok(rule) => rules.add(rule),
            Err(error) => raw.error(key, error.to_string()),
        }
    }
    rules
}

/// Where the original takes users and groups from.
const DATABASES: [(&str, &str); 6] = [
    ("global", "default-user-db"),
    ("global", "default-group-db"),
    ("broker_inifile", "user-db"),
    ("broker_inifile", "group-db"),
    ("broker_zeroconf", "user-db"),
    ("broker_zeroconf", "group-db"),
];

/// Each request looks through all of them.
const MAX_RULES: usize = 10_000;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proto::BrokerUser;

    use super::AccountsConfig;
    use crate::config::{Config, Sources};

    fn parse(config: &str) -> Result<(AccountsConfig, Vec<String>), Vec<String>> {
        let texts = |problems: Vec<crate::ini::Problem>| -> Vec<String> {
            problems.iter().map(ToString::to_string).collect()
        };
        let parsed = Config::parse(&Sources {
            config_file: "conf",
            config,
            defaults_file: "defaults.conf",
            defaults: "",
            environment: &BTreeMap::new(),
            bind: None,
            host_name: "broker1",
        });
        parsed
            .map(|(config, problems)| (config.accounts, texts(problems)))
            .map_err(texts)
    }

    #[test]
    fn nobody_may_be_somebody_else_and_primary_groups_do_not_count_unless_configured() {
        let (accounts, problems) = parse("").unwrap();
        assert!(accounts.ignore_primary_groups);
        assert_eq!((accounts.logins, problems), Default::default());
        let text = "[global]\nignore-primary-group-memberships = no\n\
            default-user-db = libnss\n[logins]\nalice = kiosk,\n  bob\nCORP\\* = %u\n";
        let (accounts, problems) = parse(text).unwrap();
        assert_eq!(problems, Vec::<String>::new());
        assert!(!accounts.ignore_primary_groups);
        for (user, login, account) in [("alice", "bob", "bob"), ("CORP\\zoe", "", "zoe")] {
            let user = BrokerUser::parse(user).unwrap();
            let login = accounts.logins.login(&user, login).unwrap();
            assert_eq!(login.account.as_str(), account);
        }
    }

    #[test]
    fn every_line_that_is_no_rule_is_told() {
        let text =
            "[global]\ndefault-group-db = ldap\n[logins]\n* = *\na/b = c\nalice = -x\nbob =\n";
        let expected = [
            "conf:2: [global] default-group-db: this is not libnss; users and groups are those of the system (NSS)",
            "conf:4: [logins] *: this would let everybody have anybody's sessions; name the users or the accounts",
            "conf:5: [logins] a/b: \"a/b\" is no user; write a user name, DOMAIN\\user, DOMAIN\\*, *@REALM or *",
            "conf:6: [logins] alice: \"-x\" is no account; write a user name, %u or *",
            "conf:7: [logins] bob: no account is given; users may log in by their own name without a rule",
        ];
        assert_eq!(parse(text).unwrap_err(), expected);
    }
}
