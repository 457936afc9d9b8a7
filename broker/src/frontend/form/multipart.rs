//! Which fields are in a `multipart/form-data` body?
//!
//! The whole body is in memory and bounded, and no client of ours sends such forms, so
//! that a page of code is better than a crate that reads streams. As in the original, what
//! can't be read gives no fields, and files are not fields.

/// The fields of a body, in its order.
pub(super) fn fields<'a>(
    content_type: &str,
    body: &'a [u8],
) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
    let delimiter = boundary(content_type).map(|boundary| format!("--{boundary}"));
    let parts = delimiter.into_iter().flat_map(move |delimiter| {
        let end = rfind(body, format!("{delimiter}--").as_bytes()).unwrap_or(0);
        Parts {
            rest: body.get(..end).unwrap_or_default(),
            delimiter: (delimiter + "\r\n").into_bytes(),
        }
    });
    parts.filter_map(field)
}

/// What stands between delimiters.
struct Parts<'a> {
    rest: &'a [u8],
    delimiter: Vec<u8>,
}

impl<'a> Iterator for Parts<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        let (part, rest) = split_once(self.rest, &self.delimiter).unwrap_or((self.rest, &[]));
        self.rest = rest;
        Some(part)
    }
}

/// Name and value of a part, unless it is a file or no part of a form.
fn field(part: &[u8]) -> Option<(&[u8], &[u8])> {
    let (head, value) = split_once(part, b"\r\n\r\n")?;
    let value = value.strip_suffix(b"\r\n")?;
    let disposition = head.split(|&b| b == b'\n').find_map(disposition)?;
    let parameter = |name| parameter(disposition, name);
    let name = parameter(b"name")?;
    parameter(b"filename").is_none().then_some((name, value))
}

/// What stands behind `Content-Disposition: form-data`.
fn disposition(line: &[u8]) -> Option<&[u8]> {
    let at = line.iter().position(|&b| b == b':')?;
    let (name, value) = line.split_at_checked(at)?;
    if !name.eq_ignore_ascii_case(b"content-disposition") {
        return None;
    }
    let value = value.get(1..)?.trim_ascii();
    let parameters = value.strip_prefix(b"form-data")?;
    (parameters.is_empty() || parameters.starts_with(b";")).then_some(parameters)
}

/// A parameter like `; name="task"`. A semicolon in quotes is not expected: no field that
/// is read has one in its name.
fn parameter<'a>(parameters: &'a [u8], wanted: &[u8]) -> Option<&'a [u8]> {
    let mut all = parameters.split(|&b| b == b';').map(<[u8]>::trim_ascii);
    all.find_map(|parameter| {
        let (name, value) = split_once(parameter, b"=")?;
        let quoted = value.strip_prefix(b"\"");
        let value = quoted.and_then(|v| v.strip_suffix(b"\"")).unwrap_or(value);
        name.trim_ascii()
            .eq_ignore_ascii_case(wanted)
            .then_some(value)
    })
}

fn boundary(content_type: &str) -> Option<&str> {
    let parameters = content_type.split_once(';')?.1.as_bytes();
    let boundary = std::str::from_utf8(parameter(parameters, b"boundary")?).ok()?;
    // RFC 2046, 5.1.1: 1 to 70 characters.
    (1..=70).contains(&boundary.len()).then_some(boundary)
}

fn split_once<'a>(text: &'a [u8], separator: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = find(text, separator)?;
    Some((text.get(..at)?, text.get(at + separator.len()..)?))
}

/// Separators here are at most 76 bytes, so that the plain way is good enough.
fn find(text: &[u8], separator: &[u8]) -> Option<usize> {
    text.windows(separator.len())
        .position(|part| part == separator)
}

fn rfind(text: &[u8], separator: &[u8]) -> Option<usize> {
    text.windows(separator.len())
        .rposition(|part| part == separator)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, proptest};

    use super::fields;

    const TYPE: &str = "multipart/form-data; boundary=BB";

    fn read(content_type: &str, body: &str) -> Vec<(String, String)> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let fields = fields(content_type, body.as_bytes());
        fields
            .map(|(name, value)| (text(name), text(value)))
            .collect()
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn fields_are_read_and_files_are_not() {
        let body = "preamble\r\n--BB\r\ncontent-disposition:form-data; name=task\r\n\r\nt\r\n\
            --BB\r\nContent-Type: text/plain\r\nContent-Disposition: form-data; name=\"user\"\r\n\
            \r\na\r\nb\r\n\
            --BB\r\nContent-Disposition: form-data; name=\"f\"; filename=\"x\"\r\n\r\nfile\r\n\
            --BB\r\nContent-Disposition: attachment; name=\"g\"\r\n\r\nno\r\n\
            --BB\r\nContent-Disposition: form-data; name=\"empty\"\r\n\r\n\r\n\
            --BB--\r\nContent-Disposition: form-data; name=\"late\"\r\n\r\nno\r\n";
        let expected = pairs(&[("task", "t"), ("user", "a\r\nb"), ("empty", "")]);
        assert_eq!(read(TYPE, body), expected);
        let quoted = "Multipart/Form-Data; charset=x; Boundary=\"BB\"";
        assert_eq!(read(quoted, body), expected);
    }

    #[test]
    fn what_can_not_be_read_gives_no_fields() {
        let part = "--BB\r\nContent-Disposition: form-data; name=\"user\"\r\n\r\nalice\r\n";
        let long = format!("multipart/form-data; boundary={}", "B".repeat(71));
        for (content_type, body) in [
            ("multipart/form-data", format!("{part}--BB--")),
            ("multipart/form-data; boundary=", format!("{part}--BB--")),
            ("multipart/form-data; boundary=CC", format!("{part}--BB--")),
            (long.as_str(), format!("{part}--BB--")),
            (TYPE, part.to_owned()),
            (TYPE, "--BB--".to_owned()),
            (TYPE, "user=alice".to_owned()),
            (TYPE, String::new()),
            (TYPE, format!("{}--BB--", part.replace("\r\n\r\n", "\r\n"))),
        ] {
            assert_eq!(read(content_type, &body), [], "{content_type} {body}");
        }
    }

    proptest! {
        #[test]
        fn no_body_panics(body in "(--BB|\r\n|Content-Disposition: form-data|; name=|\"|a|--){0,30}") {
            let n_fields = fields(TYPE, body.as_bytes()).count();
            prop_assert!(n_fields <= body.len());
        }
    }
}
