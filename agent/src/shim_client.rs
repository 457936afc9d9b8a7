//! How does the agent have something done as a user?
//!
//! It runs the setuid program `x2gobroker-agent USER TASK [ARGS]`, which does this one
//! thing and ends. No shell is there to read the operands, the environment holds nothing
//! but `PATH`, and what the program prints is capped. That it ended well proves nothing of
//! a session: whoever asked watches the session database. Of a key it does: it is on the
//! disk, or gone from there.

mod job;

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use proto::{DesktopListing, SessionId, Username};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};
use tokio::sync::{Semaphore, oneshot};
use tokio_util::task::TaskTracker;

use job::Job;
pub use job::{Act, KeyAct, KeyEdit};

/// Runs the setuid program, a bounded number of times at once. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ShimClient {
    program: Arc<Path>,
    sessions: Lane,
    additions: Lane,
    removals: Lane,
    stuck: Lane,
    listings: Lane,
    under_way: Arc<Mutex<HashSet<Job>>>,
    runs: TaskTracker,
}

/// Places for runs of one kind, so that the other kinds never wait for them.
#[derive(Clone, Debug)]
struct Lane {
    running: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub enum ShimError {
    /// The same is being done already.
    #[error("this is being done already")]
    UnderWay,
    /// Too many wait already.
    #[error("too much is being done here at once; try again")]
    Busy,
    /// The program can't be started.
    #[error("{} can't be started", program.display())]
    Start {
        /// Which one.
        program: PathBuf,
        /// What failed.
        source: io::Error,
    },
    /// The program failed.
    #[error("{} ended with {status}: {text:?}", program.display())]
    Failed {
        /// Which one.
        program: PathBuf,
        /// How it ended.
        status: ExitStatus,
        /// The beginning of what it complained of.
        text: String,
    },
    /// The program does not end.
    #[error("{} did not end within {RUN_LIMIT:?}", program.display())]
    Slow {
        /// Which one.
        program: PathBuf,
    },
    /// The program ended well, but without a word: it knows no such task.
    #[error("{} did not answer OK", program.display())]
    Odd {
        /// Which one.
        program: PathBuf,
    },
    /// The agent is stopping.
    #[error("the agent is stopping")]
    Stopping,
}

impl ShimClient {
    /// Will run `program`.
    #[must_use]
    pub fn new(program: &Path) -> Self {
        Self {
            program: program.into(),
            sessions: Lane::new(MAX_RUNNING, MAX_WAITING),
            additions: Lane::new(MAX_ADDITIONS_RUNNING, MAX_KEYS_WAITING),
            removals: Lane::new(MAX_REMOVALS_RUNNING, MAX_KEYS_WAITING),
            stuck: Lane::new(MAX_STUCK_RUNNING, MAX_KEYS_WAITING),
            listings: Lane::new(MAX_LISTINGS_RUNNING, MAX_WAITING),
            under_way: Arc::default(),
            runs: TaskTracker::new(),
        }
    }

    /// Has `act` done to a session of `user`. Once begun it is brought to its end, also
    /// when nobody waits for it any more.
    ///
    /// # Errors
    /// When it can't be begun, or the program fails or does not end.
    pub async fn run(
        &self,
        act: Act,
        user: &Username,
        session: &SessionId,
    ) -> Result<(), ShimError> {
        let job = Job::Session {
            act,
            user: user.clone(),
            session: session.clone(),
        };
        self.begin(&self.sessions, job).await.map(drop)
    }

    /// Has a line added to a user's key file. Once begun it is brought to its end, also when
    /// nobody waits for it any more.
    ///
    /// # Errors
    /// When it can't be begun, or the program refuses, fails or does not end.
    pub async fn add_key(&self, edit: KeyEdit) -> Result<(), ShimError> {
        let job = Job::Key(KeyAct::Add, edit);
        self.begin(&self.additions, job).await.map(drop)
    }

    /// Has a line removed, likewise.
    ///
    /// # Errors
    /// When it can't be begun, or the program refuses, fails or does not end.
    pub async fn remove_key(&self, edit: KeyEdit) -> Result<(), ShimError> {
        let job = Job::Key(KeyAct::Remove, edit);
        self.begin(&self.removals, job).await.map(drop)
    }

