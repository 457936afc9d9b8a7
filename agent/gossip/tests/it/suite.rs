//! What holds over both transports.

use std::time::Duration;

use gossip::{AdvertiseError, Change, changes};
use pki::Role::{Agent, Broker};
use proto::{
    Counts, Drain, Generation, HostNames, KEY_LOAD, KEY_NAMES, KEY_READINESS, Load,
    MAX_VALUE_BYTES, NodeId, NodeState, Readiness, Version,
};

use crate::farm::{Farm, Node, SOON, all_see_all, are_live, expect, look};

/// Runs each test in memory with paused time, and over mutual TLS.
macro_rules! over_both_transports {
    ($($name:ident)*) => {
        mod memory {
            $(#[tokio::test(start_paused = true)]
            async fn $name() {
                super::$name(super::Farm::memory()).await;
            })*
        }
        mod mtls {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(super::Farm::mtls()).await;
            })*
        }
    };
}

over_both_transports! {
    members_see_each_other
    an_advert_reaches_all
    a_drain_is_seen_long_before_the_next_round
    a_burst_of_changes_ends_with_the_last_one
    a_leaving_member_has_told_all_brokers_when_it_stops
    a_dead_member_is_noticed_and_comes_back
    a_restart_wins_and_the_old_generation_does_not_come_back
    a_lower_generation_never_wins
    seeds_can_be_names
    a_member_that_was_alone_finds_a_seed_that_comes_later
    a_value_that_is_too_long_is_refused_and_the_rest_goes_on
}

fn state(readiness: Readiness) -> NodeState {
    NodeState {
        generation: Generation(1),
        version: Version(1),
        counts: Counts {
            active: 3,
            ..Counts::default()
        },
        load: Some(Load {
            cores: 4,
            mhz: 2400,
            ..Load::default()
        }),
        readiness,
    }
}

fn advertise_load(node: &Node) {
    let load = state(Readiness::Ready).load_to_value().unwrap();
    node.handle.advertise(KEY_LOAD, load).unwrap();
    node.handle
        .advertise(KEY_READINESS, "ready".to_owned())
        .unwrap();
}

fn draining(reason: i32) -> Readiness {
    Readiness::Draining(Drain::new(&reason.to_string()))
}

async fn members_see_each_other(mut farm: Farm) {
    let nodes = farm.of(3).await;
    let members = nodes[0].members();
    assert_eq!(members.live(Broker).count(), 2);
    assert_eq!(members.live(Agent).count(), 3);
    for node in &nodes {
        let member = members.get(node.role, &node.name).unwrap();
        assert_eq!(
            (member.address, member.generation),
            (node.address, Generation(1))
        );
    }
}

async fn an_advert_reaches_all(mut farm: Farm) {
    let nodes = farm.of(3).await;
    let names = HostNames {
        names: vec![NodeId::parse("a1.lab.test").unwrap()],
        addresses: vec!["10.77.0.101".parse().unwrap()],
    };
    nodes[2]
        .handle
        .advertise(KEY_NAMES, names.to_value())
        .unwrap();
    advertise_load(&nodes[2]);
    for node in &nodes {
        node.sees(SOON, |members| {
            let advert = &look(members, &nodes[2])?.advert;
            let is_whole = advert.names == names && advert.state == Some(state(Readiness::Ready));
            expect(is_whole, format!("{advert:?}"))
        })
        .await;
    }
}

async fn a_drain_is_seen_long_before_the_next_round(mut farm: Farm) {
    farm.settings = gossip::Settings::lan();
    let nodes = farm.of(2).await;
    drains_are_pushed(&nodes[2], &nodes[..2]).await;
}

