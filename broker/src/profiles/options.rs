//! Which options does a client get from a profile, in which order, of which type?

use std::collections::HashMap;
use std::sync::Arc;

use super::literal::list_items;
use super::qt::{PlainValues, is_quoted_by_hand};
use super::reading::Reading;
use super::rendered::Gap;
use crate::ini::{Entry, Ini, flag};

/// A client option with its value.
#[derive(Debug)]
pub(super) struct ClientOption {
    /// As written; case counts.
    pub(super) key: String,
    pub(super) value: OptionValue,
    /// `key=value` as it stands in the plain list; `key=` before a gap.
    pub(super) plain: String,
}

/// A value by the type that its key has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OptionValue {
    /// Yes or no.
    Flag(bool),
    /// A whole number.
    Number(i64),
    /// Several texts.
    List(Vec<String>),
    /// A text; keys that are not built in have one.
    Text(String),
    /// What each answer fills in.
    Gap(Gap),
}

/// What sections get that don't say otherwise. It is read once and shared by all profiles,
/// so that a long value in `[DEFAULT]` is in memory once.
pub(super) struct Inherited {
    defaults: HashMap<String, Result<Arc<ClientOption>, &'static str>>,
    built_in: Vec<Arc<ClientOption>>,
    not_rootless: Arc<ClientOption>,
}

impl Inherited {
    pub(super) fn of(ini: &Ini, values: PlainValues) -> Self {
        let defaults = ini.defaults().entries();
        let defaults = defaults.filter(|entry| !is_left_out(&entry.key, &entry.value));
        let defaults = defaults.map(|entry| {
            let option = ClientOption::read(values, &entry.key, &entry.value);
            (entry.key.clone(), option.map(Arc::new))
        });
        // A test reads each of them.
        let empty = |_| OptionValue::Text(String::new());
        let built_in = BUILT_IN.iter().map(|(key, _, text)| {
            let value = value_of(key, text).unwrap_or_else(empty);
            Arc::new(ClientOption::new(values, key, value))
        });
        let not_rootless = ClientOption::new(values, "rootless", OptionValue::Flag(false));
        Self {
            defaults: defaults.collect(),
            built_in: built_in.collect(),
            not_rootless: Arc::new(not_rootless),
        }
    }
}

impl ClientOption {
    fn read(values: PlainValues, key: &str, text: &str) -> Result<Self, &'static str> {
        Ok(Self::new(values, key, value_of(key, text)?))
    }

    fn new(values: PlainValues, key: &str, value: OptionValue) -> Self {
        let mut plain = String::new();
        values.write_key(&mut plain, key);
        plain.push('=');
        match &value {
            OptionValue::Gap(_) => {}
            OptionValue::Flag(flag) => plain.push(if *flag { '1' } else { '0' }),
            OptionValue::Number(number) => plain.push_str(&number.to_string()),
            OptionValue::List(items) => values.write_list(&mut plain, items),
            OptionValue::Text(text) => values.write_text(&mut plain, text),
        }
        let key = key.to_owned();
        Self { key, value, plain }
    }
}

/// The text of a key among options.
pub(super) fn text_of<'o>(options: &'o [Arc<ClientOption>], key: &str) -> Option<&'o str> {
    options.iter().find_map(|option| match &option.value {
        OptionValue::Text(text) if option.key == key => Some(text.as_str()),
        _ => None,
    })
}

/// All options that a client gets: the section's own in file order, then those of
/// `[DEFAULT]`, then the built-in ones. What is for the broker only, and what is
/// `not-set`, is left out.
pub(super) fn client_options(
    reading: &mut Reading<'_>,
    inherited: &Inherited,
) -> Vec<Arc<ClientOption>> {
    let mut options = Vec::new();
    for entry in reading.entries() {
        if is_left_out(&entry.key, &entry.value) {
            continue;
        }
        if kind_of(&entry.key) == Kind::Text {
            warn_of_odd_text(reading, entry);
        }
        let option = match inherited.defaults.get(&entry.key) {
            Some(option) if reading.section.get(&entry.key).is_none() => option.clone(),
            _ => ClientOption::read(reading.values, &entry.key, &entry.value).map(Arc::new),
        };
        match option {
            Ok(option) => options.push(option),
            Err(text) => reading.error(entry, text),
        }
    }
    let name = reading.section.name();
    let built_in = inherited.built_in.iter();
    options.extend(
        built_in
            .filter(|option| reading.ini.get(name, &option.key).is_none())
            .cloned(),
    );
    if text_of(&options, "command").is_some_and(is_desktop) {
        let rootless = options.iter_mut().filter(|option| option.key == "rootless");
        rootless.for_each(|option| *option = Arc::clone(&inherited.not_rootless));
    }
    options
}

/// Tells of texts that clients may show otherwise than their writer thought.
fn warn_of_odd_text(reading: &mut Reading<'_>, entry: &Entry) {
    match reading.values {
        PlainValues::Raw if entry.value.contains('\n') => {
            let text = "clients read each line of this value as a key; write it in one line";
            reading.warning(entry, text);
        }
        PlainValues::Quoted if is_quoted_by_hand(&entry.value) => {
            let text = "clients show these quotes and backslashes: values are quoted where that \
                        is needed; write the text itself, or set plain-values = raw";
            reading.warning(entry, text);
        }
        PlainValues::Quoted | PlainValues::Raw => {}
    }
}

fn is_left_out(key: &str, value: &str) -> bool {
    is_for_the_broker(key) || value == NOT_SET
}

/// The type that a key of a profile has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Flag,
    Number,
    List,
    Text,
}

/// Keys that clients never see.
fn is_for_the_broker(key: &str) -> bool {
    key == "default" || key.starts_with("acl-") || key.starts_with("broker-")
}

fn kind_of(key: &str) -> Kind {
    let built_in = BUILT_IN.iter().find(|(built_in, _, _)| *built_in == key);
    built_in.map_or(Kind::Text, |(_, kind, _)| *kind)
}

fn value_of(key: &str, text: &str) -> Result<OptionValue, &'static str> {
    match (key, text) {
        ("host", _) => return Ok(OptionValue::Gap(Gap::Host)),
        ("user", BROKER_USER) => return Ok(OptionValue::Gap(Gap::User)),
        ("command", _) => return Ok(OptionValue::Text(command_of(text))),
        _ => {}
    }
    match kind_of(key) {
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

/// A desktop's command is written in capitals and never rootless; others stay as they are.
fn command_of(written: &str) -> String {
    let capitals = written.to_ascii_uppercase();
    if is_desktop(&capitals) {
        capitals
    } else {
        written.to_owned()
    }
}

fn is_desktop(command: &str) -> bool {
    DESKTOPS.contains(&command)
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

/// In place of this the user's name is shown.
const BROKER_USER: &str = "BROKER_USER";

const DESKTOPS: &[&str] = &[
    "KDE", "GNOME", "XFCE", "CINNAMON", "MATE", "LXDE", "TRINITY", "UNITY", "ICEWM", "OPENBOX",
    "XDMCP",
];

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

#[cfg(test)]
mod tests {
    use super::{BUILT_IN, value_of};

    #[test]
    fn every_built_in_value_is_one_of_its_type() {
        for (key, _, text) in BUILT_IN {
            assert!(value_of(key, text).is_ok(), "{key}");
        }
    }
}
