//! Servers and farms for the tests of placement.

use std::time::Duration;

use proto::{Counts, Generation, Load, NodeId, NodeState, Readiness, Username, Version};

use super::{Averages, Freshness, Placement, PlacementKey, Server, Step};

/// A ready server with these counts and this load.
pub(super) fn ready(counts: Counts, load: Load) -> NodeState {
    NodeState {
        generation: Generation(1),
        version: Version(1),
        counts,
        load: Some(load),
        readiness: Readiness::Ready,
    }
}

/// A server of this many reference cores, with `predicted` of them in use.
pub(super) fn sized(cores: u32, predicted: f64) -> NodeState {
    let load = Load {
        cores,
        mhz: 2400,
        memory_total_mb: u64::from(cores) * 4000 + 2000,
        memory_used_mb: 2000,
        predicted: Some(predicted),
        pressure_cpu: Some(0.0),
        pressure_memory: Some(0.0),
        ..Load::default()
    };
    ready(Counts::default(), load)
}

pub(super) fn user(name: &str) -> Username {
    Username::parse(name).unwrap()
}

pub(super) fn node(name: &str) -> NodeId {
    NodeId::parse(name).unwrap()
}

/// One server of a test's farm, owned.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) node: NodeId,
    pub(super) state: NodeState,
    pub(super) in_flight: u32,
    pub(super) age: Duration,
    pub(super) suspect: bool,
}

impl Member {
    pub(super) fn new(name: &str, state: NodeState) -> Self {
        Self {
            node: node(name),
            state,
            in_flight: 0,
            age: Duration::from_secs(1),
            suspect: false,
        }
    }

    fn server(&self) -> Server<'_> {
        Server {
            node: &self.node,
            state: &self.state,
            in_flight: self.in_flight,
            age: self.age,
            suspect: self.suspect,
        }
    }
}

/// A farm of `n` like servers named s0, s1, … with rising load.
pub(super) fn farm(n: u32) -> Vec<Member> {
    (0..n)
        .map(|i| Member::new(&format!("s{i}"), sized(16, f64::from(i % 10))))
        .collect()
}

pub(super) fn servers(members: &[Member]) -> Vec<Server<'_>> {
    members.iter().map(Member::server).collect()
}

pub(super) const KEY: PlacementKey = PlacementKey::new(*b"sixteen bytes ok");

/// A placement over these servers, all of which are the whole farm.
pub(super) fn begin<'s>(user: &Username, servers: &'s [Server<'s>]) -> Placement<'s> {
    let ages = servers.iter().map(|server| server.age);
    let freshness = Freshness::new(Duration::from_secs(1), ages);
    Placement::begin(user, servers, Averages::default(), KEY, freshness)
}

/// The name of the server to ask, with `!` behind it if forced, or why there is none.
pub(super) fn asked(placement: &mut Placement<'_>, servers: &[Server<'_>]) -> String {
    match placement.step() {
        Step::Ask { server_idx, forced } => {
            let node = servers[server_idx].node;
            format!("{node}{}", if forced { "!" } else { "" })
        }
        Step::NoServer(why) => why.to_string(),
    }
}
