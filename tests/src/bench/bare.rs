//! What does HTTPS alone cost? A bare axum handler with a fixed answer, behind the same
//! TLS configuration as a replica's, in a process of its own with as many threads.
//!
//! The process is the bench itself, started again with `ARGUMENT` as its first argument.

use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use axum::Router;
use axum::body::Bytes;
use axum::http::header::CONTENT_TYPE;
use axum::routing::post;
use axum::serve::Listener;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::farm::{Farm, START_LIMIT, address_in};
use crate::process::{Process, command};

/// A running bare handler.
#[derive(Debug)]
pub struct BareHandler {
    /// Its process.
    pub process: Process,
    /// Where it listens.
    pub address: SocketAddr,
}

impl BareHandler {
    /// Starts one that answers every request with `answer`.
    ///
    /// # Errors
    /// When it doesn't come up.
    pub fn start(farm: &Farm, answer: &[u8]) -> anyhow::Result<Self> {
        let file = farm.folder().join("bare-answer");
        std::fs::write(&file, answer).context("writing the fixed answer")?;
        let [certificate, key] = farm.https_files();
        let program = std::env::current_exe().context("finding this program")?;
        let mut args = vec![program.into_os_string(), ARGUMENT.into()];
        args.extend([certificate, key, file].map(PathBuf::into_os_string));
        let mut process = farm.start("bare", &mut command("setpriv"), args)?;
        let line = process.wait_for_log(START_LIMIT, &["bare handler"])?;
        let address = address_in(&line)?;
        Ok(Self { process, address })
    }
}

/// Serves when this process was started to do that, and never returns then in time.
/// Every bench with a bare handler begins with this.
#[must_use]
pub fn serve_if_asked() -> Option<ExitCode> {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    if args.first()? != ARGUMENT {
        return None;
    }
    Some(match serve(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    })
}

fn serve(args: &[OsString]) -> anyhow::Result<()> {
    let [_, certificate, key, answer] = args else {
        bail!("{ARGUMENT} CERTIFICATE KEY ANSWER");
    };
    let answer = Bytes::from(std::fs::read(answer).context("reading the fixed answer")?);
    let tls = pki::https_server_config(Path::new(certificate), Path::new(key))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(REPLICA_THREADS)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = TlsListener {
            tcp: TcpListener::bind("127.0.0.1:0").await?,
            tls: TlsAcceptor::from(Arc::clone(&tls)),
        };
        say(&format!("bare handler address={}", listener.local_addr()?));
        let kind = [(CONTENT_TYPE, "text/plain; charset=utf-8")];
        let handler = move |_form: Bytes| async move { (kind, answer) };
        axum::serve(listener, Router::new().route("/plain/", post(handler))).await?;
        Ok(())
    })
}

#[expect(clippy::print_stdout, reason = "read by whoever started this process")]
fn say(line: &str) {
    println!("{line}");
}

struct TlsListener {
    tcp: TcpListener,
    tls: TlsAcceptor,
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let Ok((tcp, peer)) = self.tcp.accept().await else {
                continue;
            };
            // One handshake after the other is good enough for the few connections here.
            let ready = tcp.set_nodelay(true);
            if ready.is_ok()
                && let Ok(stream) = self.tls.accept(tcp).await
            {
                return (stream, peer);
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

const ARGUMENT: &str = "bare-handler";
/// As `x2gobroker-daemon` has.
const REPLICA_THREADS: usize = 2;
