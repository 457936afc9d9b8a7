//! Tables and properties of the score.

use proptest::prelude::{any, prop_assert, proptest};
use proto::{Counts, Load};

use super::Score;
use crate::placement::Averages;
use crate::placement::testing::ready;

/// 16 reference cores, 64 GB of which sessions may use 62, half idle.
const LOAD: Load = Load {
    cores: 16,
    mhz: 2400,
    memory_total_mb: 64_000,
    memory_used_mb: 33_000,
    predicted: Some(4.0),
    load1: 3.0,
    load5: 8.0,
    pressure_cpu: Some(0.0),
    pressure_memory: Some(0.0),
};

const COUNTS: Counts = Counts {
    active: 20,
    suspended: 10,
    young: 0,
    pending: 0,
};

const AVERAGES: Averages = Averages {
    cpu_per_session: 0.2,
    memory_per_session_gb: 0.5,
};

fn score(counts: Counts, in_flight: u32, load: Load) -> Score {
    Score::of(&ready(counts, load), in_flight, &AVERAGES).unwrap()
}

fn check(score: Score, cpu: f64, memory: f64, logins: f64, hot: bool) {
    let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
    let good = near(score.cpu, cpu) && near(score.memory, memory) && near(score.logins, logins);
    assert!(
        good && score.hot == hot,
        "{score:?} but expected cpu {cpu}, memory {memory}, log-ins {logins}, hot {hot}"
    );
}

#[test]
fn the_parts_are_those_of_the_formula() {
    // pred 4 + 0.1*0.2*10 suspended + 0.2 for this log-in; 31 GB used + 0.5 GB of 62
    check(score(COUNTS, 0, LOAD), 4.4 / 16.0, 31.5 / 62.0, 0.0, false);
}

#[test]
fn reservations_and_records_in_flight_count_alike() {
    let pending = Counts {
        pending: 3,
        ..COUNTS
    };
    let expected = (5.0 / 16.0, 33.0 / 62.0, 1.5 / 16.0);
    for score in [score(pending, 0, LOAD), score(COUNTS, 3, LOAD)] {
        check(score, expected.0, expected.1, expected.2, false);
    }
}

#[test]
fn young_sessions_count_as_log_ins_and_as_memory_still_to_come() {
    let young = Counts { young: 4, ..COUNTS };
    check(
        score(young, 0, LOAD),
        4.4 / 16.0,
        32.5 / 62.0,
        1.0 / 16.0,
        false,
    );
}

#[test]
fn without_a_prediction_load5_and_counts_are_blended() {
    let load = Load {
        predicted: None,
        mhz: 4800,
        ..LOAD
    };
    let young = Counts { young: 4, ..COUNTS };
    let cpu = (0.75 * 16.0 + 0.25 * 0.2 * 20.0 + 0.2 * (3.0 + 2.0 + 1.0)) / 32.0;
    check(score(young, 2, load), cpu, 33.5 / 62.0, 2.0 / 32.0, false);
}

#[test]
fn the_total_adds_the_log_ins_and_a_tenth_of_the_lesser_share() {
    let score = Score {
        cpu: 0.3,
        memory: 0.5,
        logins: 0.2,
        hot: false,
    };
    assert!((score.total() - 0.73).abs() < 1e-9);
    let mirrored = Score {
        cpu: 0.5,
        memory: 0.3,
        ..score
    };
    assert!((mirrored.total() - 0.73).abs() < 1e-9);
    let hot = Score { hot: true, ..score };
    assert!((hot.total() - 10.73).abs() < 1e-9);
}

