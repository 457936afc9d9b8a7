//! How does the agent have something done as a user?
//!
//! It runs the setuid program `x2gobroker-agent USER TASK [ARGS]`, which does this one
//! thing and ends. No shell is there to read the operands, the environment holds nothing
//! but `PATH`, and what the program prints is capped. That it ended well proves nothing of
//! a session: whoever asked watches the session database. Of a key it does: it is on the
//! disk, or gone from there, also after a loss of power.

mod job;
mod run;

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use proto::{DesktopListing, SessionId, Username};
use tokio::sync::{Semaphore, oneshot};
use tokio_util::task::TaskTracker;

use job::Job;
pub use job::{Act, KeyAct, KeyEdit};
pub use run::LINGERS;
use run::RUN_LIMIT;

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
    /// As many runs for this user as there may be have not ended.
    #[error("runs for this user have not ended yet; try again")]
    Unfinished,
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
        let claim = Claim::of(&self.under_way, job)?;
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
            // A run that nobody waits for any more keeps its place, but not for longer than
            // it could be waited for: the user may have stopped it.
            let Some(slow) = run::to_end(&program, &claim.job, done).await else {
                return;
            };
            drop(turn);
            slow.end().await;
            // The user is done with only now, however long that takes.
            drop(claim);
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
            Self::Busy | Self::Unfinished | Self::Start { .. } => true,
            Self::Failed { status, .. } => status
                .code()
                .is_some_and(|code| WITHOUT_EFFECT.contains(&code)),
            Self::UnderWay | Self::Slow { .. } | Self::Odd { .. } | Self::Stopping => false,
        }
    }
}

/// A job that nobody else does at the same time, and one of few of its user. It lasts until
/// the program has ended: what the user has stopped stays theirs, and starts no more.
#[derive(Debug)]
struct Claim {
    job: Job,
    under_way: Arc<Mutex<HashSet<Job>>>,
}

impl Claim {
    fn of(under_way: &Arc<Mutex<HashSet<Job>>>, job: Job) -> Result<Self, ShimError> {
        let mut jobs = under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if jobs.contains(&job) {
            return Err(ShimError::UnderWay);
        }
        if let Some(user) = job.user() {
            let theirs = jobs.iter().filter(|other| other.user() == Some(user));
            if theirs.count() >= MAX_OF_USER {
                return Err(ShimError::Unfinished);
            }
        }
        jobs.insert(job.clone());
        Ok(Self {
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
/// A run becomes a process of its user, who can stop it, and it counts among the processes of
/// the agent's unit for as long. Two: a key can come while a session is suspended.
const MAX_OF_USER: usize = 2;
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

#[cfg(test)]
mod tests;
