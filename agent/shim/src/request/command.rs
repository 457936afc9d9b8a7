//! Which operands does the command of an SSH client hold, when sshd forces this program?
//!
//! With `command="/usr/lib/x2go/x2gobroker-agent"` in the broker's line of authorized keys,
//! sshd hands the client's command over as text. x2gobroker 0.0.4.3 sends
//! `sh -c '/usr/lib/x2go/x2gobroker-agent alice suspendsession "ID"'`. Here that text is
//! taken apart by a grammar with words and two kinds of quotes and nothing else. No shell
//! sees it, and what a shell would treat in any special way is refused.

/// Why a text is not a plain call of this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandError {
    /// Longer than any request.
    TooLong,
    /// A character that means something to a shell, or a control character.
    Character,
    /// A quote is not closed.
    Quote,
    /// It calls something else.
    Program,
}

/// Returns the operands of the call.
pub(super) fn operands(text: &[u8]) -> Result<Vec<Vec<u8>>, CommandError> {
    if text.len() > MAX_BYTES {
        return Err(CommandError::TooLong);
    }
    let mut words = split(text)?;
    let through_shell = matches!(
        words.as_slice(),
        [shell, option, _] if SHELLS.contains(&shell.as_slice()) && option == b"-c"
    );
    if through_shell {
        words = split(&words.pop().unwrap_or_default())?;
    }
    let mut words = words.into_iter();
    match words.next() {
        Some(program) if PROGRAMS.contains(&program.as_slice()) => Ok(words.collect()),
        _ => Err(CommandError::Program),
    }
}

/// Where the next byte stands.
enum Place {
    Between,
    Word,
    Quoted(u8),
}

fn split(text: &[u8]) -> Result<Vec<Vec<u8>>, CommandError> {
    let mut words: Vec<Vec<u8>> = Vec::new();
    let mut word = Vec::new();
    let mut place = Place::Between;
    for &byte in text {
        place = match (place, byte) {
            (_, 0..=0x1f | 0x7f) => return Err(CommandError::Character),
            (Place::Between, b' ') => Place::Between,
            (Place::Word, b' ') => {
                words.push(std::mem::take(&mut word));
                Place::Between
            }
            (Place::Between | Place::Word, b'\'' | b'"') => Place::Quoted(byte),
            (Place::Quoted(quote), _) if byte == quote => Place::Word,
            (Place::Quoted(quote), _) => {
                // In double quotes a shell still expands these.
                if quote == b'"' && b"$`\\!".contains(&byte) {
                    return Err(CommandError::Character);
                }
                word.push(byte);
                Place::Quoted(quote)
            }
            (Place::Between | Place::Word, _) => {
                if !is_plain(byte) {
                    return Err(CommandError::Character);
                }
                word.push(byte);
                Place::Word
            }
        };
    }
    match place {
        Place::Between => {}
        Place::Word => words.push(word),
        Place::Quoted(_) => return Err(CommandError::Quote),
    }
    Ok(words)
}

/// Bytes that mean themselves to every shell, wherever they stand in a word.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_.@+-:,=%/".contains(&byte) || !byte.is_ascii()
}

const PROGRAMS: &[&[u8]] = &[b"/usr/lib/x2go/x2gobroker-agent", b"x2gobroker-agent"];
const SHELLS: &[&[u8]] = &[b"sh", b"/bin/sh"];

/// The longest request is a key line with the name of its file.
const MAX_BYTES: usize = 16 * 1024;
