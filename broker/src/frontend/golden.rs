//! What did the original answer? Reads the recorded cases in `tests/golden`.

/// One recorded file.
pub(crate) fn read(case: &str, file: &str) -> Vec<u8> {
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden");
    let path = format!("{data}/{case}/{file}");
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A configuration file of a case.
pub(crate) fn config(case: &str, file: &str) -> String {
    String::from_utf8(read(case, file)).expect("configuration files are UTF-8")
}

/// A recorded HTTP message in its parts: first line and headers, and body.
pub(crate) fn message(case: &str, file: &str) -> (String, Vec<u8>) {
    let bytes = read(case, file);
    let at = bytes.windows(4).position(|part| part == b"\r\n\r\n");
    let at = at.expect("a message has a head");
    let head = String::from_utf8(bytes[..at].to_vec()).expect("heads are ASCII");
    (head, bytes[at + 4..].to_vec())
}

/// The body of an answer as text.
pub(crate) fn body(case: &str, file: &str) -> String {
    String::from_utf8(message(case, file).1).expect("bodies are UTF-8")
}

/// A header of a message; empty if it is not there.
pub(crate) fn header<'a>(head: &'a str, name: &str) -> &'a str {
    let mut lines = head.lines().filter_map(|line| line.split_once(':'));
    let found = lines.find(|(key, _)| key.eq_ignore_ascii_case(name));
    found.map_or("", |(_, value)| value.trim())
}

/// The one-time value that an answer starts with.
pub(crate) fn authid(body: &str) -> Option<&str> {
    let line = body.lines().next()?;
    line.strip_prefix("AUTHID:")
}
