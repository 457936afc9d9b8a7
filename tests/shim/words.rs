//! Do the setuid program and the rest of the project mean the same by a user name and by a
//! session ID? Both know the rule by themselves, since the program uses none of ours.

use shim::request::{SessionId, UserName};

/// Names made of what is just inside and just outside the rule.
fn names() -> Vec<String> {
    let pieces = [
        "",
        "a",
        "Z",
        "7",
        "_",
        ".",
        "..",
        "@",
        "+",
        "-",
        " ",
        "/",
        "|",
        "\\",
        "ü",
        "\n",
        "%",
        ":",
        "$",
        "'",
        "alice",
        "example.org",
    ];
    let mut names = [63, 64, 65].map(|length| "x".repeat(length)).to_vec();
    for a in pieces {
        for b in pieces {
            names.extend(pieces.iter().map(|c| format!("{a}{b}{c}")));
        }
    }
    names
}

#[test]
fn a_user_name_is_the_same_everywhere() {
    let mut n_good = 0;
    for name in names() {
        let here = UserName::parse(name.as_bytes()).is_ok();
        assert_eq!(here, proto::Username::parse(&name).is_ok(), "{name:?}");
        n_good += usize::from(here);
    }
    assert!(
        n_good > 100,
        "only {n_good} good names: the list is too poor"
    );
}

#[test]
fn a_session_id_of_the_setuid_program_is_one_everywhere() {
    let user = UserName::parse(b"alice").unwrap();
    let mut n_good = 0;
    for tail in names() {
        let id = format!("alice-50-1795327217_st{tail}");
        let here = SessionId::parse(&user, id.as_bytes()).is_ok();
        let there = proto::SessionId::parse(&id).is_ok();
        assert_eq!(here, there, "{id:?}");
        n_good += usize::from(here);
    }
    assert!(n_good > 100, "only {n_good} good IDs: the list is too poor");
}
