//! Who sees to it that each temporary key comes, and goes?
//!
//! One task. The ledger says what is to be done; this has it done: notes on the disk,
//! runs of the setuid program, answers. Nothing here waits for one of them, so a disk or a
//! home that hangs holds up nobody else's key.

mod ending;
mod offering;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pki::Clock;
use proto::{KeyGrant, KeyOutcome, Username};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::journal::{Journal, JournalError};
use super::ledger::{KeyId, Ledger, Now};
use super::look_ups::{Asked, LookUps};
use super::offers::Offers;
use super::program::{self, ProgramError};
use super::{Command, KeysHandle, KeysMode, KeysSetup, KeysState, MAX_COMMANDS};
use crate::shim_client::{KeyAct, KeyEdit, ShimClient, ShimError};

/// The owner of the temporary keys; see the module above.
#[derive(Debug)]
pub struct Keys {
    mode: KeysMode,
    program_owner: u32,
    ledger: Ledger,
    offers: Offers,
    look_ups: LookUps,
    journal: Arc<Journal>,
    shim: ShimClient,
    clock: Clock,
    commands: mpsc::Receiver<Command>,
    /// Who waits to hear that a key is there.
    waiting: BTreeMap<KeyId, Vec<Waiter>>,
    work: JoinSet<Done>,
    disk: Disk,
    /// Whether the journal could be written the last time.
    disk_is_good: bool,
    /// Whether the setuid program can be used, as far as is known.
    program: Option<bool>,
    next_check: Instant,
    published: watch::Sender<KeysState>,
}

/// Who asked for a key.
#[derive(Debug)]
struct Waiter {
    until: std::time::Instant,
    answer: oneshot::Sender<KeyOutcome>,
}

/// How it stands with the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Disk {
    Good,
    Writing,
    /// It could not be written; it is tried again then.
    Failed(Instant),
    /// It may hold keys that we don't know of. It is left as it is.
    Damaged,
}

/// Something that was begun has come to its end.
#[derive(Debug)]
enum Done {
    Noted(Vec<KeyId>, Result<(), JournalError>),
    Ran(KeyId, KeyAct, KeyEdit, Result<(), ShimError>),
    Checked(Result<(), ProgramError>),
    Looked(Asked, bool),
}

