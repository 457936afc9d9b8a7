//! How loaded are the servers of a profile, for whoever asked the load checker of
//! x2gobroker 0.0.4.3?
//!
//! A request is `BACKEND CR PROFILE CR HOST LF`. With a host the answer is its load factor
//! as digits and nothing more, or a word; without one, a line `HOST:FACTOR` for each host of
//! the profile. A larger factor is a better server. What the original asked each server for
//! is here in the view of the farm already.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use proto::{Load, Readiness};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use crate::frontend::https::socket::{BindError, Socket};
use crate::profiles::{ProfileHost, SessionProfile};
use crate::settings::{Settings, SettingsWatch};
use crate::view::FarmView;
use crate::view::feed::FeedHandle;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Request {
    backend: String,
    profile: String,
    host: String,
}

/// What is said of one host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Factor {
    /// Memory, processors and their speed, by the load: larger is better.
    Is(u64),
    /// No agent of it is known, or it takes no sessions.
    Unavailable,
    /// Its agent does not answer.
    Unreachable,
}

/// Answers load checks at a socket.
#[derive(Debug)]
pub(crate) struct LoadChecker {
    listener: UnixListener,
    path: PathBuf,
    asked: Asked,
}

/// Who is asked.
#[derive(Clone, Debug)]
struct Asked {
    settings: SettingsWatch,
    feed: FeedHandle,
}

impl LoadChecker {
    /// Listens; the group of this process may ask.
    pub(crate) fn bind(
        path: &Path,
        settings: SettingsWatch,
        feed: FeedHandle,
    ) -> Result<Option<Self>, BindError> {
        let Socket::Unix { listener, .. } = Socket::bind_unix(path, SOCKET_MODE)? else {
            return Ok(None);
        };
        info!(path = %path.display(), "answering load checks");
        Ok(Some(Self {
            listener,
            path: path.to_owned(),
            asked: Asked { settings, feed },
        }))
    }

    /// Answers until told to stop.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let running = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                accepted = self.listener.accept() => accepted,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    warn!(error = %error, "a load check could not be taken");
                    tokio::time::sleep(AFTER_ERROR).await;
                    continue;
                }
            };
            let Ok(place) = Arc::clone(&room).try_acquire_owned() else {
                warn!(
                    most = MAX_CONNECTIONS,
                    "too many load checks; one was closed"
                );
                continue;
            };
            let (asked, stop) = (self.asked.clone(), stop.clone());
            running.spawn(async move {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => {}
                    ended = asked.serve(stream) => {
                        if let Err(error) = ended {
                            debug!(error = %error, "load checks ended");
                        }
                    }
                }
                drop(place);
            });
        }
        running.close();
        running.wait().await;
        if let Err(error) = std::fs::remove_file(&self.path) {
            warn!(path = %self.path.display(), error = %error, "a socket was not removed");
        }
    }
}

impl Asked {
    /// Answers the requests of one connection.
    async fn serve(&self, stream: UnixStream) -> io::Result<()> {
        let mut stream = BufReader::new(stream);
        loop {
            let mut line = Vec::new();
            let mut limited = (&mut stream).take(MAX_LINE_BYTES);
            let read = tokio::time::timeout(PATIENCE, limited.read_until(b'\n', &mut line));
            let Ok(n_bytes) = read.await else {
                return Ok(());
            };
            let request = match n_bytes? {
                0 => return Ok(()),
                _ => Request::parse(&line).ok_or(io::ErrorKind::InvalidData)?,
            };
            let answer = answer(&request, &self.settings.borrow().clone(), &self.feed.view());
            let sent = tokio::time::timeout(PATIENCE, stream.write_all(answer.as_bytes()));
            sent.await??;
        }
    }
}

impl Request {
    fn parse(line: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(line).ok()?.strip_suffix('\n')?;
        let mut fields = text.split('\r').map(|field| field.trim().to_owned());
        let request = Self {
            backend: fields.next()?,
            profile: fields.next()?,
            host: fields.next()?,
        };
        fields.next().is_none().then_some(request)
    }
}

fn answer(request: &Request, settings: &Settings, view: &FarmView) -> String {
    let backend = settings.backend(&request.backend);
    let profile = backend.and_then(|backend| backend.profiles.get(&request.profile));
    if !request.host.is_empty() {
        let host = profile.and_then(|profile| host_of(profile, &request.host));
        return host
            .map_or(Factor::Unavailable, |host| Factor::of(host, view))
            .to_string();
    }
    let Some(profile) = profile.filter(|profile| !profile.hosts.is_empty()) else {
        // {loadchecker}: a profile that is not known has one empty line.
        return "\n".to_owned();
    };
    let lines = profile.hosts.iter();
    lines
        .map(|host| format!("{}:{}\n", host.name, Factor::of(host, view)))
        .collect()
}

