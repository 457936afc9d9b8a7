//! How much memory do a replica and an agent need in a farm of 500 servers with 10,000
//! sessions?
//!
//! `cargo bench -p tests --bench memory`. One real `x2gobroker-daemon`, then one real
//! `x2gobroker-agentd`; the 500 servers are played towards them by the bench, each with its
//! own certificate, connection and `Watch` stream, all of them members of the gossip. What
//! is measured is the resident memory after [`SETTLE`], when as many gossip connections are
//! open as there always will be.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::ensure;
use pki::Role;
use tests::bench::crowd::{Crowd, Server};
use tests::bench::farm::Farm;
use tests::bench::https::post;
use tests::bench::load::Target;
use tests::bench::promises::{Promises, headline, machine, mb, ms, note};
use tests::process::Process;
use tests::wait::now;

const SOURCE: &str = "issue 2";
const N_SERVERS: usize = 500;
const N_SESSIONS: usize = 10_000;
/// The most that a replica may need for that.
const REPLICA_MB: u64 = 60;
/// The most that an agent may need.
const AGENT_MB: u64 = 25;

fn main() -> anyhow::Result<ExitCode> {
    enough_descriptors()?;
    headline(format!(
        "memory in a farm of {N_SERVERS} servers and {N_SESSIONS} sessions; {}",
        machine()
    ));
    let mut promises = Promises::of(SOURCE);
    let farm = Farm::new()?;
    let servers = Server::many(N_SERVERS, N_SESSIONS / N_SERVERS)?;
    let profiles = profiles(&servers);
    let mut crowd = Crowd::start(&farm, servers)?;
    replica(&farm, &profiles, &mut crowd, &mut promises)?;
    agent(&farm, &mut crowd, &mut promises)?;
    Ok(promises.verdict())
}

fn replica(
    farm: &Farm,
    profiles: &str,
    crowd: &mut Crowd,
    promises: &mut Promises,
) -> anyhow::Result<()> {
    headline("a replica");
    let mut replica = farm.replica(profiles, "lan")?;
    let began = now();
    print_memory(&replica.process, "without servers")?;
    crowd.gossip_with(replica.mesh, Role::Broker);
    replica.wait_for_servers(N_SERVERS, JOIN_LIMIT)?;
    note(format!(
        "all servers have joined after {:?}",
        began.elapsed()
    ));
    print_memory(&replica.process, "when the last server has joined")?;
    settle(&replica.process)?;
    let target = Target {
        server: replica.https,
        trust: farm.trust()?,
    };
    let last = [request("listsessions", N_SESSIONS - 1)];
    target.ask_each(&last, |answer| {
        let text = String::from_utf8_lossy(answer);
        ensure!(text.contains("\nstatus="), "a session is missing: {text}");
        Ok(())
    })?;
    promises.at_most_mb("replica", replica.process.rss_kb()?, REPLICA_MB);

    let users: Vec<_> = (0..N_LOGINS)
        .map(|user| request("selectsession", user * 2))
        .collect();
    let answers = target.ask_for(LOGINS, 4, &users, is_placed)?;
    note(format!(
        "and selectsession there, 4 clients: {:.0}/s, p50 {}",
        answers.per_second(),
        ms(answers.p50())
    ));
    print_memory(&replica.process, "after these log-ins")
}

fn agent(farm: &Farm, crowd: &mut Crowd, promises: &mut Promises) -> anyhow::Result<()> {
    headline("an agent");
    let agent = farm.agent("real-server", &[], "lan")?;
    print_memory(&agent.process, "alone")?;
    crowd.gossip_with(agent.mesh, Role::Agent);
    settle(&agent.process)?;
    promises.at_most_mb("agent", agent.process.rss_kb()?, AGENT_MB);
    Ok(())
}

/// Lets time pass, and shows what becomes of the memory.
fn settle(process: &Process) -> anyhow::Result<()> {
    let (began, cpu) = (now(), process.cpu()?);
    let mut next = SHOW_EVERY;
    while began.elapsed() < SETTLE {
        std::thread::sleep(next.saturating_sub(began.elapsed()));
        print_memory(process, &format!("after {} s", next.as_secs()))?;
        next += SHOW_EVERY;
    }
    let cpu = (process.cpu()? - cpu).as_secs_f64() / began.elapsed().as_secs_f64();
    note(format!("CPU meanwhile: {:.1} % of a core", cpu * 100.0));
    Ok(())
}

fn print_memory(process: &Process, when: &str) -> anyhow::Result<()> {
    let fds = std::fs::read_dir(format!("/proc/{}/fd", process.pid()))?.count();
    note(format!(
        "{:>8} {when} ({fds} open descriptors)",
        mb(process.rss_kb()?)
    ));
    Ok(())
}

/// The bench plays all servers, and each is a listener and some connections.
fn enough_descriptors() -> anyhow::Result<()> {
    let limits = std::fs::read_to_string("/proc/self/limits")?;
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().nth(3));
    let soft = soft.and_then(|soft| soft.parse().ok()).unwrap_or(u64::MAX);
    ensure!(
        soft >= MIN_DESCRIPTORS,
        "{soft} open files are too few here; run: ulimit -n {MIN_DESCRIPTORS}"
    );
    Ok(())
}

/// One profile with all servers.
fn profiles(servers: &[Server]) -> String {
    let hosts: Vec<&str> = servers.iter().map(|server| server.node.as_str()).collect();
    format!(
        "[farm]\nname=Farm\ncommand=XFCE\nhost={}\n",
        hosts.join(",")
    )
}

fn request(task: &str, user: usize) -> Vec<u8> {
    let user = format!("user{user:05}");
    let fields = [
        ("task", task),
        ("sid", "farm"),
        ("user", user.as_str()),
        ("password", "secret"),
        ("authid", ""),
        ("login", user.as_str()),
    ];
    post("/plain/", &fields)
}

fn is_placed(answer: &[u8]) -> anyhow::Result<()> {
    let text = String::from_utf8_lossy(answer);
    ensure!(text.contains("SERVER:srv"), "no server: {text}");
    Ok(())
}

/// Half of these have a session, the others are new.
const N_LOGINS: usize = N_SESSIONS;
const LOGINS: Duration = Duration::from_secs(3);
/// Gossip connections live for a minute: after that their number stays the same.
const SETTLE: Duration = Duration::from_secs(75);
const SHOW_EVERY: Duration = Duration::from_secs(15);
/// Many handshakes, on a busy machine.
const JOIN_LIMIT: Duration = Duration::from_secs(180);
const MIN_DESCRIPTORS: u64 = 4096;
