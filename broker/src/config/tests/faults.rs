//! Mistakes of the original in reading its files, none of which is made here.

use super::parse;
use crate::profiles::SessionProfiles;

fn names(text: &str) -> Vec<String> {
    let (profiles, _) = SessionProfiles::parse("profiles", text).unwrap();
    profiles
        .iter()
        .map(|profile| profile.id.to_string())
        .collect()
}

// {profiles-bad-number}, {profiles-empty-number}: 500 for every user
#[test]
fn one_wrong_number_or_flag_never_empties_everybodys_list() {
    let good = "[a]\nname=A\nhost=s1\n[c]\nname=C\nhost=s2\n";
    for wrong in [
        "width=wide",
        "width=",
        "height=600.5",
        "sshport=ssh",
        "fullscreen=perhaps",
        "fullscreen=",
        "dpi=99999999999999999999",
        "what is this",
        "name=one\nname=two",
    ] {
        let ids = names(&format!("{good}[b]\nhost=s3\n{wrong}\n"));
        assert!(!ids.is_empty(), "{wrong}");
        assert!(
            ["a", "c"].iter().all(|id| ids.iter().any(|own| own == id)),
            "{wrong}: {ids:?}"
        );
    }
}

#[test]
fn lists_of_the_configuration_are_never_evaluated_as_code() {
    // A list in brackets is taken apart; what would be a sum stays the text of a sum.
    let (profiles, problems) =
        SessionProfiles::parse("profiles", "[a]\nhost=['s1', 's' + '2']\nname=[1+1]\n").unwrap();
    let profile = profiles.get("a").unwrap();
    assert_eq!(profile.name, "[1+1]");
    let hosts: Vec<&str> = profile
        .hosts
        .iter()
        .map(|host| host.name.as_str())
        .collect();
    assert_eq!(
        hosts,
        ["s1", "s"],
        "what is no host is left out: {problems:?}"
    );
    assert_eq!(problems.len(), 1);
    let (config, _) = parse("[global]\npre_auth_scripts=a,b\n");
    let scripts = config.scripts.of(crate::scripts::Stage::PreAuth);
    assert_eq!(scripts, ["a", "b"]);
    let refused = super::refused("[global]\npre_auth_scripts=['a', 'b']\n");
    assert!(refused[0].contains("is no file name"), "{refused:?}");
}

#[test]
fn one_wrong_value_of_the_configuration_names_its_line_and_all_others() {
    let problems = super::refused("[global]\nauth-timeout=\nverify-ip=\nrequire-password=2\n");
    let lines: Vec<&str> = problems
        .iter()
        .filter_map(|p| p.split(':').nth(1))
        .collect();
    assert_eq!(lines, ["2", "3", "4"], "{problems:?}");
}

#[test]
fn the_load_checker_is_never_silently_off() {
    for text in [
        "[global]\ndefault-auth-mech=none\ndefault-use-load-checker=true\n",
        "[global]\ndefault-auth-mech=none\n[broker_inifile]\nuse-load-checker=true\n",
        "[global]\ndefault-auth-mech=none\nload-checker-intervals=10\n",
    ] {
        let (_, problems) = parse(text);
        let told = |p: &&String| p.contains("load-checker") && p.contains("mesh");
        assert_eq!(
            problems.iter().filter(told).count(),
            1,
            "{text}: {problems:?}"
        );
    }
}
