mod faults;

use std::net::{IpAddr, Ipv4Addr};

use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

use super::{Gap, SessionProfile, SessionProfiles};
use crate::acl::{Acl, Asker, ClientNames, Groups};
use crate::ini::Problem;

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 20));

/// Whether alice may use it, of whose groups nothing is known.
fn lets_alice_in(acl: &Acl) -> bool {
    acl.allows(&Asker {
        user: Some("alice"),
        groups: Groups::Unknown,
        client: CLIENT,
        client_names: &ClientNames::default(),
    })
}

fn parse(text: &str) -> (SessionProfiles, Vec<String>) {
    let (profiles, problems) = SessionProfiles::parse("profiles", text).expect(text);
    (profiles, texts(&problems))
}

fn texts(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

fn ids(profiles: &SessionProfiles) -> Vec<&str> {
    profiles.iter().map(|p| p.id.as_str()).collect()
}

/// The lines of a profile as alice gets them, with all hosts.
fn lines(profile: &SessionProfile) -> Vec<String> {
    let mut text = String::new();
    profile.rendered.write(&mut text, |gap, text| {
        text.push_str(match gap {
            Gap::User => "alice",
            Gap::Host => &profile.host_names,
        });
    });
    text.lines().map(str::to_owned).collect()
}

/// The line of one key in a file of one profile; none if the key is left out.
fn line(keys: &str, key: &str) -> Option<String> {
    let (profiles, _) = parse(&format!("[p]\n{keys}\n"));
    let profile = profiles.get("p").expect(keys);
    let start = format!("{key}=");
    lines(profile).into_iter().find(|l| l.starts_with(&start))
}

#[test]
fn values_are_shown_by_the_type_of_their_key() {
    for (keys, key, expected) in [
        ("fullscreen=yes", "fullscreen", Some("fullscreen=1")),
        ("print=off", "print", Some("print=0")),
        ("kdrive=TRUE", "kdrive", Some("kdrive=1")),
        ("width=010", "width", Some("width=10")),
        ("width=+1_000", "width", Some("width=1000")),
        ("width=-1", "width", Some("width=-1")),
        ("width=not-set", "width", None),
        ("sound=not-set", "sound", None),
        ("sshport=not-set", "sshport", None),
        ("name=not-set", "name", None),
        (
            "applications=A , B",
            "applications",
            Some("applications=A,B"),
        ),
        (
            "applications=['A','B']",
            "applications",
            Some("applications=A,B"),
        ),
        ("applications=", "applications", Some("applications=")),
        (
            "usebrokerpass=true",
            "usebrokerpass",
            Some("usebrokerpass=true"),
        ),
        ("odd=[1, 2]", "odd", Some("odd=\"[1, 2]\"")),
        ("Width=x", "Width", Some("Width=x")),
        ("user=", "user", Some("user=")),
        ("user=BROKER_USER", "user", Some("user=alice")),
        ("user=xBROKER_USER", "user", Some("user=xBROKER_USER")),
        ("", "user", Some("user=alice")),
        ("default=x", "default", None),
        ("acl-users-allow=x", "acl-users-allow", None),
        ("broker-x=y", "broker-x", None),
        ("host=s1 (10.0.0.1:22), s2", "host", Some("host=s1,s2")),
        ("", "host", Some("host=localhost")),
        ("command=mate", "command", Some("command=MATE")),
        ("command=mate\nrootless=1", "rootless", Some("rootless=0")),
        ("command=mate", "rootless", Some("rootless=0")),
        ("command=xterm", "command", Some("command=xterm")),
        ("command=xterm", "rootless", Some("rootless=1")),
        ("command=MATE x", "command", Some("command=MATE x")),
    ] {
        assert_eq!(line(keys, key).as_deref(), expected, "{keys}");
    }
}

#[test]
fn options_have_types_and_the_order_of_the_plain_answer() {
    use super::OptionValue::{Flag, Gap as Filled, List, Number, Text};
    let text = "[p]\nname=P\nrootless=yes\nhost=s1\ncommand=kde\nwidth=010\nuser=BROKER_USER\n\
                applications=\nusebrokerpass=true\nsshproxyport=not-set\n";
    let (profiles, _) = parse(text);
    let profile = profiles.get("p").unwrap();
    let words = |text: &str| Text(text.to_owned());
    let expected = [
        ("name", words("P")),
        ("rootless", Flag(false)),
        ("host", Filled(Gap::Host)),
        ("command", words("KDE")),
        ("width", Number(10)),
        ("user", Filled(Gap::User)),
        ("applications", List(Vec::new())),
        ("usebrokerpass", words("true")),
        ("kdrive", Flag(false)),
    ];
    let options: Vec<_> = profile.options().take(expected.len()).collect();
    let expected: Vec<_> = expected.iter().map(|(key, value)| (*key, value)).collect();
    assert_eq!(options, expected);
    let keys = profile.options().map(|(key, _)| key.to_owned());
    let lines = lines(profile);
    let of_lines = lines
        .iter()
        .skip(1)
        .map(|line| line.split('=').next().unwrap().to_owned());
    assert_eq!(keys.collect::<Vec<_>>(), of_lines.collect::<Vec<_>>());
}

#[test]
fn keys_come_from_the_section_then_from_default_then_from_the_program() {
    let (profiles, _) = parse("[DEFAULT]\nb=1\nname=x\n[p]\nname=P\na=2\nwidth=5\n");
    let lines = lines(profiles.get("p").unwrap());
    let start = ["[p]", "name=P", "a=2", "width=5", "b=1", "command=TERMINAL"];
    assert_eq!(lines[..6], start);
    assert_eq!(lines.iter().filter(|l| l.starts_with("width=")).count(), 1);
    assert_eq!(lines.last().unwrap(), "directrdp=0");
}

#[test]
fn one_broken_profile_does_not_take_the_others_with_it() {
    let text = "\
[a]
name=A
[b-number]
width=wide
[c]
[d-empty]
width=
[e-flag]
sound=maybe
[f-word]
word
[g-twice]
name=1
name=2
[h]
[h]
[i-port]
sshport=70000
[j-acl]
acl-user-deny=alice
[k-client]
acl-clients-alow=desk1
[l]x]
name=bad ID
[z]
";
    let (profiles, problems) = parse(text);
    assert_eq!(ids(&profiles), ["a", "c", "z"]);
    let expected = [
        "profiles:4: [b-number] width: this is not a number; write one, or not-set",
        "profiles:7: [d-empty] width: this is not a number; write one, or not-set",
        "profiles:9: [e-flag] sound: this is neither true nor false; write true, false, or not-set",
        "profiles:11: [f-word] a key needs = or : and a value; comment the line out with # if it is no key",
        "profiles:14: [g-twice] the key name stands already in line 13; remove one of them",
        "profiles:16: [h] the section [h] stands already in line 15; rename or remove one",
        "profiles:18: [i-port] sshport: this is not a port; write one from 1 to 65535",
        "profiles:20: [j-acl] acl-user-deny: no ACL has this key; the profile is left out",
        "profiles:22: [k-client] acl-clients-alow: no ACL has this key; the profile is left out",
        "profiles:23: [l]x] a profile ID must be 1 to 256 printable characters without [ and ]",
    ];
    assert_eq!(problems, expected);
}

