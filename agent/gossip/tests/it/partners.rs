//! Is a mesh with few connections as good as a full one, also for who must be told at once?

use std::time::Duration;

use gossip::{Settings, TransportLimits};
use pki::Role::{Agent, Broker};
use proto::KEY_SOFTWARE;

use crate::farm::{Farm, SOON, all_see_all, expect, look};
use crate::suite::drains_are_pushed;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn few_partners_are_enough_for_all_to_hear_all() {
    let mut farm = Farm::mtls();
    farm.limits = TransportLimits {
        partners: 2,
        idle_to_others: SOON,
        ..TransportLimits::default()
    };
    let nodes = farm.of(10).await;
    for n in 0..5 {
        let value = format!("version {n}");
        nodes[11]
            .handle
            .advertise(KEY_SOFTWARE, value.clone())
            .unwrap();
        for node in &nodes {
            node.sees(SOON, |members| {
                let software = &look(members, &nodes[11])?.advert.software;
                expect(*software == value, format!("software {software:?}"))
            })
            .await;
        }
    }
    // Two partners and two brokers each are 48, and some more when a connect had to be
    // tried again on a busy machine; a full mesh of twelve would be 132.
    let services = nodes.iter().filter_map(|node| node.service.as_ref());
    let n_connects: u64 = services.map(|service| service.traffic().connects).sum();
    assert!(n_connects <= 132 / 2, "{n_connects} connects");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_reaches_brokers_that_are_no_partners() {
    let mut farm = Farm::mtls();
    farm.limits = TransportLimits {
        partners: 1,
        ..TransportLimits::default()
    };
    farm.settings.interval = Duration::from_millis(500);
    let first = farm.start(Agent, "a0", &[]).await;
    let seeds = [first.address.to_string()];
    let mut agents = vec![first];
    for n in 1..6 {
        agents.push(farm.start(Agent, &format!("a{n}"), &seeds).await);
    }
    all_see_all(&agents).await;
    // They come last, so everybody has partners already.
    let mut nodes = Vec::new();
    for name in ["b1", "b2"] {
        nodes.push(farm.start(Broker, name, &seeds).await);
    }
    nodes.extend(agents);
    all_see_all(&nodes).await;
    drains_are_pushed(&nodes[7], &nodes[..2]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_does_not_get_the_offers_of_the_whole_farm() {
    let mut farm = Farm::mtls();
    farm.limits = TransportLimits {
        partners: 2,
        idle_to_others: SOON,
        ..TransportLimits::default()
    };
    let nodes = farm.of(10).await;
    let received = || -> Vec<u64> {
        let services = nodes.iter().filter_map(|node| node.service.as_ref());
        services
            .map(|service| service.traffic().frames_received)
            .collect()
    };
    let before = received();
    tokio::time::sleep(Settings::local().interval * 25).await;
    let received: Vec<u64> = received().iter().zip(before).map(|(a, b)| a - b).collect();
    // Connected to everybody, a broker still gets no more than any other member: about nine
    // messages a round, and not twenty.
    let (brokers, agents) = received.split_at(2);
    let mean = |of: &[u64]| of.iter().sum::<u64>() / of.len() as u64;
    let (brokers, agents) = (mean(brokers), mean(agents));
    assert!(agents > 0 && brokers < agents * 2, "{received:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_connection_is_closed_and_opened_again_when_needed() {
    let mut farm = Farm::mtls();
    farm.limits.idle = Settings::local().interval / 4;
    farm.limits.idle_to_others = farm.limits.idle;
    let nodes = farm.of(0).await;
    let n_connects = || nodes[1].service.as_ref().unwrap().traffic().connects;
    let before = n_connects();
    let limit = tokio::time::Instant::now() + SOON;
    while n_connects() < before + 5 {
        assert!(
            tokio::time::Instant::now() < limit,
            "{} connects",
            n_connects()
        );
        tokio::time::sleep(Settings::local().interval).await;
    }
    all_see_all(&nodes).await;
}
