use proptest::prelude::{prop_assert, proptest};
use proto::BrokerUser;

use super::{LoginRefused, LoginRule, LoginRuleError, LoginRules};

fn rules(lines: &[(&str, &str)]) -> LoginRules {
    let mut rules = LoginRules::default();
    for (users, accounts) in lines {
        rules.add(LoginRule::parse(users, accounts).expect(users));
    }
    rules
}

fn user(name: &str) -> BrokerUser {
    BrokerUser::parse(name).unwrap()
}

/// The account that the rules give, if they give one.
fn account(rules: &LoginRules, name: &str, login: &str) -> Option<String> {
    let login = rules.login(&user(name), login).ok()?;
    assert_eq!(login.user, user(name));
    Some(login.account.to_string())
}

#[test]
fn login_of_somebody_else_is_refused_without_a_rule() {
    let none = LoginRules::default();
    for (name, login, expected) in [
        ("alice", "", Some("alice")),
        ("alice", "alice", Some("alice")),
        ("alice", "bob", None),
        ("alice", "Alice", None),
        ("alice", "root", None),
        ("alice", "../alice", None),
        ("alice", "alice\n", None),
        ("doe@example.org", "", Some("doe@example.org")),
        ("doe@example.org", "doe", None),
        ("CORP\\alice", "", None),
        ("CORP\\alice", "CORP\\alice", None),
        ("CORP\\alice", "alice", None),
    ] {
        let account = account(&none, name, login);
        assert_eq!(account.as_deref(), expected, "{name} as {login:?}");
    }
    let refused = none.login(&user("alice"), "bob").unwrap_err();
    let told = "alice may not log in as bob; a line in [logins] could allow it";
    assert_eq!(refused.to_string(), told);
    let refused = none.login(&user("CORP\\alice"), "").unwrap_err();
    let expected = LoginRefused::NoRule {
        user: user("CORP\\alice"),
    };
    assert_eq!(refused, expected);
}

#[test]
fn rules_allow_what_they_name_and_nothing_else() {
    let rules = rules(&[
        ("alice", "kiosk, bob"),
        ("carol", "*"),
        ("dave", "root"),
        ("*", "guest"),
        ("CORP\\*", "%u"),
        ("CORP\\eve", "evelyn, eve2"),
        ("*@example.org", "%u, shared"),
    ]);
    for (name, login, expected) in [
        ("alice", "", Some("alice")),
        ("alice", "kiosk", Some("kiosk")),
        ("alice", "bob", Some("bob")),
        ("alice", "carol", None),
        ("bob", "alice", None),
        ("bob", "kiosk", None),
        ("bob", "guest", Some("guest")),
        ("carol", "", Some("carol")),
        ("carol", "zoe", Some("zoe")),
        // Nobody becomes root by a star.
        ("carol", "root", None),
        ("carol", "a/b", None),
        ("dave", "root", Some("root")),
        ("CORP\\zoe", "", Some("zoe")),
        ("corp\\zoe", "corp\\zoe", Some("zoe")),
        ("CORP\\zoe", "zoe", Some("zoe")),
        ("CORP\\zoe", "alice", None),
        ("CORP\\zoe", "guest", Some("guest")),
        ("CORP\\root", "", None),
        ("CORP\\root", "root", None),
        ("OTHER\\zoe", "zoe", None),
        // A line of one's own goes before that of the domain.
        ("CORP\\eve", "", Some("evelyn")),
        ("CORP\\eve", "eve2", Some("eve2")),
        ("CORP\\eve", "eve", Some("eve")),
        ("zoe@EXAMPLE.org", "", Some("zoe")),
        ("zoe@example.org", "shared", Some("shared")),
        ("zoe@example.org", "root", None),
        ("zoe@other.org", "", Some("zoe@other.org")),
        // The one form of a domain is not the other.
        ("example.org\\zoe", "zoe", None),
        ("zoe@CORP", "zoe", None),
    ] {
        let account = account(&rules, name, login);
        assert_eq!(account.as_deref(), expected, "{name} as {login:?}");
    }
}

#[test]
fn rules_that_are_wrong_or_too_wide_are_no_rules() {
    use LoginRuleError::{
        Account, EverybodyAsAnybody, NoAccounts, NoDomain, TooManyAsAnybody, Users,
    };
    let users = |text: &str| Users(text.to_owned());
    let no_account = |text: &str| Account(text.to_owned());
    for (name, accounts, expected) in [
        ("", "bob", users("")),
        ("a b", "bob", users("a b")),
        ("a*", "bob", users("a*")),
        ("\\*", "bob", users("\\*")),
        ("*@", "bob", users("*@")),
        ("*@a/b", "bob", users("*@a/b")),
        ("alice", "", NoAccounts),
        ("alice", " , ", NoAccounts),
        ("alice", "bob, ../x", no_account("../x")),
        ("alice", "CORP\\bob", no_account("CORP\\bob")),
        ("alice", "b*", no_account("b*")),
        ("alice", "%h", no_account("%h")),
        ("alice", "%u", NoDomain),
        ("*", "%u", NoDomain),
        ("*", "*", EverybodyAsAnybody),
        ("*", "guest, *", EverybodyAsAnybody),
        ("CORP\\*", "*", TooManyAsAnybody),
        ("*@example.org", "*", TooManyAsAnybody),
    ] {
        let error = LoginRule::parse(name, accounts).unwrap_err();
        assert_eq!(error, expected, "{name} = {accounts}");
    }
}

proptest! {
    #[test]
    fn a_user_without_a_line_never_gets_another_account(
        others in proptest::collection::vec(("[a-c]", "[a-e]|\\*"), 0..4),
        name in "[d-e]",
        login in "[a-e]?",
    ) {
        let mut rules = LoginRules::default();
        for (user, accounts) in &others {
            rules.add(LoginRule::parse(user, accounts).unwrap());
        }
        let account = account(&rules, &name, &login);
        prop_assert!(account.is_none_or(|account| account == name));
    }

    #[test]
    fn no_text_panics_and_no_account_has_an_odd_form(
        users in "\\PC{0,12}|[a-c*@\\\\%]{0,6}",
        accounts in "\\PC{0,12}|[a-c*@\\\\%,]{0,6}",
        name in "[a-c]{1,2}([@\\\\][a-c]{1,2})?",
        login in "\\PC{0,6}|[a-c]{0,2}",
    ) {
        let mut rules = LoginRules::default();
        if let Ok(rule) = LoginRule::parse(&users, &accounts) {
            rules.add(rule);
        }
        if let Ok(user) = BrokerUser::parse(&name)
            && let Ok(login) = rules.login(&user, &login)
        {
            prop_assert!(!login.account.as_str().contains(['\\', '/', '*', '%', ' ']));
        }
    }
}