#[test]
fn what_is_wrong_for_every_profile_makes_the_file_unusable() {
    for (text, problem) in [
        ("name=x\n[a]\n", "profiles:1: this stands before"),
        (
            "[a]\n[DEFAULT]\nword\n",
            "profiles:3: [DEFAULT] a key needs",
        ),
    ] {
        let problems = SessionProfiles::parse("profiles", text).unwrap_err();
        assert!(problems[0].to_string().starts_with(problem), "{problems:?}");
    }
}

#[test]
fn a_small_file_can_not_fill_the_memory() {
    let long = "x".repeat(60_000);
    let sections: String = (0..2000).map(|n| format!("[p{n}]\n")).collect();
    let text = format!("[DEFAULT]\ncomment={long}\n{sections}");
    assert!(text.len() < 100_000);
    let problems = SessionProfiles::parse("profiles", &text).unwrap_err();
    assert!(problems[0].text.contains("exceed 64 MB"), "{problems:?}");
}

#[test]
fn what_stands_in_default_is_told_once() {
    let default = "[DEFAULT]\nbroker-session-autologin=maybe\nwidth=wide\n";
    let (profiles, problems) = parse(&format!("{default}[a]\nwidth=1\n[b]\n[c]\n"));
    assert_eq!(ids(&profiles), ["a"]);
    let expected = [
        "profiles:2: [DEFAULT] broker-session-autologin: this is neither true nor false; taken as false",
        "profiles:3: [DEFAULT] width: this is not a number; write one, or not-set",
    ];
    assert_eq!(problems, expected);
}

#[test]
fn acl_orders_are_read_and_any_order_stands_for_the_others() {
    let rules = "acl-users-allow=alice\nacl-users-deny=ALL\n";
    for (order, visible, n_problems) in [
        ("", false, 0),
        ("acl-users-order=allow-deny", true, 0),
        ("acl-any-order=allow-deny", true, 0),
        (
            "acl-any-order=allow-deny\nacl-users-order=deny-allow",
            false,
            0,
        ),
        ("acl-clients-order=allow-deny", false, 0),
        ("acl-users-order=sometimes", false, 1),
    ] {
        let (profiles, problems) = parse(&format!("[a]\n{rules}{order}\n"));
        let acl = &profiles.get("a").unwrap().acl;
        let allowed = lets_alice_in(acl);
        assert_eq!((allowed, problems.len()), (visible, n_problems), "{order}");
    }
}

#[test]
fn empty_lists_let_nobody_in_and_not_set_is_no_list() {
    for (rule, visible) in [
        ("acl-users-allow=", false),
        ("acl-users-allow=not-set", true),
        ("acl-users-allow=['alice']", true),
        ("acl-users-allow=bob,alice", true),
    ] {
        let (profiles, _) = parse(&format!("[a]\n{rule}\n"));
        let acl = &profiles.get("a").unwrap().acl;
        let allowed = lets_alice_in(acl);
        assert_eq!(allowed, visible, "{rule}");
    }
}

