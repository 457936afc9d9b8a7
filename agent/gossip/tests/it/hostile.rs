//! What a member can do to the others by its messages alone, and that they recover. In
//! memory, where messages can be forged at no cost; `certificates.rs` has some over TLS.

use std::net::SocketAddr;
use std::time::Duration;

use gossip::Members;
use pki::Role::{Agent, Broker};
use proto::{Generation, KEY_LOAD, KEY_READINESS, KEY_ROLE, KEY_SOFTWARE, NodeId};

use crate::farm::{FARM, Farm, Node, SOON, all_see_all, are_live, expect, look};
use crate::forge::{Op, ack, syn};

/// A member that is nobody's member: where forged messages come from.
fn attacker() -> SocketAddr {
    "10.6.6.6:6".parse().unwrap()
}

fn id(node: &Node) -> (String, u64, SocketAddr) {
    (format!("{}/{}", node.role, node.name), 1, node.address)
}

/// Says about `about`, to `to`, what `ops` say.
fn forge(farm: &Farm, about: &Node, to: &Node, last_gc: u64, ops: Vec<Op<'_>>) {
    let (name, generation, address) = id(about);
    let node = Op::Node {
        id: (&name, generation, address),
        last_gc,
        from: 0,
    };
    let ops: Vec<_> = std::iter::once(node).chain(ops).collect();
    farm.network().inject(attacker(), to.address, ack(&ops));
}

fn software(members: &Members, node: &Node, expected: &str) -> Result<(), String> {
    let software = &look(members, node)?.advert.software;
    expect(software == expected, format!("software {software:?}"))
}

fn generation_is_above(members: &Members, node: &Node, low: u64) -> Result<(), String> {
    let generation = look(members, node)?.generation;
    expect(
        generation > Generation(low),
        format!("generation {generation}"),
    )
}

#[tokio::test(start_paused = true)]
async fn malformed_messages_are_dropped_and_the_gossip_goes_on() {
    let mut farm = Farm::memory();
    let nodes = farm.of(2).await;
    let good = syn(FARM, &[(("agent/x", 1, attacker()), 1)]);
    let mut frames = vec![
        Vec::new(),
        vec![0; 3],
        vec![0xff; 70_000],
        b"GET / HTTP/1.1".to_vec(),
    ];
    frames.extend((1..good.len()).map(|end| good[..end].to_vec()));
    frames.extend((0..200u8).map(|n| vec![0x53, 0xb0, 0, n % 5, n, n.wrapping_mul(37), n, 0, n]));
    let before = farm.network().traffic().frames_dropped;
    let n_frames = frames.len();
    for frame in frames {
        for node in &nodes {
            farm.network()
                .inject(attacker(), node.address, frame.clone());
        }
        tokio::task::yield_now().await;
    }
    nodes[2]
        .handle
        .advertise(KEY_SOFTWARE, "after".to_owned())
        .unwrap();
    for node in &nodes {
        node.sees(SOON, |members| software(members, &nodes[2], "after"))
            .await;
        assert_eq!(
            look(&node.members(), node).unwrap().generation,
            Generation(1)
        );
    }
    let dropped = farm.network().traffic().frames_dropped - before;
    assert!(
        dropped >= u64::try_from(n_frames).unwrap(),
        "{dropped} of {n_frames} frames"
    );
}

