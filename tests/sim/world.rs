//! What happens in the farm, event by event.

mod life;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use broker::placement::{Averages, Record};
use proto::Username;

use crate::metrics::{Measured, Meter};
use crate::replica::{GOSSIP_ROUND, Placed, Replica};
use crate::rng::Rng;
use crate::server::SimServer;
use crate::workload::{Arrival, Scenario, residents};
use life::Session;

/// Who decides where a log-in goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Policy {
    /// The real placement of the crate `broker`.
    Recommended,
    /// The smallest stale load, and nothing else.
    Naive,
    /// Knows every session's true demand at once, also of those on their way.
    Omniscient,
}

/// The farm, its sessions and its brokers at one moment.
#[derive(Debug)]
pub(crate) struct World {
    seed: u64,
    policy: Policy,
    servers: Vec<SimServer>,
    brokers: Vec<Replica>,
    sessions: Vec<Session>,
    arrivals: Vec<Arrival>,
    /// Sums of true CPU and memory, and number of log-ins, of what is on its way.
    coming: Vec<(f64, f64, u32)>,
    averages: Averages,
    round_trips: Rng,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    n_events: u64,
    now: f64,
    drained: Vec<usize>,
    placed: Vec<Option<Placed>>,
    records: Vec<Record>,
    meter: Meter,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Publish(usize),
    Arrive(usize),
    Retry(usize),
    /// A replica learns of a placement.
    Learn {
        broker: usize,
        record: usize,
    },
    Start(usize),
    /// The session did not start; nobody waits for it any more.
    GiveUp(usize),
    LoginTick(usize),
    Switch {
        session: usize,
        awakening: u32,
    },
    Grow(usize),
    Cycle(usize),
    End(usize),
    Drain,
    Measure,
}

/// Runs one scenario to its end.
pub(crate) fn simulate(
    scenario: Scenario,
    policy: Policy,
    n_servers: usize,
    n_brokers: usize,
    seed: u64,
) -> Measured {
    let mut world = World::new(scenario, policy, n_servers, n_brokers, seed);
    while let Some(Reverse((at, _, event))) = world.events.pop() {
        world.now = Duration::from_nanos(at).as_secs_f64();
        if world.now >= Scenario::END {
            break;
        }
        world.happen(event);
    }
    world.meter.finish()
}

impl World {
    fn new(
        scenario: Scenario,
        policy: Policy,
        n_servers: usize,
        n_brokers: usize,
        seed: u64,
    ) -> Self {
        let (drain_at, drained) = scenario.drained(seed, n_servers);
        let arrivals = scenario.arrivals(seed, n_servers, n_brokers);
        let mut world = Self {
            seed,
            policy,
            servers: (0..n_servers).map(SimServer::new).collect(),
            brokers: Vec::new(),
            sessions: Vec::new(),
            coming: vec![(0.0, 0.0, 0); n_servers],
            averages: Averages::default(),
            round_trips: Rng::new(seed, STREAM_ROUND_TRIPS),
            events: BinaryHeap::new(),
            n_events: 0,
            now: 0.0,
            drained,
            placed: arrivals.iter().map(|_| None).collect(),
            records: Vec::new(),
            meter: Meter::new(scenario.window(), n_servers),
            arrivals,
        };
        for resident in residents(seed, n_servers, n_brokers) {
            world.settle_in(resident);
        }
        let mut phases = Rng::new(seed, STREAM_PHASES);
        for server in 0..n_servers {
            world.after(
                phases.unit() * GOSSIP_ROUND.as_secs_f64(),
                Event::Publish(server),
            );
        }
        for arrival in 0..world.arrivals.len() {
            world.after(world.arrivals[arrival].at, Event::Arrive(arrival));
        }
        world.after(drain_at, Event::Drain);
        world.after(0.0, Event::Measure);
        let servers = &mut world.servers;
        world.brokers = (0..n_brokers)
            .map(|number| Replica::new(number, servers))
            .collect();
        world
    }

