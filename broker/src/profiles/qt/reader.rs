//! What does Qt read? The rules of Qt 5.15's `QSettings::IniFormat` without a codec, byte
//! by byte, so that tests see what X2Go Client sees. It shares nothing with the writer.

use std::collections::BTreeMap;

/// What a key holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Text(String),
    List(Vec<String>),
    /// A size, a time, nothing at all: what `@Name(...)` stands for.
    Object(String),
}

/// Section → key → value; of keys that stand twice the last counts.
pub(crate) type Settings = BTreeMap<String, BTreeMap<String, Value>>;

pub(crate) fn read(text: &str) -> Settings {
    let data = text.as_bytes();
    let mut settings = Settings::new();
    let mut section = String::new();
    let mut at = 0;
    while let Some(line) = next_line(data, &mut at) {
        let content = &data[line.start..line.end];
        if content[0] == b'[' {
            let end = content.iter().position(|&byte| byte == b']');
            section = section_name(&content[1..end.unwrap_or(content.len())]);
            settings.entry(section.clone()).or_default();
        } else if let Some(equals) = line.equals {
            let key = trim_end(&data[line.start..equals]);
            let value = value(&data[equals + 1..line.end]);
            let keys = settings.entry(section.clone()).or_default();
            keys.insert(name(key), value);
        }
    }
    settings
}

struct Line {
    start: usize,
    end: usize,
    equals: Option<usize>,
}

/// A line ends at a line break or semicolon that is neither quoted nor escaped.
fn next_line(data: &[u8], at: &mut usize) -> Option<Line> {
    let skip = |mut at: usize, skipped: fn(u8) -> bool| {
        while at < data.len() && skipped(data[at]) {
            at += 1;
        }
        at
    };
    let mut start = skip(*at, is_space);
    let (mut i, mut quoted, mut equals) = (start, false, None);
    while i < data.len() {
        let byte = data[i];
        i += 1;
        match byte {
            b'=' if !quoted && equals.is_none() => equals = Some(i - 1),
            b'\n' | b'\r' if i == start + 1 => start += 1,
            b'\n' | b'\r' if !quoted => {
                i -= 1;
                break;
            }
            b';' if i == start + 1 => {
                i = skip(i, |byte| byte != b'\n' && byte != b'\r');
                i = skip(i, is_space);
                start = i;
            }
            b';' if !quoted => {
                i -= 1;
                break;
            }
            b'\\' => {
                let pair = (data.get(i), data.get(i + 1));
                let is_pair = matches!(
                    pair,
                    (Some(b'\n'), Some(b'\r')) | (Some(b'\r'), Some(b'\n'))
                );
                i += if is_pair { 2 } else { 1 };
            }
            b'"' => quoted = !quoted,
            _ => {}
        }
    }
    let end = i.min(data.len());
    *at = end;
    (end > start).then_some(Line { start, end, equals })
}

fn section_name(text: &[u8]) -> String {
    let text = trim_end(text);
    let start = text.iter().take_while(|&&byte| is_space(byte)).count();
    let text = &text[start..];
    if text.eq_ignore_ascii_case(b"general") {
        String::new()
    } else if text.eq_ignore_ascii_case(b"%general") {
        latin1(&text[1..])
    } else {
        name(text)
    }
}

/// Takes `%41`, `%U20AC` and `\` (a slash) in sections and keys apart.
fn name(text: &[u8]) -> String {
    let mut units = Vec::new();
    let mut i = 0;
    while i < text.len() {
        let (skip, digits) = match &text[i..] {
            [b'%', b'U', rest @ ..] => (2, rest.get(..4)),
            [b'%', rest @ ..] => (1, rest.get(..2)),
            _ => (0, None),
        };
        let number = digits.and_then(|digits| u16::from_str_radix(&latin1(digits), 16).ok());
        if let (Some(number), Some(digits)) = (number, digits) {
            units.push(number);
            i += skip + digits.len();
        } else {
            let byte = if text[i] == b'\\' { b'/' } else { text[i] };
            units.push(u16::from(byte));
            i += 1;
        }
    }
    String::from_utf16_lossy(&units)
}

/// One text of a value while it is read.
#[derive(Default)]
struct Item {
    units: Vec<u16>,
    /// How much stays when blanks at the end are removed.
    kept: usize,
    was_quoted: bool,
}

impl Item {
    fn finish(&mut self) -> String {
        let mut item = std::mem::take(self);
        while !item.was_quoted
            && item.units.len() > item.kept
            && matches!(item.units.last(), Some(0x20 | 0x09))
        {
            item.units.pop();
        }
        String::from_utf16_lossy(&item.units)
    }
}

fn value(text: &[u8]) -> Value {
    let mut items = Vec::new();
    let mut item = Item::default();
    let (mut i, mut quoted, mut skipping) = (0, false, true);
    while i < text.len() {
        let byte = text[i];
        if skipping && matches!(byte, b' ' | b'\t') {
            i += 1;
            continue;
        }
        skipping = false;
        i += 1;
        match byte {
            b'\\' => {
                i += escape(&text[i..], &mut item.units);
                item.kept = item.units.len();
            }
            b'"' => {
                item.was_quoted = true;
                quoted = !quoted;
                skipping = !quoted;
            }
            b',' if !quoted => {
                items.push(item.finish());
                skipping = true;
            }
            byte => item.units.push(byte.into()),
        }
    }
    let last = item.finish();
    if items.is_empty() {
        return object_or_text(last);
    }
    items.push(last);
    let items = items.into_iter();
    // "@@" in a list, too, is one "@" of a text.
    let undoubled = items.map(|item| match item.strip_prefix("@@") {
        Some(rest) => format!("@{rest}"),
        None => item,
    });
    Value::List(undoubled.collect())
}

/// Reads what follows a backslash, and says how long it was.
fn escape(text: &[u8], units: &mut Vec<u16>) -> usize {
    let Some(&byte) = text.first() else { return 0 };
    let codes = b"a\x07b\x08f\x0cn\nr\rt\tv\x0b\"\"??''\\\\";
    if let Some(code) = codes.chunks(2).find(|code| code[0] == byte) {
        units.push(code[1].into());
        return 1;
    }
    let (start, radix) = match byte {
        b'x' => (1, 16),
        b'0'..=b'7' => (0, 8),
        // Anything else is skipped.
        _ => return 1,
    };
    let digits = text[start..].iter();
    let digits = digits.map_while(|&byte| char::from(byte).to_digit(radix));
    let digits: Vec<u32> = digits.collect();
    if !digits.is_empty() {
        let number = digits.iter().fold(0_u16, |number, &digit| {
            let digit = u16::try_from(digit).unwrap();
            number.wrapping_mul(u16::try_from(radix).unwrap()) | digit
        });
        units.push(number);
    }
    start + digits.len()
}

fn object_or_text(text: String) -> Value {
    if let Some(rest) = text.strip_prefix("@@") {
        return Value::Text(format!("@{rest}"));
    }
    let objects = "ByteArray String Variant DateTime Rect Size Point Invalid";
    let mut objects = objects.split(' ');
    let is_object = |name| text.starts_with(&format!("@{name}("));
    if text.ends_with(')') && objects.any(is_object) {
        Value::Object(text)
    } else {
        Value::Text(text)
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

fn trim_end(text: &[u8]) -> &[u8] {
    let blanks = text.iter().rev().take_while(|&&byte| is_space(byte));
    &text[..text.len() - blanks.count()]
}

fn latin1(text: &[u8]) -> String {
    text.iter().copied().map(char::from).collect()
}
