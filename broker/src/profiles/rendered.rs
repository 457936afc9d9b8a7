//! What of a profile's lines in an answer is the same for everybody?

use std::sync::Arc;

use super::options::{ClientOption, OptionValue};
use super::qt::PlainValues;

/// The lines of a profile as the plain answer shows them, with gaps for what depends on
/// the user. They are written once, when the file is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rendered {
    text: String,
    gaps: Vec<(usize, Gap)>,
    values: PlainValues,
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
    pub(super) fn of(values: PlainValues, id: &str, options: &[Arc<ClientOption>]) -> Self {
        let mut lines = Self {
            values,
            ..Self::default()
        };
        let text = &mut lines.text;
        values.write_section(text, id);
        for option in options {
            text.push_str(&option.plain);
            if let OptionValue::Gap(gap) = option.value {
                lines.gaps.push((text.len(), gap));
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
            let filled = out.len();
            fill(gap, out);
            if gap == Gap::User {
                self.quote(out, filled);
            }
            written = at;
        }
        out.push_str(self.text.get(written..).unwrap_or_default());
    }

    /// A user may have a domain, `DOMAIN\user`. Names of hosts need no quotes.
    fn quote(&self, out: &mut String, from: usize) {
        let user = out.get(from..).unwrap_or_default();
        if user.contains(|c: char| !c.is_ascii_alphanumeric() && !"_.-".contains(c)) {
            let user = out.split_off(from);
            self.values.write_text(out, &user);
        }
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