#[tokio::test(start_paused = true)]
async fn a_message_that_makes_chitchat_panic_costs_a_generation_and_no_member() {
    let mut farm = Farm::memory();
    let nodes = farm.of(2).await;
    nodes[0]
        .handle
        .advertise(KEY_SOFTWARE, "kept".to_owned())
        .unwrap();
    nodes[1]
        .sees(SOON, |members| software(members, &nodes[0], "kept"))
        .await;
    // chitchat asserts that the last version is the highest.
    let ops = vec![
        Op::Set {
            key: "k",
            value: "v",
            version: 1000,
        },
        Op::MaxVersion(999),
    ];
    forge(&farm, &nodes[2], &nodes[0], 0, ops);

    // Whoever asks the victim sees all members all the time.
    let names: Vec<_> = nodes
        .iter()
        .map(|node| (node.role, node.name.clone()))
        .collect();
    let mut shown = nodes[0].handle.members();
    let always_complete = async {
        loop {
            are_live(&shown.borrow_and_update(), &names).unwrap();
            shown.changed().await.unwrap();
        }
    };
    let elapsed = tokio::time::timeout(Duration::from_secs(60), always_complete).await;
    assert!(elapsed.is_err());
    for node in &nodes {
        node.sees(SOON, |members| {
            generation_is_above(members, &nodes[0], 1)?;
            software(members, &nodes[0], "kept")?;
            are_live(members, &names)
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn endless_panics_do_not_end_the_cluster() {
    let mut farm = Farm::memory();
    let nodes = farm.of(2).await;
    for _ in 0..20 {
        let victim = look(&nodes[0].members(), &nodes[2]).unwrap().generation.0;
        let (name, _, address) = id(&nodes[2]);
        for generation in 1..=victim {
            let node = Op::Node {
                id: (&name, generation, address),
                last_gc: 0,
                from: 0,
            };
            let high = Op::Set {
                key: "k",
                value: "v",
                version: 1000,
            };
            let frame = ack(&[node, high, Op::MaxVersion(999)]);
            farm.network().inject(attacker(), nodes[2].address, frame);
        }
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    all_see_all(&nodes).await;
    // With growing pauses, so neither never nor each time.
    let last = look(&nodes[0].members(), &nodes[2]).unwrap().generation;
    assert!(
        (Generation(4)..Generation(9)).contains(&last),
        "generation {last}"
    );
}

#[tokio::test(start_paused = true)]
async fn forged_values_about_us_are_corrected_and_foreign_keys_deleted() {
    let mut farm = Farm::memory();
    let nodes = farm.of(2).await;
    let victim = &nodes[2];
    victim
        .handle
        .advertise(KEY_SOFTWARE, "true".to_owned())
        .unwrap();
    nodes[0]
        .sees(SOON, |members| software(members, victim, "true"))
        .await;
    for to in [victim, &nodes[0]] {
        let ops = vec![
            Op::Set {
                key: KEY_SOFTWARE,
                value: "forged",
                version: 500,
            },
            Op::Set {
                key: "evil",
                value: "x",
                version: 501,
            },
        ];
        forge(&farm, victim, to, 0, ops);
    }
    nodes[0]
        .sees(SOON, |members| software(members, victim, "forged"))
        .await;
    for node in &nodes {
        node.sees(SOON, |members| software(members, victim, "true"))
            .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_forged_reset_is_healed() {
    let mut farm = Farm::memory();
    let nodes = farm.of(2).await;
    let victim = &nodes[2];
    victim
        .handle
        .advertise(KEY_SOFTWARE, "true".to_owned())
        .unwrap();
    nodes[0]
        .sees(SOON, |members| software(members, victim, "true"))
        .await;
    for to in &nodes {
        let ops = vec![Op::Set {
            key: KEY_ROLE,
            value: "agent",
            version: 1,
        }];
        forge(&farm, victim, to, 10_000, ops);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    for node in &nodes {
        node.sees(SOON, |members| software(members, victim, "true"))
            .await;
    }
    all_see_all(&nodes).await;
}

#[tokio::test(start_paused = true)]
async fn a_version_near_its_end_makes_a_new_generation() {
    let mut farm = Farm::memory();
    let nodes = farm.of(2).await;
    let victim = &nodes[2];
    let ops = vec![Op::Set {
        key: KEY_SOFTWARE,
        value: "forged",
        version: u64::MAX,
    }];
    forge(&farm, victim, victim, 0, ops);
    victim
        .sees(SOON, |members| generation_is_above(members, victim, 1))
        .await;
    victim
        .handle
        .advertise(KEY_SOFTWARE, "true".to_owned())
        .unwrap();
    for node in &nodes {
        node.sees(SOON, |members| software(members, victim, "true"))
            .await;
    }
    all_see_all(&nodes).await;
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_that_nobody_can_have_counted_is_ignored() {
    let mut farm = Farm::memory();
    let nodes = farm.of(2).await;
    let (name, generation, address) = id(&nodes[2]);
    let frame = syn(FARM, &[((&name, generation, address), u64::MAX)]);
    for node in &nodes {
        farm.network()
            .inject(attacker(), node.address, frame.clone());
    }
    tokio::time::sleep(Duration::from_secs(30)).await;
    all_see_all(&nodes).await;
}

#[tokio::test(start_paused = true)]
async fn whoever_is_no_member_is_not_shown_and_odd_values_are_left_out() {
    let mut farm = Farm::memory();
    let nodes = farm.of(1).await;
    let table: [(&str, &str, bool); 6] = [
        ("agent/odd", "agent", true),
        ("agent/liar", "broker", false),
        ("agent/roleless", "", false),
        ("operator/person", "operator", false),
        ("agent/no name", "agent", false),
        ("nonsense", "agent", false),
    ];
    for (name, role, _) in table {
        let id = (name, 1, attacker());
        farm.network()
            .inject(attacker(), nodes[0].address, syn(FARM, &[(id, 1)]));
        let mut ops = vec![Op::Node {
            id,
            last_gc: 0,
            from: 0,
        }];
        if !role.is_empty() {
            ops.push(Op::Set {
                key: KEY_ROLE,
                value: role,
                version: 1,
            });
        }
        ops.push(Op::Set {
            key: KEY_LOAD,
            value: "many",
            version: 2,
        });
        ops.push(Op::Set {
            key: KEY_READINESS,
            value: "ready",
            version: 3,
        });
        ops.push(Op::Set {
            key: KEY_SOFTWARE,
            value: "0.1",
            version: 4,
        });
        farm.network()
            .inject(attacker(), nodes[0].address, ack(&ops));
    }
    let odd = NodeId::parse("odd").unwrap();
    for node in &nodes {
        node.sees(SOON, |members| {
            expect(members.get(Agent, &odd).is_some(), "odd is missing")?;
            expect(members.len() == nodes.len() + 1, format!("{members:?}"))
        })
        .await;
    }
    let members = nodes[1].members();
    let odd = members.get(Agent, &odd).unwrap();
    assert_eq!(
        (odd.live, &odd.advert.state, odd.advert.software.as_str()),
        (false, &None, "0.1")
    );
}

#[tokio::test(start_paused = true)]
async fn a_member_of_another_farm_is_not_heard() {
    let mut farm = Farm::memory();
    let nodes = farm.of(1).await;
    let foreign = ("agent/foreign", 1, attacker());
    for heartbeat in 1..10 {
        let frame = syn("another-farm", &[(foreign, heartbeat)]);
        farm.network().inject(attacker(), nodes[0].address, frame);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(nodes[0].members().len(), nodes.len());
    all_see_all(&nodes).await;
}

#[tokio::test(start_paused = true)]
async fn a_partition_longer_than_any_memory_heals_through_the_seeds() {
    let mut farm = Farm::memory();
    let nodes = farm.of(2).await;
    let (left, right) = ([&nodes[0], &nodes[2]], [&nodes[1], &nodes[3]]);
    for (a, b) in left.iter().flat_map(|a| right.iter().map(move |b| (a, b))) {
        farm.network().cut(a.address, b.address);
    }
    for side in [left, right] {
        let names: Vec<_> = side
            .iter()
            .map(|node| (node.role, node.name.clone()))
            .collect();
        for node in side {
            node.sees(SOON, |members| are_live(members, &names)).await;
        }
    }
    tokio::time::sleep(farm.settings.dead_grace * 3).await;
    assert_eq!(nodes[0].members().len(), 2, "the other side is forgotten");
    for (a, b) in left.iter().flat_map(|a| right.iter().map(move |b| (a, b))) {
        farm.network().repair(a.address, b.address);
    }
    let names: Vec<_> = nodes
        .iter()
        .map(|node| (node.role, node.name.clone()))
        .collect();
    let limit = farm.settings.seeds_joined + farm.settings.interval * 10;
    for node in &nodes {
        node.sees(limit, |members| are_live(members, &names)).await;
    }
    assert_eq!(nodes[0].members().live(Broker).count(), 2);
}
