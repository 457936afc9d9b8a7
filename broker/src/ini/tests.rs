use proptest::prelude::{prop_assert, proptest};

use super::{Ini, IniErrorKind, MAX_LINE_BYTES, MAX_SECTIONS, Problem, flag};

/// The keys and values of one section, with what it inherits.
fn values<'a>(ini: &'a Ini, section: &str) -> Vec<(&'a str, &'a str)> {
    let section = ini.section(section).expect("the section is there");
    let entries = ini.with_defaults(section);
    entries
        .map(|e| (e.key.as_str(), e.value.as_str()))
        .collect()
}

// The expected values were made with Python 3.11's RawConfigParser (optionxform=str);
// 60,000 random files were compared with it, too.
#[test]
fn lines_are_read_as_python_reads_them() {
    type Case<'a> = (&'a str, &'a [(&'a str, &'a str)]);
    let cases: &[Case<'_>] = &[
        ("k=v", &[("k", "v")]),
        ("k = v = w", &[("k", "v = w")]),
        ("k: v", &[("k", "v")]),
        ("k:v=w", &[("k", "v=w")]),
        ("K=1\nk=2", &[("K", "1"), ("k", "2")]),
        ("k=", &[("k", "")]),
        ("k=a ; b # c", &[("k", "a ; b # c")]),
        ("# k=1\n  ; k=2\nk=3", &[("k", "3")]),
        ("k=a\n  b\n\tc", &[("k", "a\nb\nc")]),
        ("k=a\n\n  b\n\n\nl=1", &[("k", "a\n\nb"), ("l", "1")]),
        ("k=a\n# x\n  b", &[("k", "a\nb")]),
        ("  k=a\n  l=b\n   c", &[("k", "a"), ("l", "b\nc")]),
        ("k=a\n  [b]", &[("k", "a\n[b]")]),
        ("k=%(x)s $HOME", &[("k", "%(x)s $HOME")]),
        ("k=a\r\nl=b\rm=c\r\n", &[("k", "a"), ("l", "b"), ("m", "c")]),
        ("two words = v", &[("two words", "v")]),
    ];
    for (lines, expected) in cases {
        let ini = Ini::parse(&format!("[s]\n{lines}")).expect(lines);
        assert_eq!(values(&ini, "s"), *expected, "{lines:?}");
    }
}

#[test]
fn sections_inherit_from_default_wherever_it_stands() {
    let text = "[a]\nk=own\n[DEFAULT]\nk=default\nl=inherited\n[b]\n[DEFAULT]\nm=more\n";
    let ini = Ini::parse(text).unwrap();
    let own_first = [("k", "own"), ("l", "inherited"), ("m", "more")];
    assert_eq!(values(&ini, "a"), own_first);
    let inherited = [("k", "default"), ("l", "inherited"), ("m", "more")];
    assert_eq!(values(&ini, "b"), inherited);
    assert_eq!(ini.get("no such section", "k").unwrap().value, "default");
    assert!(ini.section("DEFAULT").is_none());
    let names: Vec<&str> = ini.sections().map(super::Section::name).collect();
    assert_eq!(names, ["a", "b"]);
}

#[test]
fn section_names_go_to_the_last_bracket() {
    let ini = Ini::parse("[a b]\n[x]y] ignored\n").unwrap();
    let names: Vec<&str> = ini.sections().map(super::Section::name).collect();
    assert_eq!(names, ["a b", "x]y"]);
}

#[test]
fn every_value_knows_its_line() {
    let text = "\u{feff}# head\r\n[s]\r\na=1\r\n  2\r\n\r\nb=3\r\n";
    let ini = Ini::parse(text).unwrap();
    let section = ini.section("s").unwrap();
    assert_eq!(section.line(), 2);
    let lines: Vec<u32> = section.entries().map(|entry| entry.line).collect();
    assert_eq!(lines, [3, 6]);
}

