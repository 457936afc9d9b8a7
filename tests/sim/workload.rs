//! Who logs in when, and what do their sessions need? The same for every policy.

use crate::rng::Rng;

/// A session before it is placed anywhere.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    /// Seconds from the log-in to the end.
    pub(crate) life: f64,
    /// Mean CPU demand while active, in reference cores.
    pub(crate) cpu: f64,
    /// Memory when fully grown, in GB.
    pub(crate) memory: f64,
    pub(crate) suspendable: bool,
    /// The replica that serves the log-in.
    pub(crate) broker: usize,
    /// Seconds from the answer to the session's start.
    pub(crate) lag: f64,
    /// The session never starts.
    pub(crate) aborts: bool,
    /// The client asks another replica after so many seconds.
    pub(crate) retry: Option<f64>,
    /// Seed of what the session does.
    pub(crate) seed: u64,
}

/// One log-in. Its place in the list is the user.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    pub(crate) at: f64,
    pub(crate) draft: Draft,
}

/// One session that is there when the simulation begins.
#[derive(Clone, Debug)]
pub(crate) struct Resident {
    pub(crate) draft: Draft,
    pub(crate) asleep: bool,
    /// Placed as a wise broker would have, together with others that have gone since.
    pub(crate) server: usize,
}

/// Size of a server: `cores`, `mhz`, memory in GB.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hardware {
    pub(crate) cores: u32,
    pub(crate) mhz: u32,
    pub(crate) gb: u32,
}

impl Hardware {
    /// The classes recur every ten servers.
    pub(crate) fn of(server: usize) -> Self {
        let (cores, mhz, gb) = match server % 10 {
            0..=2 => (16, 2400, 64),
            3..=6 => (32, 2600, 128),
            7..=8 => (64, 2900, 256),
            _ => (24, 2200, 48),
        };
        Self { cores, mhz, gb }
    }

    /// In cores of 2400 MHz.
    pub(crate) fn capacity(self) -> f64 {
        f64::from(self.cores) * self.speed()
    }

    pub(crate) fn speed(self) -> f64 {
        f64::from(self.mhz) / 2400.0
    }

    /// Memory for sessions, in GB.
    pub(crate) fn memory(self) -> f64 {
        f64::from(self.gb) - 2.0
    }
}

/// A course of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scenario {
    /// 500 log-ins in a minute.
    Lecture,
    /// 10 log-ins per server in a minute.
    Storm,
    /// Some servers are drained while four times the usual log-ins arrive.
    Drain,
}

impl Scenario {
    pub(crate) const END: f64 = 900.0;

    /// When it is measured.
    pub(crate) fn window(self) -> (f64, f64) {
        match self {
            Self::Lecture | Self::Storm => (300.0, 600.0),
            Self::Drain => (300.0, 900.0),
        }
    }

    /// The servers that are drained, and when.
    pub(crate) fn drained(self, seed: u64, n_servers: usize) -> (f64, Vec<usize>) {
        let n = match self {
            Self::Lecture | Self::Storm => 0,
            Self::Drain => (n_servers / 20).max(1),
        };
        let mut rng = Rng::new(seed, STREAM_EVENTS);
        let mut servers: Vec<usize> = (0..n_servers).collect();
        for i in 0..n {
            let other = i + rng.below(n_servers - i);
            servers.swap(i, other);
        }
        servers.truncate(n);
        (300.0, servers)
    }

    pub(crate) fn arrivals(self, seed: u64, n_servers: usize, n_brokers: usize) -> Vec<Arrival> {
        let usual = 60.0 * n_servers as f64 / 9480.0;
        let (rate, n_burst) = match self {
            Self::Lecture => (usual, 500),
            Self::Storm => (usual, 10 * n_servers),
            Self::Drain => (4.0 * usual, 0),
        };
        let mut arrivals = Vec::new();
        let mut rng = Rng::new(seed, STREAM_POISSON);
        let mut at = rng.exp(1.0 / rate);
        while at < Self::END {
            let draft = Draft::draw(&mut rng, n_brokers);
            arrivals.push(Arrival { at, draft });
            at += rng.exp(1.0 / rate);
        }
        let mut rng = Rng::new(seed, STREAM_BURST);
        for _ in 0..n_burst {
            let at = 300.0 + 60.0 * rng.unit();
            let draft = Draft::draw(&mut rng, n_brokers);
            arrivals.push(Arrival { at, draft });
        }
        arrivals.sort_by(|a, b| a.at.total_cmp(&b.at));
        arrivals
    }
}

