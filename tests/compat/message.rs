//! Where does an HTTP message end, and what are its parts?

use anyhow::{Context as _, ensure};

/// The parts of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Response {
    /// `HTTP/1.1 200 OK`.
    pub(crate) status: String,
    /// In their order, with the names as they were sent.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// Reads a whole answer.
    pub(crate) fn parse(bytes: &[u8]) -> anyhow::Result<Self> {
        let (head, body) = parts(bytes).context("an answer without the end of its head")?;
        let head = std::str::from_utf8(head)?;
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap_or_default().to_owned();
        let header = |line: &str| {
            let (name, value) = line
                .split_once(':')
                .with_context(|| format!("header {line:?}"))?;
            Ok((name.to_owned(), value.trim().to_owned()))
        };
        let headers: anyhow::Result<_> =
            lines.filter(|line| !line.is_empty()).map(header).collect();
        Ok(Self {
            status,
            headers: headers?,
            body: body.to_vec(),
        })
    }

    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self
            .headers
            .iter()
            .filter(|(key, _)| key.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.as_str())
    }
}

/// Splits a message after its head.
pub(crate) fn parts(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = bytes.windows(4).position(|part| part == b"\r\n\r\n")?;
    Some((&bytes[..at + 2], &bytes[at + 4..]))
}

/// The value of a header in the head of a message.
pub(crate) fn header<'a>(head: &'a [u8], name: &str) -> Option<&'a str> {
    let head = std::str::from_utf8(head).ok()?;
    let mut lines = head.lines().filter_map(|line| line.split_once(':'));
    let found = lines.find(|(key, _)| key.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.trim())
}

/// Splits a recorded stream into its messages; each has a length or no body.
pub(crate) fn split(mut stream: &[u8]) -> anyhow::Result<Vec<Vec<u8>>> {
    let mut messages = Vec::new();
    while !stream.is_empty() {
        let (head, _) = parts(stream).context("a message without the end of its head")?;
        let length: usize = header(head, "content-length").unwrap_or("0").parse()?;
        let end = head.len() + 2 + length;
        ensure!(end <= stream.len(), "a message is cut");
        messages.push(stream[..end].to_vec());
        stream = &stream[end..];
    }
    Ok(messages)
}

/// Makes a request whole again that was recorded as `START...[N bytes in all]`: its last
/// byte is repeated, or its numbered fields are counted on.
pub(crate) fn in_full(request: Vec<u8>) -> anyhow::Result<Vec<u8>> {
    let Some(text) = request.strip_suffix(b" bytes in all]") else {
        return Ok(request);
    };
    let cut = text
        .windows(4)
        .rposition(|part| part == b"...[")
        .context("the cut of a request")?;
    let total: usize = std::str::from_utf8(&text[cut + 4..])?.parse()?;
    let mut whole = text[..cut].to_vec();
    let at = whole.iter().rposition(|byte| *byte == b'&');
    let field = at.map(|at| String::from_utf8_lossy(&whole[at..]).into_owned());
    match field.as_deref().and_then(|field| field.strip_prefix("&f")) {
        Some(_) => {
            let n_fields = whole.windows(2).filter(|part| part == b"&f").count();
            whole.truncate(at.unwrap_or_default());
            for number in n_fields - 1.. {
                if whole.len() >= total {
                    break;
                }
                whole.extend_from_slice(format!("&f{number}=1").as_bytes());
            }
        }
        None => {
            let last = *whole.last().context("an empty request")?;
            whole.resize(total, last);
        }
    }
    ensure!(
        whole.len() == total,
        "a request can't be made whole: {} of {total}",
        whole.len()
    );
    Ok(whole)
}

#[test]
fn a_cut_request_is_made_whole() {
    let whole = |text: &str| {
        let whole = in_full(text.as_bytes().to_vec()).unwrap();
        String::from_utf8(whole).unwrap()
    };
    assert_eq!(whole("a=1&p=xx...[9 bytes in all]"), "a=1&p=xxx");
    assert_eq!(
        whole("a=1&f0=1&f1...[18 bytes in all]"),
        "a=1&f0=1&f1=1&f2=1"
    );
    assert_eq!(whole("as it is"), "as it is");
}

#[test]
fn a_stream_falls_into_its_messages() {
    let stream =
        b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\nHost: b\r\n\r\n";
    let messages = split(stream).unwrap();
    assert_eq!(messages.len(), 2);
    assert!(messages[0].ends_with(b"abc"));
    assert!(split(&stream[..stream.len() - 2]).is_err());
}
