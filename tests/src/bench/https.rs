//! How does a bench ask over HTTPS? One keep-alive connection, blocking, as cheap as can
//! be: what the client costs is missing to the server on the same two cores.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// What clients need to trust the farm's certificates.
#[derive(Clone, Debug)]
pub struct ClientTrust {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

/// One open connection, with one request made ready for each of its users.
#[derive(Debug)]
pub struct HttpsClient {
    stream: StreamOwned<ClientConnection, TcpStream>,
    read: Vec<u8>,
}

impl ClientTrust {
    /// Trusts servers whose leaf of the farm chains to the roots in the file `roots`.
    ///
    /// # Errors
    /// When the file is not usable.
    pub fn in_farm(roots: &Path) -> anyhow::Result<Self> {
        let mut store = RootCertStore::empty();
        let certificates = CertificateDer::pem_file_iter(roots).context("reading the roots")?;
        for root in certificates {
            store.add(root.context("reading a root")?)?;
        }
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])?
            .with_root_certificates(store)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            config: Arc::new(config),
            name: ServerName::try_from(pki::MEMBER_DNS_NAME)?,
        })
    }
}

impl HttpsClient {
    /// Connects to `server`.
    ///
    /// # Errors
    /// When it can't be reached or trusted.
    pub fn connect(server: SocketAddr, trust: &ClientTrust) -> anyhow::Result<Self> {
        let tcp = TcpStream::connect_timeout(&server, DEADLINE)
            .with_context(|| format!("connecting to {server}"))?;
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(DEADLINE))?;
        tcp.set_write_timeout(Some(DEADLINE))?;
        let connection = ClientConnection::new(Arc::clone(&trust.config), trust.name.clone())?;
        Ok(Self {
            stream: StreamOwned::new(connection, tcp),
            read: vec![0; MAX_ANSWER_BYTES],
        })
    }

    /// Sends a request made by [`post`] and returns the body of its answer, which must be a
    /// good one.
    ///
    /// # Errors
    /// When there is no answer in time, or another status than 200.
    pub fn ask(&mut self, request: &[u8]) -> anyhow::Result<&[u8]> {
        self.stream.write_all(request).context("sending")?;
        let mut n_read = 0;
        let (from, to) = loop {
            let room = self.read.get_mut(n_read..).unwrap_or_default();
            ensure!(!room.is_empty(), "the answer is too long");
            let n_more = self.stream.read(room).context("reading the answer")?;
            ensure!(n_more > 0, "the server closed the connection");
            n_read += n_more;
            let read = self.read.get(..n_read).unwrap_or_default();
            if let Some(body) = body_of(read)?.filter(|(_, to)| *to <= n_read) {
                break body;
            }
        };
        self.read.get(from..to).context("an answer has a body")
    }
}

/// Makes a request that posts a form to `path`, with the header fields that x2goclient
/// sends. Names and values must need no encoding.
#[must_use]
pub fn post(path: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let pairs = fields.iter().map(|(name, value)| format!("{name}={value}"));
    let form = pairs.collect::<Vec<_>>().join("&");
    format!(
        "POST {path} HTTP/1.1\r\nHost: broker\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\
         Connection: Keep-Alive\r\n\r\n{form}",
        form.len()
    )
    .into_bytes()
}

/// Where the body begins and where it will end, once the head is there.
fn body_of(answer: &[u8]) -> anyhow::Result<Option<(usize, usize)>> {
    let Some(head) = answer.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let text = std::str::from_utf8(answer.get(..head).unwrap_or_default())?;
    ensure!(text.starts_with("HTTP/1.1 200"), "bad answer: {text}");
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_it = name.eq_ignore_ascii_case("content-length");
        is_it.then(|| value.trim().parse::<usize>().ok())?
    });
    let length = length.context("an answer without content-length")?;
    Ok(Some((head + 4, head + 4 + length)))
}

/// A request that takes this long is an error and no figure.
const DEADLINE: Duration = Duration::from_secs(10);

/// A list of a thousand session profiles is shorter.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::{body_of, post};

    #[test]
    fn the_body_is_found_once_the_head_is_complete() {
        let head = b"HTTP/1.1 200 OK\r\ncontent-LENGTH: 3\r\n\r\n";
        assert_eq!(body_of(head.get(..20).unwrap()).unwrap(), None);
        assert_eq!(body_of(head).unwrap(), Some((head.len(), head.len() + 3)));
        assert!(body_of(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n").is_err());
        assert!(body_of(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }

    #[test]
    fn a_request_carries_its_form() {
        let request = String::from_utf8(post("/plain/", &[("task", "testcon"), ("user", "u1")]));
        let request = request.unwrap();
        assert!(request.starts_with("POST /plain/ HTTP/1.1\r\n"));
        assert!(request.contains("Content-Length: 20\r\n"), "{request}");
        assert!(request.ends_with("\r\n\r\ntask=testcon&user=u1"));
    }
}
