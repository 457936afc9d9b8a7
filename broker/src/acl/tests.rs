mod clients;
mod properties;
mod recorded;

use std::net::IpAddr;

use super::{Acl, Asker, ClientNames, GroupName, Groups, NamePattern, Order, Rules};

fn names(list: &[&str]) -> Vec<NamePattern> {
    list.iter().map(|name| NamePattern::parse(name)).collect()
}

fn group_names(list: &[&str]) -> Vec<GroupName> {
    let names = list.iter().map(|name| GroupName::parse(name).unwrap());
    names.collect()
}

fn rules(allow: &[&str], deny: &[&str], order: Order) -> Option<Rules<NamePattern>> {
    Some(Rules {
        allow: names(allow),
        deny: names(deny),
        order,
    })
}

fn client(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Asks for alice at some client; `look` gets the asker.
fn as_alice<R>(groups: Groups<'_>, look: impl Fn(&Asker<'_>) -> R) -> R {
    look(&Asker {
        user: Some("alice"),
        groups,
        client: client("10.0.0.1"),
        client_names: &ClientNames::default(),
    })
}

/// Whether this user is let in, at some client.
fn asks(user: &str, acl: &Acl) -> bool {
    acl.allows(&Asker {
        user: Some(user),
        groups: Groups::Unknown,
        client: client("10.0.0.1"),
        client_names: &ClientNames::default(),
    })
}

#[test]
fn the_domain_of_a_user_has_no_case() {
    let acl = Acl {
        users: rules(
            &["ALL"],
            &["CORP\\mallory", "mallory@Example.org"],
            Order::DenyAllow,
        ),
        ..Acl::default()
    };
    for user in [
        "CORP\\mallory",
        "corp\\mallory",
        "mallory@example.org",
        "mallory@EXAMPLE.ORG",
    ] {
        assert!(!asks(user, &acl), "{user}");
    }
    for user in [
        "mallory",
        "LAB\\mallory",
        "mallory@example.net",
        "CORP\\alice",
    ] {
        assert!(asks(user, &acl), "{user}");
    }
}

#[test]
fn a_name_in_another_case_is_kept_out_and_not_let_in() {
    let deny = Acl {
        users: rules(&["ALL"], &["mallory", "CORP\\eve"], Order::DenyAllow),
        ..Acl::default()
    };
    for user in ["mallory", "Mallory", "MALLORY", "corp\\EVE"] {
        assert!(!asks(user, &deny), "{user}");
    }
    let allow = Acl {
        users: rules(&["alice"], &[], Order::DenyAllow),
        ..Acl::default()
    };
    assert!(asks("alice", &allow));
    assert!(!asks("Alice", &allow));
}

#[test]
fn user_rules_follow_their_order() {
    use Order::{AllowDeny, DenyAllow};
    // (allow, deny, order, alice is let in)
    let cases: &[(&[&str], &[&str], Order, bool)] = &[
        (&["alice"], &[], DenyAllow, true),
        (&["bob"], &[], DenyAllow, false),
        (&["ALL"], &[], DenyAllow, true),
        (&["alice"], &["ALL"], DenyAllow, false),
        (&["alice"], &["ALL"], AllowDeny, true),
        (&["ALL"], &["alice"], DenyAllow, false),
        (&["ALL"], &["alice"], AllowDeny, true),
        (&[], &["alice"], DenyAllow, false),
        (&[], &["bob"], DenyAllow, false),
        (&[], &["bob"], AllowDeny, false),
        (&[], &[], DenyAllow, false),
        (&["Alice"], &[], DenyAllow, false),
    ];
    for (allow, deny, order, expected) in cases {
        let acl = Acl {
            users: rules(allow, deny, *order),
            ..Acl::default()
        };
        let allowed = as_alice(Groups::Unknown, |alice| acl.allows(alice));
        assert_eq!(allowed, *expected, "{allow:?} {deny:?} {order:?}");
        assert!(!as_alice(Groups::Unknown, |alice| acl.needs_groups(alice)));
    }
}

#[test]
fn groups_count_for_those_whom_no_user_rule_names() {
    use Order::{AllowDeny, DenyAllow};
    let staff = group_names(&["staff", "users"]);
    // (users allow, users deny, groups allow, groups deny, order, alice of staff is let
    // in, alice's groups need be known)
    type Case<'a> = ([&'a [&'a str]; 4], Order, bool, bool);
    let cases: &[Case<'_>] = &[
        ([&[], &[], &["staff"], &[]], DenyAllow, true, true),
        ([&[], &[], &["ALL"], &[]], DenyAllow, true, false),
        ([&[], &[], &["ALL"], &["guests"]], DenyAllow, true, true),
        ([&[], &[], &["ALL"], &["guests"]], AllowDeny, true, false),
        ([&[], &[], &["guests"], &[]], DenyAllow, false, true),
        ([&[], &[], &["staff"], &["ALL"]], DenyAllow, false, false),
        ([&[], &[], &["staff"], &["ALL"]], AllowDeny, true, true),
        ([&[], &[], &[], &["guests"]], DenyAllow, false, false),
        ([&["alice"], &[], &["guests"], &[]], DenyAllow, true, false),
        ([&["alice"], &[], &[], &["staff"]], DenyAllow, true, false),
        ([&["bob"], &[], &["staff"], &[]], DenyAllow, true, true),
        ([&[], &["alice"], &["staff"], &[]], DenyAllow, false, false),
        ([&[], &["bob"], &["staff"], &[]], DenyAllow, true, true),
    ];
    for ([users_allow, users_deny, allow, deny], order, expected, needed) in cases {
        let has_user_rules = !users_allow.is_empty() || !users_deny.is_empty();
        let acl = Acl {
            users: rules(users_allow, users_deny, *order).filter(|_| has_user_rules),
            groups: rules(allow, deny, *order),
            clients: None,
        };
        let allowed = as_alice(Groups::Known(&staff), |alice| acl.allows(alice));
        assert_eq!(allowed, *expected, "{acl:?}");
        let asked = as_alice(Groups::Unknown, |alice| acl.needs_groups(alice));
        assert_eq!(asked, *needed, "{acl:?}");
        // What is not known never lets in; what need not be known changes nothing.
        let unknown = as_alice(Groups::Unknown, |alice| acl.allows(alice));
        assert_eq!(unknown, *expected && !needed, "{acl:?}");
    }
}

#[test]
fn groups_are_not_asked_for_where_the_client_is_kept_out_or_nobody_asks() {
    let acl = Acl {
        clients: Some(Rules::default()),
        groups: rules(&["staff"], &[], Order::DenyAllow),
        users: None,
    };
    assert!(!as_alice(Groups::Unknown, |alice| acl.needs_groups(alice)));
    let acl = Acl {
        clients: None,
        ..acl
    };
    assert!(as_alice(Groups::Unknown, |alice| acl.needs_groups(alice)));
    let nobody = |alice: &Asker<'_>| {
        let nobody = Asker {
            user: None,
            ..*alice
        };
        (acl.needs_groups(&nobody), acl.allows(&nobody))
    };
    assert_eq!(as_alice(Groups::Unknown, nobody), (false, false));
}
