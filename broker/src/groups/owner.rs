//! Who keeps what is known of groups, and asks the system for the rest?

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use proto::BrokerUser;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Answer, Ask, GroupLimits, GroupsHandle, GroupsUnknown, LookUpError, UserGroups};

/// Asks about a user; may block.
type LookUp = dyn Fn(&BrokerUser) -> Result<UserGroups, LookUpError> + Send + Sync;

/// Owns all that is known of groups.
pub struct GroupsOwner {
    look_up: Arc<LookUp>,
    limits: GroupLimits,
    asks: mpsc::Receiver<Ask>,
    known: HashMap<BrokerUser, Known>,
    /// Everybody who is asked about now or next, with those who wait for the answer.
    wanted: HashMap<BrokerUser, Wanted>,
    next: VecDeque<BrokerUser>,
    running: JoinSet<Result<UserGroups, LookUpError>>,
    subjects: HashMap<Id, BrokerUser>,
    fails: bool,
}

struct Known {
    groups: Arc<UserGroups>,
    since: Instant,
}

#[derive(Default)]
struct Wanted {
    waiting: Vec<oneshot::Sender<Answer>>,
    /// Unset while it is in the queue.
    started: Option<Instant>,
}

impl GroupsOwner {
    /// Sets the owner up. `look_up` asks the system: [`super::look_up`].
    #[must_use]
    pub fn new(
        look_up: impl Fn(&BrokerUser) -> Result<UserGroups, LookUpError> + Send + Sync + 'static,
        limits: GroupLimits,
    ) -> (Self, GroupsHandle) {
        let (sender, asks) = mpsc::channel(MAX_ASKS);
        let handle = GroupsHandle {
            asks: sender,
            deadline: limits.deadline,
            hangs: Arc::new(AtomicBool::new(false)),
        };
        let owner = Self {
            look_up: Arc::new(look_up),
            limits,
            asks,
            known: HashMap::new(),
            wanted: HashMap::new(),
            next: VecDeque::new(),
            running: JoinSet::new(),
            subjects: HashMap::new(),
            fails: false,
        };
        (owner, handle)
    }

    /// Answers until told to stop. Whatever the system still holds then is left to it.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                Some(done) = self.running.join_next_with_id() => self.take(done),
                ask = self.asks.recv() => match ask {
                    Some(ask) => self.answer(ask),
                    None => return,
                },
            }
        }
    }

    fn answer(&mut self, Ask { user, answer }: Ask) {
        if let Some(groups) = self.fresh(&user) {
            // Who no longer waits needs no answer.
            let _ = answer.send(Ok(groups));
            return;
        }
        let can_not_wait = match self.wanted.get(&user) {
            Some(wanted) => {
                self.hangs(wanted.started) || wanted.waiting.len() >= MAX_WAITING_FOR_ONE
            }
            None => self.next.len() >= MAX_QUEUE || self.all_hang(),
        };
        if can_not_wait {
            let _ = answer.send(Err(GroupsUnknown));
            return;
        }
        let is_new = !self.wanted.contains_key(&user);
        let wanted = self.wanted.entry(user.clone()).or_default();
        wanted.waiting.push(answer);
        if is_new {
            self.next.push_back(user);
            self.start();
        }
    }

    /// What is known and not too old.
    fn fresh(&self, user: &BrokerUser) -> Option<Arc<UserGroups>> {
        let known = self.known.get(user)?;
        (known.since.elapsed() < self.limits.remember).then(|| Arc::clone(&known.groups))
    }

    /// Whether the system takes longer than anybody waits.
    fn hangs(&self, started: Option<Instant>) -> bool {
        started.is_some_and(|started| started.elapsed() >= self.limits.deadline)
    }

    fn all_hang(&self) -> bool {
        let places = self.running.len() >= self.limits.at_once;
        let mut started = self.wanted.values().filter_map(|wanted| wanted.started);
        places && started.all(|started| self.hangs(Some(started)))
    }

    /// Asks about those who are next, as far as there is room.
    fn start(&mut self) {
        while self.running.len() < self.limits.at_once {
            let Some(user) = self.next.pop_front() else {
                return;
            };
            let Some(wanted) = self.wanted.get_mut(&user) else {
                continue;
            };
            if wanted.waiting.iter().all(oneshot::Sender::is_closed) {
                self.wanted.remove(&user);
                continue;
            }
            wanted.started = Some(Instant::now());
            let look_up = Arc::clone(&self.look_up);
            let subject = user.clone();
            let task = self.running.spawn_blocking(move || look_up(&subject));
            self.subjects.insert(task.id(), user);
        }
    }

    /// Takes what the system said.
    fn take(&mut self, done: Result<(Id, Result<UserGroups, LookUpError>), JoinError>) {
        let (id, told) = match done {
            Ok((id, Ok(groups))) => (id, Ok(Arc::new(groups))),
            Ok((id, Err(error))) => (id, Err(self.failed(&error))),
            Err(panic) => (panic.id(), Err(self.failed(&panic))),
        };
        let Some(user) = self.subjects.remove(&id) else {
            return;
        };
        if let Ok(groups) = &told {
            if std::mem::take(&mut self.fails) {
                info!("looking up groups works again");
            }
            self.remember(&user, groups);
        }
        let waiting = self.wanted.remove(&user).unwrap_or_default().waiting;
        for waiting in waiting {
            let _ = waiting.send(told.clone());
        }
        self.start();
    }

    /// Says once, until it works again, that the system fails.
    fn failed(&mut self, error: &(dyn std::error::Error + 'static)) -> GroupsUnknown {
        if !std::mem::replace(&mut self.fails, true) {
            warn!(
                error,
                "groups can't be looked up; profiles that groups decide are hidden until they can"
            );
        }
        GroupsUnknown
    }

    fn remember(&mut self, user: &BrokerUser, groups: &Arc<UserGroups>) {
        if self.known.len() >= MAX_KNOWN {
            let remember = self.limits.remember;
            self.known
                .retain(|_, known| known.since.elapsed() < remember);
        }
        if self.known.len() >= MAX_KNOWN {
            self.known.clear();
        }
        let known = Known {
            groups: Arc::clone(groups),
            since: Instant::now(),
        };
        self.known.insert(user.clone(), known);
    }
}

impl fmt::Debug for GroupsOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupsOwner")
            .field("n_known", &self.known.len())
            .field("n_wanted", &self.wanted.len())
            .field("n_running", &self.running.len())
            .finish_non_exhaustive()
    }
}

/// Questions that the owner has not looked at yet; it looks at once.
const MAX_ASKS: usize = 1024;

/// Users for whom there is no room yet. A few seconds of a busy morning.
const MAX_QUEUE: usize = 1024;

/// One user has one or two clients; more that wait for the same answer are no users.
const MAX_WAITING_FOR_ONE: usize = 64;

/// Users whose groups are remembered: those who log in within the time that is.
const MAX_KNOWN: usize = 10_000;
