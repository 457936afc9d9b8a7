//! How does a certificate fit into an AUTHID?
//!
//! Clients put AUTHIDs into form bodies and shell lines, so they must be short, and most
//! of a leaf is the same in all leaves: names of fields, and the farm's and the node's name
//! again and again. What stands in a dictionary or earlier in the text is written as a
//! reference of three bytes. The dictionary is part of the format: another one is another
//! version of the AUTHID.

/// Writes `bytes` shorter.
#[must_use]
pub(super) fn compacted(bytes: &[u8]) -> Vec<u8> {
    let window = [DICTIONARY, bytes].concat();
    let mut written = Vec::with_capacity(bytes.len());
    let mut literal: &[u8] = &[];
    let mut at = DICTIONARY.len();
    while at < window.len() {
        let (known, rest) = window.split_at_checked(at).unwrap_or_default();
        match longest_match(known, rest) {
            Some((from, length)) => {
                write_literal(&mut written, literal);
                written.push(COPY | (length - LEAST_MATCH));
                written.extend(from.to_be_bytes());
                at += usize::from(length);
                literal = &[];
            }
            None => {
                at += 1;
                literal = window.get(at - 1 - literal.len()..at).unwrap_or_default();
            }
        }
    }
    write_literal(&mut written, literal);
    written
}

/// Undoes [`compacted`]. None when the bytes were not written so, or mean more than `most`.
#[must_use]
pub(super) fn expanded(bytes: &[u8], most: usize) -> Option<Vec<u8>> {
    let mut window = DICTIONARY.to_vec();
    let mut rest = bytes;
    while let Some((&head, behind)) = rest.split_first() {
        rest = if head & COPY == 0 {
            let (literal, behind) = behind.split_at_checked(usize::from(head) + 1)?;
            window.extend(literal);
            behind
        } else {
            let (from, behind) = behind.split_first_chunk()?;
            let from = usize::from(u16::from_be_bytes(*from));
            let until = from + usize::from(head & !COPY) + usize::from(LEAST_MATCH);
            let copied = window.get(from..until)?.to_vec();
            window.extend(copied);
            behind
        };
        if window.len() - DICTIONARY.len() > most {
            return None;
        }
    }
    Some(window.split_off(DICTIONARY.len()))
}

/// Where in `known` the longest beginning of `rest` stands, if it is worth a reference.
fn longest_match(known: &[u8], rest: &[u8]) -> Option<(u16, u8)> {
    let mut best = None;
    let mut least = usize::from(LEAST_MATCH);
    let start = rest.get(..least)?;
    let starts = known.windows(least).enumerate();
    for (from, _) in starts.filter(|(_, there)| *there == start) {
        let there = known.get(from..).unwrap_or_default();
        let same = there.iter().zip(rest).take(usize::from(MOST_MATCH));
        let length = same.take_while(|(a, b)| a == b).count();
        if length >= least {
            best = Some((u16::try_from(from).ok()?, u8::try_from(length).ok()?));
            least = length + 1;
        }
    }
    best
}

fn write_literal(written: &mut Vec<u8>, literal: &[u8]) {
    for part in literal.chunks(MOST_LITERAL) {
        // A part has at most 128 bytes.
        written.push(u8::try_from(part.len() - 1).unwrap_or(u8::MAX));
        written.extend(part);
    }
}

/// Marks a reference; without it a head tells the length of what follows as it is.
const COPY: u8 = 0x80;

/// One byte longer than the reference.
const LEAST_MATCH: u8 = 4;
const MOST_MATCH: u8 = LEAST_MATCH + (COPY - 1);
const MOST_LITERAL: usize = COPY as usize;

/// What stands in leaves of x2gobroker-ca: the fields in their order, without values.
const DICTIONARY: &[u8] = b"\
    \x30\x82\x02\x4b\x30\x82\x01\xf1\xa0\x03\x02\x01\x02\x02\x10\
    \x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02\x30\x39\x31\x0f\x30\x0d\x06\x03\
    \x55\x04\x0a\x0c\
    \x31\x26\x30\x24\x06\x03\x55\x04\x03\x0c\x1d\
    X2Go\x20farm\x20issuing\x20CA\x20\
    \x30\x1e\x17\x0d\x32\
    \x5a\x17\x0d\x32\
    \x5a\x30\x40\x31\x0f\x30\x0d\x06\x03\x55\x04\x0a\x0c\
    \x31\x0f\x30\x0d\x06\x03\x55\x04\x0b\x0c\x06\
    broker\
    \x31\x1c\x30\x1a\x06\x03\x55\x04\x03\x0c\
    \x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\
    \x03\x01\x07\x03\x42\x00\x04\
    \xa3\x81\xd3\x30\x81\xd0\x30\x1f\x06\x03\x55\x1d\x23\x04\x18\x30\x16\x80\x14\
    \x30\x51\x06\x03\x55\x1d\x11\x04\x4a\x30\x48\x82\x18\
    member.x2gofarm.internal\
    \x86\x2c\
    x2gofarm://\
    /broker/\
    \x30\x0e\x06\x03\x55\x1d\x0f\x01\x01\xff\x04\x04\x03\x02\x07\x80\x30\x1d\x06\x03\
    \x55\x1d\x25\x04\x16\x30\x14\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x01\x06\x08\x2b\
    \x06\x01\x05\x05\x07\x03\x02\x30\x1d\x06\x03\x55\x1d\x0e\x04\x16\x04\x14\
    \x30\x0c\x06\x03\x55\x1d\x13\x01\x01\xff\x04\x02\x30\x00\x30\x0a\x06\x08\x2a\x86\
    \x48\xce\x3d\x04\x03\x02\x03\x48\x00\x30\x45\x02\x21\x00\
    \x03\x49\x00\x30\x46\x02\x21\x00\
    ";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{compacted, expanded};

    #[test]
    fn what_was_not_written_so_is_none() {
        for bytes in [
            &[0x05, 1, 2][..],
            &[0x80],
            &[0x80, 0xff, 0xff],
            &[0x80, 0x00],
            &[0x7f],
        ] {
            assert_eq!(expanded(bytes, 4096), None, "{bytes:?}");
        }
        // References of three bytes that mean 131 each.
        assert_eq!(expanded(&[0xff, 0, 0].repeat(100), 4096), None);
        assert_eq!(expanded(&[], 4096), Some(Vec::new()));
    }

    proptest! {
        #[test]
        fn everything_comes_back(
            bytes in proptest::collection::vec(prop_oneof![Just(0u8), Just(6), any::<u8>()], 0..200)
        ) {
            let short = compacted(&bytes);
            prop_assert!(short.len() <= bytes.len() + bytes.len() / 64 + 2);
            prop_assert_eq!(expanded(&short, bytes.len()), Some(bytes));
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let read = expanded(&bytes, 1000);
            prop_assert!(read.is_none_or(|read| read.len() <= 1000));
        }
    }
}
