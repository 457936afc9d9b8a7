//! Do log-ins spread well over a farm when every broker's view is late?
//!
//! Farms of a hundred servers and five replicas, event by event, with the real placement
//! of the crate `broker`: no sockets, no clock, and random numbers that are the same
//! everywhere. On the same log-ins two other rules run beside it: one that knows
//! everything at once, which nobody can beat by much, and the naive one, which shows
//! that the simulation can tell good from bad.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::print_stdout,
    reason = "a test fails by panicking and prints its figures; the simulated numbers are small"
)]

mod metrics;
mod replica;
mod rng;
mod server;
mod workload;
mod world;

use metrics::Measured;
use workload::Scenario;
use world::{Policy, simulate};

const N_BROKERS: usize = 5;

/// The same log-ins under two rules, for each of these seeds.
fn compare(
    scenario: Scenario,
    n_servers: usize,
    seeds: std::ops::RangeInclusive<u64>,
    policies: [Policy; 2],
) -> Vec<[Measured; 2]> {
    let pairs = seeds.map(|seed| {
        policies.map(|policy| {
            let measured = simulate(scenario, policy, n_servers, N_BROKERS, seed);
            println!("{scenario:?}, {n_servers} servers, seed {seed}, {policy:?}: {measured:?}");
            measured
        })
    });
    pairs.collect()
}

/// By how much the first is worse than the second, on the mean.
fn excess(pairs: &[[Measured; 2]]) -> f64 {
    let sum: f64 = pairs
        .iter()
        .map(|[of, than]| of.worst / than.worst - 1.0)
        .sum();
    sum / pairs.len() as f64
}

/// What holds in every scenario.
fn check_always(measured: &Measured) {
    assert_eq!(measured.n_not_placed, 0, "every log-in finds a server");
    assert!(measured.n_retries > 0, "some clients ask another replica");
    assert_eq!(
        measured.n_retries_elsewhere, 0,
        "a retry lands where the first try did"
    );
    assert_eq!(
        measured.n_on_draining, 0,
        "a draining server gets no session"
    );
    let asks = f64::from(measured.n_asks) / f64::from(measured.n_placed);
    assert!(asks <= 1.05, "a log-in costs {asks} asks");
}

/// What holds besides where there are at least a hundred servers.
fn check_large_farm(measured: &Measured) {
    check_always(measured);
    assert!(
        measured.longest_run <= 5,
        "{} in a row on one server",
        measured.longest_run
    );
    assert!(
        measured.burst <= 0.30,
        "{} log-ins per core in 10 s",
        measured.burst
    );
    assert!(
        measured.slow_p99 <= 1.10,
        "the slowest log-ins take {} times",
        measured.slow_p99
    );
}

#[test]
fn a_lecture_on_a_hundred_servers_is_nearly_as_even_as_omniscience_makes_it() {
    let policies = [Policy::Recommended, Policy::Omniscient];
    let pairs = compare(Scenario::Lecture, 100, 1..=2, policies);
    pairs
        .iter()
        .for_each(|[recommended, _]| check_large_farm(recommended));
    let excess = excess(&pairs);
    assert!(
        excess <= 0.12,
        "the worst server is {excess} above omniscience"
    );
}

#[test]
fn a_storm_on_a_hundred_servers_is_nearly_as_even_as_omniscience_makes_it() {
    let policies = [Policy::Recommended, Policy::Omniscient];
    let pairs = compare(Scenario::Storm, 100, 1..=2, policies);
    pairs
        .iter()
        .for_each(|[recommended, _]| check_large_farm(recommended));
    let excess = excess(&pairs);
    assert!(
        excess <= 0.16,
        "the worst server is {excess} above omniscience"
    );
}

#[test]
fn in_a_storm_the_naive_rule_herds_and_placement_does_not() {
    let policies = [Policy::Naive, Policy::Recommended];
    for [naive, recommended] in compare(Scenario::Storm, 100, 3..=3, policies) {
        check_large_farm(&recommended);
        let times = naive.burst / recommended.burst;
        assert!(
            times >= 10.0,
            "the naive burst is only {times} times higher"
        );
    }
}

#[test]
fn a_draining_server_gets_no_session_from_any_replica() {
    let policies = [Policy::Recommended, Policy::Omniscient];
    for [recommended, _] in compare(Scenario::Drain, 100, 1..=1, policies) {
        check_large_farm(&recommended);
    }
}

#[test]
fn a_lecture_on_ten_servers_is_borne() {
    let policies = [Policy::Recommended, Policy::Omniscient];
    let pairs = compare(Scenario::Lecture, 10, 1..=8, policies);
    let mean = |of: fn(&Measured) -> f64| {
        pairs
            .iter()
            .map(|[recommended, _]| of(recommended))
            .sum::<f64>()
            / pairs.len() as f64
    };
    pairs
        .iter()
        .for_each(|[recommended, _]| check_always(recommended));
    let (excess, burst, slow) = (excess(&pairs), mean(|m| m.burst), mean(|m| m.slow_p99));
    println!("excess {excess:.3}, burst {burst:.2}, slow {slow:.2}");
    assert!(
        excess <= 0.18,
        "the worst server is {excess} above omniscience"
    );
    assert!(burst <= 0.60, "{burst} log-ins per core in 10 s");
    assert!(slow <= 1.40, "the slowest log-ins take {slow} times");
}

#[test]
fn a_storm_on_ten_servers_is_borne() {
    let policies = [Policy::Recommended, Policy::Omniscient];
    let pairs = compare(Scenario::Storm, 10, 1..=8, policies);
    let excess = excess(&pairs);
    println!("excess {excess:.3}");
    assert!(
        excess <= 0.10,
        "the worst server is {excess} above omniscience"
    );
}
