//! An X2Go server and its agent: what it publishes, and how it answers a broker.

use std::collections::{HashMap, VecDeque};

use proto::{Counts, Drain, Generation, Load, NodeId, NodeState, Readiness, Username, Version};

use crate::workload::Hardware;

/// A session's CPU, as its server accounts for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Account {
    pub(crate) level: f64,
    pub(crate) cpu_used: f64,
    pub(crate) active_seconds: f64,
    since: f64,
}

impl Account {
    pub(crate) fn new(cpu_used: f64, active_seconds: f64, now: f64) -> Self {
        Self {
            level: 0.0,
            cpu_used,
            active_seconds,
            since: now,
        }
    }

    /// What the session is expected to need: an average one at first, itself later on.
    fn predicted(&self, now: f64) -> f64 {
        let elapsed = now - self.since;
        let cpu = self.cpu_used + self.level * elapsed;
        (0.2 * 600.0 + cpu) / (600.0 + self.active_seconds + elapsed)
    }

    fn set_level(&mut self, level: f64, now: f64) {
        self.cpu_used += self.level * (now - self.since);
        self.active_seconds += now - self.since;
        self.since = now;
        self.level = level;
    }
}

/// A published state, until all replicas have it.
#[derive(Clone, Debug)]
pub(crate) struct Published {
    pub(crate) version: u64,
    pub(crate) at: f64,
    pub(crate) state: NodeState,
}

/// What an agent answers to a broker's ask.
#[derive(Debug)]
pub(crate) enum Answer {
    Admitted(NodeState),
    Refused(NodeState),
}

/// One server of the farm.
#[derive(Debug)]
pub(crate) struct SimServer {
    pub(crate) node: NodeId,
    pub(crate) hardware: Hardware,
    pub(crate) draining: bool,
    /// Of the active sessions, each in its slot.
    accounts: Vec<Option<Account>>,
    free_slots: Vec<usize>,
    pub(crate) n_suspended: u32,
    /// Memory in use, and what the sessions here will use once they are grown.
    pub(crate) memory: f64,
    pub(crate) grown_memory: f64,
    /// Sum of the true mean demands of the active sessions.
    pub(crate) true_cpu: f64,
    /// Demand right now, log-ins included.
    demand: f64,
    demand_since: f64,
    pressure: f64,
    predicted: (f64, f64),
    young: VecDeque<f64>,
    reservations: HashMap<Username, f64>,
    pub(crate) history: VecDeque<Published>,
    n_published: u64,
}

impl SimServer {
    pub(crate) fn new(server: usize) -> Self {
        Self {
            node: NodeId::parse(&format!("s{server:03}")).unwrap(),
            hardware: Hardware::of(server),
            draining: false,
            accounts: Vec::new(),
            free_slots: Vec::new(),
            n_suspended: 0,
            memory: 0.0,
            grown_memory: 0.0,
            true_cpu: 0.0,
            demand: 0.0,
            demand_since: 0.0,
            pressure: 0.0,
            predicted: (0.0, f64::NEG_INFINITY),
            young: VecDeque::new(),
            reservations: HashMap::new(),
            history: VecDeque::new(),
            n_published: 0,
        }
    }

    /// Changes the CPU demand, and keeps the pressure average up to date.
    pub(crate) fn change_demand(&mut self, change: f64, now: f64) {
        self.settle_pressure(now);
        self.demand = (self.demand + change).max(0.0);
    }

    /// Changes the level of the active session in this slot.
    pub(crate) fn set_level(&mut self, slot: usize, level: f64, now: f64) {
        let Some(account) = &mut self.accounts[slot] else {
            return;
        };
        let change = level - account.level;
        account.set_level(level, now);
        self.change_demand(change, now);
    }

    /// A session begins or is resumed. Gives its slot.
    pub(crate) fn activate(&mut self, account: Account, cpu: f64, now: f64) -> usize {
        self.true_cpu += cpu;
        let slot = self.free_slots.pop().unwrap_or_else(|| {
            self.accounts.push(None);
            self.accounts.len() - 1
        });
        self.accounts[slot] = Some(Account {
            since: now,
            ..account
        });
        slot
    }

