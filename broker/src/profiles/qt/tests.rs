use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::PlainValues::{Quoted, Raw};
use super::reader::{Value, read};
use crate::profiles::{Gap, PlainValues, SessionProfiles};

fn written(text: &str) -> String {
    let mut out = String::new();
    Quoted.write_text(&mut out, text);
    out
}

/// What Qt reads of one value; "lost" when it takes the lines behind it, too.
fn value_of(written: &str) -> Value {
    let settings = read(&format!("[p]\nname={written}\nlast=x\n"));
    let keys = &settings["p"];
    match keys.get("last") {
        Some(_) => keys["name"].clone(),
        None => Value::Object("lost".to_owned()),
    }
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn list(items: &[&str]) -> Value {
    Value::List(items.iter().map(|&item| item.to_owned()).collect())
}

/// Each line was given to Qt 5.15.8's QSettings, and is what it returned.
#[test]
fn the_reader_of_these_tests_reads_as_qt_does() {
    let object = |text: &str| Value::Object(text.to_owned());
    for (written, expected) in [
        ("plain", text("plain")),
        ("a, b", list(&["a", "b"])),
        ("\"a, b\"", text("a, b")),
        ("a;b", text("a")),
        ("x\"y", object("lost")),
        ("\\xdc9", text("\u{dc9}")),
        ("\"\\xdc\\x39\"", text("Ü9")),
        ("\\x20acf", text("\u{acf}")),
        ("\"\\x20ac\\x66\"", text("€f")),
        ("\"\\xd83d\\xde00\"", text("😀")),
        ("\"x\\ny\"", text("x\ny")),
        ("@foo", text("@foo")),
        ("@Foo(x)", text("@Foo(x)")),
        ("@@foo", text("@foo")),
        ("@)", text("@)")),
        ("@Invalid", text("@Invalid")),
        ("@invalid()", text("@invalid()")),
        ("@Invalid()x", text("@Invalid()x")),
        ("@Invalid()", object("@Invalid()")),
        ("@Size(1 2)", object("@Size(1 2)")),
        ("\"@@Invalid()\"", text("@Invalid()")),
        (" a ", text("a")),
        ("\"a \"\"b\"", text("a b")),
        ("\"a\" b", text("ab")),
        ("a  \"b\" c", text("a  bc")),
        ("a\tb", text("a\tb")),
        ("a\t", text("a")),
        ("Ünï", text("Ã\u{9c}nÃ¯")),
        ("\u{7f}", text("\u{7f}")),
        ("a=b:c", text("a=b:c")),
        ("a%20b", text("a%20b")),
        ("'q'", text("'q'")),
        ("#x", text("#x")),
        ("[x]", text("[x]")),
    ] {
        assert_eq!(value_of(written), expected, "{written}");
    }
}

#[test]
fn only_what_qt_would_misread_is_quoted() {
    for (text, expected) in [
        ("", ""),
        ("One host", "One host"),
        ("a=b=c", "a=b=c"),
        ("[1 2]", "[1 2]"),
        ("100% 'so' #1 <b>&", "100% 'so' #1 <b>&"),
        ("user@host", "user@host"),
        ("@home (old)", "@home (old)"),
        ("a\tb", "a\tb"),
        ("A, B", "\"A, B\""),
        ("a;b", "\"a;b\""),
        ("C:\\x", "\"C:\\\\x\""),
        ("5\" disk", "\"5\\\" disk\""),
        (" a", "\" a\""),
        ("a\t", "\"a\\x9\""),
        // lab.md, section 17: "a correct plain broker sends".
        ("gÜnicode, x", "\"g\\xdcnicode, x\""),
        ("Ünïcödé", "\"\\xdcn\\xef\\x63\\xf6\\x64\\xe9\""),
        ("€f", "\"\\x20ac\\x66\""),
        ("€g", "\"\\x20acg\""),
        ("😀1", "\"\\xd83d\\xde00\\x31\""),
        ("@@x", "\"@@@x\""),
        ("@Size(1 2)", "\"@@Size(1 2)\""),
        ("one\ntwo\n\n  three", "one two three"),
        ("one,\ntwo", "\"one, two\""),
        ("END_USER_SESSIONS", "\"END\\x5fUSER\\x5fSESSIONS\""),
        ("AUTHID:x", "\"AUTHID\\x3ax\""),
    ] {
        assert_eq!(written(text), expected, "{text}");
    }
}

#[test]
fn the_original_form_is_the_text_as_it_is() {
    for text in ["A, B", "5\" disk", "Ü;\\", "one\ntwo"] {
        let mut out = String::new();
        Raw.write_text(&mut out, text);
        assert_eq!(out, text);
    }
}

/// The plain list as a client gets it.
fn plain_list(values: PlainValues, file: &str) -> String {
    let (profiles, _) = SessionProfiles::parse_with(values, "profiles", file).unwrap();
    let mut list = String::from("\n");
    for profile in &profiles {
        profile.rendered.write(&mut list, |gap, list| {
            list.push_str(match gap {
                Gap::User => "alice",
                Gap::Host => &profile.host_names,
            });
        });
        list.push('\n');
    }
    list
}

#[test]
fn a_client_reads_each_profile_as_it_stands_in_the_file() {
    let file = "\
[a]
name=Ünïcödé, \"quotes\"; \\ and 'single'
applications=['A, B', 'C']
export=/home/x:1;/srv:0;
[b 50% Ü]
name=5\" disk
od;d key%41=x
[General]
name=General
[z]
name=ends with \\
host=s1,s2
";
    let settings = read(&plain_list(Quoted, file));
    let name = |id: &str| settings[id]["name"].clone();
    assert_eq!(name("a"), text("Ünïcödé, \"quotes\"; \\ and 'single'"));
    assert_eq!(name("b 50% Ü"), text("5\" disk"));
    assert_eq!(name("General"), text("General"));
    assert_eq!(name("z"), text("ends with \\"));
    assert_eq!(settings["a"]["applications"], list(&["A, B", "C"]));
    assert_eq!(settings["a"]["export"], text("/home/x:1;/srv:0;"));
    assert_eq!(settings["b 50% Ü"]["od;d key%41"], text("x"));
    assert_eq!(settings["z"]["host"], list(&["s1", "s2"]));
    assert_eq!(settings["z"]["command"], text("TERMINAL"));

    // What the original's form makes of them.
    let settings = read(&plain_list(Raw, file));
    assert_eq!(settings["a"]["name"], list(&["Ã\u{9c}nÃ¯cÃ¶dÃ©", "quotes"]));
    assert_eq!(settings["a"]["export"], text("/home/x:1"));
    assert!(!settings.contains_key("z"), "the open quote takes it");
}

#[test]
fn a_user_with_a_domain_is_read_as_it_is() {
    for (values, user, expected) in [
        (Quoted, "alice", "alice"),
        (Quoted, "alice@example.org", "alice@example.org"),
        (Quoted, r"LAB\alice", r#""LAB\\alice""#),
        (Raw, r"LAB\alice", r"LAB\alice"),
    ] {
        let (profiles, _) = SessionProfiles::parse_with(values, "profiles", "[p]\n").unwrap();
        let mut list = String::new();
        let rendered = &profiles.get("p").unwrap().rendered;
        rendered.write(&mut list, |gap, list| match gap {
            Gap::User => list.push_str(user),
            Gap::Host => list.push_str("s1"),
        });
        assert!(
            list.contains(&format!("\nuser={expected}\nhost=s1\n")),
            "{list}"
        );
    }
}

/// Texts of all kinds, with what has a meaning to Qt more often than by chance.
fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\PC{0,40}",
        "[-a-f0-9 ,;\"\\\\@()%=x:ÜüßıЖ€日😀]{0,24}",
        "@{0,3}(Size|String|Invalid|ByteArray|x)?\\(?[a-z ,]{0,4}\\)?",
        "(START_|END_|AUTHID:|USER_SESSIONS|CLIENT_CONFIG|[a-f,]){0,5}",
        vec(any::<char>(), 0..20).prop_map(|all| {
            let all = all.into_iter();
            all.filter(|&c| !c.is_control() || c == '\t').collect()
        }),
    ]
}

