//! Does a web server open a page for this user and password?
//!
//! One GET with Basic credentials per question, over TLS whose certificate must lead to a
//! root that is trusted and hold the server's name. Status 200 to 299 means yes, 401 and
//! 403 mean no; a redirect is followed nowhere, since it would take the password along.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pki::{HttpsClientError, https_client_config};
use proto::{BrokerUser, Secret};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::{InvalidDnsNameError, ServerName};
use zeroize::Zeroizing;

use crate::config::HttpsGetConfig;
use crate::places::PlacesOfEach;

/// Asks web servers.
#[derive(Debug)]
pub(super) struct HttpsGet {
    trust: Mutex<HashMap<PathBuf, Trust>>,
    /// Of each web server: one that hangs holds up nobody who is asked about elsewhere.
    room: PlacesOfEach<(String, u16)>,
    deadline: Duration,
}

/// The roots of a file as it was when it was read.
#[derive(Debug)]
struct Trust {
    modified: Option<SystemTime>,
    config: Arc<ClientConfig>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum HttpsGetError {
    #[error("no web server can be trusted")]
    Trust(#[from] HttpsClientError),
    #[error("the host of [authmech_https_get] is no name")]
    Host(#[from] InvalidDnsNameError),
    #[error("the web server {host}:{port} can't be asked")]
    Network {
        host: String,
        port: u16,
        source: io::Error,
    },
    #[error("the web server did not answer within {0:?}")]
    TimedOut(Duration),
    #[error("the web server answered with status {0}, which is neither yes nor no")]
    Status(u16),
}

impl Default for HttpsGet {
    fn default() -> Self {
        Self {
            trust: Mutex::default(),
            room: PlacesOfEach::new(AT_ONCE),
            deadline: DEADLINE,
        }
    }
}

impl HttpsGet {
    /// Whether the page opens.
    pub(super) async fn opens(
        &self,
        config: &HttpsGetConfig,
        user: &BrokerUser,
        password: &Secret,
    ) -> Result<bool, HttpsGetError> {
        let asked = tokio::time::timeout(self.deadline, self.ask(config, user, password));
        asked
            .await
            .unwrap_or(Err(HttpsGetError::TimedOut(self.deadline)))
    }

    async fn ask(
        &self,
        config: &HttpsGetConfig,
        user: &BrokerUser,
        password: &Secret,
    ) -> Result<bool, HttpsGetError> {
        let _room = self.room.take((config.host.clone(), config.port)).await;
        let trust = self.trust(config.ca_file.as_deref().unwrap_or(Path::new(SYSTEM_ROOTS)))?;
        let name = ServerName::try_from(config.host.clone())?;
        let status = get(trust, name, config, user, password).await;
        let status = status.map_err(|source| HttpsGetError::Network {
            host: config.host.clone(),
            port: config.port,
            source,
        })?;
        judged(status)
    }

    /// The roots in `path`, read again when the file changed. A local file, once in a long
    /// while: not worth a thread.
    fn trust(&self, path: &Path) -> Result<Arc<ClientConfig>, HttpsClientError> {
        let modified = fs::metadata(path).and_then(|found| found.modified()).ok();
        let mut trust = self.trust.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = trust.get(path).filter(|known| known.modified == modified) {
            return Ok(Arc::clone(&known.config));
        }
        let config = https_client_config(path)?;
        // Files that no configuration names any more.
        if trust.len() >= MAX_FILES {
            trust.clear();
        }
        let known = Trust {
            modified,
            config: Arc::clone(&config),
        };
        trust.insert(path.to_owned(), known);
        Ok(config)
    }
}

/// What is neither yes nor no says nothing about the password, and does not count against
/// anybody.
fn judged(status: u16) -> Result<bool, HttpsGetError> {
    match status {
        200..=299 => Ok(true),
        401 | 403 => Ok(false),
        status => Err(HttpsGetError::Status(status)),
    }
}

async fn get(
    trust: Arc<ClientConfig>,
    name: ServerName<'static>,
    config: &HttpsGetConfig,
    user: &BrokerUser,
    password: &Secret,
) -> io::Result<u16> {
    let tcp = TcpStream::connect((config.host.as_str(), config.port)).await?;
    let mut stream = TlsConnector::from(trust).connect(name, tcp).await?;
    stream
        .write_all(request(config, user, password).as_bytes())
        .await?;
    stream.flush().await?;
    read_status(&mut stream).await
}

fn request(config: &HttpsGetConfig, user: &BrokerUser, password: &Secret) -> Zeroizing<String> {
    let credentials = Zeroizing::new(format!("{user}:{}", password.expose()));
    let credentials = Zeroizing::new(STANDARD.encode(credentials.as_bytes()));
    let HttpsGetConfig {
        host, port, path, ..
    } = config;
    let host = match host.contains(':') {
        true => format!("[{host}]"),
        false => host.clone(),
    };
    Zeroizing::new(format!(
        "GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Basic {}\r\n\
         User-Agent: x2gobroker\r\nAccept: */*\r\nConnection: close\r\n\r\n",
        credentials.as_str()
    ))
}

/// The number in the first line; what follows is not needed.
async fn read_status(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<u16> {
    let mut line = Vec::with_capacity(STATUS_BYTES);
    while line.len() < STATUS_BYTES {
        if stream.read_buf(&mut line).await? == 0 {
            break;
        }
        if let Some(status) = status_of(&line) {
            return Ok(status);
        }
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "no HTTP status"))
}

/// `HTTP/1.1 200 ` is all that must have come.
fn status_of(bytes: &[u8]) -> Option<u16> {
    let rest = bytes.strip_prefix(b"HTTP/1.")?;
    let digits = rest.get(1..)?.strip_prefix(b" ")?.get(..3)?;
    let ended = rest.get(5).is_some_and(u8::is_ascii_whitespace);
    let status = std::str::from_utf8(digits).ok().filter(|_| ended)?;
    status
        .parse()
        .ok()
        .filter(|status| (100..=599).contains(status))
}

/// What Debian's ca-certificates keeps.
const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Name look-up, connection and answer together.
const DEADLINE: Duration = Duration::from_secs(10);

/// Questions to one web server at the same time; more wait, within their deadline.
const AT_ONCE: usize = 64;

/// Files with roots: one for each broker that has its own.
const MAX_FILES: usize = 64;

/// Room for the first line of an answer.
const STATUS_BYTES: usize = 1024;

#[cfg(test)]
mod tests;
