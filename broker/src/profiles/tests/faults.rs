//! Faults of x2gobroker 0.0.4.3 that must not come back: one test for each, by its name.

use super::{CLIENT, ids, line, lines, parse};
use crate::acl::{Acl, Asker, ClientName, ClientNames, Groups};
use crate::frontend::golden;
use crate::profiles::{SessionProfile, SessionProfiles};

fn sees(acl: &Acl, user: &str, client_names: &ClientNames) -> bool {
    acl.allows(&Asker {
        user: Some(user),
        groups: Groups::Known(&[]),
        client: CLIENT,
        client_names,
    })
}

fn profile<'a>(profiles: &'a SessionProfiles, id: &str) -> &'a SessionProfile {
    profiles.get(id).expect(id)
}

#[test]
fn one_wrong_number_empties_nobodys_list() {
    // With either file the original answers listsessions with 500, whoever asks.
    let [mut wrong, empty] = ["profiles-bad-number", "profiles-empty-number-select"]
        .map(|case| golden::config(case, "sessionprofiles.conf"));
    wrong.push_str("\n[good]\nname=Good\n");
    for text in [wrong, empty] {
        let (profiles, problems) = parse(&text);
        assert_eq!(ids(&profiles), ["good"], "{text}");
        let good = lines(profile(&profiles, "good"));
        assert!(good.contains(&"name=Good".to_owned()), "{text}");
        let told = "[p] width: this is not a number; write one, or not-set";
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].ends_with(told), "{problems:?}");
    }
}

#[test]
fn profiles_break_no_others_whichever_key_is_wrong() {
    let good = "[a]\nname=A\nacl-users-allow=alice\n[z]\nname=Z\n";
    let (alone, _) = parse(good);
    for broken in [
        "width=",
        "sshport=70000",
        "fullscreen=maybe",
        "no separator",
        "name=1\nname=2",
        "acl-user-deny=alice",
        "acl-clients-order=sometimes",
        "acl-clients-deny=10.0.0.0/33",
        "acl-clients-allow=[",
        "host=",
        "host=[[[",
        "broker-no-such-key=1",
        "[]",
    ] {
        let (with, problems) = parse(&format!("{good}[m]\n{broken}\n"));
        assert!(!problems.is_empty(), "{broken}");
        for id in ["a", "z"] {
            let (with, alone) = (profile(&with, id), profile(&alone, id));
            assert_eq!(lines(with), lines(alone), "{broken}");
            assert_eq!(with.acl, alone.acl, "{broken}");
        }
    }
}

#[test]
fn config_lists_are_never_evaluated_as_code() {
    for (value, expected) in [
        ("['A','B']", "A,B"),
        ("[1+1]", "1+1"),
        ("['a'*3]", "a,*3"),
        ("[x for x in 'ab']", "x for x in 'ab'"),
        ("[len('abc')]", "len('abc')"),
        ("[{'a': 1}]", "{'a': 1}"),
        ("[['a']]", "['a']"),
        ("[f'{1}']", "f'{1}'"),
    ] {
        let shown = line(&format!("applications={value}"), "applications");
        assert_eq!(shown, Some(format!("applications={expected}")), "{value}");
    }
    // A rule that is more than a list leaves its profile out, so that no deny is missed.
    for list in [
        "['AL'+'L']",
        "['bo' 'b']",
        "['CORP\\\\bob']",
        "[u'bob']",
        "['bob'",
        "['bob]",
        "['alice', 'bob]",
        "[['bob']]",
        "list('bob')]",
    ] {
        let rule = format!("[p]\nacl-users-allow=ALL\nacl-users-deny={list}\n");
        let (profiles, problems) = parse(&rule);
        assert!(profiles.is_empty(), "{list}");
        assert!(
            problems[0].contains("acl-users-deny: this is no list"),
            "{problems:?}"
        );
    }
    for list in [
        "['bob']",
        "[\"bob\",]",
        "[bob, 'carol']",
        "bob",
        "['o\"bob', 'bob' , ]",
    ] {
        let rule = format!("[p]\nacl-users-allow=ALL\nacl-users-deny={list}\n");
        let (profiles, _) = parse(&rule);
        let acl = &profile(&profiles, "p").acl;
        assert!(!sees(acl, "bob", &ClientNames::default()), "{list}");
        assert!(sees(acl, "alice", &ClientNames::default()), "{list}");
    }
}

#[test]
fn host_names_in_client_lists_do_not_hide_the_profile() {
    let text = "[p]\nacl-clients-allow=desk1.lab.test, desk2\n";
    let (profiles, problems) = parse(text);
    assert_eq!(problems, Vec::<String>::new());
    let acl = &profile(&profiles, "p").acl;
    let known = |address: &str| {
        let name = ClientName::parse("desk1.lab.test").unwrap();
        ClientNames::from_iter([(name, vec![address.parse().unwrap()])])
    };
    assert!(sees(acl, "alice", &known("10.77.0.20")));
    assert!(!sees(acl, "alice", &known("10.77.0.21")));
    assert!(!sees(acl, "alice", &ClientNames::default()));
}

#[test]
fn broken_client_entries_are_told_and_never_let_more_in() {
    let counts = "it counts as ALL, so that it lets nobody in who should stay out";
    for (rules, visible, told) in [
        (
            "acl-clients-allow=10.77.0.0/33, 10.77.0.20",
            true,
            "acl-clients-allow: \"10.77.0.0/33\": this network has no such prefix or mask; it matches nobody".to_owned(),
        ),
        (
            "acl-clients-allow=all",
            false,
            "acl-clients-allow: \"all\": write ALL in capitals to mean every client; it matches nobody".to_owned(),
        ),
        (
            "acl-clients-allow=ALL\nacl-clients-deny=10.9.0.9-10.9.0.1",
            false,
            format!("acl-clients-deny: \"10.9.0.9-10.9.0.1\": a range goes from its lowest to its highest address, both of one family; {counts}"),
        ),
        (
            "acl-clients-allow=10.77.0.20\nacl-clients-deny=10.9.*\nacl-any-order=allow-deny",
            true,
            format!("acl-clients-deny: \"10.9.*\": this is neither ALL, an address, a network, a range nor a host name; {counts}"),
        ),
    ] {
        let (profiles, problems) = parse(&format!("[p]\n{rules}\n"));
        let acl = &profile(&profiles, "p").acl;
        assert_eq!(sees(acl, "alice", &ClientNames::default()), visible, "{rules}");
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].ends_with(&told), "{problems:?}");
    }
}

#[test]
fn acl_any_order_is_the_order_of_all_three_kinds() {
    for kind in ["users", "groups", "clients"] {
        let (me, other) = match kind {
            "users" => ("alice", "deny-allow"),
            "clients" => ("10.77.0.20", "deny-allow"),
            _ => ("ALL", "deny-allow"),
        };
        let rules = format!("[p]\nacl-{kind}-allow={me}\nacl-{kind}-deny=ALL\n");
        for (orders, visible) in [
            (String::new(), false),
            ("acl-any-order=allow-deny".to_owned(), true),
            (
                format!("acl-any-order=allow-deny\nacl-{kind}-order={other}"),
                false,
            ),
            (
                format!("acl-any-order={other}\nacl-{kind}-order=allow-deny"),
                true,
            ),
        ] {
            let (profiles, _) = parse(&format!("{rules}{orders}\n"));
            let acl = &profile(&profiles, "p").acl;
            let seen = sees(acl, "alice", &ClientNames::default());
            assert_eq!(seen, visible, "{kind}: {orders}");
        }
    }
}
