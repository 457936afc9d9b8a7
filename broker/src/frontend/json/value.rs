//! What does a JSON document look like, byte for byte as the original writes it?
//!
//! That is Python's `json.dumps` with sorted keys: pretty, ASCII only, no final newline. A
//! writer of ours is half as long as what a general one would need to be told: indents of
//! two widths, and every character outside of printable ASCII escaped.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write;

/// A value of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Flag(bool),
    Number(i64),
    Text(Cow<'a, str>),
    List(Vec<Self>),
    Object(Object<'a>),
}

/// Members sorted by key, of which there can be no two alike.
pub(crate) type Object<'a> = BTreeMap<&'a str, Value<'a>>;

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl Value<'_> {
    /// The document, each level indented by `indent` more blanks.
    pub(crate) fn to_text(&self, indent: usize) -> String {
        let mut writer = Writer {
            out: String::new(),
            indent,
            depth: 0,
        };
        writer.value(self);
        writer.out
    }
}

struct Writer {
    out: String,
    indent: usize,
    depth: usize,
}

impl Writer {
    fn value(&mut self, value: &Value<'_>) {
        match value {
            Value::Flag(flag) => self.out.push_str(if *flag { "true" } else { "false" }),
            Value::Number(number) => self.format(format_args!("{number}")),
            Value::Text(text) => self.text(text),
            Value::List(items) => {
                self.group(['[', ']'], items, |writer, item| writer.value(item));
            }
            Value::Object(members) => self.group(['{', '}'], members, |writer, (key, value)| {
                writer.text(key);
                writer.out.push_str(": ");
                writer.value(value);
            }),
        }
    }

    fn group<T>(
        &mut self,
        [open, close]: [char; 2],
        items: impl IntoIterator<Item = T>,
        write: impl Fn(&mut Self, T),
    ) {
        self.out.push(open);
        self.depth += 1;
        let mut is_empty = true;
        for item in items {
            if !is_empty {
                self.out.push(',');
            }
            is_empty = false;
            self.line();
            write(self, item);
        }
        self.depth -= 1;
        if !is_empty {
            self.line();
        }
        self.out.push(close);
    }

    fn line(&mut self) {
        self.out.push('\n');
        let n_blanks = self.indent * self.depth;
        self.out.extend(std::iter::repeat_n(' ', n_blanks));
    }

    fn text(&mut self, text: &str) {
        self.out.push('"');
        for c in text.chars() {
            match c {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                '\u{8}' => self.out.push_str("\\b"),
                '\u{c}' => self.out.push_str("\\f"),
                ' '..='~' => self.out.push(c),
                _ => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        self.format(format_args!("\\u{unit:04x}"));
                    }
                }
            }
        }
        self.out.push('"');
    }

    fn format(&mut self, what: std::fmt::Arguments<'_>) {
        // Writing to a String can't fail.
        let _ = self.out.write_fmt(what);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, proptest};

    use super::{Object, Value};

    #[test]
    fn documents_are_written_as_python_writes_them() {
        // python3 -c 'import json; print(json.dumps(…, indent=4, sort_keys=True))'
        let document = Value::Object(Object::from([
            ("list", Value::List(vec!["x".into(), Value::Number(-1)])),
            ("none", Value::List(Vec::new())),
            ("empty", Value::Object(Object::new())),
            ("Flag", Value::Flag(true)),
            ("ü", "\"\\/\u{7f}\u{1}\n\r\t\u{8}\u{c}€😀".into()),
        ]));
        let expected = "{\n    \"Flag\": true,\n    \"empty\": {},\n    \"list\": [\n        \
            \"x\",\n        -1\n    ],\n    \"none\": [],\n    \"\\u00fc\": \
            \"\\\"\\\\/\\u007f\\u0001\\n\\r\\t\\b\\f\\u20ac\\ud83d\\ude00\"\n}";
        assert_eq!(document.to_text(4), expected);
    }

    proptest! {
        #[test]
        fn no_text_leaves_its_quotes(text in "\\PC{0,20}[\"\\\\\n\r\u{0}\u{2028}]{0,10}") {
            let written = Value::from(text.as_str()).to_text(2);
            let inner = written.strip_prefix('"').and_then(|t| t.strip_suffix('"')).unwrap();
            prop_assert!(inner.bytes().all(|b| (b' '..=b'~').contains(&b)));
            let bare = inner.replace("\\\\", "").replace("\\\"", "");
            prop_assert!(!bare.contains('"') && !bare.ends_with('\\'), "{written}");
        }
    }
}