/// Drains `agent` five times; both brokers must know each time long before the next round.
/// The slowest two may be the fault of a busy machine.
pub(crate) async fn drains_are_pushed(agent: &Node, brokers: &[Node]) {
    advertise_load(agent);
    for broker in brokers {
        broker
            .sees(SOON, |m| {
                expect(look(m, agent)?.advert.state.is_some(), "no load")
            })
            .await;
    }
    let mut took = Vec::new();
    for n in 0..5 {
        let drain = draining(n);
        let start = tokio::time::Instant::now();
        agent
            .handle
            .advertise_now(KEY_READINESS, drain.to_value())
            .unwrap();
        for broker in brokers {
            broker
                .sees(SOON, |members| {
                    let state = look(members, agent)?.advert.state.clone();
                    let readiness = state.map(|state| state.readiness);
                    expect(readiness.as_ref() == Some(&drain), format!("{readiness:?}"))
                })
                .await;
        }
        took.push(start.elapsed());
    }
    took.sort();
    assert!(took[2] < Duration::from_millis(200), "drains took {took:?}");
}

async fn a_burst_of_changes_ends_with_the_last_one(mut farm: Farm) {
    let nodes = farm.of(1).await;
    advertise_load(&nodes[2]);
    for n in 0..100 {
        nodes[2]
            .handle
            .advertise_now(KEY_READINESS, draining(n).to_value())
            .unwrap();
    }
    nodes[1]
        .sees(SOON, |members| {
            let state = look(members, &nodes[2])?.advert.state.clone();
            let readiness = state.map(|state| state.readiness);
            expect(readiness == Some(draining(99)), format!("{readiness:?}"))
        })
        .await;
}

async fn a_leaving_member_has_told_all_brokers_when_it_stops(mut farm: Farm) {
    let mut nodes = farm.of(1).await;
    let leaving = nodes.pop().unwrap();
    advertise_load(&leaving);
    for broker in &nodes {
        broker
            .sees(SOON, |m| {
                expect(look(m, &leaving)?.advert.state.is_some(), "no load")
            })
            .await;
    }
    leaving.handle.leave(SOON).await;
    for broker in &nodes {
        broker
            .sees(Duration::from_millis(500), |members| {
                let state = look(members, &leaving)?.advert.state.clone();
                let readiness = state.map(|state| state.readiness);
                expect(
                    readiness == Some(Readiness::Leaving),
                    format!("{readiness:?}"),
                )
            })
            .await;
    }
    leaving.stop().await;
}

async fn a_dead_member_is_noticed_and_comes_back(mut farm: Farm) {
    let mut nodes = farm.of(2).await;
    let before = nodes[0].members();
    let killed = nodes.pop().unwrap();
    let (name, address) = (killed.name.clone(), killed.address);
    killed.kill().await;
    let names: Vec<_> = nodes
        .iter()
        .map(|node| (node.role, node.name.clone()))
        .collect();
    for node in &nodes {
        let took = node.sees(SOON, |members| are_live(members, &names)).await;
        let rounds = took.as_secs_f64() / farm.settings.interval.as_secs_f64();
        assert!(rounds < 25.0, "{} took {rounds:.1} rounds", node.name);
    }
    let told = changes(&before, &nodes[0].members());
    assert!(
        matches!(&told[..], [Change::Left(member)] if member.node == name),
        "{told:?}"
    );
    let seeds = [nodes[0].address.to_string()];
    nodes.push(
        farm.start_at(address, Agent, name.as_str(), &seeds, 2)
            .await,
    );
    all_see_all(&nodes).await;
}

async fn a_restart_wins_and_the_old_generation_does_not_come_back(mut farm: Farm) {
    let mut nodes = farm.of(2).await;
    let old = nodes.pop().unwrap();
    advertise_load(&old);
    nodes[0]
        .sees(SOON, |m| {
            expect(look(m, &old)?.advert.state.is_some(), "no load")
        })
        .await;
    let (name, address) = (old.name.clone(), old.address);
    old.kill().await;
    let seeds = [nodes[0].address.to_string()];
    let new = farm
        .start_at(address, Agent, name.as_str(), &seeds, 2)
        .await;
    let mut seen = nodes[0].handle.members();
    let limit = tokio::time::sleep(farm.settings.interval * 20);
    tokio::pin!(limit);
    let mut has_won = false;
    loop {
        tokio::select! {
            changed = seen.changed() => changed.unwrap(),
            () = &mut limit => break,
        }
        let members = seen.borrow_and_update().clone();
        let member = members.get(Agent, &name).expect("it never disappears");
        has_won |= member.generation == Generation(2);
        if has_won {
            assert_eq!(
                member.generation,
                Generation(2),
                "the old generation came back"
            );
            assert_eq!(member.advert.state, None, "the old state came back");
        }
    }
    nodes.push(new);
    all_see_all(&nodes).await;
    assert!(has_won);
}