#[test]
fn what_python_refuses_is_an_error_that_says_what_to_do() {
    let duplicate_key = IniErrorKind::DuplicateKey {
        key: "k".to_owned(),
        first_line: 2,
    };
    let duplicate_section = IniErrorKind::DuplicateSection {
        name: "s".to_owned(),
        first_line: 1,
    };
    for (text, line, kind) in [
        ("k=v", 1, IniErrorKind::NoSection),
        ("[s]\nword", 2, IniErrorKind::NoSeparator),
        ("[s]\n[]\n", 2, IniErrorKind::NoSeparator),
        ("[s]\n=v", 2, IniErrorKind::NoKey),
        ("[s]\nk=1\nk=2", 3, duplicate_key.clone()),
        ("[DEFAULT]\nk=1\n[DEFAULT]\nk=2", 4, duplicate_key),
        ("[s]\n[t]\n[s]", 3, duplicate_section),
    ] {
        let error = Ini::parse(text).expect_err(text);
        assert_eq!((error.line, &error.kind), (line, &kind), "{text:?}");
    }
    let error = Ini::parse("[s]\nk=1\nword\n").unwrap_err();
    let problem = Problem::of_ini("x2gobroker.conf", &error);
    let expected = "x2gobroker.conf:3: [s] a key needs = or : and a value; \
                    comment the line out with # if it is no key";
    assert_eq!(problem.to_string(), expected);
}

#[test]
fn all_errors_are_told_and_the_rest_is_read() {
    let text = "[a]\nword\nk=1\n[b]\nk=2\nk=3\n[a]\nk=4\nl=5\nl=6\n[c]\nk=7\n";
    let (ini, errors) = Ini::parse_leniently(text);
    let places: Vec<_> = errors
        .iter()
        .map(|e| (e.line, e.section.as_deref().unwrap()))
        .collect();
    assert_eq!(places, [(2, "a"), (6, "b"), (7, "a"), (10, "a")]);
    assert_eq!(values(&ini, "a"), [("k", "1")]);
    assert_eq!(values(&ini, "b"), [("k", "2")]);
    assert_eq!(values(&ini, "c"), [("k", "7")]);
}

#[test]
fn everything_is_bounded() {
    let too_long = format!("[s]\nk={}", "x".repeat(MAX_LINE_BYTES));
    let error = Ini::parse(&too_long).unwrap_err();
    assert_eq!((error.line, error.kind), (2, IniErrorKind::LineTooLong));

    let sections: String = (0..=MAX_SECTIONS).map(|n| format!("[{n}]\n")).collect();
    let error = Ini::parse(&sections).unwrap_err();
    assert_eq!(error.kind, IniErrorKind::TooManySections);

    let comment = "#".repeat(super::MAX_FILE_BYTES + 1);
    let error = Ini::parse(&comment).unwrap_err();
    assert_eq!(error.kind, IniErrorKind::FileTooLarge);

    let (_, errors) = Ini::parse_leniently(&format!("[s]\n{}", "word\n".repeat(100_000)));
    assert_eq!(errors.len(), super::MAX_ERRORS_IN_SECTION);
    let (_, errors) = Ini::parse_leniently(&"[s]\n".repeat(100_000));
    assert_eq!(errors.len(), super::MAX_ERRORS + 1);
    assert_eq!(
        errors.last().map(|e| &e.kind),
        Some(&IniErrorKind::TooManyErrors)
    );
}

#[test]
fn yes_and_no_are_read_as_python_reads_them() {
    for text in ["1", "yes", "true", "on", "Yes", "TRUE"] {
        assert_eq!(flag(text), Some(true), "{text}");
    }
    for text in ["0", "no", "false", "off", "Off"] {
        assert_eq!(flag(text), Some(false), "{text}");
    }
    for text in ["", "2", "y", "wahr", "not-set"] {
        assert_eq!(flag(text), None, "{text}");
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,80}", odd in "([\\[\\]=:#; \t\r\nab\u{1c}\u{feff}]{0,6}\n?){0,12}") {
        for text in [&text, &odd] {
            let (ini, errors) = Ini::parse_leniently(text);
            let n_lines = text.split(['\n', '\r']).count();
            prop_assert!(errors.iter().all(|e| e.line as usize <= n_lines));
            let entries = ini.sections().flat_map(super::Section::entries);
            prop_assert!(entries.chain(ini.defaults().entries()).count() <= n_lines);
            prop_assert!(Ini::parse(text).is_err() != errors.is_empty());
        }
    }
}
