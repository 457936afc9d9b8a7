//! How must a text be written so that X2Go Client reads it as it is?
//!
//! The client reads the list of session profiles with Qt's INI reader, one byte as one
//! letter (Latin-1). There a comma makes a list, of which a label shows nothing; a
//! semicolon starts a comment; quotes are taken away; a backslash starts an escape; and a
//! quote or backslash that is left open takes the lines behind it, other profiles
//! included. What Qt reads as it stands is written as it stands, since other programs read
//! the list, too.

use std::fmt::Write;

/// How values stand in the plain list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PlainValues {
    /// So that X2Go Client shows them as they are in the file.
    #[default]
    Quoted,
    /// As they are in the file, as the original writes them.
    Raw,
}

impl PlainValues {
    /// Writes the header of a section.
    pub(super) fn write_section(self, out: &mut String, id: &str) {
        out.push('[');
        if self == Self::Quoted && id.eq_ignore_ascii_case("general") {
            // Qt takes what stands in [general] for keys without a section.
            out.push('%');
            out.push_str(id);
        } else {
            self.write_name(out, id);
        }
        out.push_str("]\n");
    }

    /// Writes a key.
    pub(super) fn write_key(self, out: &mut String, key: &str) {
        self.write_name(out, key);
    }

    /// Writes a text behind its `=`.
    pub(super) fn write_text(self, out: &mut String, text: &str) {
        match self {
            Self::Raw => out.push_str(text),
            Self::Quoted if text.contains('\n') => write_text(out, &in_one_line(text)),
            Self::Quoted => write_text(out, text),
        }
    }

    /// Writes the items of a list behind its `=`.
    pub(super) fn write_list(self, out: &mut String, items: &[String]) {
        for (idx, item) in items.iter().enumerate() {
            if idx > 0 {
                out.push(',');
            }
            self.write_text(out, item);
        }
    }

    /// Sections and keys have escapes of their own, and no quotes.
    fn write_name(self, out: &mut String, name: &str) {
        let is_read_as_written =
            is_printable(name) && !name.contains(SPECIAL_IN_NAMES) && !name.starts_with('[');
        if self == Self::Raw || is_read_as_written && !has_outer_blanks(name) {
            return out.push_str(name);
        }
        for unit in name.encode_utf16() {
            match u8::try_from(unit) {
                Ok(byte) if byte.is_ascii_alphanumeric() || b"-_.".contains(&byte) => {
                    out.push(char::from(byte));
                }
                // Writing to a String can't fail.
                Ok(byte) => drop(write!(out, "%{byte:02X}")),
                Err(_) => drop(write!(out, "%U{unit:04X}")),
            }
        }
    }
}

/// Whether a value looks as if its writer had quoted it for X2Go Client.
pub(super) fn is_quoted_by_hand(text: &str) -> bool {
    let inner = text.strip_prefix('"').and_then(|t| t.strip_suffix('"'));
    inner.is_some_and(|inner| inner.contains([',', ';', '\\']))
}

fn write_text(out: &mut String, text: &str) {
    let holds_word = WORDS.iter().any(|word| text.contains(word));
    if is_read_as_written(text) && !holds_word {
        return out.push_str(text);
    }
    out.push('"');
    if is_read_as_object(text) {
        out.push('@');
    }
    let mut behind_number = false;
    for c in text.chars() {
        let escaped = !(' '..='~').contains(&c)
            // It would count as one more digit of the number before it.
            || behind_number && c.is_ascii_hexdigit()
            || holds_word && "_:".contains(c);
        if escaped {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a String can't fail.
                let _ = write!(out, "\\x{unit:x}");
            }
        } else {
            if matches!(c, '"' | '\\') {
                out.push('\\');
            }
            out.push(c);
        }
        behind_number = escaped;
    }
    out.push('"');
}

/// A value that is continued on further lines: each would be a key of its own.
fn in_one_line(text: &str) -> String {
    let lines = text.split('\n').map(str::trim);
    let filled: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    filled.join(" ")
}

fn is_read_as_written(text: &str) -> bool {
    is_printable(text)
        && !text.contains([',', ';', '"', '\\'])
        && !has_outer_blanks(text)
        && !is_read_as_object(text)
}

fn is_printable(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t'))
}

fn has_outer_blanks(text: &str) -> bool {
    text.trim_matches([' ', '\t']).len() != text.len()
}

/// Qt writes sizes, times and the like as texts with an `@`, and doubles that of a text.
fn is_read_as_object(text: &str) -> bool {
    let Some(rest) = text.strip_prefix('@') else {
        return false;
    };
    let object = |name: &&str| rest.starts_with(*name) && rest.ends_with(')');
    rest.starts_with('@') || OBJECTS.iter().any(object)
}

/// What has a meaning in the name of a section or key.
const SPECIAL_IN_NAMES: [char; 4] = ['"', ';', '\\', '%'];

/// What Qt's `QSettings` takes for something else than a text.
const OBJECTS: [&str; 8] = [
    "ByteArray(",
    "DateTime(",
    "Invalid(",
    "Point(",
    "Rect(",
    "Size(",
    "String(",
    "Variant(",
];

/// X2Go Client takes the answer apart by these words wherever they stand.
const WORDS: [&str; 5] = [
    "START_USER_SESSIONS",
    "END_USER_SESSIONS",
    "START_CLIENT_CONFIG",
    "END_CLIENT_CONFIG",
    "AUTHID:",
];

#[cfg(test)]
mod reader;
#[cfg(test)]
mod tests;
