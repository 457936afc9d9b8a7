//! What does a file of authorized keys look like with one line more, or less?
//!
//! Everything else in the file stays byte for byte as it was.

use crate::request::KeyLine;

/// What becomes of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// It is as wanted already.
    Nothing,
    /// It gets this content.
    Replace(Vec<u8>),
}

/// Adds a line at the end, unless the file has it.
#[must_use]
pub fn add(content: &[u8], line: &KeyLine) -> Edit {
    if lines(content).any(|(text, _)| text == line.as_str().as_bytes()) {
        return Edit::Nothing;
    }
    let mut new = content.to_vec();
    if !(content.is_empty() || content.ends_with(b"\n")) {
        new.push(b'\n');
    }
    new.extend_from_slice(line.as_str().as_bytes());
    new.push(b'\n');
    Edit::Replace(new)
}

/// Removes the lines that are exactly this one.
#[must_use]
pub fn remove(content: &[u8], line: &KeyLine) -> Edit {
    let kept: Vec<u8> = lines(content)
        .filter(|(text, _)| *text != line.as_str().as_bytes())
        .flat_map(|(_, whole)| whole)
        .copied()
        .collect();
    if kept.len() == content.len() {
        Edit::Nothing
    } else {
        Edit::Replace(kept)
    }
}

/// Each line without and with its end.
fn lines(content: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    content.split_inclusive(|byte| *byte == b'\n').map(|whole| {
        let text = whole.strip_suffix(b"\n").unwrap_or(whole);
        (text, whole)
    })
}

#[cfg(test)]
mod tests {
    use super::{Edit, add, remove};
    use crate::request::KeyLine;

    const KEY: &str = "ssh-ed25519 AAAAC3Nza a@b";

    fn key() -> KeyLine {
        KeyLine::parse(KEY.as_bytes()).unwrap()
    }

    fn text(edit: Edit) -> Option<String> {
        match edit {
            Edit::Nothing => None,
            Edit::Replace(bytes) => Some(String::from_utf8(bytes).unwrap()),
        }
    }

    #[test]
    fn a_line_is_added_once_and_at_the_end() {
        let cases = [
            ("", Some(format!("{KEY}\n"))),
            ("other\n", Some(format!("other\n{KEY}\n"))),
            ("no end", Some(format!("no end\n{KEY}\n"))),
            (&format!("{KEY}\nother\n"), None),
            (&format!("other\n{KEY}"), None),
            (
                &format!("{KEY} more\n"),
                Some(format!("{KEY} more\n{KEY}\n")),
            ),
        ];
        for (before, after) in cases {
            assert_eq!(text(add(before.as_bytes(), &key())), after, "{before:?}");
        }
    }

    #[test]
    fn only_the_exact_line_is_removed() {
        let cases = [
            ("", None),
            ("other\n", None),
            (&format!("{KEY}\n"), Some(String::new())),
            (&format!("a\n{KEY}\nb\n{KEY}\n"), Some("a\nb\n".to_owned())),
            (&format!("a\n{KEY}"), Some("a\n".to_owned())),
            (&format!("no-pty {KEY}\n{KEY} more\n#{KEY}\n"), None),
            (&format!("{KEY}\r\n"), None),
        ];
        for (before, after) in cases {
            assert_eq!(text(remove(before.as_bytes(), &key())), after, "{before:?}");
        }
    }

    #[test]
    fn a_key_is_never_a_pattern() {
        // '.' and '+' mean more to sed, and nothing here.
        let wild = KeyLine::parse(b"ssh-rsa AA+A m..e").unwrap();
        assert_eq!(remove(b"ssh-rsa AAAA mine\n", &wild), Edit::Nothing);
        assert_eq!(remove(b"ssh-rsa AA+A mine\n", &wild), Edit::Nothing);
    }

    #[test]
    fn bytes_that_are_no_text_survive() {
        let before = b"\xff\xfe\0\r\n\n\n# x";
        let Edit::Replace(with) = add(before, &key()) else {
            panic!("the line is new");
        };
        assert_eq!(
            remove(&with, &key()),
            Edit::Replace(b"\xff\xfe\0\r\n\n\n# x\n".to_vec())
        );
    }
}
