//! How are the bytes of a request sent as they were recorded, from the same address?

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tests::wait::now;
use tokio::net::TcpSocket;

use crate::message;

/// A connection of a client.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
}

impl Connection {
    /// Connects to `server` from the address `from`, any port.
    pub(crate) fn open(from: Ipv4Addr, server: SocketAddr) -> anyhow::Result<Self> {
        // The standard library connects from the address that the system chooses.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let stream = runtime.block_on(async {
            let socket = TcpSocket::new_v4()?;
            socket.bind(SocketAddr::new(IpAddr::V4(from), 0))?;
            let connected = tokio::time::timeout(CONNECT_LIMIT, socket.connect(server)).await;
            connected
                .map_err(|_elapsed| ErrorKind::TimedOut.into())
                .flatten()?
                .into_std()
        });
        let stream = stream.with_context(|| format!("connecting to {server} from {from}"))?;
        stream.set_nonblocking(false)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream })
    }

    /// Sends a request and returns what came back within `limit`: a whole answer if there is
    /// one, else the part of it.
    pub(crate) fn exchange(&mut self, request: &[u8], limit: Duration) -> anyhow::Result<Vec<u8>> {
        let end = now() + limit;
        // Who answers before it has read everything may refuse the rest.
        self.stream.set_write_timeout(Some(limit))?;
        let _refused = self.stream.write_all(request);
        let headless = request.starts_with(b"HEAD ");
        let mut answer = Vec::new();
        let mut chunk = [0; 16 * 1024];
        while !is_whole(&answer, headless) {
            let left = end.saturating_duration_since(now());
            if left.is_zero() {
                break;
            }
            self.stream.set_read_timeout(Some(left))?;
            match self.stream.read(&mut chunk) {
                Ok(0) => break,
                Ok(count) => answer.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
                Err(error) => return Err(error).context("reading an answer"),
            }
            ensure!(answer.len() <= MAX_ANSWER, "an answer without end");
        }
        Ok(answer)
    }
}

/// Whether these bytes are an answer with its whole body. One that ends with its
/// connection is never known to be whole.
fn is_whole(answer: &[u8], headless: bool) -> bool {
    let Some((head, body)) = message::parts(answer) else {
        return false;
    };
    let bodiless = [&b"HTTP/1.1 304"[..], b"HTTP/1.1 204"];
    if headless || bodiless.iter().any(|status| head.starts_with(status)) {
        return true;
    }
    let length = message::header(head, "content-length").and_then(|text| text.parse().ok());
    length.is_some_and(|length: usize| body.len() >= length)
}

/// Both ends are on this machine.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// The longest recorded answer has 15 KB.
const MAX_ANSWER: usize = 1 << 20;

#[test]
fn an_answer_is_whole_with_its_last_byte() {
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK";
    assert!(is_whole(answer, false));
    assert!(!is_whole(&answer[..answer.len() - 1], false));
    assert!(is_whole(&answer[..answer.len() - 2], true));
    assert!(!is_whole(b"HTTP/1.1 400 Bad Request\r\n\r\n", false));
    assert!(is_whole(b"HTTP/1.1 304 Not Modified\r\n\r\n", false));
}
