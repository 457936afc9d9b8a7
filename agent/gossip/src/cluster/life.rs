//! One life of the gossip: from a start of chitchat to its stop, or to its failure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chitchat::{Chitchat, ChitchatHandle, ChitchatId, NodeState};
use proto::{Advert, Generation};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::push::{PushGate, push_targets};
use super::seeds::{Notice, Seeds};
use super::setup;
use super::tap::Tap;
use super::view::View;
use crate::own::OwnKeys;
use crate::random::fraction;
use crate::{ClusterConfig, Member, Members, Transport};

/// What all lives of one cluster share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) config: Arc<ClusterConfig>,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) own: watch::Receiver<OwnKeys>,
    pub(crate) members: Arc<watch::Sender<Arc<Members>>>,
    pub(crate) pushed: Arc<watch::Sender<u64>>,
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How a life ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// It was told to.
    Stopped,
    /// It never began.
    NotOpened(BoxError),
    /// chitchat ended by itself, mostly by a panic.
    Died(BoxError),
    /// Another member has made our own state unusable.
    Forged,
}

/// The state of one life. Everything here is owned by its task.
struct Life {
    shared: Shared,
    chitchat: ChitchatHandle,
    acks: mpsc::Receiver<SocketAddr>,
    view: View,
    us: Member,
    seeds: Seeds,
    contact_also: BTreeSet<SocketAddr>,
    is_alone: bool,
    news: Arc<Notify>,
    unread_since: Option<Instant>,
    read_at: Instant,
    gate: PushGate,
    push: Option<Push>,
    n_pushes: u64,
    turn: usize,
}

/// A push that was asked for.
struct Push {
    number: u64,
    /// The brokers that have not got it yet; none are chosen before it begins.
    waiting_for: Option<BTreeSet<SocketAddr>>,
}

/// Runs one life until `stop` or its failure.
pub(crate) async fn run(shared: Shared, generation: Generation, stop: CancellationToken) -> Ended {
    // Members that start together would otherwise all speak at the same moment of each
    // round, which is dear and slow.
    let jitter = shared.config.settings.interval.mul_f64(fraction());
    tokio::select! {
        biased;
        () = stop.cancelled() => return Ended::Stopped,
        () = tokio::time::sleep(jitter) => {}
    }
    let (to_acks, acks) = mpsc::channel(ACKS);
    let tap = Tap::new(shared.transport.clone(), to_acks);
    let config = setup::chitchat_config(&shared.config, generation);
    let keys = setup::initial_keys(&shared.own.borrow());
    let chitchat = match chitchat::spawn_chitchat(config, keys, &tap).await {
        Ok(chitchat) => chitchat,
        Err(error) => return Ended::NotOpened(error.into()),
    };
    let mut life = Life::new(shared, generation, chitchat, acks);
    let ended = life.live(stop).await;
    life.close().await;
    ended
}

impl Life {
    fn new(
        shared: Shared,
        generation: Generation,
        chitchat: ChitchatHandle,
        acks: mpsc::Receiver<SocketAddr>,
    ) -> Self {
        let now = Instant::now();
        let config = &shared.config;
        let before = shared.members.borrow().clone();
        let others = before.iter().filter(|member| member.live);
        let others = others.map(|member| member.address);
        let contact_also = others
            .filter(|a| *a != config.advertise)
            .take(CONTACTS)
            .collect();
        let us = Member {
            node: config.node.clone(),
            role: config.role,
            generation,
            address: config.advertise,
            live: true,
            advert: Advert::default(),
        };
        let n_pushes = *shared.pushed.borrow();
        Self {
            view: View::new(before, now + config.settings.interval * WARM_UP_ROUNDS),
            seeds: Seeds::new(&config.seeds),
            us,
            contact_also,
            is_alone: true,
            news: Arc::new(Notify::new()),
            unread_since: None,
            read_at: now,
            gate: PushGate::new(now),
            push: None,
            n_pushes,
            turn: 0,
            chitchat,
            acks,
            shared,
        }
    }