impl Keys {
    /// Makes the owner and the handle to ask it. Reads the journal: blocks briefly.
    #[must_use]
    pub fn build(setup: KeysSetup, shim: ShimClient, clock: Clock) -> (Self, KeysHandle) {
        let journal = Journal::new(&setup.state_directory);
        let read = journal.read();
        let now = Now {
            instant: Instant::now().into_std(),
            since_epoch: clock.since_epoch(),
        };
        let disk = match read.trouble {
            None => Disk::Good,
            Some(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, "no temporary keys will be installed");
                Disk::Damaged
            }
        };
        if !read.noted.is_empty() {
            let n_keys = read.noted.len();
            tracing::info!(n_keys, "temporary keys from before are there to be removed");
        }
        let (commands_in, commands) = mpsc::channel(MAX_COMMANDS);
        let (published, state) = watch::channel(KeysState::default());
        let keys = Self {
            mode: setup.mode,
            program_owner: setup.program_owner,
            offers: Offers::new(setup.rules, setup.mark.clone()),
            look_ups: LookUps::default(),
            ledger: Ledger::new(setup.rules, setup.mark, read.noted, now),
            journal: Arc::new(journal),
            shim,
            clock,
            commands,
            waiting: BTreeMap::new(),
            work: JoinSet::new(),
            disk,
            disk_is_good: false,
            program: None,
            next_check: Instant::now(),
            published,
        };
        let handle = KeysHandle {
            commands: commands_in,
            state,
        };
        (keys, handle)
    }

    /// Serves until `stop`. What is left then is in the journal, for the next start.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            self.begin_what_is_due();
            self.publish();
            let next = self.next_time();
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                Some(done) = self.work.join_next() => match done {
                    Ok(done) => self.take(done),
                    Err(error) => tracing::error!(%error, "work on temporary keys panicked"),
                },
                command = self.commands.recv() => match command {
                    Some(command) => self.obey(command),
                    None => return,
                },
                () = tokio::time::sleep_until(next) => {}
            }
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Grant {
                user,
                grant,
                answer,
            } => self.grant(&user, &grant, answer),
            Command::Revoke { user, key, answer } => {
                let now = self.now();
                let concerned = self.ledger.revoke(&user, &key, now);
                for id in &concerned {
                    self.answer(*id, KeyOutcome::Failed);
                }
                let n_keys = concerned.len() + self.offers.revoke(&user, &key);
                let _given_up = answer.send(u32::try_from(n_keys).unwrap_or(u32::MAX));
            }
            Command::Offered(user, answer) => {
                let _given_up = answer.send(self.offers.of(&user, self.now().instant));
            }
        }
    }

    fn grant(&mut self, user: &Username, grant: &KeyGrant, answer: oneshot::Sender<KeyOutcome>) {
        // Nobody waits for the answer any more.
        if answer.is_closed() {
            return;
        }
        let refusal = match (self.mode, self.disk) {
            (KeysMode::Off, _) => Some(KeyOutcome::Refused),
            (KeysMode::Command, _) => {
                let (user, grant) = (user.clone(), grant.clone());
                return self.ask(Asked {
                    user,
                    grant,
                    answer,
                });
            }
            (KeysMode::Files, Disk::Damaged) => Some(KeyOutcome::Failed),
            (KeysMode::Files, Disk::Good | Disk::Writing | Disk::Failed(_)) => None,
        };
        if let Some(refusal) = refusal {
            let _given_up = answer.send(refusal);
            return;
        }
        let now = self.now();
        match self.ledger.request(user, grant, now) {
            Ok(id) => {
                let until = now.instant + grant.life;
                let waiter = Waiter { until, answer };
                self.waiting.entry(id).or_default().push(waiter);
                // A disk that was full may have room again, and somebody waits.
                if let Disk::Failed(_) = self.disk {
                    self.disk = Disk::Good;
                }
            }
            Err(error) => {
                tracing::warn!(%user, %error, "temporary key not added");
                let _given_up = answer.send(KeyOutcome::Failed);
            }
        }
    }

    fn take(&mut self, done: Done) {
        match done {
            Done::Looked(asked, is_ordinary) => {
                let next = self.look_ups.ended();
                self.look_up(next);
                self.offer(asked, is_ordinary);
            }
            Done::Noted(ids, Ok(())) => {
                self.disk = Disk::Good;
                self.disk_is_good = true;
                for id in ids {
                    let waiters = self.waiting.get(&id);
                    let waits = |waiter: &Waiter| !waiter.answer.is_closed();
                    let somebody = waiters.is_some_and(|waiters| waiters.iter().any(waits));
                    self.ledger.is_noted(id, somebody);
                    if !somebody {
                        self.waiting.remove(&id);
                    }
                }
            }
            Done::Noted(ids, Err(error)) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, "what can't be noted is not added");
                self.disk_is_good = false;
                for id in ids {
                    self.answer(id, KeyOutcome::Failed);
                    self.ledger.forget(id);
                }
                self.ledger.note_later();
                // Who has asked meanwhile is to hear soon, too.
                self.disk = if self.ledger.has_unnoted() {
                    Disk::Good
                } else {
                    Disk::Failed(Instant::now() + DISK_PAUSE)
                };
            }
            Done::Ran(id, KeyAct::Add, edit, result) => self.added(id, &edit, &result),
            Done::Ran(id, KeyAct::Remove, edit, result) => self.removed(id, &edit, result),
            Done::Checked(result) => self.checked(result),
        }
    }

    fn checked(&mut self, result: Result<(), ProgramError>) {
        let is_good = result.is_ok();
        match result {
            Ok(()) if self.program != Some(true) => {
                tracing::info!("the setuid program can install temporary keys");
            }
            Err(error) if self.program != Some(false) => {
                let program = self.shim.program().display();
                let error = &error as &dyn std::error::Error;
                tracing::warn!(%program, error, "no temporary keys can be installed");
            }
            Ok(()) | Err(_) => {}
        }
        self.program = Some(is_good);
        let pause = if is_good { CHECK_INTERVAL } else { CHECK_AGAIN };
        self.next_check = Instant::now() + pause;
    }

    /// Answers all who wait for a key. Returns until when it was promised to those who heard
    /// that it is there.
    fn answer(&mut self, id: KeyId, outcome: KeyOutcome) -> Option<std::time::Instant> {
        let waiters = self.waiting.remove(&id).unwrap_or_default();
        let told = waiters.into_iter().filter_map(|waiter| {
            let until = waiter.until;
            waiter.answer.send(outcome).ok().map(|()| until)
        });
        let promised = told.max();
        promised.filter(|_| outcome == KeyOutcome::Installed)
    }

    fn begin_what_is_due(&mut self) {
        let now = self.now();
        self.offers.expire(now.instant);
        let may_write = match self.disk {
            Disk::Good => true,
            Disk::Failed(again) => again <= Instant::now(),
            Disk::Writing | Disk::Damaged => false,
        };
        if may_write && let Some((ids, noted)) = self.ledger.note() {
            self.disk = Disk::Writing;
            let journal = Arc::clone(&self.journal);
            self.work
                .spawn_blocking(move || Done::Noted(ids, journal.write(&noted)));
        }
        for (id, act, edit) in self.ledger.runs(now) {
            let shim = self.shim.clone();
            let is_stuck = self.ledger.is_stuck(id);
            self.work.spawn(async move {
                let result = match act {
                    KeyAct::Add => shim.add_key(edit.clone()).await,
                    KeyAct::Remove if is_stuck => shim.remove_stuck_key(edit.clone()).await,
                    KeyAct::Remove => shim.remove_key(edit.clone()).await,
                };
                Done::Ran(id, act, edit, result)
            });
        }
        if self.mode == KeysMode::Files && self.next_check <= Instant::now() {
            // Set anew when the answer is there.
            self.next_check = Instant::now() + FAR;
            let (shim, owner) = (self.shim.clone(), self.program_owner);
            self.work
                .spawn(async move { Done::Checked(program::check(shim, owner).await) });
        }
    }

    fn next_time(&self) -> Instant {
        let run = self.ledger.next_run().map(Instant::from_std);
        let offer = self.offers.next_end().map(Instant::from_std);
        let disk = match self.disk {
            Disk::Failed(again) => Some(again),
            Disk::Good | Disk::Writing | Disk::Damaged => None,
        };
        let check = Some(self.next_check).filter(|_| self.mode == KeysMode::Files);
        let times = [run, offer, disk, check].into_iter().flatten();
        times.min().unwrap_or_else(|| Instant::now() + FAR)
    }

    fn publish(&self) {
        let n_keys = self.ledger.n_keys() + self.offers.n_keys();
        let state = KeysState {
            installs: match self.mode {
                KeysMode::Files => {
                    self.program == Some(true) && self.disk_is_good && self.ledger.has_room()
                }
                // Whether sshd asks is the administrator's word.
                KeysMode::Command => true,
                KeysMode::Off => false,
            },
            n_keys: u32::try_from(n_keys).unwrap_or(u32::MAX),
        };
        self.published.send_if_modified(|told| {
            let is_new = *told != state;
            *told = state;
            is_new
        });
    }

    fn now(&self) -> Now {
        Now {
            instant: Instant::now().into_std(),
            since_epoch: self.clock.since_epoch(),
        }
    }
}

/// A full disk seldom has room again at once.
const DISK_PAUSE: Duration = Duration::from_secs(10);
/// Packages change now and then.
const CHECK_INTERVAL: Duration = Duration::from_secs(60);
/// An administrator who repairs it looks whether it helps.
const CHECK_AGAIN: Duration = Duration::from_secs(5);
/// Something else happens before.
const FAR: Duration = Duration::from_secs(3600);