fn host_of<'p>(profile: &'p SessionProfile, name: &str) -> Option<&'p ProfileHost> {
    let mut hosts = profile.hosts.iter();
    hosts.find(|host| host.name.eq_ignore_ascii_case(name) || host.target() == name)
}

impl Factor {
    fn of(host: &ProfileHost, view: &FarmView) -> Self {
        let node = view.hosts().resolve(host).and_then(|node| view.node(node));
        let Some(node) = node else {
            return Self::Unavailable;
        };
        if !node.live || node.is_suspect() {
            return Self::Unreachable;
        }
        match &node.state.load {
            // Who goes by the factors alone must not send anybody to a server that drains.
            Some(load) if node.state.readiness == Readiness::Ready => Self::Is(factor(load)),
            _ => Self::Unavailable,
        }
    }
}

impl fmt::Display for Factor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Is(factor) => factor.fmt(f),
            Self::Unavailable => f.write_str("LOAD-UNAVAILABLE"),
            Self::Unreachable => f.write_str("HOST-UNREACHABLE"),
        }
    }
}

/// As x2gobroker-loadchecker(8) has it: memory in GB, times processors, times their MHz, by
/// the load average, which is one hundredth at least. In whole numbers: hundredths of the
/// load, megabytes of memory.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the cast of a float to an integer saturates"
)]
fn factor(load: &Load) -> u64 {
    let available = load.memory_total_mb.saturating_sub(load.memory_used_mb);
    let speed = u128::from(load.cores) * u128::from(load.mhz);
    let mean = f64::midpoint(load.load1, load.load5).max(0.0);
    let hundredths = u128::from((mean * 100.0).round() as u64) + 1;
    let factor = u128::from(available) * speed * 100 / (1000 * hundredths);
    u64::try_from(factor).unwrap_or(u64::MAX)
}

/// For the group of the broker.
const SOCKET_MODE: u32 = 0o660;

/// Brokers and scripts of this host, one question each.
const MAX_CONNECTIONS: usize = 64;

/// As the original's sockets: names are far shorter.
const MAX_LINE_BYTES: u64 = 1024;

/// How long somebody who is connected may be silent.
const PATIENCE: Duration = Duration::from_secs(10);

/// Out of file descriptors, say: it passes.
const AFTER_ERROR: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use proto::Load;

    use super::{Factor, Request, factor};

    #[test]
    fn a_request_has_three_fields_and_an_end() {
        // {loadchecker}
        let request = |backend: &str, profile: &str, host: &str| Request {
            backend: backend.to_owned(),
            profile: profile.to_owned(),
            host: host.to_owned(),
        };
        let cases: &[(&[u8], Option<Request>)] = &[
            (
                b"inifile\rfarm\rs1\n",
                Some(request("inifile", "farm", "s1")),
            ),
            (b"inifile\rfarm\r\n", Some(request("inifile", "farm", ""))),
            (b"inifile\rfarm\rs1", None),
            (b"inifile\rfarm\n", None),
            (b"inifile\rfarm\rs1\rx\n", None),
            (b"\xff\r\r\n", None),
            (b"\n", None),
        ];
        for (line, expected) in cases {
            assert_eq!(&Request::parse(line), expected, "{line:?}");
        }
    }

    #[test]
    fn the_factor_is_that_of_the_original() {
        // The figures of {agent-cli}/checkload: a mean load of 7.03, 17020 MB, 2 processors of
        // 2446 MHz; 17.020 * 2 * 2446 * 100 / 704.
        let load = Load {
            cores: 2,
            mhz: 2446,
            memory_total_mb: 20_000,
            memory_used_mb: 2_980,
            predicted: None,
            load1: 7.03,
            load5: 7.03,
            pressure_cpu: None,
            pressure_memory: None,
        };
        assert_eq!(factor(&load), 11_826);
        let idle = Load {
            load1: 0.0,
            load5: 0.0,
            ..load
        };
        assert_eq!(factor(&idle), 8_326_184);
        let odd = Load {
            memory_used_mb: 30_000,
            ..load
        };
        assert_eq!(Factor::Is(factor(&odd)).to_string(), "0");
    }
}