#[test]
fn odd_hosts_are_left_out_and_told() {
    let text = "[a]\nhost=s1, s 2, s3 (fd77::3), ,s4\n[b]\nhost=\n[c]\nhost=not-set\n";
    let (profiles, problems) = parse(text);
    assert_eq!(profiles.get("a").unwrap().host_names, "s1,s3,s4");
    for id in ["b", "c"] {
        assert!(profiles.get(id).unwrap().hosts.is_empty());
    }
    let expected = [
        "profiles:2: [a] host: \"s 2\" is neither a host name nor an IP address; this host is left out",
        "profiles:2: [a] host: X2Go Client can't connect to fd77::3; give a name or IPv4 address",
        "profiles:4: [b] host: the profile has no host, so nobody can use it",
    ];
    assert_eq!(problems, expected);
}

#[test]
fn typed_parts_are_those_of_the_file() {
    let text = "[a]\nname=Farm, one\nhost=s1,s2 (10.0.0.2:2022)\nsshport=2222\ncommand=shadow\n";
    let (profiles, _) = parse(text);
    let profile = profiles.get("a").unwrap();
    assert_eq!(
        (profile.name.as_str(), profile.sshport),
        ("Farm, one", 2222)
    );
    assert_eq!(profile.hosts.len(), 2);
    assert!(!profile.is_shadow());
    let (profiles, _) = parse("[a]\ncommand=SHADOW\n");
    assert!(profiles.get("a").unwrap().is_shadow());
    assert_eq!(profiles.get("a").unwrap().sshport, 22);
    assert!(profiles.get("b").is_none());
    assert!(profiles.get("DEFAULT").is_none());
}

/// The packaged example with all its commented lines of examples switched on.
fn example(switched_on: bool) -> String {
    let path = "/tests/data/example/x2gobroker-sessionprofiles.conf";
    let path = format!("{}{path}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.lines().map(|line| match line.strip_prefix('#') {
        Some(rest) if switched_on && (rest.starts_with('[') || rest.contains('=')) => rest,
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_packaged_example_has_no_problem() {
    let (profiles, problems) = parse(&example(false));
    let expected = ["localhost-kde", "localhost-mate", "localhost-shadow"];
    assert_eq!(ids(&profiles), expected);
    assert_eq!(problems, Vec::<String>::new());
}

#[test]
fn every_example_of_the_packaged_file_is_read() {
    let (profiles, problems) = parse(&example(true));
    let expected = [
        "localhost-kde",
        "localhost-mate",
        "localhost-shadow",
        "pool-A-server-A",
        "pool-A-server-B",
        "pool-A-server-C",
        "pool-B-server-D-LXDE",
        "pool-C-XFCE",
    ];
    assert_eq!(ids(&profiles), expected);
    let told: Vec<_> = problems.iter().filter(|p| p.contains("acl-")).collect();
    assert_eq!(told, Vec::<&String>::new());
    let pool_b = profiles.get("pool-B-server-D-LXDE").unwrap();
    let names: Vec<_> = pool_b.acl.client_names().map(|n| n.as_str()).collect();
    let expected = [1, 2, 3].map(|n| format!("admin-machine{n}.domain.local"));
    assert_eq!(names, expected);
    let pool_c = profiles.get("pool-C-XFCE").unwrap();
    assert_eq!(pool_c.host_names, "s-E1,s-E2,s-E3,s-E4,s-E5");
    assert_eq!(pool_c.hosts[1].target(), "10.0.2.12");
}

proptest! {
    #[test]
    fn no_file_panics_and_answers_keep_their_lines(
        odd in "((\\[[a-c]\\]|host=.{0,12}|width=.{0,4}|acl-users-(allow|deny)=.{0,6}|user=BROKER_USER|\\PC{0,12})\n){0,12}",
    ) {
        if let Ok((profiles, _)) = SessionProfiles::parse("profiles", &odd) {
            for profile in &profiles {
                let header = format!("[{}]", profile.id);
                let lines = lines(profile);
                prop_assert_eq!(lines.first(), Some(&header));
                prop_assert!(profile.hosts.iter().all(|h| !h.target().contains(['\n', ' ', '|'])));
            }
        }
    }

    #[test]
    fn a_broken_profile_changes_nothing_for_the_others(broken in "(\\PC{0,20}\n){0,4}") {
        let good = "[a]\nname=A\nhost=s1\n[b]\nhost=s2,s3\n";
        // A section or a continuation in the odd text would be another profile.
        let broken = broken.replace('[', "(");
        let with = format!("{good}[x]\n{broken}\nwidth=wide\n");
        let (alone, _) = parse(good);
        let (with, problems) = parse(&with);
        prop_assert!(!problems.is_empty());
        prop_assert_eq!(ids(&with), ids(&alone));
        for id in ["a", "b"] {
            prop_assert_eq!(lines(with.get(id).unwrap()), lines(alone.get(id).unwrap()));
        }
    }
}