impl Draft {
    fn draw(rng: &mut Rng, n_brokers: usize) -> Self {
        let life = draw_life(rng);
        let cpu = rng.logn(0.12, 1.0).clamp(0.02, 4.0);
        let memory = rng.logn(0.6, 0.6).clamp(0.15, 8.0);
        let suspendable = rng.unit() < 0.35;
        let broker = rng.below(n_brokers);
        let lag = rng.logn(4.0, 0.6).clamp(1.0, 60.0);
        let aborts = rng.unit() < 0.03;
        let retries = rng.unit() < 0.02;
        let retry_after = 0.2 + 2.8 * rng.unit();
        Self {
            life,
            cpu,
            memory,
            suspendable,
            broker,
            lag,
            aborts,
            retry: retries.then_some(retry_after),
            seed: rng.next(),
        }
    }
}

fn draw_life(rng: &mut Rng) -> f64 {
    let life = if rng.unit() < 0.15 {
        rng.logn(360.0, 0.8)
    } else {
        rng.logn(7920.0, 1.0)
    };
    life.clamp(120.0, 36_000.0)
}

/// The sessions of the first moment, 60 per server: of those found at a random moment the
/// long ones are more, and all are somewhere in the midst of their life.
pub(crate) fn residents(seed: u64, n_servers: usize, n_brokers: usize) -> Vec<Resident> {
    let mut rng = Rng::new(seed, STREAM_BASELINE);
    let mut sums = vec![(0.0, 0.0); n_servers];
    let n = (1.15 * (60 * n_servers) as f64) as usize;
    let mut residents = Vec::new();
    for _ in 0..n {
        let mut draft = Draft::draw(&mut rng, n_brokers);
        let whole_life = loop {
            let life = draw_life(&mut rng);
            if rng.unit() < life / 36_000.0 {
                break life;
            }
        };
        draft.life = (whole_life * rng.unit()).max(30.0);
        let asleep = draft.suspendable && rng.unit() < 0.4;
        let keep = rng.unit() < 1.0 / 1.15;
        let server = least_loaded(&sums);
        if let Some((cpu, memory)) = sums.get_mut(server) {
            *cpu += if asleep { 0.0 } else { draft.cpu };
            *memory += draft.memory;
        }
        if keep {
            residents.push(Resident {
                draft,
                asleep,
                server,
            });
        }
    }
    residents
}

/// The best server by true sums of CPU and memory.
fn least_loaded(sums: &[(f64, f64)]) -> usize {
    let score = |server: usize, (cpu, memory): (f64, f64)| {
        let hardware = Hardware::of(server);
        let cpu = (cpu + 0.2) / hardware.capacity();
        let memory = (memory + 0.72) / hardware.memory();
        cpu.max(memory) + 0.1 * cpu.min(memory)
    };
    let scores = sums
        .iter()
        .enumerate()
        .map(|(server, sums)| (server, score(server, *sums)));
    scores
        .min_by(|a, b| a.1.total_cmp(&b.1))
        .map_or(0, |(server, _)| server)
}

const STREAM_BASELINE: u64 = 1;
const STREAM_POISSON: u64 = 2;
const STREAM_BURST: u64 = 3;
const STREAM_EVENTS: u64 = 4;

#[test]
fn the_workload_is_that_of_the_reference() {
    let check = |scenario: Scenario, n_servers: usize, expected: (usize, usize, f64)| {
        let arrivals = scenario.arrivals(1, n_servers, 3);
        let cpu: f64 = arrivals.iter().map(|arrival| arrival.draft.cpu).sum();
        let found = (residents(1, n_servers, 3).len(), arrivals.len());
        assert_eq!(found, (expected.0, expected.1), "{scenario:?} {n_servers}");
        assert!(
            (cpu - expected.2).abs() < 1e-3,
            "{scenario:?} {n_servers}: {cpu}"
        );
    };
    check(Scenario::Lecture, 100, (6004, 1114, 225.6426));
    check(Scenario::Lecture, 500, (29_929, 3424, 677.5620));
    check(Scenario::Storm, 500, (29_929, 7924, 1587.9893));
}