    async fn live(&mut self, stop: CancellationToken) -> Ended {
        let settings = self.shared.config.settings.clone();
        let mut died = std::pin::pin!(self.chitchat.termination_watcher());
        let mut rounds = every(settings.interval);
        let mut reassert = every(settings.reassert);
        let mut alone = every(settings.seeds_alone);
        let mut joined = every(settings.seeds_joined);
        let (mut own, mut live) = (self.shared.own.clone(), self.subscribe().await);
        let news = Arc::clone(&self.news);
        self.note_push();
        loop {
            let (read_at, push_at) = (self.read_due(), self.push_due());
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ended::Stopped,
                end = &mut died => return Ended::died(end),
                Ok(()) = own.changed() => {
                    if !self.assert_own().await { return Ended::Forged; }
                    self.note_push();
                }
                () = news.notified() => self.note_news(),
                Ok(()) = live.changed() => { live.mark_unchanged(); self.note_news(); }
                () = until(read_at), if read_at.is_some() => self.read().await,
                Some(to) = self.acks.recv() => self.push_sent(to),
                () = until(push_at), if push_at.is_some() => self.push(),
                notice = self.seeds.answered() => { log(notice); self.contact_when_alone(); }
                _ = rounds.tick() => self.contact_when_alone(),
                _ = reassert.tick() => {
                    if !self.assert_own().await { return Ended::Forged; }
                    // chitchat is silent when it forgets a dead member.
                    self.note_news();
                }
                _ = alone.tick(), if self.is_alone => self.seeds.look_up(),
                _ = joined.tick() => { self.seeds.look_up(); self.contact(); }
            }
        }
    }

    /// Asks chitchat to tell us at once what it hears, and at each round who is live.
    async fn subscribe(&self) -> watch::Receiver<BTreeMap<ChitchatId, NodeState>> {
        let subscribe = |chitchat: &mut Chitchat| {
            let news = Arc::clone(&self.news);
            // Called while chitchat's state is locked, so it only rings.
            chitchat
                .subscribe_event("", move |_| news.notify_one())
                .forever();
            chitchat.live_nodes_watcher()
        };
        self.news.notify_one();
        self.chitchat.with_chitchat(subscribe).await
    }

    /// Sets our keys as they should be and deletes all others. False when that can't be
    /// done, because the version of our state was forged to be near its end.
    async fn assert_own(&self) -> bool {
        let own = self.shared.own.borrow().clone();
        self.chitchat
            .with_chitchat(|chitchat| setup::assert_keys(chitchat, &own))
            .await
    }

    fn note_news(&mut self) {
        self.unread_since.get_or_insert_with(Instant::now);
    }

    /// When the state is to be read again: at once after news, but not all the time, and
    /// when members of before a restart are given up.
    fn read_due(&self) -> Option<Instant> {
        let news = self
            .unread_since
            .map(|since| since.max(self.read_at + READ_GAP));
        news.into_iter().chain(self.view.carries_until()).min()
    }

    async fn read(&mut self) {
        let now = Instant::now();
        (self.unread_since, self.read_at) = (None, now);
        let view = &mut self.view;
        let read = |chitchat: &mut Chitchat| {
            (view.read(chitchat, now), chitchat.live_nodes().count() <= 1)
        };
        let (members, is_alone) = self.chitchat.with_chitchat(read).await;
        self.is_alone = is_alone;
        if let Some(members) = members {
            self.shared.members.send_replace(members);
        }
    }

    /// Notes that a push was asked for, if one was.
    fn note_push(&mut self) {
        let number = self.shared.own.borrow().n_pushes();
        if number > self.n_pushes {
            self.n_pushes = number;
            self.push = Some(Push {
                number,
                waiting_for: None,
            });
        }
    }

    fn push_due(&self) -> Option<Instant> {
        let push = self.push.as_ref()?;
        push.waiting_for.is_none().then(|| self.gate.next())
    }

    fn push(&mut self) {
        // What was sent before did not have the news.
        while self.acks.try_recv().is_ok() {}
        self.gate.passed(Instant::now());
        self.turn = self.turn.wrapping_add(1);
        self.prefer();
        let members = self.shared.members.borrow().clone();
        let targets = push_targets(&members, &self.us, self.turn);
        for target in targets.brokers.iter().chain(&targets.others) {
            self.gossip(*target);
        }
        if let Some(push) = &mut self.push {
            push.waiting_for = Some(targets.brokers);
        }
        self.end_push_when_nobody_waits();
    }

    fn push_sent(&mut self, to: SocketAddr) {
        if let Some(waiting) = self
            .push
            .as_mut()
            .and_then(|push| push.waiting_for.as_mut())
        {
            waiting.remove(&to);
            self.end_push_when_nobody_waits();
        }
    }

    fn end_push_when_nobody_waits(&mut self) {
        let is_done = |push: &mut Push| push.waiting_for.as_ref().is_some_and(BTreeSet::is_empty);
        if let Some(push) = self.push.take_if(is_done) {
            self.shared.pushed.send_replace(push.number);
        }
    }

    fn contact_when_alone(&self) {
        if self.is_alone {
            self.contact();
        }
    }

    /// Gossips to all seeds, and after a restart to those we knew.
    fn contact(&self) {
        self.prefer();
        for address in self.contacts() {
            self.gossip(address);
        }
    }

    fn contacts(&self) -> BTreeSet<SocketAddr> {
        let mut addresses = self.seeds.addresses(self.us.address);
        if self.is_alone {
            addresses.extend(&self.contact_also);
        }
        addresses
    }

    /// Has the transport reach the seeds and the brokers themselves.
    fn prefer(&self) {
        let members = self.shared.members.borrow().clone();
        let mut addresses = push_targets(&members, &self.us, 0).brokers;
        addresses.extend(self.contacts());
        self.shared.transport.prefer(addresses);
    }

    fn gossip(&self, to: SocketAddr) {
        if let Err(error) = self.chitchat.gossip(to) {
            tracing::debug!(%to, %error, "can't gossip, chitchat has ended");
        }
    }

    /// Ends chitchat and frees its transport.
    async fn close(self) {
        let ended = self.chitchat.termination_watcher();
        // An error means that it has ended already.
        let _ = self.chitchat.initiate_shutdown();
        if tokio::time::timeout(CLOSE_LIMIT, ended).await.is_err() {
            self.chitchat.abort();
        }
    }
}

impl Ended {
    fn died(end: anyhow::Result<()>) -> Self {
        Self::Died(match end {
            Ok(()) => "chitchat has ended by itself".into(),
            Err(error) => error.into(),
        })
    }
}

fn log(notice: Option<Notice>) {
    match notice {
        Some(Notice::Failed { seed, error }) => {
            tracing::warn!(%seed, %error, "can't resolve a seed; its last addresses stay in use");
        }
        Some(Notice::Works { seed }) => tracing::info!(%seed, "the seed can be resolved again"),
        None => {}
    }
}

fn every(period: Duration) -> Interval {
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Sleeps until a moment that is there whenever the branch of a `select!` is enabled.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// News that come closer together than this are read once. Long enough to bound the work
/// in a large farm, short enough for who waits for a drain.
const READ_GAP: Duration = Duration::from_millis(5);

/// After a restart of the gossip, the members of before are shown for so many rounds: it
/// takes three to five to hear everybody again.
const WARM_UP_ROUNDS: u32 = 10;

/// How many of the members of before a restart are contacted; one would do.
const CONTACTS: usize = 8;

/// ACKs not yet looked at; a round sends three, a push up to twenty.
const ACKS: usize = 256;

/// The gossip loop looks at its commands between two messages.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);
