//! Which words does a shell line hold? Read without a shell.
//!
//! Quotes and backslashes mean what they mean to a POSIX shell (its chapter 2.2). Whatever
//! a shell would do more than that (variables, pipes, other programs) is refused, not done.

/// Why a line can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WordsError {
    /// Longer than any that clients send.
    #[error("the command is longer than {MAX_BYTES} bytes")]
    TooLong,
    /// More than any that clients send.
    #[error("the command has more than {MAX_WORDS} words")]
    TooMany,
    /// A quote or a backslash without its end.
    #[error("the command ends inside of quotes")]
    Open,
    /// What only a shell could do.
    #[error("the command holds {0:?}, which only a shell could read")]
    Shell(char),
    /// `;` without a command before it.
    #[error("the command has a ; too many")]
    Empty,
}

/// The commands of a line, which `;` ends, each with its words.
///
/// # Errors
/// When it is not of that simple form.
pub(super) fn commands(line: &str) -> Result<Vec<Vec<String>>, WordsError> {
    if line.len() > MAX_BYTES {
        return Err(WordsError::TooLong);
    }
    let mut reader = Reader::default();
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' => reader.end_word()?,
            ';' => reader.end_command()?,
            '\'' => single_quoted(&mut chars, reader.word())?,
            '"' => double_quoted(&mut chars, reader.word())?,
            '\\' => match chars.next() {
                None | Some('\n') => return Err(WordsError::Open),
                Some(c) => reader.word().push(checked(c)?),
            },
            '$' | '`' | '&' | '|' | '<' | '>' | '(' | ')' => return Err(WordsError::Shell(c)),
            '#' | '~' if reader.word.is_none() => return Err(WordsError::Shell(c)),
            c => reader.word().push(checked(c)?),
        }
    }
    reader.end_word()?;
    let Reader {
        mut commands,
        words,
        ..
    } = reader;
    if !words.is_empty() {
        commands.push(words);
    }
    Ok(commands)
}

/// What was read so far.
#[derive(Default)]
struct Reader {
    commands: Vec<Vec<String>>,
    words: Vec<String>,
    /// None between words; quotes alone are a word.
    word: Option<String>,
    n_words: usize,
}

impl Reader {
    fn word(&mut self) -> &mut String {
        self.word.get_or_insert_default()
    }

    fn end_word(&mut self) -> Result<(), WordsError> {
        if let Some(word) = self.word.take() {
            self.n_words += 1;
            if self.n_words > MAX_WORDS {
                return Err(WordsError::TooMany);
            }
            self.words.push(word);
        }
        Ok(())
    }

    fn end_command(&mut self) -> Result<(), WordsError> {
        self.end_word()?;
        if self.words.is_empty() {
            return Err(WordsError::Empty);
        }
        self.commands.push(std::mem::take(&mut self.words));
        Ok(())
    }
}

fn single_quoted(
    chars: &mut impl Iterator<Item = char>,
    word: &mut String,
) -> Result<(), WordsError> {
    for c in chars {
        match c {
            '\'' => return Ok(()),
            c => word.push(checked(c)?),
        }
    }
    Err(WordsError::Open)
}

fn double_quoted(
    chars: &mut impl Iterator<Item = char>,
    word: &mut String,
) -> Result<(), WordsError> {
    while let Some(c) = chars.next() {
        match c {
            '"' => return Ok(()),
            '$' | '`' => return Err(WordsError::Shell(c)),
            '\\' => match chars.next().ok_or(WordsError::Open)? {
                c @ ('$' | '`' | '"' | '\\') => word.push(c),
                c => word.extend(['\\', checked(c)?]),
            },
            c => word.push(checked(c)?),
        }
    }
    Err(WordsError::Open)
}

/// No value of a client has lines or other control characters.
fn checked(c: char) -> Result<char, WordsError> {
    if c.is_control() {
        Err(WordsError::Shell(c))
    } else {
        Ok(c)
    }
}

/// X2Go Client's longest line has some 700 bytes and an AUTHID.
const MAX_BYTES: usize = 32 * 1024;

/// X2Go Client's longest line has 30.
const MAX_WORDS: usize = 256;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{MAX_BYTES, WordsError, commands};

    fn read(line: &str) -> Result<String, WordsError> {
        let commands = commands(line)?;
        let commands = commands.iter().map(|words| format!("{words:?}"));
        Ok(commands.collect::<Vec<_>>().join(" ; "))
    }

    #[test]
    fn words_are_those_of_a_shell() {
        for (line, expected) in [
            ("", ""),
            ("  a\tb ", r#"["a", "b"]"#),
            ("a; b c;", r#"["a"] ; ["b", "c"]"#),
            (r#"echo "LOGIN OK""#, r#"["echo", "LOGIN OK"]"#),
            (
                r#"--client "" --cmd ''"#,
                r#"["--client", "", "--cmd", ""]"#,
            ),
            (
                r#"PATH="/usr/bin:/bin";x"#,
                r#"["PATH=/usr/bin:/bin"] ; ["x"]"#,
            ),
            (r#"a'b "c'd"e 'f" g"#, r#"["ab \"cde 'f", "g"]"#),
            (r#"a\ b "c\"d\\e\x""#, r#"["a b", "c\"d\\e\\x"]"#),
            ("pa*s?w[o]rd!{x}#~=", r#"["pa*s?w[o]rd!{x}#~="]"#),
            ("'$HOME; rm `x`'", r#"["$HOME; rm `x`"]"#),
            ("gr\u{fc}n", "[\"gr\u{fc}n\"]"),
        ] {
            assert_eq!(read(line).as_deref(), Ok(expected), "{line}");
        }
    }

    #[test]
    fn what_only_a_shell_could_do_is_refused() {
        for (line, error) in [
            ("a $HOME", WordsError::Shell('$')),
            ("a \"$HOME\"", WordsError::Shell('$')),
            ("a `b`", WordsError::Shell('`')),
            ("a & b", WordsError::Shell('&')),
            ("a | b", WordsError::Shell('|')),
            ("a > b", WordsError::Shell('>')),
            ("a < b", WordsError::Shell('<')),
            ("(a)", WordsError::Shell('(')),
            ("a\nb", WordsError::Shell('\n')),
            ("a 'b\nc'", WordsError::Shell('\n')),
            ("a \u{0}", WordsError::Shell('\u{0}')),
            ("a #b", WordsError::Shell('#')),
            ("a ~b", WordsError::Shell('~')),
            ("a 'b", WordsError::Open),
            ("a \"b", WordsError::Open),
            ("a \"b\\", WordsError::Open),
            ("a \\", WordsError::Open),
            ("; a", WordsError::Empty),
            ("a;; b", WordsError::Empty),
        ] {
            assert_eq!(read(line), Err(error), "{line}");
        }
        assert_eq!(read(&"a".repeat(MAX_BYTES + 1)), Err(WordsError::TooLong));
        assert_eq!(read(&"a ".repeat(300)), Err(WordsError::TooMany));
    }

    proptest! {
        #[test]
        fn quoted_words_come_back(words in proptest::collection::vec("\\PC{0,12}", 1..8)) {
            let quoted = words.iter().map(|word| format!("'{}'", word.replace('\'', r"'\''")));
            let line = quoted.collect::<Vec<_>>().join(" ");
            prop_assert_eq!(commands(&line), Ok(vec![words]));
        }

        #[test]
        fn no_line_panics(line in "[a-z;'\"\\\\$ \\n]{0,40}") {
            let _ = commands(&line);
        }
    }
}
