//! What does one more session cost, judging by the sessions that are there?

use std::time::Duration;

use proto::{Load, NodeState};

use super::score::{memory_used_gb, sane};

/// The demand of an average session. Learned from the farm, never configured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Averages {
    /// CPU demand of an active session, in cores of 2400 MHz.
    pub cpu_per_session: f64,
    /// Memory of a session, active or suspended, in 10^9 bytes.
    pub memory_per_session_gb: f64,
}

impl Averages {
    /// The averages after `elapsed` more time with the farm in these states.
    ///
    /// Each moves towards the present value with a time constant of 300 s. While there
    /// are no sessions to judge by, it stays as it is.
    #[must_use]
    pub fn updated<'a>(
        &self,
        states: impl IntoIterator<Item = &'a NodeState>,
        elapsed: Duration,
    ) -> Self {
        let (mut cpu, mut memory_gb, mut n_active, mut n_sessions) = (0.0, 0.0, 0.0, 0.0);
        for state in states {
            let Some(load) = &state.load else { continue };
            let active = f64::from(state.counts.active);
            n_active += active;
            n_sessions += active + f64::from(state.counts.suspended);
            cpu += load.predicted.map_or_else(|| load1(load), sane);
            memory_gb += memory_used_gb(load);
        }
        let weight = 1.0 - (-elapsed.as_secs_f64() / TIME_CONSTANT_SECONDS).exp();
        let moved = |old: f64, sum: f64, n: f64, (least, most): (f64, f64)| {
            if n > 0.0 {
                old + weight * ((sum / n).clamp(least, most) - old)
            } else {
                old
            }
        };
        Self {
            cpu_per_session: moved(self.cpu_per_session, cpu, n_active, CPU_BOUNDS),
            memory_per_session_gb: moved(
                self.memory_per_session_gb,
                memory_gb,
                n_sessions,
                MEMORY_BOUNDS_GB,
            ),
        }
    }
}

impl Default for Averages {
    /// What a desktop session needs where nothing is known yet.
    fn default() -> Self {
        Self {
            cpu_per_session: 0.2,
            memory_per_session_gb: 0.72,
        }
    }
}

fn load1(load: &Load) -> f64 {
    sane(load.load1) * f64::from(load.mhz) / Load::REFERENCE_MHZ
}

const TIME_CONSTANT_SECONDS: f64 = 300.0;

/// Outside of these something else than sessions is being measured.
const CPU_BOUNDS: (f64, f64) = (0.02, 2.0);
const MEMORY_BOUNDS_GB: (f64, f64) = (0.05, 8.0);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proto::{Counts, Load, NodeState};

    use super::Averages;
    use crate::placement::testing::ready;

    const LONG: Duration = Duration::from_secs(100_000);

    fn server(active: u32, suspended: u32, predicted: Option<f64>, used_mb: u64) -> NodeState {
        let counts = Counts {
            active,
            suspended,
            ..Counts::default()
        };
        let load = Load {
            cores: 16,
            mhz: 3600,
            memory_total_mb: 64_000,
            memory_used_mb: used_mb,
            predicted,
            load1: 4.0,
            ..Load::default()
        };
        ready(counts, load)
    }

    fn check(states: &[NodeState], cpu: f64, memory_gb: f64) {
        let averages = Averages::default().updated(states, LONG);
        let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
        assert!(
            near(averages.cpu_per_session, cpu) && near(averages.memory_per_session_gb, memory_gb),
            "{averages:?} but expected {cpu} and {memory_gb}"
        );
    }

    #[test]
    fn after_a_long_time_they_are_the_present_demand_per_session() {
        check(&[server(10, 10, Some(5.0), 12_000)], 0.5, 0.5);
        let two = [
            server(10, 0, Some(3.0), 12_000),
            server(10, 5, Some(1.0), 7_000),
        ];
        check(&two, 0.2, 0.6);
    }

    #[test]
    fn without_a_prediction_the_load_average_counts_in_reference_cores() {
        check(&[server(10, 0, None, 12_000)], 4.0 * 1.5 / 10.0, 1.0);
    }

    #[test]
    fn they_stay_within_bounds() {
        check(&[server(1, 0, Some(900.0), 64_000)], 2.0, 8.0);
        check(&[server(1000, 0, Some(0.0), 0)], 0.02, 0.05);
    }

    #[test]
    fn an_empty_farm_teaches_nothing() {
        check(&[], 0.2, 0.72);
        check(&[server(0, 0, Some(3.0), 30_000)], 0.2, 0.72);
    }

    #[test]
    fn in_one_time_constant_they_move_by_about_two_thirds() {
        let states = [server(10, 0, Some(12.0), 12_000)];
        let averages = Averages::default().updated(&states, Duration::from_secs(300));
        let expected = 0.2 + (1.2 - 0.2) * (1.0 - (-1.0f64).exp());
        assert!((averages.cpu_per_session - expected).abs() < 1e-9);
    }

    #[test]
    fn many_small_steps_lead_where_one_long_step_leads() {
        let states = [server(10, 0, Some(12.0), 12_000)];
        let once = Averages::default().updated(&states, Duration::from_secs(60));
        let often = (0..60).fold(Averages::default(), |averages, _| {
            averages.updated(&states, Duration::from_secs(1))
        });
        assert!((once.cpu_per_session - often.cpu_per_session).abs() < 1e-9);
    }
}
