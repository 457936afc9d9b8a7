//! How does a test send what no honest client would? Bytes on a socket, and what comes back.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use tests::wait::now;

/// What came back on a connection until it was closed, or until the limit.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) bytes: Vec<u8>,
    /// Whether the other side has closed the connection.
    pub(crate) closed: bool,
    /// How long that took.
    pub(crate) took: Duration,
}

impl Got {
    /// Reads from `stream` until it is closed, for at most `limit`.
    pub(crate) fn from(stream: &mut TcpStream, limit: Duration) -> Self {
        let begun = now();
        let mut got = Self {
            bytes: Vec::new(),
            closed: false,
            took: Duration::ZERO,
        };
        let mut chunk = [0; 16 * 1024];
        while !got.closed && begun.elapsed() < limit {
            let left = limit.saturating_sub(begun.elapsed());
            stream
                .set_read_timeout(Some(left.max(Duration::from_millis(1))))
                .unwrap();
            match stream.read(&mut chunk) {
                Ok(0) => got.closed = true,
                Ok(count) => got.bytes.extend(&chunk[..count]),
                Err(error) if is_timeout(&error) => {}
                // A reset: what has come before it was read already.
                Err(_) => got.closed = true,
            }
        }
        got.took = begun.elapsed();
        got
    }

    /// The status code of the first answer; 0 when there is none.
    pub(crate) fn status(&self) -> u16 {
        let text = self.text();
        let code = text
            .strip_prefix("HTTP/1.1 ")
            .and_then(|rest| rest.get(..3));
        code.and_then(|code| code.parse().ok()).unwrap_or(0)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// The head of the first answer, and what follows it.
    pub(crate) fn head_and_body(&self) -> (String, String) {
        let text = self.text();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        (head.to_ascii_lowercase(), body.to_owned())
    }
}

/// Connects from 127.0.0.1.
pub(crate) fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&to, LIMIT).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_write_timeout(Some(LIMIT)).unwrap();
    stream
}

/// Connects from another address of loopback.
pub(crate) fn connect_from(from: Ipv4Addr, to: SocketAddr) -> io::Result<TcpStream> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    let stream = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.bind((from, 0).into())?;
        socket.connect(to).await
    })?;
    let stream = stream.into_std()?;
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// Sends `bytes` on a new connection and returns all that comes back.
pub(crate) fn exchange(to: SocketAddr, bytes: &[u8]) -> Got {
    let mut stream = connect(to);
    // What is refused early may not be taken wholly.
    let _ = stream.write_all(bytes);
    Got::from(&mut stream, LIMIT)
}

/// A request with this body; the connection ends with its answer.
pub(crate) fn post(path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: broker\r\nConnection: close\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n{headers}\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// The form of a login.
pub(crate) fn login_form(user: &str) -> String {
    format!("task=selectsession&sid=farm&user={user}&password=pw&login={user}")
}

/// Whether the other side has closed the connection, without waiting.
pub(crate) fn is_closed(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    match stream.peek(&mut [0]) {
        Ok(count) => count == 0,
        Err(error) => !is_timeout(&error),
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// No answer takes that long, even of a busy machine.
const LIMIT: Duration = Duration::from_secs(5);