    /// Has a line removed that could not be removed before: the same home may hang again, and
    /// holds up only those of its kind.
    ///
    /// # Errors
    /// When it can't be begun, or the program refuses, fails or does not end.
    pub async fn remove_stuck_key(&self, edit: KeyEdit) -> Result<(), ShimError> {
        let job = Job::Key(KeyAct::Remove, edit);
        self.begin(&self.stuck, job).await.map(drop)
    }

    /// Asks the program which tasks it has: a name in each line, after a line `OK`.
    ///
    /// # Errors
    /// When it can't be begun, or the program fails or does not end.
    pub async fn available_tasks(&self) -> Result<String, ShimError> {
        let answer = self.begin(&self.additions, Job::AvailableTasks).await?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    /// Asks which desktops `user` may watch, as that user. For the same user once at a time.
    ///
    /// # Errors
    /// When it can't be begun, or the program refuses, fails or does not end.
    pub async fn desktops(&self, user: &Username) -> Result<DesktopListing, ShimError> {
        let job = Job::ListDesktops(user.clone());
        let answer = self.begin(&self.listings, job).await?;
        let listing = answer.strip_prefix(b"OK\n").ok_or_else(|| ShimError::Odd {
            program: self.program.to_path_buf(),
        })?;
        Ok(DesktopListing::read(listing))
    }

    /// Which program that is.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    async fn begin(&self, lane: &Lane, job: Job) -> Result<Vec<u8>, ShimError> {
        let claim = Claim::of(&self.under_way, job).ok_or(ShimError::UnderWay)?;
        let queued = Arc::clone(&lane.waiting).try_acquire_owned();
        let queued = queued.map_err(|_full| ShimError::Busy)?;
        let turn = Arc::clone(&lane.running).acquire_owned();
        let turn = tokio::time::timeout(QUEUE_LIMIT, turn).await;
        let turn = turn.map_err(|_elapsed| ShimError::Busy)?;
        let turn = turn.map_err(|_closed| ShimError::Stopping)?;
        drop(queued);
        let (done, ended) = oneshot::channel();
        let program = Arc::clone(&self.program);
        self.runs.spawn(async move {
            run_to_end(&program, &claim.job, done).await;
            // Also a run that nobody waits for keeps its place until it has ended.
            drop((claim, turn));
        });
        ended.await.unwrap_or(Err(ShimError::Stopping))
    }
}

impl Lane {
    fn new(running: usize, waiting: usize) -> Self {
        Self {
            running: Arc::new(Semaphore::new(running)),
            waiting: Arc::new(Semaphore::new(waiting)),
        }
    }
}

impl ShimError {
    /// Whether the program has said no before it did anything: not for this user, or not
    /// with these operands. Trying again won't help.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Failed { status, .. } if status.code() == Some(REFUSED))
    }

    /// Whether certainly no line of a key file has come or gone, nor will by this run.
    /// Trying again may help.
    #[must_use]
    pub fn is_without_effect(&self) -> bool {
        match self {
            Self::Busy | Self::Start { .. } => true,
            Self::Failed { status, .. } => status
                .code()
                .is_some_and(|code| WITHOUT_EFFECT.contains(&code)),
            Self::UnderWay | Self::Slow { .. } | Self::Odd { .. } | Self::Stopping => false,
        }
    }
}

/// A job that nobody else does at the same time.
#[derive(Debug)]
struct Claim {
    job: Job,
    under_way: Arc<Mutex<HashSet<Job>>>,
}

impl Claim {
    fn of(under_way: &Arc<Mutex<HashSet<Job>>>, job: Job) -> Option<Self> {
        let mut jobs = under_way.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.insert(job.clone()).then(|| Self {
            job,
            under_way: Arc::clone(under_way),
        })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let jobs = self.under_way.lock();
        jobs.unwrap_or_else(PoisonError::into_inner)
            .remove(&self.job);
    }
}

