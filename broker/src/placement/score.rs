//! How well would one more session do on this server?

use std::fmt;

use proto::{Counts, Load, NodeState};

use super::Averages;

/// What candidates are compared by; smaller is better, and 1 means full.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// Predicted share of the CPU in use after this log-in.
    pub cpu: f64,
    /// Predicted share of the memory in use after this log-in.
    pub memory: f64,
    /// Log-ins on their way or just over, per reference core: they cost more than
    /// sessions do. This is also what keeps an empty server from taking all log-ins.
    pub logins: f64,
    /// It is under pressure now: chosen only where all others are too.
    pub hot: bool,
}

impl Score {
    /// The score of a server with this state and this many placements that the state
    /// doesn't show yet. None if the server's load is not known.
    #[must_use]
    pub fn of(state: &NodeState, in_flight: u32, averages: &Averages) -> Option<Self> {
        let load = state.load.as_ref()?;
        let c = averages.cpu_per_session;
        let m = averages.memory_per_session_gb;
        let capacity = load.capacity();
        let coming = coming(&state.counts, in_flight);
        let young = f64::from(state.counts.young);
        let memory =
            memory_used_gb(load) + m * (coming + 1.0) + YOUNG_MEMORY_STILL_TO_COME * m * young;
        let memory = memory / memory_capacity_gb(load);
        Some(Self {
            cpu: cpu_demand(load, &state.counts, coming, c) / capacity,
            memory,
            logins: (LOGIN_COMING * coming + LOGIN_YOUNG * young) / capacity,
            hot: is_pressed(load) || memory > FULL_MEMORY,
        })
    }

    /// The score where not even the load is known: only the log-ins count, as if the
    /// server had one core.
    #[must_use]
    pub fn without_load(counts: &Counts, in_flight: u32) -> Self {
        let young = f64::from(counts.young);
        Self {
            cpu: 0.0,
            memory: 0.0,
            logins: LOGIN_COMING * coming(counts, in_flight) + LOGIN_YOUNG * young,
            hot: false,
        }
    }

    /// The number that is compared. The log-ins are added and not put into the maximum,
    /// where they would hide the memory during a storm of log-ins.
    #[must_use]
    pub fn total(&self) -> f64 {
        let penalty = if self.hot { HOT_PENALTY } else { 0.0 };
        self.cpu.max(self.memory) + SECONDARY * self.cpu.min(self.memory) + self.logins + penalty
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            cpu,
            memory,
            logins,
            hot,
        } = self;
        let total = self.total();
        write!(
            f,
            "{total:.2} (cpu {cpu:.2}, memory {memory:.2}, log-ins {logins:.2}"
        )?;
        f.write_str(if *hot { ", hot)" } else { ")" })
    }
}

/// Log-ins on their way to the server.
fn coming(counts: &Counts, in_flight: u32) -> f64 {
    f64::from(counts.pending) + f64::from(in_flight)
}

/// CPU demand with the log-ins on their way and this one, in reference cores.
fn cpu_demand(load: &Load, counts: &Counts, coming: f64, c: f64) -> f64 {
    if let Some(predicted) = load.predicted {
        return sane(predicted)
            + SUSPENDED_CPU * c * f64::from(counts.suspended)
            + c * (coming + 1.0);
    }
    let load5 = sane(load.load5) * f64::from(load.mhz) / Load::REFERENCE_MHZ;
    LOAD5_SHARE * load5
        + (1.0 - LOAD5_SHARE) * c * f64::from(counts.active)
        + c * (LOAD5_SHARE * f64::from(counts.young) + coming + 1.0)
}

/// Whether tasks already wait. Where the kernel keeps no pressure figures, the load
/// average must do for the CPU, and the memory share alone for the memory.
fn is_pressed(load: &Load) -> bool {
    let cpu = match load.pressure_cpu {
        Some(pressure) => sane(pressure) > HOT_CPU_PRESSURE,
        None => sane(load.load1) > HOT_LOAD1_PER_CORE * f64::from(load.cores),
    };
    cpu || load
        .pressure_memory
        .is_some_and(|pressure| sane(pressure) > HOT_MEMORY_PRESSURE)
}

/// Memory in use beyond what the system itself needs, in 10^9 bytes.
pub(super) fn memory_used_gb(load: &Load) -> f64 {
    (gb(load.memory_used_mb) - system_gb(load)).max(0.0)
}

/// Memory for sessions, in 10^9 bytes; never zero, so that it can divide.
fn memory_capacity_gb(load: &Load) -> f64 {
    (gb(load.memory_total_mb) - system_gb(load)).max(LEAST_MEMORY_GB)
}

/// Memory set aside for the system: 2 GB, but at most half, since small virtual machines
/// run small systems and would otherwise have no room for any session.
fn system_gb(load: &Load) -> f64 {
    (gb(load.memory_total_mb) / 2.0).min(SYSTEM_GB)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a few bytes in petabytes don't matter"
)]
fn gb(mb: u64) -> f64 {
    mb as f64 / 1000.0
}

/// Keeps foreign numbers from spreading: what is no number counts as endless load.
pub(super) fn sane(x: f64) -> f64 {
    if x.is_nan() {
        return ENDLESS;
    }
    x.clamp(0.0, ENDLESS)
}

/// More load than any server can have, small enough to add up without overflow.
const ENDLESS: f64 = 1e12;

const SYSTEM_GB: f64 = 2.0;

/// A server whose memory is not known counts as having nearly none.
const LEAST_MEMORY_GB: f64 = 0.1;

/// How much the lesser of CPU and memory counts beside the greater.
const SECONDARY: f64 = 0.1;

/// Log-in costs in reference cores: one that is on its way, one of the last 30 s.
const LOGIN_COMING: f64 = 0.5;
const LOGIN_YOUNG: f64 = 0.25;

/// A session of the last 30 s has yet to touch half of its memory.
const YOUNG_MEMORY_STILL_TO_COME: f64 = 0.5;

/// A suspended session may be resumed: it counts as a tenth of an active one.
const SUSPENDED_CPU: f64 = 0.1;

/// Without a prediction, this much of it is the load average and the rest is counted.
const LOAD5_SHARE: f64 = 0.75;

const HOT_CPU_PRESSURE: f64 = 0.5;
const HOT_MEMORY_PRESSURE: f64 = 0.1;
const HOT_LOAD1_PER_CORE: f64 = 1.5;
const FULL_MEMORY: f64 = 0.95;
const HOT_PENALTY: f64 = 10.0;

#[cfg(test)]
mod tests;
