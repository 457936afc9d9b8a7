//! How does a test speak HTTP? One keep-alive connection, blocking, every answer in time.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::wait::now;

/// A client of one server, as plain as x2goclient: HTTP/1.1, one connection that is kept
/// and opened again when the server closed it.
#[derive(Debug)]
pub struct HttpClient {
    server: SocketAddr,
    deadline: Duration,
    connection: Option<TcpStream>,
}

/// An answer with its whole body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpResponse {
    /// The status code.
    pub status: u16,
    /// The header fields in their order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// No connection was made before the deadline.
    #[error("no connection to {server}")]
    Connect {
        /// The server that was called.
        server: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The connection broke or the deadline passed before the answer was complete.
    #[error("no complete answer from {server}")]
    Broken {
        /// The server that was called.
        server: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The answer is not HTTP as this client knows it.
    #[error("answer from {server} is not understood: {what}")]
    Malformed {
        /// The server that was called.
        server: SocketAddr,
        /// What is wrong with it.
        what: &'static str,
    },
}

impl HttpClient {
    /// A client of `server`; each request has `deadline` from its first to its last byte,
    /// connecting included. Nothing is connected yet.
    #[must_use]
    pub fn new(server: SocketAddr, deadline: Duration) -> Self {
        Self {
            server,
            deadline,
            connection: None,
        }
    }

    /// The server that is called.
    #[must_use]
    pub fn server(&self) -> SocketAddr {
        self.server
    }

    /// Gets `path`.
    ///
    /// # Errors
    /// When there is no complete answer before the deadline.
    pub fn get(&mut self, path: &str) -> Result<HttpResponse, HttpError> {
        self.request(&format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n",
            self.server
        ))
    }

    /// Posts a form to `path`, with the header fields that x2goclient sends.
    ///
    /// # Errors
    /// When there is no complete answer before the deadline.
    pub fn post_form(
        &mut self,
        path: &str,
        fields: &[(&str, &str)],
    ) -> Result<HttpResponse, HttpError> {
        self.post(path, &encode_form(fields))
    }

    /// Posts an encoded form to `path`, as [`Self::post_form`] does.
    ///
    /// # Errors
    /// When there is no complete answer before the deadline.
    pub fn post(&mut self, path: &str, form: &str) -> Result<HttpResponse, HttpError> {
        self.request(&format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\
             Connection: Keep-Alive\r\n\r\n{form}",
            self.server,
            form.len()
        ))
    }

    /// Sends one request; on a connection that the server has closed meanwhile, once more on
    /// a new one.
    fn request(&mut self, request: &str) -> Result<HttpResponse, HttpError> {
        let end = now() + self.deadline;
        if let Some(kept) = self.connection.take()
            && let Ok(response) = self.exchange(kept, request, end)
        {
            return Ok(response);
        }
        let broken = |source| HttpError::Connect {
            server: self.server,
            source,
        };
        let stream = TcpStream::connect_timeout(&self.server, left(end)).map_err(broken)?;
        stream.set_nodelay(true).map_err(broken)?;
        self.exchange(stream, request, end)
    }

    fn exchange(
        &mut self,
        mut stream: TcpStream,
        request: &str,
        end: Instant,
    ) -> Result<HttpResponse, HttpError> {
        let server = self.server;
        let broken = |source| HttpError::Broken { server, source };
        stream.set_write_timeout(Some(left(end))).map_err(broken)?;
        let written = stream.write_all(request.as_bytes());
        let mut reader = Reader {
            stream: &mut stream,
            server,
            end,
            bytes: Vec::new(),
        };
        // Who is told that it sends too much is told before it has sent all.
        let (response, keep) = match written {
            Ok(()) => reader.response()?,
            Err(error) => reader.response().or(Err(broken(error)))?,
        };
        if keep {
            self.connection = Some(stream);
        }
        Ok(response)
    }
}

impl HttpResponse {
    /// Returns the value of a header field; `name` in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(field, _)| field == name)
            .map(|(_, value)| value.as_str())
    }

    /// Returns the body as text; foreign bytes are replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Reads one answer.
struct Reader<'a> {
    stream: &'a mut TcpStream,
    server: SocketAddr,
    end: Instant,
    bytes: Vec<u8>,
}

impl Reader<'_> {
    /// Returns the answer, and whether the connection can be used again.
    fn response(&mut self) -> Result<(HttpResponse, bool), HttpError> {
        let head_end = loop {
            match find(&self.bytes, b"\r\n\r\n") {
                Some(idx) => break idx,
                None if self.bytes.len() > MAX_HEAD_BYTES => return Err(self.odd("endless head")),
                None => self.more()?,
            }
        };
        let head: Vec<u8> = self.bytes.drain(..head_end + 4).collect();
        let (status, headers) = parse_head(&head).ok_or_else(|| self.odd("head"))?;
        let mut response = HttpResponse {
            status,
            headers,
            body: Vec::new(),
        };
        let length = match response.header("content-length") {
            Some(length) => length
                .parse::<usize>()
                .ok()
                .filter(|bytes| *bytes <= MAX_BODY_BYTES),
            None => return Err(self.odd("no content-length")),
        };
        let length = length.ok_or_else(|| self.odd("content-length"))?;
        while self.bytes.len() < length {
            self.more()?;
        }
        response.body = self.bytes.drain(..length).collect();
        let closes = |value: &str| value.eq_ignore_ascii_case("close");
        let keep = !response.header("connection").is_some_and(closes);
        Ok((response, keep))
    }

    fn more(&mut self) -> Result<(), HttpError> {
        let server = self.server;
        let broken = |source| HttpError::Broken { server, source };
        self.stream
            .set_read_timeout(Some(left(self.end)))
            .map_err(broken)?;
        let mut chunk = [0; 16 * 1024];
        let count = self.stream.read(&mut chunk).map_err(broken)?;
        if count == 0 {
            return Err(broken(std::io::ErrorKind::UnexpectedEof.into()));
        }
        self.bytes.extend(chunk.iter().take(count));
        Ok(())
    }

    fn odd(&self, what: &'static str) -> HttpError {
        HttpError::Malformed {
            server: self.server,
            what,
        }
    }
}