/// Runs the program. Says so when it has ended, or takes too long; returns when it has
/// ended.
async fn run_to_end(program: &Path, job: &Job, done: oneshot::Sender<Result<Vec<u8>, ShimError>>) {
    let mut child = match start(program, job) {
        Ok(child) => child,
        Err(source) => {
            let program = program.to_owned();
            let _given_up = done.send(Err(ShimError::Start { program, source }));
            return;
        }
    };
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let limit = job.max_output();
    let reading = async { tokio::join!(read_some(out, limit), read_some(err, MAX_COMPLAINT)) };
    let mut reading = std::pin::pin!(reading);
    let ended = async {
        let status = tokio::select! {
            status = child.wait() => status,
            // More than the cap, or closed early: the end is waited for all the same.
            printed = &mut reading => return (child.wait().await, Some(printed)),
        };
        // Something that it started may hold its output open for long.
        let printed = tokio::time::timeout(LAST_WORDS, &mut reading).await.ok();
        (status, printed)
    };
    let result = match tokio::time::timeout(RUN_LIMIT, ended).await {
        Err(_elapsed) => {
            let program = program.to_owned();
            let _given_up = done.send(Err(ShimError::Slow { program }));
            // As the user it has become it may not be killed by us.
            let _not_ours = child.start_kill();
            // It ends by itself, unless the user has stopped it: their own matter then, and
            // not that of all others.
            let _status = tokio::time::timeout(LINGERS, child.wait()).await;
            return;
        }
        Ok((Err(source), _)) => Err(ShimError::Start {
            program: program.to_owned(),
            source,
        }),
        Ok((Ok(status), printed)) if status.success() => {
            Ok(printed.map(|(out, _)| out).unwrap_or_default())
        }
        Ok((Ok(status), printed)) => Err(ShimError::Failed {
            program: program.to_owned(),
            status,
            text: printed.map(|(_, err)| first_line(&err)).unwrap_or_default(),
        }),
    };
    let _given_up = done.send(result);
}

#[expect(
    clippy::disallowed_methods,
    reason = "this module is the one of the agent that starts a program"
)]
fn start(program: &Path, job: &Job) -> io::Result<Child> {
    Command::new(program)
        .args(job.operands())
        .env_clear()
        .env("PATH", PATH)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
}

async fn read_some(from: Option<impl AsyncRead + Unpin>, limit: u64) -> Vec<u8> {
    let mut text = Vec::new();
    if let Some(from) = from {
        // What came before an error is all there is.
        let _broke = from.take(limit).read_to_end(&mut text).await;
    }
    text
}

/// What fits into a line of the log.
fn first_line(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let line = text.lines().next().unwrap_or_default();
    let printable = line.chars().filter(|c| !c.is_control());
    printable.take(MAX_WORDS).collect()
}

/// Where x2goserver's programs, and those that they call, are.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Each run is a dozen of short processes; the server is there for its users.
const MAX_RUNNING: usize = 4;
/// A wave of take-overs after a network outage; who comes later is told so at once.
const MAX_WAITING: usize = 64;
/// Additions to key files: short, and only a home that does not answer keeps one busy for
/// long. So many such homes, and others still have their turn.
const MAX_ADDITIONS_RUNNING: usize = 32;
/// Nobody waits for a removal, and all that are due at once take a second.
const MAX_REMOVALS_RUNNING: usize = 8;
/// Most of these homes fail at once or hang until the end.
const MAX_STUCK_RUNNING: usize = 4;
/// More than there can be temporary keys.
const MAX_KEYS_WAITING: usize = 2048;
/// What the program ends with that refuses a request or a user.
const REFUSED: i32 = 255;
/// What it ends with, too, before it has touched a line: the process is not safe, the key
/// file can't be reached or made anew, others have locked it, not this caller, not installed
/// as it must be.
const WITHOUT_EFFECT: [i32; 6] = [REFUSED, 71, 73, 75, 77, 78];
/// Each is a Perl program that looks around for some tenths of a second, and nothing waits for
/// it that has another way.
const MAX_LISTINGS_RUNNING: usize = 4;
/// Longer than this nobody waits for a turn.
const QUEUE_LIMIT: Duration = Duration::from_secs(5);
/// x2gosuspend-session ends within a second or two; it starts a hundred processes, so on a
/// server that is overrun it takes ten.
const RUN_LIMIT: Duration = Duration::from_secs(16);
/// The setuid program ends itself, and what it runs, after 60 s: then it is over, whatever
/// it was.
pub const LINGERS: Duration = Duration::from_secs(75);
/// For what is still in the pipes.
const LAST_WORDS: Duration = Duration::from_millis(100);
/// The program complains in a line.
const MAX_COMPLAINT: u64 = 4096;
/// Characters of a complaint that are passed on.
const MAX_WORDS: usize = 200;

#[cfg(test)]
mod tests;
