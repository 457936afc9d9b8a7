//! The size of a real farm: do fifty members keep up, and what does it cost?

use std::time::Duration;

use gossip::{Settings, Traffic};
use pki::Role::{Agent, Broker};
use proto::KEY_SOFTWARE;
use tokio::time::Instant;

use crate::farm::{Farm, Node, SOON, are_live, expect, look};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_members_over_mtls() {
    let mut farm = Farm::mtls();
    farm.settings = Settings::lan();
    let nodes = start_fifty(&mut farm).await;

    let membership = all_see_all_after(&nodes, Instant::now()).await;
    let n_connects: u64 = traffic(&nodes).iter().map(|traffic| traffic.connects).sum();
    let cpu = cpu_seconds();
    println!("all see all after {membership:.1} rounds, {n_connects} connects, {cpu:.1} s of CPU");

    // The farm has connected; now it only gossips.
    let (before, start, cpu) = (traffic(&nodes), Instant::now(), cpu_seconds());
    let mut slowest: f64 = 0.0;
    for n in 0..5 {
        let rounds = change_reaches_all_after(&nodes, &nodes[10 + n]).await;
        println!("change {n} reaches all after {rounds:.2} rounds");
        slowest = slowest.max(rounds);
    }
    let rest = Duration::from_secs(10).saturating_sub(start.elapsed());
    tokio::time::sleep(rest).await;
    print_cost(&before, &traffic(&nodes), start.elapsed());
    let cpu = (cpu_seconds() - cpu) * 1000.0 / 50.0 / start.elapsed().as_secs_f64();
    println!("and {cpu:.1} ms of CPU");

    assert!(
        membership <= 10.0,
        "all see all after {membership:.1} rounds"
    );
    assert!(slowest <= 4.0, "one change took {slowest:.1} rounds");
}

/// Starts three brokers, which are the seeds, and 47 agents, all at once.
async fn start_fifty(farm: &mut Farm) -> Vec<Node> {
    let names: Vec<_> = (0..50)
        .map(|n| {
            if n < 3 {
                (Broker, format!("b{n}"))
            } else {
                (Agent, format!("a{n}"))
            }
        })
        .collect();
    for (role, name) in &names {
        farm.pki().identity(*role, name);
    }
    let (mut nodes, mut seeds) = (Vec::new(), Vec::new());
    for (role, name) in &names {
        let node = farm.start(*role, name, &seeds).await;
        if *role == Broker {
            seeds.push(node.address.to_string());
        }
        nodes.push(node);
    }
    nodes
}

fn rounds(took: Duration) -> f64 {
    took.as_secs_f64() / Settings::lan().interval.as_secs_f64()
}

async fn all_see_all_after(nodes: &[Node], start: Instant) -> f64 {
    let names: Vec<_> = nodes
        .iter()
        .map(|node| (node.role, node.name.clone()))
        .collect();
    for node in nodes {
        node.sees(SOON, |members| are_live(members, &names)).await;
    }
    rounds(start.elapsed())
}

async fn change_reaches_all_after(nodes: &[Node], changed: &Node) -> f64 {
    let start = Instant::now();
    let value = format!("version for {}", changed.name);
    changed
        .handle
        .advertise(KEY_SOFTWARE, value.clone())
        .unwrap();
    for node in nodes {
        node.sees(SOON, |members| {
            let software = &look(members, changed)?.advert.software;
            expect(*software == value, format!("software {software:?}"))
        })
        .await;
    }
    rounds(start.elapsed())
}

fn traffic(nodes: &[Node]) -> Vec<Traffic> {
    let services = nodes.iter().filter_map(|node| node.service.as_ref());
    services.map(gossip::GossipService::traffic).collect()
}

/// What this process has used so far, in user and system mode.
fn cpu_seconds() -> f64 {
    // proc_pid_stat(5): fields 14 and 15, in ticks of 10 ms; field 2 may hold blanks.
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = fields.split_whitespace().skip(11).take(2);
    ticks
        .filter_map(|field| field.parse::<u32>().ok())
        .map(f64::from)
        .sum::<f64>()
        / 100.0
}

#[expect(clippy::print_stdout, reason = "the figures are what this test is for")]
fn print_cost(before: &[Traffic], after: &[Traffic], took: Duration) {
    let per_node_and_second = |count: fn(&Traffic) -> u64| {
        let sum = |all: &[Traffic]| all.iter().map(count).sum::<u64>();
        let grown = u32::try_from(sum(after) - sum(before)).unwrap();
        f64::from(grown) / f64::from(u32::try_from(after.len()).unwrap()) / took.as_secs_f64()
    };
    println!(
        "per node and second: {:.0} bytes and {:.1} messages sent, {:.2} connects, {:.2} messages lost",
        per_node_and_second(|traffic| traffic.bytes_sent),
        per_node_and_second(|traffic| traffic.frames_sent),
        per_node_and_second(|traffic| traffic.connects),
        per_node_and_second(|traffic| traffic.frames_dropped),
    );
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let memory = status.lines().find(|line| line.starts_with("VmRSS"));
    println!("memory of all fifty: {}", memory.unwrap_or("unknown"));
}
