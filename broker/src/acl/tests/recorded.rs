//! Do the same profiles come through as the original lets through?

use super::{client, group_names};
use crate::acl::{Asker, ClientName, ClientNames, Groups};
use crate::frontend::golden;
use crate::profiles::SessionProfiles;

fn profiles(case: &str) -> SessionProfiles {
    let text = golden::config(case, "sessionprofiles.conf");
    SessionProfiles::parse("profiles", &text).unwrap().0
}

/// The IDs of the profiles in a list.
fn ids(body: &str) -> Vec<&str> {
    let lines = body.lines();
    let ids = lines.filter_map(|line| line.strip_prefix('[')?.strip_suffix(']'));
    ids.collect()
}

/// The IDs of those that whoever asks may use.
fn visible(profiles: &SessionProfiles, asker: Asker<'_>) -> Vec<String> {
    let visible = profiles.iter().filter(|p| p.acl.allows(&asker));
    visible.map(|p| p.id.to_string()).collect()
}

#[test]
fn the_same_profiles_come_through_and_those_the_original_can_not_show() {
    let groups = group_names(&["team-a"]);
    let desk = ClientName::parse("client").unwrap();
    let client_names = ClientNames::from_iter([(desk, vec![client("10.77.0.20")])]);
    // The original ignores acl-any-order and hides profiles with host names or ranges,
    // against its own documentation.
    let any_order = "09-group-allow-team-a-deny-all-AD";
    let (by_name, by_range) = ("15-client-hostname", "20-client-range-glob");
    for (case, user, address, more) in [
        (
            "acl-alice",
            "alice",
            "10.77.0.20",
            &[any_order, by_name, by_range][..],
        ),
        (
            "acl-bob",
            "bob",
            "10.77.0.20",
            &[any_order, by_name, by_range],
        ),
        (
            "acl-alice-other-ip",
            "alice",
            "10.77.0.21",
            &[any_order, by_range],
        ),
    ] {
        let profiles = profiles(case);
        let asker = Asker {
            user: Some(user),
            groups: Groups::Known(&groups),
            client: client(address),
            client_names: &client_names,
        };
        let recorded = golden::body(case, "response.http");
        let mut expected = ids(&recorded);
        expected.extend(more);
        expected.sort_unstable();
        assert_eq!(visible(&profiles, asker), expected, "{case}");
    }
}

#[test]
fn profiles_that_groups_decide_are_hidden_while_groups_are_unknown() {
    let profiles = profiles("acl-alice");
    let visible = |user| {
        let asker = Asker {
            user: Some(user),
            groups: Groups::Unknown,
            client: client("10.77.0.20"),
            client_names: &ClientNames::default(),
        };
        visible(&profiles, asker)
    };
    let for_everybody = [
        "01-none",
        "12-client-allow-net",
        "14-client-deny-all-allow-net-AD",
        "20-client-range-glob",
    ];
    let with = |more: &[&'static str]| {
        let mut ids = [&for_everybody, more].concat();
        ids.sort_unstable();
        ids
    };
    let bob = with(&[
        "06-user-allow-all-deny-alice",
        "17-user-allow-bob-group-allow-team-a",
    ]);
    assert_eq!(visible("bob"), bob);
    let alice = with(&["02-user-allow-alice", "04-user-allow-alice-deny-all-AD"]);
    assert_eq!(visible("alice"), alice);
}