proptest! {
    #[test]
    fn a_client_reads_what_was_written(name in texts()) {
        let written = written(&name);
        prop_assert!(written.is_ascii() && !written.contains('\n'), "{}", written);
        prop_assert_eq!(value_of(&written), text(&name));
        for word in super::WORDS {
            prop_assert!(!written.contains(word));
        }
    }

    #[test]
    fn a_client_reads_the_items_of_a_list(items in vec(texts(), 2..5)) {
        let mut out = String::new();
        Quoted.write_list(&mut out, &items);
        prop_assert_eq!(value_of(&out), Value::List(items));
    }

    #[test]
    fn what_needs_no_quotes_gets_none(name in texts()) {
        let has_word = super::WORDS.iter().any(|word| name.contains(word));
        let reads_raw = value_of(&name) == text(&name) && !has_word;
        prop_assert_eq!(written(&name) == name, reads_raw);
    }

    #[test]
    fn odd_ids_and_keys_keep_their_place(id in "[^\\[\\]/\\p{C}]{1,12}", key in "[^=:/\\p{C}]{1,12}") {
        let mut list = String::from("\n[a]\nx=1\n\n");
        Quoted.write_section(&mut list, &id);
        Quoted.write_key(&mut list, &key);
        list.push_str("=value\n\n[z]\nx=2\n");
        let settings = read(&list);
        prop_assert_eq!(&settings[&id][&key], &text("value"));
        prop_assert!(settings.contains_key("a") && settings.contains_key("z"));
    }
}
