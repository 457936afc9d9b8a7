//! The one writer of the view: brings gossip, watch streams and the results of log-ins
//! together and publishes what comes out.
//!
//! ```text
//!  gossip members ──▶┐
//!  watch streams ───▶│ feed ──watch──▶ Arc<FarmView> ──▶ every request
//!  log-ins (News) ──▶┘
//! ```

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use gossip::Members;
use pki::IdentityWatch;
use proto::{Generation, NodeId, NodeState, Username, Version};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::FarmView;
use super::links::{WatchUpdate, follow};
use super::state::{FarmState, Membership};
use crate::agents::AgentLink;

/// Something that changes the view.
#[derive(Debug)]
pub(crate) enum News {
    /// A server's own stream told something.
    Watched {
        /// Which server.
        node: NodeId,
        /// What it told.
        update: WatchUpdate,
    },
    /// The stream broke.
    WatchBroke {
        /// Which server.
        node: NodeId,
    },
    /// A server told its state with an answer.
    Answered {
        /// Which server.
        node: NodeId,
        /// Its state.
        state: NodeState,
    },
    /// This replica placed a user there.
    Placed {
        /// Who.
        user: Username,
        /// Where.
        node: NodeId,
        /// The first state of the server that shows it.
        at: (Generation, Version),
    },
    /// A server did not answer.
    Silent {
        /// Which server.
        node: NodeId,
    },
}

/// The feed, ready to run.
#[derive(Debug)]
pub struct Feed {
    members: watch::Receiver<Arc<Members>>,
    identity: IdentityWatch,
    state: FarmState,
    news: mpsc::Receiver<News>,
    /// Kept for the tasks that follow servers.
    sender: mpsc::Sender<News>,
    published: watch::Sender<Arc<FarmView>>,
    links: HashMap<NodeId, (AgentLink, CancellationToken)>,
}

/// How requests read the view and report what they learned.
#[derive(Clone, Debug)]
pub struct FeedHandle {
    view: watch::Receiver<Arc<FarmView>>,
    news: mpsc::Sender<News>,
}

impl FeedHandle {
    /// The farm at this moment.
    #[must_use]
    pub fn view(&self) -> Arc<FarmView> {
        Arc::clone(&self.view.borrow())
    }

    /// Tells what a request learned. It is a hint that makes the next decision better, so
    /// when the feed can't keep up it is dropped rather than waited for.
    pub(crate) fn tell(&self, news: News) {
        if self.news.try_send(news).is_err() {
            warn!("the view can't keep up with log-ins; a hint was dropped");
        }
    }
}

impl Feed {
    /// Makes a feed of an empty farm.
    #[must_use]
    pub fn new(
        members: watch::Receiver<Arc<Members>>,
        identity: IdentityWatch,
    ) -> (Self, FeedHandle) {
        let (sender, news) = mpsc::channel(MAX_NEWS);
        let state = FarmState::new(Instant::now());
        // Not an empty one: it says since when this replica has listened.
        let (published, view) = watch::channel(Arc::new(state.view().clone()));
        let handle = FeedHandle {
            view,
            news: sender.clone(),
        };
        let links = HashMap::new();
        (
            Self {
                members,
                identity,
                state,
                news,
                sender,
                published,
                links,
            },
            handle,
        )
    }

    /// Keeps the view until told to stop.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut followers = JoinSet::new();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut batch = Vec::with_capacity(MAX_BATCH);
        self.members.mark_changed();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                changed = self.members.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    self.take_members(&mut followers, &stop);
                }
                _n = self.news.recv_many(&mut batch, MAX_BATCH) => {
                    for news in batch.drain(..) {
                        self.take(news);
                    }
                }
                _ = tick.tick() => self.state.tick(Instant::now()),
                Some(ended) = followers.join_next() => {
                    if let Err(panic) = ended {
                        error!(error = %panic, "following a server ended in a panic");
                    }
                    continue;
                }
            }
            self.published
                .send_replace(Arc::new(self.state.view().clone()));
        }
        followers.shutdown().await;
    }

    fn take(&mut self, news: News) {
        let now = Instant::now();
        match news {
            News::Watched { node, update } => self.state.watched(&node, update, now),
            News::WatchBroke { node } => self.state.watch_broke(&node, now),
            News::Answered { node, state } => self.state.answered(&node, &state, now),
            News::Placed { user, node, at } => self.state.placed(user, &node, at, now),
            News::Silent { node } => self.state.silent(&node, now),
        }
    }

    fn take_members(&mut self, followers: &mut JoinSet<()>, stop: &CancellationToken) {
        let members = Arc::clone(&self.members.borrow_and_update());
        let Membership { to_link, to_unlink } = self.state.members(&members, Instant::now());
        if to_link.is_empty() && to_unlink.is_empty() {
            return;
        }
        for node in to_unlink {
            if let Some((_link, follower)) = self.links.remove(&node) {
                follower.cancel();
            }
        }
        for (node, address) in to_link {
            let link = match AgentLink::new(&node, address, self.identity.clone()) {
                Ok(link) => link,
                Err(error) => {
                    warn!(%node, error = %error, "a member's name can't be certified");
                    continue;
                }
            };
            let follower = stop.child_token();
            followers.spawn(follow(
                node.clone(),
                link.clone(),
                self.sender.clone(),
                follower.clone(),
            ));
            if let Some((_link, moved)) = self.links.insert(node, (link, follower)) {
                moved.cancel();
            }
        }
        let links = self
            .links
            .iter()
            .map(|(node, (link, _))| (node.clone(), link.clone()));
        self.state.set_links(links.collect());
    }
}

/// Log-ins and streams of a big farm in a bad second.
const MAX_NEWS: usize = 4096;

/// So many are taken in before the view is published again.
const MAX_BATCH: usize = 256;

/// How often time itself is news.
const TICK: Duration = Duration::from_secs(1);
