//! How well did the sessions spread?

use std::collections::VecDeque;

use crate::server::SimServer;
use crate::workload::Hardware;

/// Placements of the last 10 s, and what was worst so far.
#[derive(Debug)]
pub(crate) struct Meter {
    window: (f64, f64),
    recent: Vec<VecDeque<f64>>,
    last_server: Option<usize>,
    run: u32,
    worst_utilisations: Vec<f64>,
    slowdowns: Vec<f64>,
    pub(crate) result: Measured,
}

/// The figures of one simulation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Measured {
    /// Time mean of the utilisation of the worst server.
    pub(crate) worst: f64,
    /// The longest series of placements on one server.
    pub(crate) longest_run: u32,
    /// The most log-ins on one server in 10 s, per reference core.
    pub(crate) burst: f64,
    /// How much longer than on an idle server log-ins took: the 99th percentile.
    pub(crate) slow_p99: f64,
    pub(crate) n_placed: u32,
    pub(crate) n_asks: u32,
    pub(crate) n_not_placed: u32,
    pub(crate) n_on_draining: u32,
    pub(crate) n_retries: u32,
    pub(crate) n_retries_elsewhere: u32,
}

impl Meter {
    pub(crate) fn new(window: (f64, f64), n_servers: usize) -> Self {
        Self {
            window,
            recent: vec![VecDeque::new(); n_servers],
            last_server: None,
            run: 0,
            worst_utilisations: Vec::new(),
            slowdowns: Vec::new(),
            result: Measured::default(),
        }
    }

    pub(crate) fn placed(&mut self, server: usize, draining: bool, now: f64) {
        let result = &mut self.result;
        result.n_placed += 1;
        result.n_on_draining += u32::from(draining);
        if !self.in_window(now) {
            return;
        }
        self.run = if self.last_server == Some(server) {
            self.run + 1
        } else {
            1
        };
        self.last_server = Some(server);
        let recent = &mut self.recent[server];
        recent.push_back(now);
        while recent.front().is_some_and(|at| now - at >= 10.0) {
            recent.pop_front();
        }
        let burst = recent.len() as f64 / Hardware::of(server).capacity();
        self.result.burst = self.result.burst.max(burst);
        self.result.longest_run = self.result.longest_run.max(self.run);
    }

    /// A log-in took this many times as long as on an idle server.
    pub(crate) fn logged_in(&mut self, slowdown: f64, now: f64) {
        if self.in_window(now) {
            self.slowdowns.push(slowdown);
        }
    }

    pub(crate) fn sample(&mut self, servers: &[SimServer], now: f64) {
        if !self.in_window(now) {
            return;
        }
        let taking = servers.iter().filter(|server| !server.draining);
        let worst = taking.map(SimServer::utilisation).fold(0.0, f64::max);
        self.worst_utilisations.push(worst);
    }

    pub(crate) fn finish(mut self) -> Measured {
        let n = self.worst_utilisations.len().max(1) as f64;
        self.result.worst = self.worst_utilisations.iter().sum::<f64>() / n;
        self.slowdowns.sort_by(f64::total_cmp);
        let p99 = self.slowdowns.len() * 99 / 100;
        self.result.slow_p99 = self.slowdowns.get(p99).copied().unwrap_or(0.0);
        self.result
    }

    fn in_window(&self, now: f64) -> bool {
        (self.window.0..self.window.1).contains(&now)
    }
}
