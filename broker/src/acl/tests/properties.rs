//! What holds for every ACL, whoever asks?

use proptest::prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::{client, group_names};
use crate::acl::{
    Acl, Asker, ClientName, ClientNames, ClientPattern, GroupName, Groups, NamePattern, Order,
    Rules,
};

const CLIENTS: [&str; 7] = [
    "ALL",
    "10.0.0.1",
    "10.0.0.0/30",
    "10.0.0.2-10.9.0.1",
    "fd00::/8",
    "desk",
    "unheard",
];

fn any_rules<P: Clone + std::fmt::Debug + 'static>(
    entry: impl Strategy<Value = P> + Clone + 'static,
) -> impl Strategy<Value = Option<Rules<P>>> {
    let list = proptest::collection::vec(entry, 0..4);
    let order = prop_oneof![Just(Order::DenyAllow), Just(Order::AllowDeny)];
    let rules = (list.clone(), list, order);
    let rules = rules.prop_map(|(allow, deny, order)| Rules { allow, deny, order });
    proptest::option::of(rules)
}

fn any_name() -> impl Strategy<Value = NamePattern> + Clone {
    let names = proptest::sample::select(vec!["a", "b", "c", "ALL"]);
    names.prop_map(NamePattern::parse)
}

fn any_client() -> impl Strategy<Value = ClientPattern> + Clone {
    let clients = proptest::sample::select(CLIENTS.to_vec());
    clients.prop_map(|text| ClientPattern::parse(text).unwrap())
}

fn any_acl() -> impl Strategy<Value = Acl> {
    let parts = (
        any_rules(any_client()),
        any_rules(any_name()),
        any_rules(any_name()),
    );
    parts.prop_map(|(clients, users, groups)| Acl {
        clients,
        users,
        groups,
    })
}

/// Somebody who asks, as a value of its own.
#[derive(Clone, Debug)]
struct Somebody {
    user: Option<&'static str>,
    groups: Option<Vec<GroupName>>,
    at: &'static str,
}

fn anybody() -> impl Strategy<Value = Somebody> {
    let user = proptest::sample::select(vec![Some("a"), Some("b"), Some("d"), None]);
    let groups = proptest::collection::vec(proptest::sample::select(vec!["a", "b", "d"]), 0..3);
    let groups = proptest::option::of(groups.prop_map(|list| group_names(&list)));
    let at = proptest::sample::select(vec!["10.0.0.1", "10.0.0.2", "10.9.0.1", "fd00::1"]);
    (user, groups, at).prop_map(|(user, groups, at)| Somebody { user, groups, at })
}

impl Somebody {
    fn ask<R>(&self, look: impl FnOnce(&Asker<'_>) -> R) -> R {
        let desk = ClientName::parse("desk").unwrap();
        let client_names = ClientNames::from_iter([(desk, vec![client("10.0.0.2")])]);
        look(&Asker {
            user: self.user,
            groups: self
                .groups
                .as_deref()
                .map_or(Groups::Unknown, Groups::Known),
            client: client(self.at),
            client_names: &client_names,
        })
    }

    fn sees(&self, acl: &Acl) -> bool {
        self.ask(|asker| acl.allows(asker))
    }
}

/// Adds an entry to a deny list, which may be the first entry of all.
fn with_deny<P: Clone>(rules: &Option<Rules<P>>, pattern: P) -> Option<Rules<P>> {
    let mut rules = rules.clone().unwrap_or_default();
    rules.deny.push(pattern);
    Some(rules)
}

fn reversed<P: Clone>(rules: &Option<Rules<P>>) -> Option<Rules<P>> {
    let mut rules = rules.clone()?;
    rules.allow.reverse();
    rules.deny.reverse();
    // An entry that stands there twice counts once.
    rules.allow.extend(rules.allow.first().cloned());
    Some(rules)
}

proptest! {
    #[test]
    fn adding_a_deny_never_lets_more_in(
        acl in any_acl(),
        name in any_name(),
        pattern in any_client(),
        somebody in anybody(),
    ) {
        let before = somebody.sees(&acl);
        let stricter = [
            Acl { users: with_deny(&acl.users, name.clone()), ..acl.clone() },
            Acl { groups: with_deny(&acl.groups, name), ..acl.clone() },
            Acl { clients: with_deny(&acl.clients, pattern), ..acl.clone() },
        ];
        for stricter in &stricter {
            prop_assert!(before || !somebody.sees(stricter), "{acl:?} became {stricter:?}");
        }
    }

    #[test]
    fn the_order_of_entries_changes_nothing(acl in any_acl(), somebody in anybody()) {
        let turned = Acl {
            clients: reversed(&acl.clients),
            users: reversed(&acl.users),
            groups: reversed(&acl.groups),
        };
        prop_assert_eq!(somebody.sees(&acl), somebody.sees(&turned));
    }

    #[test]
    fn allowing_all_users_lets_everybody_in_whom_nothing_denies(
        acl in any_acl(),
        somebody in anybody(),
    ) {
        let users = Rules { allow: vec![NamePattern::Any], ..Rules::default() };
        let open = Acl { clients: None, users: Some(users), groups: acl.groups.clone() };
        prop_assert!(somebody.sees(&open));
        let users = Rules { deny: vec![NamePattern::Any], ..Rules::default() };
        let closed = Acl { users: Some(users), ..acl };
        prop_assert!(!somebody.sees(&closed));
    }

    #[test]
    fn groups_that_need_not_be_known_change_nothing(
        acl in any_acl(),
        somebody in anybody(),
        known in any::<bool>(),
    ) {
        let unknown = Somebody { groups: None, ..somebody };
        let needed = unknown.ask(|asker| acl.needs_groups(asker));
        let groups = somebody.groups.clone().unwrap_or_default();
        let told = Somebody { groups: known.then_some(groups), ..somebody };
        if needed {
            prop_assert!(!unknown.sees(&acl));
        } else {
            prop_assert_eq!(unknown.sees(&acl), told.sees(&acl));
        }
    }
}
