//! How long does it take to choose a server?
//!
//! `cargo bench -p tests --bench placement`. Prints nanoseconds per decision and fails
//! if a decision over 500 servers takes more than 50 µs.

#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a bench prints what the real clock says"
)]

use std::hint::black_box;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use broker::placement::{Averages, Freshness, InFlight, Placement, PlacementKey, Record, Server};
use proto::{
    Counts, Generation, Load, NodeId, NodeIdError, NodeState, Readiness, Username, Version,
};

/// The most that a decision over [`MEASURED_FARM`] servers may take.
const LIMIT: Duration = Duration::from_micros(50);
const MEASURED_FARM: u32 = 500;

/// Odd, so that the median is one of them.
const N_ROUNDS: usize = 101;
const PER_ROUND: u32 = 50;

struct Farm {
    members: Vec<(NodeId, NodeState)>,
    in_flight: InFlight,
    users: Vec<Username>,
}

fn main() -> Result<ExitCode, NodeIdError> {
    println!("placement: one decision (candidates, scores, choice of whom to ask first)");
    println!(
        "{:>8} {:>14} {:>14} {:>20}",
        "servers", "normal", "farm full", "with list of servers"
    );
    let mut good = true;
    for n_servers in [10, 100, 500, 1000] {
        let normal = Farm::new(n_servers, 0.4)?;
        let full = Farm::new(n_servers, 1.3)?;
        let figures = [normal.choose(), full.choose(), normal.list_and_choose()];
        let [normal, full, listed] = figures.map(|figure| format!("{} ns", figure.as_nanos()));
        println!("{n_servers:>8} {normal:>14} {full:>14} {listed:>20}");
        if n_servers == MEASURED_FARM {
            good = figures.iter().all(|figure| *figure <= LIMIT);
        }
    }
    let verdict = if good { "kept" } else { "EXCEEDED" };
    println!("limit for {MEASURED_FARM} servers: {LIMIT:?}, {verdict}");
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

impl Farm {
    /// Servers of unlike sizes, of whose CPUs about this share is in use.
    fn new(n_servers: u32, used: f64) -> Result<Self, NodeIdError> {
        let member = |i: u32| {
            let cores = 16 << (i % 3);
            let load = Load {
                cores,
                mhz: 2400,
                memory_total_mb: u64::from(cores) * 4000,
                memory_used_mb: u64::from(cores) * 1500,
                predicted: Some(f64::from(cores) * used * (0.9 + 0.02 * f64::from(i % 11))),
                load1: 3.0,
                load5: 3.0,
                pressure_cpu: Some(0.1),
                pressure_memory: Some(0.0),
            };
            let counts = Counts {
                active: 20,
                suspended: 5,
                young: i % 3,
                pending: i % 2,
            };
            let state = NodeState {
                generation: Generation(1),
                version: Version(1),
                counts,
                load: Some(load),
                readiness: Readiness::Ready,
            };
            Ok((
                NodeId::parse(&format!("x2goserver{i:04}.farm.example"))?,
                state,
            ))
        };
        let members = (0..n_servers).map(member).collect::<Result<Vec<_>, _>>()?;
        let users = (0..PER_ROUND).filter_map(|i| Username::parse(&format!("user{i}")).ok());
        let users: Vec<Username> = users.collect();
        let mut in_flight = InFlight::default();
        for (user, (node, _)) in users.iter().zip(members.iter().cycle().step_by(3)) {
            in_flight.add(Record {
                user: user.clone(),
                node: node.clone(),
                generation: Generation(1),
                visible_version: Version(2),
                placed_at: Duration::ZERO,
            });
        }
        Ok(Self {
            members,
            in_flight,
            users,
        })
    }

    fn servers(&self) -> Vec<Server<'_>> {
        let server = |(node, state)| Server {
            node,
            state,
            in_flight: self.in_flight.count(node),
            age: Duration::from_secs(1),
            suspect: false,
        };
        self.members
            .iter()
            .map(|(node, state)| (node, state))
            .map(server)
            .collect()
    }

    fn choose(&self) -> Duration {
        let servers = self.servers();
        median(|user| first_step(user, &servers), &self.users)
    }

    fn list_and_choose(&self) -> Duration {
        median(|user| first_step(user, &self.servers()), &self.users)
    }
}

fn first_step(user: &Username, servers: &[Server<'_>]) {
    let key = PlacementKey::new(*b"the bench's key.");
    let freshness = Freshness::new(Duration::from_secs(1), servers.iter().map(|s| s.age));
    let mut placement = Placement::begin(user, servers, Averages::default(), key, freshness);
    black_box(placement.step());
}

/// The median over rounds of the mean time per user.
fn median(mut decide: impl FnMut(&Username), users: &[Username]) -> Duration {
    let mut rounds: Vec<Duration> = (0..N_ROUNDS)
        .map(|_| {
            let start = Instant::now();
            users.iter().for_each(|user| decide(black_box(user)));
            start.elapsed() / PER_ROUND
        })
        .collect();
    rounds.sort_unstable();
    rounds.get(N_ROUNDS / 2).copied().unwrap_or(Duration::MAX)
}
