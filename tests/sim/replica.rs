//! A broker's view of the farm, as late as gossip makes it.

use std::time::Duration;

use broker::placement::{
    Averages, Freshness, InFlight, Placement, PlacementKey, Record, Score, Server, Step,
    prior_servers,
};
use proto::{Counts, NodeState, Username, Version};

use crate::rng::{hash3, normal_of};
use crate::server::{Answer, SimServer};

/// What a replica knows of one server.
#[derive(Debug)]
struct View {
    state: NodeState,
    /// The newest publication that has arrived.
    version: u64,
    taken_at: f64,
    arrived_at: f64,
}

/// One broker.
#[derive(Debug)]
pub(crate) struct Replica {
    number: u64,
    views: Vec<View>,
    pub(crate) in_flight: InFlight,
}

/// A log-in that found its place.
#[derive(Debug)]
pub(crate) struct Placed {
    pub(crate) server: usize,
    pub(crate) record: Record,
    pub(crate) n_asks: u32,
}

impl Replica {
    pub(crate) fn new(number: usize, servers: &mut [SimServer]) -> Self {
        let view = |server: &mut SimServer| View {
            state: server.state(0.0),
            version: 0,
            taken_at: 0.0,
            arrived_at: 0.0,
        };
        Self {
            number: number as u64,
            views: servers.iter_mut().map(view).collect(),
            in_flight: InFlight::default(),
        }
    }

    /// Takes in all publications that have arrived by now.
    pub(crate) fn refresh(&mut self, seed: u64, servers: &[SimServer], now: f64) {
        self.in_flight.expire(Duration::from_secs_f64(now));
        let typical = 0.39 * (servers.len() as f64).log2() - 0.13;
        for (number, (server, view)) in servers.iter().zip(&mut self.views).enumerate() {
            let unseen = server
                .history
                .iter()
                .rev()
                .take_while(|p| p.version > view.version);
            let arrived = unseen.map(|published| {
                let path = hash3(seed, 31_337, 1, 1);
                let z = normal_of(path, number as u64, published.version, self.number);
                let rounds = (typical + 0.8 * z).clamp(0.05, 8.0);
                (
                    published.at + GOSSIP_ROUND.as_secs_f64() * rounds,
                    published,
                )
            });
            let mut arrived = arrived.filter(|(arrival, _)| *arrival <= now);
            let Some((arrival, published)) = arrived.next() else {
                continue;
            };
            view.version = published.version;
            view.arrived_at = arrival;
            if published.at >= view.taken_at {
                view.taken_at = published.at;
                view.state = published.state.clone();
                view.state.version = Version(published.version);
            }
            let (generation, version) = (view.state.generation, Version(view.version));
            self.in_flight.settle(&server.node, generation, version);
        }
    }

    /// The real placement, with the real agents' answers.
    pub(crate) fn place(
        &mut self,
        user: &Username,
        servers: &mut [SimServer],
        averages: Averages,
        now: f64,
    ) -> Option<Placed> {
        let nodes: Vec<_> = servers.iter().map(|server| server.node.clone()).collect();
        let listed: Vec<Server<'_>> = (nodes.iter().zip(&self.views))
            .map(|(node, view)| Server {
                node,
                state: &view.state,
                in_flight: self.in_flight.count(node),
                age: Duration::from_secs_f64(now - view.arrived_at),
                suspect: false,
            })
            .collect();
        let freshness = Freshness::new(GOSSIP_ROUND, listed.iter().map(|server| server.age));
        let mut placement = Placement::begin(user, &listed, averages, KEY, freshness);
        let mut n_asks = 0;
        let mut heard: Vec<(usize, NodeState)> = Vec::new();
        let server = loop {
            let Step::Ask { server_idx, forced } = placement.step() else {
                break None;
            };
            n_asks += 1;
            match servers[server_idx].admit(user, forced, now) {
                Answer::Admitted(state) => {
                    heard.push((server_idx, state));
                    break Some(server_idx);
                }
                Answer::Refused(state) => {
                    placement.refused(&state, 0);
                    heard.push((server_idx, state));
                }
            }
        };
        for (server, state) in heard {
            self.hear(server, &nodes[server], state, now);
        }
        let server = server?;
        let state = &self.views[server].state;
        let record = Record {
            user: user.clone(),
            node: nodes[server].clone(),
            generation: state.generation,
            visible_version: Version(servers[server].next_version()),
            placed_at: Duration::from_secs_f64(now),
        };
        Some(Placed {
            server,
            record,
            n_asks,
        })
    }

    /// Where a retry of the user lands: with the place they hold, if this replica has
    /// heard of it, and else where it would place them anew.
    pub(crate) fn retry(
        &mut self,
        placed: &Placed,
        servers: &mut [SimServer],
        averages: Averages,
        now: f64,
    ) -> Option<usize> {
        let user = &placed.record.user;
        let held: Vec<_> = self
            .in_flight
            .of_user(user)
            .map(|record| &record.node)
            .collect();
        if let Some(prior) = prior_servers(&[], &held).first() {
            return servers.iter().position(|server| server.node == *prior.node);
        }
        self.place(user, servers, averages, now)
            .map(|placed| placed.server)
    }

    /// The rule that herds: the apparently least loaded server, by what it last said.
    pub(crate) fn naive(&self, averages: Averages) -> Option<usize> {
        let total = |view: &View| {
            let counts = Counts {
                young: 0,
                pending: 0,
                ..view.state.counts
            };
            let state = NodeState {
                counts,
                ..view.state.clone()
            };
            Score::of(&state, 0, &averages).map(|score| score.total())
        };
        let ready = self
            .views
            .iter()
            .enumerate()
            .filter(|(_, v)| v.state.readiness.is_ready());
        let totals = ready.filter_map(|(server, view)| Some((server, total(view)?)));
        totals
            .min_by(|a, b| a.1.total_cmp(&b.1))
            .map(|(server, _)| server)
    }

    /// Takes over the true state that came with an answer.
    fn hear(&mut self, server: usize, node: &proto::NodeId, state: NodeState, now: f64) {
        self.in_flight.settle(node, state.generation, state.version);
        let view = &mut self.views[server];
        view.taken_at = now;
        view.arrived_at = now;
        view.state = state;
    }
}

pub(crate) const GOSSIP_ROUND: Duration = Duration::from_secs(1);

const KEY: PlacementKey = PlacementKey::new(*b"simulated farms.");