#[test]
fn each_sign_of_pressure_makes_it_hot() {
    let hot = |load: Load| score(COUNTS, 0, load).hot;
    let table = [
        (LOAD, false),
        (
            Load {
                pressure_cpu: Some(0.5),
                ..LOAD
            },
            false,
        ),
        (
            Load {
                pressure_cpu: Some(0.51),
                ..LOAD
            },
            true,
        ),
        (
            Load {
                pressure_memory: Some(0.1),
                ..LOAD
            },
            false,
        ),
        (
            Load {
                pressure_memory: Some(0.11),
                ..LOAD
            },
            true,
        ),
        (
            Load {
                memory_used_mb: 60_000,
                ..LOAD
            },
            false,
        ),
        (
            Load {
                memory_used_mb: 61_000,
                ..LOAD
            },
            true,
        ),
        // With pressure figures the load average says nothing; without them it must do.
        (
            Load {
                load1: 99.0,
                ..LOAD
            },
            false,
        ),
        (
            Load {
                load1: 24.0,
                pressure_cpu: None,
                pressure_memory: None,
                ..LOAD
            },
            false,
        ),
        (
            Load {
                load1: 24.5,
                pressure_cpu: None,
                pressure_memory: None,
                ..LOAD
            },
            true,
        ),
        (
            Load {
                load1: 24.5,
                pressure_cpu: None,
                ..LOAD
            },
            true,
        ),
    ];
    for (load, expected) in table {
        assert_eq!(hot(load), expected, "{load:?}");
    }
}

#[test]
fn a_small_virtual_machine_keeps_half_of_its_memory_for_sessions() {
    let memory = |total: u64, used: u64| {
        let load = Load {
            memory_total_mb: total,
            memory_used_mb: used,
            ..LOAD
        };
        score(COUNTS, 0, load).memory
    };
    let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-9, "{a} is not {b}");
    near(memory(2_000, 800), 0.5 / 1.0);
    near(memory(2_000, 1_300), 0.8 / 1.0);
    near(memory(4_000, 1_000), 0.5 / 2.0);
    near(memory(5_000, 1_000), 0.5 / 3.0);
}

#[test]
fn a_server_without_load_has_no_score() {
    let mut state = ready(COUNTS, LOAD);
    state.load = None;
    assert_eq!(Score::of(&state, 0, &AVERAGES), None);
    let blind = Score::without_load(&COUNTS, 3);
    check(blind, 0.0, 0.0, 1.5, false);
}

#[test]
fn it_reads_well() {
    let text = score(COUNTS, 3, LOAD).to_string();
    assert_eq!(text, "0.66 (cpu 0.31, memory 0.53, log-ins 0.09)");
}

proptest! {
    #[test]
    fn it_is_a_number_whatever_a_server_claims(
        counts in any::<[u32; 4]>(),
        in_flight in any::<u32>(),
        (cores, mhz) in any::<(u32, u32)>(),
        memory in any::<(u64, u64)>(),
        numbers in any::<[f64; 3]>(),
        optional in any::<(Option<f64>, Option<f64>)>(),
    ) {
        let counts = Counts { active: counts[0], suspended: counts[1], young: counts[2], pending: counts[3] };
        for (cores, mhz, total) in [(cores, mhz, memory.0), (0, 0, 0), (0, mhz, 0), (cores, 0, 1)] {
            let load = Load {
                cores, mhz, memory_total_mb: total, memory_used_mb: memory.1,
                predicted: optional.0.map(|_| numbers[2]), load1: numbers[0], load5: numbers[1],
                pressure_cpu: optional.0, pressure_memory: optional.1,
            };
            let score = score(counts, in_flight, load);
            prop_assert!(score.total().is_finite() && score.total() >= 0.0, "{score:?}");
        }
    }

    #[test]
    fn more_of_anything_never_makes_it_better(extra in 0u32..1000, which in 0usize..4) {
        let mut counts = COUNTS;
        let mut in_flight = 0;
        match which {
            0 => counts.suspended += extra,
            1 => counts.young += extra,
            2 => counts.pending += extra,
            _ => in_flight += extra,
        }
        let base = score(COUNTS, 0, LOAD).total();
        prop_assert!(score(counts, in_flight, LOAD).total() >= base);
    }
}
