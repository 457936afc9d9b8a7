//! Makes one call within its bounds: so many at once, so long, so much output.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::process::Child;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use super::agent::{OldAgent, SshWay, Way};
use super::call::{Call, OperandError};
use super::health::{Event, Verdict};
use super::places::{Held, SharedPlaces};
use super::run::{self, Said};
use super::slot::Slot;
use super::ssh;

/// Why an old agent gave no good answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// An operand could mean something to a shell.
    #[error(transparent)]
    Operand(#[from] OperandError),
    /// There are too many calls at once, or too many agents.
    #[error("too many calls of old agents at once")]
    Busy,
    /// Nothing came within the deadline.
    #[error("no answer within {0:?}")]
    Silent(Duration),
    /// The program can't be started.
    #[error("{program} can't be started")]
    Start {
        /// Which.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// Talking to the program failed.
    #[error("the program could not be talked to")]
    Talk(#[source] io::Error),
    /// The SSH server can't be reached, does not let the broker in, or has a host key that
    /// is not known.
    #[error("no connection: {said}")]
    NoConnection {
        /// What ssh said.
        said: String,
    },
    /// More than can be an answer.
    #[error("the answer is too long")]
    TooLong,
    /// The agent answered, and not with `OK`.
    #[error("the agent said no: {said}")]
    Refused {
        /// In its own words.
        said: String,
    },
}

impl CallError {
    /// Whether somebody must do something about it, as it will be no better the next time.
    fn is_for_operators(&self) -> bool {
        match self {
            Self::Refused { .. } | Self::TooLong | Self::Busy => true,
            Self::Operand(_)
            | Self::Silent(_)
            | Self::Start { .. }
            | Self::Talk(_)
            | Self::NoConnection { .. } => false,
        }
    }

    /// What it says of the agent, if anything. `connected`: as far as can be seen, the
    /// server is there.
    fn event(&self, connected: bool) -> Option<Event> {
        match self {
            Self::Silent(limit) => Some(Event::Silent {
                limit: *limit,
                connected,
            }),
            Self::Start { .. } | Self::Talk(_) | Self::NoConnection { .. } => Some(Event::Away),
            Self::TooLong | Self::Refused { .. } => Some(Event::Refused),
            Self::Operand(_) | Self::Busy => None,
        }
    }
}

/// One call on its way.
pub(super) struct Calling {
    pub(super) agent: OldAgent,
    pub(super) slot: Arc<Slot>,
    pub(super) call: Call,
    /// How long the agent has, once there is a place for the call.
    pub(super) limit: Duration,
    /// The places it has already; without them it takes some.
    pub(super) held: Option<Held>,
}

impl Calling {
    /// Makes the call. It goes on in a task of its own, which keeps its places until the
    /// program has really ended: one that is setuid can't be killed.
    pub(super) async fn make(
        mut self,
        shared: Arc<SharedPlaces>,
        tasks: &TaskTracker,
    ) -> Result<String, CallError> {
        let (tell, told) = oneshot::channel();
        let of_programs = tasks.clone();
        tasks.spawn(async move {
            let places = match self.held.take() {
                Some(held) => Some(held),
                None => self.slot.places.take(&shared, self.call.user()).await,
            };
            let Some(places) = places else {
                let answer = Err(CallError::Busy);
                self.judge(&answer);
                let _ = tell.send(answer);
                return;
            };
            let mut child = None;
            // What it waited for before is nobody's silence.
            let talk = self.talk(&mut child, &of_programs);
            let answer = match timeout(self.limit, talk).await {
                Ok(answer) => answer,
                Err(_elapsed) => Err(CallError::Silent(self.limit)),
            };
            if self.judge(&answer) == Verdict::Doubtful {
                of_programs.spawn(self.check(shared, of_programs.clone()));
            }
            // Who asked may be gone.
            let _ = tell.send(answer);
            if let Some(mut child) = child {
                let _ = child.start_kill();
                let _ = child.wait().await;
            }
            drop(places);
        });
        told.await.unwrap_or(Err(CallError::Busy))
    }

    /// Asks whether the agent is there at all. What comes of it is judged as always.
    fn check(
        &self,
        shared: Arc<SharedPlaces>,
        tasks: TaskTracker,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let ping = Self {
            agent: self.agent.clone(),
            slot: Arc::clone(&self.slot),
            call: Call::Ping,
            limit: self.limit,
            held: None,
        };
        Box::pin(async move {
            let _judged = ping.make(shared, &tasks).await;
        })
    }

    async fn talk(
        &self,
        place: &mut Option<Child>,
        tasks: &TaskTracker,
    ) -> Result<String, CallError> {
        let (program, operands) = match &self.agent.way {
            Way::Local => {
                let operands = self.call.checked_operands()?;
                let operands = operands.into_iter().map(str::to_owned).collect();
                (&*self.agent.command, operands)
            }
            Way::Ssh(way) => {
                let command = self.call.remote(&self.agent.command)?;
                self.connect(way, tasks).await?;
                (SSH, ssh::call(way, self.slot.socket(), command))
            }
        };
        let child = place.insert(start(program, &operands)?);
        let said = run::talk(child).await.map_err(CallError::Talk)?;
        *place = None;
        self.read(said)
    }

    fn read(&self, said: Said) -> Result<String, CallError> {
        let Said {
            stdout,
            stderr,
            code,
            too_much,
        } = said;
        if too_much {
            return Err(CallError::TooLong);
        }
        // The old agent says OK even when it could not write the file.
        let is_quiet = stderr.is_empty() || !matches!(self.call, Call::AddKey(..));
        if stdout.starts_with("OK") && code == Some(0) && is_quiet {
            return Ok(stdout);
        }
        // ssh(1): 255 is an error of ssh itself; but the agent's own errors have it, too.
        let is_ssh = matches!(self.agent.way, Way::Ssh(_));
        let said = stderr;
        if is_ssh && code == Some(255) && !self.slot.is_connected() {
            return Err(CallError::NoConnection { said });
        }
        Err(CallError::Refused { said })
    }

    /// Connects, unless the connection stands.
    async fn connect(&self, way: &SshWay, tasks: &TaskTracker) -> Result<(), CallError> {
        let _turn = self.slot.connecting.acquire().await;
        if self.slot.is_connected() {
            return Ok(());
        }
        self.slot.set_master(None);
        let socket = self.slot.socket();
        // In our own folder in memory or nearly so: no wait that counts.
        let _ = std::fs::remove_file(socket);
        let mut master = start(SSH, &ssh::master(way, socket))?;
        let mut look = tokio::time::interval(LOOK_EVERY);
        // ssh makes the socket when it is let in, and tells in no other way.
        while !socket.exists() {
            if master.try_wait().map_err(CallError::Talk)?.is_some() {
                let said = run::last_words(&mut master).await;
                return Err(CallError::NoConnection { said });
            }
            look.tick().await;
        }
        if let Some(stderr) = master.stderr.take() {
            tasks.spawn(tell_words(way.server.to_string(), stderr));
        }
        debug!(server = %way.server, "connected to an old server");
        self.slot.set_master(Some(master));
        Ok(())
    }

    /// Notes what the answer says of the agent, and tells the log.
    fn judge(&self, answer: &Result<String, CallError>) -> Verdict {
        let agent = &self.agent;
        let event = match answer {
            Ok(_) => Some(Event::Answered),
            Err(error) => error.event(self.is_connected()),
        };
        if let Some(Event::Away) = event {
            // A connection that stands is left to others; ssh itself finds out when the
            // server is gone.
            self.slot.set_master(None);
        }
        let now = Instant::now();
        let verdict = event.map_or(Verdict::Nothing, |event| {
            self.slot.judge(&self.call, event, now)
        });
        if verdict == Verdict::Back {
            info!(%agent, "an old agent answers again");
        }
        let Err(error) = answer else { return verdict };
        let is_news = error.is_for_operators() && self.slot.may_warn(now);
        let error = error as &dyn std::error::Error;
        if verdict == Verdict::PassedOver {
            warn!(%agent, error, "an old agent does not answer; it is passed over until it does");
        } else if is_news {
            warn!(%agent, error, "an old agent gave no good answer");
        } else {
            debug!(%agent, error, "an old agent gave no good answer");
        }
        verdict
    }

    /// Whether the server is there, as far as can be seen.
    fn is_connected(&self) -> bool {
        matches!(self.agent.way, Way::Local) || self.slot.is_connected()
    }
}

fn start(program: &str, operands: &[String]) -> Result<Child, CallError> {
    run::start(program, operands).map_err(|source| CallError::Start {
        program: program.to_owned(),
        source,
    })
}

/// Passes on what the connection says: which host key was taken unseen, say.
async fn tell_words(server: String, mut stderr: impl tokio::io::AsyncRead + Unpin) {
    use tokio::io::AsyncReadExt;
    let mut words = [0; MAX_WORDS_BYTES];
    let mut n_told = 0;
    while let Ok(n) = stderr.read(&mut words).await {
        let Some(said) = words.get(..n).filter(|said| !said.is_empty()) else {
            return;
        };
        let said = String::from_utf8_lossy(said);
        n_told += 1;
        // The rest is taken, so that ssh can go on, and thrown away.
        if n_told <= MAX_WORDS {
            warn!(
                server,
                said = said.trim(),
                "the connection to an old server"
            );
        }
    }
}

const SSH: &str = "/usr/bin/ssh";

/// A log-in takes some hundred milliseconds.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A server can make ssh say things: it gets no more lines of the log.
const MAX_WORDS: u32 = 16;

/// For one line of the log.
const MAX_WORDS_BYTES: usize = 512;

#[cfg(test)]
mod tests;
