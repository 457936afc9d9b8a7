//! What does a web server have at a URL? One GET, over TLS whose certificate is checked.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use http::header::{HOST, LOCATION, USER_AGENT};
use http::{Request, Uri};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

/// Gets a text. Redirects are followed nowhere, since they may lead from TLS to less.
pub(super) async fn text(url: &Uri, roots: &Path) -> Result<String> {
    let got = tokio::time::timeout(DEADLINE, get(url, roots)).await;
    got.unwrap_or_else(|_elapsed| bail!("no whole answer within {DEADLINE:?}"))
}

async fn get(url: &Uri, roots: &Path) -> Result<String> {
    let host = url.host().context("the URL names no host")?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let tls = match url.scheme_str() {
        Some("https") => true,
        Some("http") => false,
        _ => bail!("the URL must begin with https:// or http://"),
    };
    let port = url.port_u16().unwrap_or(if tls { 443 } else { 80 });
    let tcp = TcpStream::connect((host, port)).await;
    let tcp = tcp.with_context(|| format!("{host}:{port} can't be reached"))?;
    if !tls {
        return exchange(tcp, url).await;
    }
    let name = ServerName::try_from(host.to_owned()).context("the host of the URL is no name")?;
    let connector = TlsConnector::from(pki::https_client_config(roots)?);
    let stream = connector.connect(name, tcp).await;
    let stream = stream.with_context(|| {
        format!(
            "{host}:{port} did not show a certificate that {} leads to; name its root with \
             --ca-file",
            roots.display()
        )
    })?;
    exchange(stream, url).await
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    url: &Uri,
) -> Result<String> {
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let authority = url.authority().map_or("", |authority| authority.as_str());
    ensure!(!authority.contains('@'), "the URL must not hold a password");
    let request = Request::get(path)
        .header(HOST, authority)
        .header(
            USER_AGENT,
            concat!("x2gobroker/", env!("CARGO_PKG_VERSION")),
        )
        .body(Empty::<Bytes>::new())
        .context("the URL can't be asked for")?;
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
    let answered = async move {
        let answer = sender.send_request(request).await.context("no answer")?;
        let (head, body) = answer.into_parts();
        if head.status.is_redirection() {
            let to = head.headers.get(LOCATION).and_then(|to| to.to_str().ok());
            bail!(
                "the answer leads elsewhere; try {}",
                to.unwrap_or("another URL")
            );
        }
        ensure!(head.status.is_success(), "the answer is {}", head.status);
        let body = Limited::new(body, MAX_BYTES).collect().await;
        let body = body.map_err(|error| anyhow::anyhow!("the answer can't be read: {error}"))?;
        String::from_utf8(body.to_bytes().into()).context("the answer is no text")
    };
    tokio::pin!(answered);
    tokio::select! {
        biased;
        text = &mut answered => text,
        // What came before its end is still there to be read.
        _ended = connection => answered.await,
    }
}

/// Name look-up, connection and answer together.
const DEADLINE: Duration = Duration::from_secs(20);

/// Room for a hundred keys.
const MAX_BYTES: usize = 256 * 1024;
