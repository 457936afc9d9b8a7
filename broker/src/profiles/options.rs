//! Which options does a client get from a profile, in which order, of which type?

use super::literal::list_items;
use super::reading::Reading;
use crate::ini::flag;

/// A client option with its value, in the order of the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ClientOption<'a> {
    pub(super) key: &'a str,
    pub(super) value: OptionValue,
}

impl ClientOption<'_> {
    /// The value of a text, when it is this key.
    pub(super) fn text_of(&self, key: &str) -> Option<&str> {
        match &self.value {
            OptionValue::Text(text) if self.key == key => Some(text),
            _ => None,
        }
    }
}

/// A value by the type that its key has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum OptionValue {
    Flag(bool),
    Number(i64),
    List(Vec<String>),
    Text(String),
}

/// The type that a key of a profile has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Flag,
    Number,
    List,
    Text,
}

/// All options that a client gets: the section's own in file order, then those of
/// `[DEFAULT]`, then the built-in ones. What is for the broker only, and what is
/// `not-set`, is left out.
pub(super) fn client_options<'a>(reading: &mut Reading<'a>) -> Vec<ClientOption<'a>> {
    let mut options = Vec::new();
    for entry in reading.entries() {
        if is_for_the_broker(&entry.key) || entry.value == NOT_SET {
            continue;
        }
        let kind = kind_of(&entry.key);
        if kind == Kind::Text && entry.value.contains('\n') {
            let text = "clients read each line of this value as a key; write it in one line";
            reading.warning(entry, text);
        }
        match value_of(kind, &entry.value) {
            Ok(value) => options.push(ClientOption {
                key: &entry.key,
                value,
            }),
            Err(text) => reading.error(entry, text),
        }
    }
    for (key, kind, text) in BUILT_IN {
        if reading.ini.get(reading.section.name(), key).is_none() {
            let value = value_of(*kind, text).unwrap_or_else(|_| OptionValue::Text(String::new()));
            options.push(ClientOption { key, value });
        }
    }
    options
}

/// Keys that clients never see.
fn is_for_the_broker(key: &str) -> bool {
    key == "default" || key.starts_with("acl-") || key.starts_with("broker-")
}

fn kind_of(key: &str) -> Kind {
    let built_in = BUILT_IN.iter().find(|(built_in, _, _)| *built_in == key);
    built_in.map_or(Kind::Text, |(_, kind, _)| *kind)
}

fn value_of(kind: Kind, text: &str) -> Result<OptionValue, &'static str> {
    match kind {
        Kind::Flag => flag(text)
            .map(OptionValue::Flag)
            .ok_or("this is neither true nor false; write true, false, or not-set"),
        Kind::Number => integer(text)
            .map(OptionValue::Number)
            .ok_or("this is not a number; write one, or not-set"),
        Kind::List => Ok(OptionValue::List(list_items(text))),
        Kind::Text => Ok(OptionValue::Text(text.to_owned())),
    }
}

/// Reads an integer as Python does: a sign, leading zeros and single underscores are fine.
fn integer(text: &str) -> Option<i64> {
    let text = text.trim();
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let groups_are_good = digits
        .split('_')
        .all(|group| !group.is_empty() && group.bytes().all(|b| b.is_ascii_digit()));
    if !groups_are_good {
        return None;
    }
    text.replace('_', "").parse().ok()
}

/// The value that leaves a key out.
pub(super) const NOT_SET: &str = "not-set";

/// The built-in options in the order of the answer. Keys that are not here are texts.
const BUILT_IN: &[(&str, Kind, &str)] = &[
    ("command", Kind::Text, "TERMINAL"),
    ("kdrive", Kind::Flag, "0"),
    ("defsndport", Kind::Flag, "1"),
    ("useiconv", Kind::Flag, "0"),
    ("iconvfrom", Kind::Text, "UTF-8"),
    ("height", Kind::Number, "600"),
    ("export", Kind::Text, ""),
    ("quality", Kind::Number, "9"),
    ("fullscreen", Kind::Flag, "0"),
    ("layout", Kind::Text, ""),
    ("useexports", Kind::Flag, "1"),
    ("width", Kind::Number, "800"),
    ("speed", Kind::Number, "2"),
    ("soundsystem", Kind::Text, "pulse"),
    ("print", Kind::Flag, "1"),
    ("type", Kind::Text, "auto"),
    ("sndport", Kind::Number, "4713"),
    ("xinerama", Kind::Flag, "1"),
    ("variant", Kind::Text, ""),
    ("usekbd", Kind::Flag, "1"),
    ("fstunnel", Kind::Flag, "1"),
    (
        "applications",
        Kind::List,
        "TERMINAL,WWWBROWSER,MAILCLIENT,OFFICE",
    ),
    ("multidisp", Kind::Flag, "0"),
    ("sshproxyport", Kind::Number, "22"),
    ("sound", Kind::Flag, "1"),
    ("rootless", Kind::Flag, "1"),
    ("iconvto", Kind::Text, "UTF-8"),
    ("soundtunnel", Kind::Flag, "1"),
    ("dpi", Kind::Number, "96"),
    ("sshport", Kind::Number, "22"),
    ("setdpi", Kind::Number, "0"),
    ("pack", Kind::Text, "16m-jpeg"),
    ("user", Kind::Text, "BROKER_USER"),
    ("host", Kind::List, "localhost"),
    ("directrdp", Kind::Flag, "0"),
];