    /// A session is suspended or ends. Gives its account back.
    pub(crate) fn deactivate(&mut self, slot: usize, cpu: f64, now: f64) -> Option<Account> {
        self.set_level(slot, 0.0, now);
        self.true_cpu -= cpu;
        self.free_slots.push(slot);
        self.accounts[slot].take()
    }

    pub(crate) fn is_young(&mut self, now: f64) {
        self.young.push_back(now);
    }

    /// The share of the CPU that each demand gets.
    pub(crate) fn share(&self) -> f64 {
        (self.hardware.capacity() / self.demand.max(1e-9)).min(1.0)
    }

    /// How full it really is, by the mean demands of its sessions.
    pub(crate) fn utilisation(&self) -> f64 {
        let cpu = self.true_cpu / self.hardware.capacity();
        cpu.max(self.grown_memory / self.hardware.memory())
    }

    pub(crate) fn publish(&mut self, now: f64) {
        self.n_published += 1;
        let state = self.state(now);
        self.history.push_back(Published {
            version: self.n_published,
            at: now,
            state,
        });
        if self.history.len() > MAX_HISTORY {
            self.history.pop_front();
        }
    }

    /// What the agent says of itself now. Its version is that of the next publication,
    /// the first that contains all of this.
    pub(crate) fn state(&mut self, now: f64) -> NodeState {
        self.settle_pressure(now);
        self.forget(now);
        if now - self.predicted.1 >= 5.0 {
            let accounts = self.accounts.iter().flatten();
            let sum = accounts.map(|account| account.predicted(now)).sum();
            self.predicted = (sum, now);
        }
        let run = self.demand / self.hardware.speed();
        let fullness = self.memory / self.hardware.memory();
        let load = Load {
            cores: self.hardware.cores,
            mhz: self.hardware.mhz,
            memory_total_mb: u64::from(self.hardware.gb) * 1000,
            memory_used_mb: ((self.memory + 2.0) * 1000.0) as u64,
            predicted: Some(self.predicted.0),
            load1: run,
            load5: run,
            pressure_cpu: Some(self.pressure),
            pressure_memory: Some(((fullness - 0.9) / 0.1).clamp(0.0, 1.0)),
        };
        NodeState {
            generation: Generation(1),
            version: Version(self.n_published + 1),
            counts: self.counts(),
            load: Some(load),
            readiness: if self.draining {
                Readiness::Draining(Drain::default())
            } else {
                Readiness::Ready
            },
        }
    }

    /// Whether this user may start here, as the real agent decides it.
    pub(crate) fn admit(&mut self, user: &Username, forced: bool, now: f64) -> Answer {
        self.forget(now);
        let counts = self.counts();
        let crowd = f64::from(counts.pending + counts.young);
        let crowded = !forced && crowd >= 2.0 * self.hardware.capacity();
        if self.draining || (crowded && !self.reservations.contains_key(user)) {
            return Answer::Refused(self.state(now));
        }
        self.reservations.entry(user.clone()).or_insert(now);
        Answer::Admitted(self.state(now))
    }

    /// The session has started: its reservation is fulfilled.
    pub(crate) fn fulfil(&mut self, user: &Username) {
        self.reservations.remove(user);
    }

    pub(crate) fn next_version(&self) -> u64 {
        self.n_published + 1
    }

    fn counts(&self) -> Counts {
        Counts {
            active: (self.accounts.len() - self.free_slots.len()) as u32,
            suspended: self.n_suspended,
            young: self.young.len() as u32,
            pending: self.reservations.len() as u32,
        }
    }

    fn forget(&mut self, now: f64) {
        while self
            .young
            .front()
            .is_some_and(|started| now - started >= 30.0)
        {
            self.young.pop_front();
        }
        self.reservations.retain(|_, since| now - *since < 60.0);
    }

    /// Brings the 10 s average of waiting tasks up to now.
    fn settle_pressure(&mut self, now: f64) {
        let run = self.demand / self.hardware.speed();
        let excess = (run - f64::from(self.hardware.cores)) / run.max(1.0).sqrt();
        let waiting = 1.0 / (1.0 + (-1.702 * excess).exp());
        let kept = (-(now - self.demand_since) / 10.0).exp();
        self.pressure = waiting + (self.pressure - waiting) * kept;
        self.demand_since = now;
    }
}

/// No publication takes longer than eight rounds to reach a replica.
const MAX_HISTORY: usize = 12;
