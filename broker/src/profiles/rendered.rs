//! What of a profile's lines in an answer is the same for everybody?

use std::fmt::Write;

use super::options::{ClientOption, OptionValue};

/// The lines of a profile as the plain answer shows them, with gaps for what depends on
/// the user. They are written once, when the file is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rendered {
    text: String,
    gaps: Vec<(usize, Gap)>,
}

/// What an answer fills in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gap {
    /// The name of the user.
    User,
    /// The host or hosts.
    Host,
}

impl Rendered {
    pub(super) fn of(id: &str, options: &[ClientOption<'_>], command: &str) -> Self {
        let mut lines = Self::default();
        let is_desktop = DESKTOPS.contains(&command);
        let text = &mut lines.text;
        push(text, &["[", id, "]\n"]);
        for ClientOption { key, value } in options {
            push(text, &[key, "="]);
            match (*key, value) {
                ("host", _) => lines.gaps.push((text.len(), Gap::Host)),
                ("user", OptionValue::Text(user)) if user == BROKER_USER => {
                    lines.gaps.push((text.len(), Gap::User));
                }
                ("command", _) => text.push_str(command),
                ("rootless", _) if is_desktop => text.push('0'),
                (_, OptionValue::Flag(flag)) => text.push(if *flag { '1' } else { '0' }),
                // Writing to a String can't fail.
                (_, OptionValue::Number(number)) => drop(write!(text, "{number}")),
                (_, OptionValue::List(items)) => text.push_str(&items.join(",")),
                (_, OptionValue::Text(value)) => text.push_str(value),
            }
            text.push('\n');
        }
        lines
    }

    /// Writes all lines, from the section's header to the last built-in key.
    pub fn write(&self, out: &mut String, fill: impl Fn(Gap, &mut String)) {
        let mut written = 0;
        for &(at, gap) in &self.gaps {
            out.push_str(self.text.get(written..at).unwrap_or_default());
            fill(gap, out);
            written = at;
        }
        out.push_str(self.text.get(written..).unwrap_or_default());
    }

    /// How many bytes the lines have without what is filled in.
    #[must_use]
    pub fn len(&self) -> usize {
        self.text.len()
    }

    /// Whether there are no lines.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }
}

/// A desktop's command is written in capitals and never rootless; others stay as they are.
pub(super) fn command_of(written: &str) -> String {
    let capitals = written.to_ascii_uppercase();
    if DESKTOPS.contains(&capitals.as_str()) {
        capitals
    } else {
        written.to_owned()
    }
}

fn push(text: &mut String, parts: &[&str]) {
    for part in parts {
        text.push_str(part);
    }
}

/// In place of this the user's name is shown.
const BROKER_USER: &str = "BROKER_USER";

const DESKTOPS: &[&str] = &[
    "KDE", "GNOME", "XFCE", "CINNAMON", "MATE", "LXDE", "TRINITY", "UNITY", "ICEWM", "OPENBOX",
    "XDMCP",
];