/// Returns the time left, but never zero, which the socket calls don't allow.
fn left(end: Instant) -> Duration {
    end.saturating_duration_since(now())
        .max(Duration::from_millis(1))
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}

fn parse_head(head: &[u8]) -> Option<(u16, Vec<(String, String)>)> {
    let text = std::str::from_utf8(head).ok()?;
    let mut lines = text.trim_end().split("\r\n");
    let status = lines
        .next()?
        .strip_prefix("HTTP/1.1 ")?
        .get(..3)?
        .parse()
        .ok()?;
    let headers = lines.map(|line| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_ascii_lowercase(), value.trim().to_owned()))
    });
    Some((status, headers.collect::<Option<_>>()?))
}

/// Encodes a form as x2goclient does: all but letters, digits and `-._~` as %XX.
#[must_use]
pub fn encode_form(fields: &[(&str, &str)]) -> String {
    let pairs: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("{}={}", percent(name.as_bytes()), percent(value.as_bytes())))
        .collect();
    pairs.join("&")
}

/// Encodes a value of a form, which may hold any bytes.
#[must_use]
pub fn percent(value: &[u8]) -> String {
    value
        .iter()
        .map(|&byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// More than any server sends before a body.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// The longest list of profiles in any test is far below.
const MAX_BODY_BYTES: usize = 64 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Odd:  a b \r\n\r\nhi";

    /// Serves the given answers, one list per connection, and returns what was asked.
    fn serve(connections: Vec<Vec<&'static str>>) -> (SocketAddr, thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            let mut asked = Vec::new();
            for answers in connections {
                let (mut stream, _) = listener.accept().unwrap();
                for answer in answers {
                    let mut chunk = [0; 4096];
                    let count = stream.read(&mut chunk).unwrap();
                    asked.push(String::from_utf8_lossy(&chunk[..count]).into_owned());
                    stream.write_all(answer.as_bytes()).unwrap();
                }
            }
            asked
        });
        (address, server)
    }

    #[test]
    fn two_requests_share_a_connection() {
        let (address, server) = serve(vec![vec![OK, OK]]);
        let mut client = HttpClient::new(address, Duration::from_secs(5));
        let first = client
            .post_form("/plain/", &[("user", "a b"), ("password", "ü&=")])
            .unwrap();
        assert_eq!((first.status, first.text()), (200, "hi".to_owned()));
        assert_eq!(first.header("x-odd"), Some("a b"));
        assert_eq!(client.get("/").unwrap().status, 200);
        let asked = server.join().unwrap();
        assert!(
            asked[0].ends_with("\r\n\r\nuser=a%20b&password=%C3%BC%26%3D"),
            "{}",
            asked[0]
        );
        assert!(asked[1].starts_with("GET / HTTP/1.1\r\n"), "{}", asked[1]);
    }

    #[test]
    fn a_connection_that_the_server_closed_is_opened_again() {
        let (address, server) = serve(vec![vec![OK], vec![OK]]);
        let mut client = HttpClient::new(address, Duration::from_secs(5));
        assert!(client.get("/1").is_ok());
        assert!(client.get("/2").is_ok());
        assert_eq!(server.join().unwrap().len(), 2);
    }

    #[test]
    fn a_silent_server_is_left_at_the_deadline() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client =
            HttpClient::new(listener.local_addr().unwrap(), Duration::from_millis(100));
        let begun = now();
        assert!(matches!(client.get("/"), Err(HttpError::Broken { .. })));
        assert!(begun.elapsed() >= Duration::from_millis(100));
        assert!(begun.elapsed() < Duration::from_secs(4));
    }

    #[test]
    fn a_closed_port_is_told_apart_from_a_broken_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let mut client = HttpClient::new(address, Duration::from_secs(5));
        assert!(matches!(client.get("/"), Err(HttpError::Connect { .. })));
    }

    #[test]
    fn an_answer_that_is_not_http_is_refused() {
        for answer in ["SSH-2.0-OpenSSH\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"] {
            let (address, _server) = serve(vec![vec![answer]]);
            let mut client = HttpClient::new(address, Duration::from_secs(5));
            assert!(
                matches!(client.get("/"), Err(HttpError::Malformed { .. })),
                "{answer}"
            );
        }
    }
}