async fn a_lower_generation_never_wins(mut farm: Farm) {
    let mut nodes = farm.of(1).await;
    let seeds = [nodes[0].address.to_string()];
    let high = farm.start_as(Agent, "twin", &seeds, 7).await;
    nodes.push(high);
    all_see_all(&nodes).await;
    let low = farm.start_as(Agent, "twin", &seeds, 3).await;
    low.sees(SOON, |members| {
        let generation = look(members, &low)?.generation;
        expect(
            generation == Generation(7),
            format!("generation {generation}"),
        )
    })
    .await;
    for node in &nodes {
        assert_eq!(
            look(&node.members(), &low).unwrap().generation,
            Generation(7)
        );
    }
}

async fn seeds_can_be_names(mut farm: Farm) {
    let first = farm.start(Broker, "b1", &[]).await;
    let mut seeds = vec!["no-such-host.invalid:7403".to_owned()];
    // In memory there is no name service, so there the good seed is an address.
    seeds.push(match farm.net {
        crate::farm::Net::Memory { .. } => first.address.to_string(),
        crate::farm::Net::Mtls(_) => format!("localhost:{}", first.address.port()),
    });
    let second = farm.start(Agent, "a1", &seeds).await;
    all_see_all(&[first, second]).await;
}

async fn a_member_that_was_alone_finds_a_seed_that_comes_later(mut farm: Farm) {
    let early = farm.start(Broker, "b1", &[]).await;
    let address = early.address;
    early.stop().await;
    let agent = farm.start(Agent, "a1", &[address.to_string()]).await;
    let alone = [(Agent, agent.name.clone())];
    agent.sees(SOON, |members| are_live(members, &alone)).await;
    let broker = farm.start_at(address, Broker, "b1", &[], 2).await;
    all_see_all(&[agent, broker]).await;
}

async fn a_value_that_is_too_long_is_refused_and_the_rest_goes_on(mut farm: Farm) {
    let nodes = farm.of(1).await;
    let refused = nodes[2]
        .handle
        .advertise(KEY_NAMES, "x ".repeat(MAX_VALUE_BYTES / 2));
    let bytes = MAX_VALUE_BYTES;
    assert_eq!(
        refused,
        Err(AdvertiseError::TooLong {
            key: KEY_NAMES,
            bytes
        })
    );
    advertise_load(&nodes[2]);
    nodes[0]
        .sees(SOON, |m| {
            expect(look(m, &nodes[2])?.advert.state.is_some(), "no load")
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn leaving_waits_for_a_broker_that_can_not_hear_yet() {
    let mut farm = Farm::memory();
    let nodes = farm.of(1).await;
    let (deaf, leaving) = (&nodes[0], &nodes[2]);
    advertise_load(leaving);
    deaf.sees(SOON, |m| {
        expect(look(m, leaving)?.advert.state.is_some(), "no load")
    })
    .await;
    farm.network().cut(deaf.address, leaving.address);
    farm.network().cut(deaf.address, nodes[1].address);
    let (start, blind) = (tokio::time::Instant::now(), Duration::from_secs(3));
    let repaired = async {
        tokio::time::sleep(blind).await;
        farm.network().repair(deaf.address, leaving.address);
    };
    tokio::join!(leaving.handle.leave(SOON), repaired);
    assert!(
        start.elapsed() > blind,
        "it left after {:?}",
        start.elapsed()
    );
    let state = look(&deaf.members(), leaving).unwrap().advert.state.clone();
    assert_eq!(state.map(|state| state.readiness), Some(Readiness::Leaving));
    // And not for ever.
    farm.network().cut(deaf.address, leaving.address);
    leaving
        .handle
        .advertise(KEY_READINESS, "ready".to_owned())
        .unwrap();
    let start = tokio::time::Instant::now();
    leaving.handle.leave(Duration::from_secs(2)).await;
    assert_eq!(start.elapsed().as_secs(), 2);
}
