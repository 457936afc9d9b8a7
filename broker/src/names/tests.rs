use proptest::prelude::{prop_assert, prop_assert_eq, proptest};
use proto::{HostNames, NodeId};

use super::{HostIndex, Resolved, ServerAddress, address_for_client};
use crate::profiles::ProfileHost;

/// A node as it advertises itself: its ID, then names and addresses.
fn node(id: &str, names: &str) -> (NodeId, HostNames) {
    let names = HostNames::from_value(names).unwrap();
    (NodeId::parse(id).unwrap(), names)
}

fn index(nodes: &[(NodeId, HostNames)]) -> HostIndex {
    HostIndex::build(nodes.iter().map(|(id, names)| (id, names)))
}

fn host(text: &str) -> ProfileHost {
    ProfileHost::parse(text).unwrap()
}

/// Which node each text means in the farm of the recorded cases.
fn means(nodes: &[(NodeId, HostNames)], text: &str) -> Option<String> {
    let index = index(nodes);
    index.resolve(&host(text)).map(ToString::to_string)
}

#[test]
fn every_form_of_a_name_means_its_node() {
    let farm = [
        node("s1", "s1 s1.lab.test 10.77.0.101 fd77::101"),
        node("s2", "s2 10.77.0.102"),
        node("s3.lab.test", "s3.lab.test 10.77.0.103"),
    ];
    for (text, expected) in [
        ("s1", Some("s1")),
        ("S1", Some("s1")),
        ("s1.lab.test", Some("s1")),
        ("s1.lab.test.", Some("s1")),
        ("s1.other.test", None),
        ("10.77.0.101", Some("s1")),
        ("::ffff:10.77.0.101", Some("s1")),
        ("fd77::101", Some("s1")),
        ("fd77:0::0101", Some("s1")),
        ("10.77.0.109", None),
        // It knows only its short name, so that any domain may be right.
        ("s2.lab.test", Some("s2")),
        ("s3", Some("s3.lab.test")),
        ("s3.other.test", None),
        ("s3.lab", None),
        ("s4", None),
        // The name first, then what stands in brackets.
        ("s1 (10.77.0.102)", Some("s1")),
        ("pool-a (10.77.0.102:2022)", Some("s2")),
        ("pool-a (s3)", Some("s3.lab.test")),
        ("pool-a (10.9.9.9)", None),
        ("localhost", None),
    ] {
        assert_eq!(means(&farm, text).as_deref(), expected, "{text}");
    }
}

#[test]
fn what_two_nodes_claim_belongs_to_neither() {
    let farm = [
        node("s1.a.test", "s1.a.test 10.0.0.1"),
        node("s1.b.test", "s1.b.test 10.0.0.1 10.0.0.2"),
    ];
    let index = index(&farm);
    for text in ["s1", "10.0.0.1"] {
        assert_eq!(index.resolve(&host(text)), None, "{text}");
        let looked_up = index.look_up(&host(text));
        assert!(matches!(looked_up, Resolved::Ambiguous(_)), "{text}");
    }
    assert_eq!(index.look_up(&host("s2")), Resolved::Unknown);
    // What stands in brackets can settle it.
    let settled = index.resolve(&host("s1 (10.0.0.2)"));
    assert_eq!(settled, Some(&farm[1].0));
}

#[test]
fn a_node_can_not_take_the_name_of_another() {
    let farm = [
        node("evil", "evil s1 s2.lab.test 10.0.0.9"),
        node("s1", "s1 10.0.0.1"),
        node("s2", "s2 s2.lab.test 10.0.0.2"),
    ];
    assert_eq!(means(&farm, "s1").as_deref(), Some("s1"));
    assert_eq!(means(&farm, "s2").as_deref(), Some("s2"));
    // A name that is in no certificate and claimed twice is nobody's.
    assert_eq!(means(&farm, "s2.lab.test"), None);
}

#[test]
fn clients_are_given_what_the_profile_says() {
    for (text, sshport, expected) in [
        ("s1", 22, "s1:22"),
        ("S1.Lab.test", 2222, "S1.Lab.test:2222"),
        ("s1 (10.77.0.101)", 2222, "10.77.0.101:2222"),
        ("s2 (10.77.0.102:2022)", 22, "10.77.0.102:2022"),
        ("s3 (s3.lab.test:3022)", 22, "s3.lab.test:3022"),
        ("s1", 0, "s1:22"),
    ] {
        let server = address_for_client(&host(text), sshport);
        assert_eq!(server.to_string(), expected, "{text}");
    }
    let six = address_for_client(&host("s1 ([fd77::101]:2022)"), 22);
    let expected = ServerAddress {
        host: "fd77::101".to_owned(),
        port: 2022,
    };
    assert_eq!(six, expected);
}

#[test]
fn hosts_have_three_forms_only() {
    for text in [
        "",
        "s1:22",
        "s1 (",
        "s1 ()",
        "s1 (10.0.0.1",
        "s1 (10.0.0.1) x",
        "s1 (10.0.0.1:0)",
        "s1 (10.0.0.1:70000)",
        "s1 (10.0.0.1:)",
        "s1 (a b)",
        "a b",
        "s1|x",
        "s1\nSERVER",
        "s1 ([fd77::1]x)",
        "(10.0.0.1)",
    ] {
        assert!(ProfileHost::parse(text).is_err(), "{text:?}");
    }
    assert_eq!(host(" s1(10.0.0.1 : 22 ) ").port, Some(22));
}

proptest! {
    #[test]
    fn no_host_panics_and_what_is_taken_fits_an_answer(text in "\\PC{0,40}", odd in "[a-z.:()\\[\\] 0-9]{0,30}") {
        for text in [&text, &odd] {
            if let Ok(host) = ProfileHost::parse(text) {
                let target = address_for_client(&host, 22).host;
                prop_assert!(!target.is_empty());
                prop_assert!(target.chars().all(|c| !c.is_whitespace() && !c.is_control() && c != '|'));
            }
        }
    }

    #[test]
    fn the_order_of_nodes_does_not_matter(
        ids in proptest::collection::btree_set("s[1-3](\\.[ab])?", 0..5),
        claims in proptest::collection::vec("s[1-3](\\.[ab])? 10\\.0\\.0\\.[1-3]", 5),
        asked in "s[1-3](\\.[ab])?|10\\.0\\.0\\.[1-3]",
    ) {
        let farm: Vec<_> = ids.iter().zip(&claims).map(|(id, names)| node(id, names)).collect();
        let reversed: Vec<_> = farm.iter().rev().cloned().collect();
        prop_assert_eq!(means(&farm, &asked), means(&reversed, &asked));
        if let Some(exact) = ids.get(&asked) {
            prop_assert_eq!(means(&farm, &asked), Some(exact.clone()));
        }
    }
}

#[test]
fn a_server_that_takes_anothers_full_name_does_not_get_its_users() {
    let farm = [node("s1", "s1"), node("s3", "s3 s1.example.org")];
    let index = index(&farm);
    let found = index.look_up(&host("s1.example.org"));
    assert!(matches!(found, Resolved::Ambiguous(_)), "{found:?}");
}
