use std::net::IpAddr;

use proptest::prelude::{Just, Strategy, any, prop_assert, prop_oneof, proptest};

use super::{Acl, ClientPattern, Groups, NamePattern, Order, Rules};

fn names(list: &[&str]) -> Vec<NamePattern> {
    list.iter().map(|name| NamePattern::parse(name)).collect()
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
        let allowed = acl.allows("alice", Groups::Unknown, client("10.0.0.1"));
        assert_eq!(allowed, *expected, "{allow:?} {deny:?} {order:?}");
    }
}

#[test]
fn groups_count_for_those_whom_no_user_rule_names() {
    use Order::{AllowDeny, DenyAllow};
    let staff = ["staff".to_owned(), "users".to_owned()];
    // (users allow, users deny, groups allow, groups deny, order, alice of staff is let in)
    type Case<'a> = ([&'a [&'a str]; 4], Order, bool);
    let cases: &[Case<'_>] = &[
        ([&[], &[], &["staff"], &[]], DenyAllow, true),
        ([&[], &[], &["ALL"], &[]], DenyAllow, true),
        ([&[], &[], &["guests"], &[]], DenyAllow, false),
        ([&[], &[], &["staff"], &["ALL"]], DenyAllow, false),
        ([&[], &[], &["staff"], &["ALL"]], AllowDeny, true),
        ([&[], &[], &[], &["guests"]], DenyAllow, false),
        ([&["alice"], &[], &["guests"], &[]], DenyAllow, true),
        ([&["alice"], &[], &[], &["staff"]], DenyAllow, true),
        ([&["bob"], &[], &["staff"], &[]], DenyAllow, true),
        ([&[], &["alice"], &["staff"], &[]], DenyAllow, false),
        ([&[], &["bob"], &["staff"], &[]], DenyAllow, true),
    ];
    for ([users_allow, users_deny, allow, deny], order, expected) in cases {
        let has_user_rules = !users_allow.is_empty() || !users_deny.is_empty();
        let acl = Acl {
            users: rules(users_allow, users_deny, *order).filter(|_| has_user_rules),
            groups: rules(allow, deny, *order),
            clients: None,
        };
        let allowed = acl.allows("alice", Groups::Known(&staff), client("10.0.0.1"));
        assert_eq!(allowed, *expected, "{acl:?}");
        assert!(!acl.allows("alice", Groups::Unknown, client("10.0.0.1")));
    }
}

#[test]
fn addresses_and_networks_are_matched() {
    let cases = [
        ("ALL", "10.0.0.1", true),
        ("10.77.0.20", "10.77.0.20", true),
        ("10.77.0.20", "10.77.0.21", false),
        ("10.77.0.20", "::ffff:10.77.0.20", true),
        ("10.77.0.0/24", "10.77.0.255", true),
        ("10.77.0.0/24", "10.77.1.0", false),
        ("10.77.0.20/24", "10.77.0.1", true),
        ("10.77.0.0/255.255.0.0", "10.77.9.9", true),
        ("0.0.0.0/0", "192.0.2.1", true),
        ("0.0.0.0/0", "fd00::1", false),
        ("10.77.0.20/32", "10.77.0.21", false),
        ("fd00::/8", "fdff::1", true),
        ("fd00::/8", "fe00::1", false),
        ("::/0", "2001:db8::1", true),
        ("::1", "::1", true),
    ];
    for (pattern, address, expected) in cases {
        let matches = ClientPattern::parse(pattern)
            .unwrap()
            .matches(client(address));
        assert_eq!(matches, expected, "{pattern} {address}");
    }
}

#[test]
fn what_is_no_address_is_no_client_pattern() {
    for text in [
        "",
        "client",
        "10.77.0.1-10.77.0.30",
        "10.77.0.0/33",
        "fd00::/129",
        "10.77.0.0/255.0.255.0",
        "10.77.0.0/",
        "/24",
        "all",
        "10.77",
    ] {
        assert_eq!(ClientPattern::parse(text), None, "{text:?}");
    }
}

#[test]
fn a_client_that_is_not_let_in_sees_nothing_whoever_uses_it() {
    let network = ClientPattern::parse("10.77.0.0/24").unwrap();
    let allow = |allow: &[ClientPattern], deny: &[ClientPattern], order| Acl {
        clients: Some(Rules {
            allow: allow.to_vec(),
            deny: deny.to_vec(),
            order,
        }),
        users: rules(&["alice"], &[], Order::DenyAllow),
        groups: None,
    };
    let (inside, outside) = (client("10.77.0.20"), client("10.78.0.20"));
    let sees = |acl: &Acl, client| acl.allows("alice", Groups::Unknown, client);

    let acl = allow(&[network], &[], Order::DenyAllow);
    assert!(sees(&acl, inside) && !sees(&acl, outside));
    let acl = allow(&[network], &[ClientPattern::Any], Order::DenyAllow);
    assert!(!sees(&acl, inside));
    let acl = allow(&[network], &[ClientPattern::Any], Order::AllowDeny);
    assert!(sees(&acl, inside) && !sees(&acl, outside));
    let acl = allow(&[], &[network], Order::DenyAllow);
    assert!(!sees(&acl, inside) && !sees(&acl, outside));
}

fn any_rules<P: std::fmt::Debug>(
    list: impl Strategy<Value = Vec<P>> + Clone,
) -> impl Strategy<Value = Option<Rules<P>>> {
    let order = prop_oneof![Just(Order::DenyAllow), Just(Order::AllowDeny)];
    let rules = (list.clone(), list, order);
    let rules = rules.prop_map(|(allow, deny, order)| Rules { allow, deny, order });
    proptest::option::of(rules)
}

/// Adds an entry to a deny list, which may be the first entry of all.
fn with_deny<P: Clone>(rules: &Option<Rules<P>>, pattern: P) -> Option<Rules<P>> {
    let mut rules = rules.clone().unwrap_or(Rules {
        allow: Vec::new(),
        deny: Vec::new(),
        order: Order::default(),
    });
    rules.deny.push(pattern);
    Some(rules)
}

proptest! {
    #[test]
    fn adding_a_deny_never_lets_more_in(
        users in any_rules(proptest::collection::vec("[a-c]|ALL", 0..3)),
        groups in any_rules(proptest::collection::vec("[a-c]|ALL", 0..3)),
        clients in any_rules(proptest::collection::vec(
            proptest::sample::select(vec!["ALL", "10.0.0.1", "10.0.0.0/30", "fd00::/8"]), 0..3)),
        denied in "[a-c]|ALL",
        user in "[a-d]",
        in_groups in proptest::collection::vec("[a-d]", 0..3),
        at in proptest::sample::select(vec!["10.0.0.1", "10.0.0.2", "10.9.0.1", "fd00::1"]),
        groups_are_known in any::<bool>(),
    ) {
        let named = |rules: Option<Rules<String>>| rules.map(|rules| Rules {
            allow: rules.allow.iter().map(|t| NamePattern::parse(t)).collect(),
            deny: rules.deny.iter().map(|t| NamePattern::parse(t)).collect(),
            order: rules.order,
        });
        let acl = Acl {
            users: named(users),
            groups: named(groups),
            clients: clients.map(|rules| Rules {
                allow: rules.allow.iter().filter_map(|t| ClientPattern::parse(t)).collect(),
                deny: rules.deny.iter().filter_map(|t| ClientPattern::parse(t)).collect(),
                order: rules.order,
            }),
        };
        let known = if groups_are_known { Groups::Known(&in_groups) } else { Groups::Unknown };
        let sees = |acl: &Acl| acl.allows(&user, known, client(at));
        let before = sees(&acl);
        let pattern = NamePattern::parse(&denied);
        let stricter = [
            Acl { users: with_deny(&acl.users, pattern.clone()), ..acl.clone() },
            Acl { groups: with_deny(&acl.groups, pattern), ..acl.clone() },
            Acl { clients: with_deny(&acl.clients, ClientPattern::Any), ..acl.clone() },
        ];
        for stricter in &stricter {
            prop_assert!(before || !sees(stricter), "{acl:?} became {stricter:?}");
        }
    }
}
