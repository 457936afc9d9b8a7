//! Which addresses do the entries of client lists match?

use super::client;
use crate::acl::{
    Acl, Asker, ClientName, ClientNames, ClientPattern, ClientPatternError, Groups, Match, Order,
    Rules,
};

fn pattern(text: &str) -> ClientPattern {
    ClientPattern::parse(text).expect(text)
}

/// What is known of the clients' names.
fn desks() -> ClientNames {
    let known = [
        ("desk1.lab.test", &["10.77.0.20", "fd77::20"][..]),
        ("desk2", &["::ffff:10.77.0.21"]),
        ("nowhere", &[]),
    ];
    let known = known.iter().map(|(name, addresses)| {
        let addresses = addresses.iter().map(|text| client(text)).collect();
        (ClientName::parse(name).unwrap(), addresses)
    });
    known.collect()
}

#[test]
fn addresses_networks_ranges_and_names_are_matched() {
    use Match::{No, Unknown, Yes};
    let cases = [
        ("ALL", "10.0.0.1", Yes),
        ("10.77.0.20", "10.77.0.20", Yes),
        ("10.77.0.20", "10.77.0.21", No),
        ("10.77.0.20", "::ffff:10.77.0.20", Yes),
        ("::ffff:10.77.0.20", "10.77.0.20", Yes),
        ("10.77.0.0/24", "10.77.0.255", Yes),
        ("10.77.0.0/24", "10.77.1.0", No),
        ("10.77.0.20/24", "10.77.0.1", Yes),
        ("10.77.0.0/255.255.0.0", "10.77.9.9", Yes),
        ("::ffff:10.77.0.0/112", "10.77.9.9", Yes),
        ("::ffff:10.77.0.0/112", "10.78.9.9", No),
        ("0.0.0.0/0", "192.0.2.1", Yes),
        ("0.0.0.0/0.0.0.0", "192.0.2.1", Yes),
        ("0.0.0.0/0", "fd00::1", No),
        ("10.77.0.20/32", "10.77.0.21", No),
        ("fd00::/8", "fdff::1", Yes),
        ("fd00::/8", "fe00::1", No),
        ("::/0", "2001:db8::1", Yes),
        ("::/0", "10.0.0.1", No),
        ("::1", "::1", Yes),
        ("10.77.0.1-10.77.0.30", "10.77.0.1", Yes),
        ("10.77.0.1-10.77.0.30", "::ffff:10.77.0.30", Yes),
        ("10.77.0.1-10.77.0.30", "10.77.0.31", No),
        ("10.77.0.1 - 10.77.0.30", "10.77.0.20", Yes),
        ("10.77.0.9-10.77.0.9", "10.77.0.9", Yes),
        ("10.77.0.1-10.77.0.30", "fd77::20", No),
        ("fd77::1-fd77::ff", "fd77::20", Yes),
        ("fd77::1-fd77::ff", "fd77::100", No),
        ("desk1.lab.test", "10.77.0.20", Yes),
        ("Desk1.Lab.Test.", "fd77::20", Yes),
        ("desk1.lab.test", "10.77.0.21", No),
        ("desk2", "10.77.0.21", Yes),
        ("nowhere", "10.77.0.20", No),
        ("desk1", "10.77.0.20", Unknown),
        ("never-heard-of", "10.77.0.20", Unknown),
    ];
    for (text, address, expected) in cases {
        let matches = pattern(text).matches(client(address), &desks());
        assert_eq!(matches, expected, "{text} {address}");
    }
}

#[test]
fn what_is_neither_address_nor_name_is_no_client_pattern() {
    use ClientPatternError::{AllInSmallLetters, Prefix, Range, Unknown};
    let long = format!("{}.test", "x".repeat(64));
    for (text, expected) in [
        ("", Unknown),
        ("all", AllInSmallLetters),
        ("All", AllInSmallLetters),
        ("10.77", Unknown),
        ("10.77.0", Unknown),
        ("10.77.0.256", Unknown),
        ("10.77.0.*", Unknown),
        ("10.77.0.1-30", Unknown),
        ("10.77.0.0/33", Prefix),
        ("fd00::/129", Prefix),
        ("fd00::/255.0.0.0", Prefix),
        ("::ffff:10.0.0.0/8", Prefix),
        ("10.77.0.0/255.0.255.0", Prefix),
        ("10.77.0.0/", Prefix),
        ("10.77.0.0/+8", Prefix),
        ("/24", Unknown),
        ("desk/24", Unknown),
        ("10.77.0.30-10.77.0.1", Range),
        ("10.77.0.1-fd77::1", Range),
        ("-desk", Unknown),
        ("desk-", Unknown),
        ("desk..test", Unknown),
        (".", Unknown),
        ("desk one", Unknown),
        ("desk\n", Unknown),
        ("*.lab.test", Unknown),
        ("bücher", Unknown),
        (&long, Unknown),
    ] {
        assert_eq!(ClientPattern::parse(text), Err(expected), "{text:?}");
    }
}

#[test]
fn a_client_that_is_not_let_in_sees_nothing_whoever_uses_it() {
    let (inside, outside) = ("10.77.0.20", "10.78.0.20");
    use Order::{AllowDeny, DenyAllow};
    type Case<'a> = (&'a [&'a str], &'a [&'a str], Order, [bool; 2]);
    let cases: &[Case<'_>] = &[
        (&["10.77.0.0/24"], &[], DenyAllow, [true, false]),
        (&["10.77.0.0/24"], &["ALL"], DenyAllow, [false, false]),
        (&["10.77.0.0/24"], &["ALL"], AllowDeny, [true, false]),
        (&[], &["10.77.0.0/24"], DenyAllow, [false, false]),
        (&["ALL"], &["10.77.0.20"], DenyAllow, [false, true]),
        // A name whose address is not known lets nobody in, and keeps everybody out.
        (&["desk1.lab.test"], &[], DenyAllow, [true, false]),
        (&["unheard"], &[], DenyAllow, [false, false]),
        (&["ALL"], &["desk1.lab.test"], DenyAllow, [false, true]),
        (&["ALL"], &["unheard"], DenyAllow, [false, false]),
        (&["ALL"], &["unheard"], AllowDeny, [true, true]),
    ];
    for (allow, deny, order, expected) in cases {
        let patterns = |list: &[&str]| list.iter().map(|text| pattern(text)).collect();
        let acl = Acl {
            clients: Some(Rules {
                allow: patterns(allow),
                deny: patterns(deny),
                order: *order,
            }),
            users: super::rules(&["alice"], &[], DenyAllow),
            groups: None,
        };
        let sees = |address: &str| {
            acl.allows(&Asker {
                user: Some("alice"),
                groups: Groups::Unknown,
                client: client(address),
                client_names: &desks(),
            })
        };
        assert_eq!(
            [sees(inside), sees(outside)],
            *expected,
            "{allow:?} {deny:?}"
        );
    }
}
