//! Who plays five hundred X2Go servers? This process, towards real programs that can't tell
//! the difference.
//!
//! Each server has a certificate and a mesh port of its own, serves `Watch` and `Admit`,
//! and gossips. What is not real: all servers share one gossip state, so they don't need
//! to gossip among themselves, which costs a farm of this size more processor time than
//! two cores have. Towards a program under test the pattern is that of the real farm: each
//! round it is contacted by as many members as in a farm of this size, and it contacts
//! whom it likes.

mod play;
mod rumour;
mod servers;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::Context as _;
use pki::{IdentityPublisher, IdentityWatch, ListenerLimits, MeshListener, Role, load_identity};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use self::play::{Player, Talker};
use self::rumour::Rumour;
pub use self::servers::Server;
use super::farm::Farm;

/// Servers that are played. Dropping it ends them all.
#[derive(Debug)]
pub struct Crowd {
    players: Vec<Player>,
    tasks: JoinSet<()>,
    // The tasks go before what they run on.
    runtime: Runtime,
}

impl Crowd {
    /// Lets `servers` serve. Nobody hears of them before [`Self::gossip_with`].
    ///
    /// # Errors
    /// When certificates or ports can't be had.
    pub fn start(farm: &Farm, servers: Vec<Server>) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .context("starting the runtime of the crowd")?;
        let mut listening = Vec::with_capacity(servers.len());
        for server in servers {
            let identity = identity(farm, &server)?;
            let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            let bound = MeshListener::bind(any, identity.clone(), ListenerLimits::default());
            let listener = runtime.block_on(bound)?;
            listening.push((server, identity, listener));
        }
        let told: Vec<_> = listening
            .iter()
            .map(|(server, _, listener)| (server.clone(), listener.local_addr()))
            .collect();
        let rumour = Arc::new(Rumour::new(Farm::NAME, &told));
        let (mut tasks, mut players) = (JoinSet::new(), Vec::new());
        for (server, identity, listener) in listening {
            let player = Player {
                server: Arc::new(server),
                identity,
                rumour: Arc::clone(&rumour),
            };
            tasks.spawn_on(player.clone().serve(listener), runtime.handle());
            players.push(player);
        }
        Ok(Self {
            players,
            tasks,
            runtime,
        })
    }

    /// Lets the crowd gossip with the member at `peer`, a broker or an agent, which so gets
    /// to know them all.
    pub fn gossip_with(&mut self, peer: SocketAddr, role: Role) {
        let talker = Talker::new(peer, role, self.players.clone());
        self.tasks.spawn_on(talker.run(), self.runtime.handle());
    }
}

fn identity(farm: &Farm, server: &Server) -> anyhow::Result<IdentityWatch> {
    let files = farm.identity(Role::Agent, server.node.as_str())?;
    let identity = load_identity(&files, farm.clock())?;
    Ok(IdentityPublisher::new(identity).1)
}