    fn after(&mut self, seconds: f64, event: Event) {
        let at = Duration::from_secs_f64(self.now + seconds).as_nanos() as u64;
        self.n_events += 1;
        self.events.push(Reverse((at, self.n_events, event)));
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Publish(server) => {
                self.servers[server].publish(self.now);
                self.after(GOSSIP_ROUND.as_secs_f64(), event);
            }
            Event::Arrive(arrival) => self.arrive(arrival),
            Event::Retry(arrival) => self.retry(arrival),
            Event::Learn { broker, record } => {
                let record = self.records[record].clone();
                self.brokers[broker].in_flight.add(record);
            }
            Event::Start(session) => self.start(session),
            Event::GiveUp(session) => self.arrived_or_given_up(session),
            Event::LoginTick(session) => self.login_tick(session),
            Event::Switch { session, awakening } => self.switch(session, awakening),
            Event::Grow(session) => self.grow(session, 0.2),
            Event::Cycle(session) => self.cycle(session),
            Event::End(session) => self.end(session),
            Event::Drain => {
                for server in self.drained.clone() {
                    self.servers[server].draining = true;
                    self.servers[server].publish(self.now);
                }
            }
            Event::Measure => self.measure(),
        }
    }

    fn measure(&mut self) {
        let now = self.now;
        let states: Vec<_> = self
            .servers
            .iter_mut()
            .map(|server| server.state(now))
            .collect();
        self.averages = self.averages.updated(&states, MEASURE_EVERY);
        self.meter.sample(&self.servers, now);
        self.after(MEASURE_EVERY.as_secs_f64(), Event::Measure);
    }

    fn arrive(&mut self, arrival: usize) {
        let user = Username::parse(&format!("user{arrival}")).unwrap();
        let Arrival { draft, .. } = self.arrivals[arrival].clone();
        let Some(server) = self.choose(arrival, &user, draft.broker) else {
            self.meter.result.n_not_placed += 1;
            return;
        };
        self.meter
            .placed(server, self.servers[server].draining, self.now);
        let session = self.add_session(draft.clone(), server, Some(user));
        let (cpu, memory, n) = &mut self.coming[server];
        *cpu += draft.cpu;
        *memory += draft.memory;
        *n += 1;
        if draft.aborts {
            self.after(60.0, Event::GiveUp(session));
        } else {
            self.after(draft.lag, Event::Start(session));
        }
        if let Some(seconds) = draft.retry {
            self.after(seconds, Event::Retry(arrival));
        }
    }

    fn choose(&mut self, arrival: usize, user: &Username, broker: usize) -> Option<usize> {
        let (now, averages) = (self.now, self.averages);
        match self.policy {
            Policy::Omniscient => self.omniscient(),
            Policy::Naive => {
                self.brokers[broker].refresh(self.seed, &self.servers, now);
                self.brokers[broker].naive(averages)
            }
            Policy::Recommended => {
                let replica = &mut self.brokers[broker];
                replica.refresh(self.seed, &self.servers, now);
                let placed = replica.place(user, &mut self.servers, averages, now)?;
                self.meter.result.n_asks += placed.n_asks;
                self.tell_replicas(broker, &placed);
                let server = placed.server;
                self.placed[arrival] = Some(placed);
                Some(server)
            }
        }
    }

    /// The record is known here after the round trip, and 50 ms later to the others.
    fn tell_replicas(&mut self, by: usize, placed: &Placed) {
        let round_trip = self.round_trips.logn(0.002, 0.5);
        let record = self.records.len();
        self.records.push(placed.record.clone());
        for broker in 0..self.brokers.len() {
            let more = if broker == by { 0.0 } else { SHARING };
            self.after(round_trip + more, Event::Learn { broker, record });
        }
    }

    fn omniscient(&self) -> Option<usize> {
        let score = |server: usize| {
            let (cpu, memory, n) = self.coming[server];
            let known = &self.servers[server];
            let capacity = known.hardware.capacity();
            let cpu = (known.true_cpu + cpu + 0.2) / capacity;
            let memory = (known.grown_memory + memory + 0.72) / known.hardware.memory();
            cpu.max(memory) + 0.1 * cpu.min(memory) + 0.5 * f64::from(n) / capacity
        };
        let taking = (0..self.servers.len()).filter(|server| !self.servers[*server].draining);
        taking
            .map(|s| (s, score(s)))
            .min_by(|a, b| a.1.total_cmp(&b.1))
            .map(|(s, _)| s)
    }

    /// The user asks another replica; only its choice is looked at.
    fn retry(&mut self, arrival: usize) {
        let Some(placed) = self.placed[arrival].take() else {
            return;
        };
        let n = self.brokers.len();
        let broker = (self.arrivals[arrival].draft.broker + 1 + arrival % n.max(2)) % n;
        let (now, averages) = (self.now, self.averages);
        let replica = &mut self.brokers[broker];
        replica.refresh(self.seed, &self.servers, now);
        let server = replica.retry(&placed, &mut self.servers, averages, now);
        self.meter.result.n_retries += 1;
        self.meter.result.n_retries_elsewhere += u32::from(server != Some(placed.server));
    }
}

const STREAM_PHASES: u64 = 900;
const STREAM_ROUND_TRIPS: u64 = 901;

/// How long a record takes from one replica to the others.
const SHARING: f64 = 0.05;
const MEASURE_EVERY: Duration = Duration::from_secs(5);
