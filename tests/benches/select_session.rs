//! How fast does a replica say where a session is to be?
//!
//! `cargo bench -p tests --bench select_session`. Real processes on the loopback: one
//! `x2gobroker-daemon` with HTTPS, three `x2gobroker-agentd` with real SQLite session
//! databases. Each request goes from the client over a keep-alive HTTPS connection to the
//! replica, from there to one agent (`Admit`, over mutual TLS), and back.
//!
//! * *first*: users who have nothing yet. The replica ranks the servers, the agent reserves
//!   a place. Each user once, so there are only as many as three servers take at a time.
//! * *again*: users with a place, and users with a suspended session, half and half, over
//!   and over: what a client does that is started again, or a farm in the morning where
//!   yesterday's sessions are resumed. The agent confirms the place, or sends the record of
//!   the session, after a look whether its session database has changed.
//! * *bare*: an axum handler behind the same TLS configuration that answers at once with as
//!   many bytes, measured by turns with *again*, so that both suffer the same disturbances.
//!
//! The clients are on the same cores. All of that at 1, 2, 4 and 8 clients at a time.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tests::bench::bare::{BareHandler, serve_if_asked};
use tests::bench::farm::{Agent, Farm, Replica};
use tests::bench::https::{HttpsClient, post};
use tests::bench::load::{Answers, Target};
use tests::bench::promises::{Promises, headline, machine, mb, ms, note};
use tests::session_db::NewSession;

const SOURCE: &str = "issue 2";
/// The most that half of the answers may take, to a client that is alone.
const P50: Duration = Duration::from_millis(2);
/// The least that eight clients together must get, on two cores.
const PER_SECOND: f64 = 1000.0;
/// The most that an agent may need, after all of this.
const AGENT_MB: u64 = 25;

fn main() -> anyhow::Result<ExitCode> {
    if let Some(code) = serve_if_asked() {
        return Ok(code);
    }
    headline(format!(
        "selectsession over keep-alive HTTPS, one replica and three agents; {}",
        machine()
    ));
    let farm = Farm::new()?;
    let mut replica = farm.replica(PROFILES, "local")?;
    let agents = SERVERS.map(|server| farm.agent(server, &[replica.mesh], "local"));
    let agents: Vec<Agent> = agents.into_iter().collect::<anyhow::Result<_>>()?;
    let resuming = suspend_sessions(&agents)?;
    replica.wait_for_servers(agents.len(), JOIN_LIMIT)?;
    let target = Target {
        server: replica.https,
        trust: farm.trust()?,
    };
    wait_until_placed(&target)?;

    let mut promises = Promises::of(SOURCE);
    let newcomers = users("new", N_NEWCOMERS);
    let first = target.ask_each(&newcomers, is_placed)?;
    print_row("first", 1, &first);
    promises.at_most("first, p50 with 1 client", first.p50(), P50);

    let mut users = newcomers;
    users.extend(resuming);
    let answer = HttpsClient::connect(target.server, &target.trust)?
        .ask(users.first().context("there are users")?)?
        .to_vec();
    let bare = BareHandler::start(&farm, &answer)?;
    let bare_target = Target {
        server: bare.address,
        trust: target.trust.clone(),
    };
    for n_clients in [1, 2, 4, 8] {
        let before = cpu(&replica, &agents)?;
        let (mut again, mut plain) = (Answers::default(), Answers::default());
        for _ in 0..N_ROUNDS {
            plain.add(bare_target.ask_for(ROUND, n_clients, &users, is_anything)?);
            again.add(target.ask_for(ROUND, n_clients, &users, is_placed)?);
        }
        let cpu = cpu(&replica, &agents)?;
        headline(format!("{n_clients} client(s) at a time"));
        print_row("bare", n_clients, &plain);
        print_row("again", n_clients, &again);
        note(format!(
            "ratio to bare: {:.2} of the answers per second, {:.2} times the p50",
            again.per_second() / plain.per_second(),
            again.p50().as_secs_f64() / plain.p50().as_secs_f64(),
        ));
        let n_answers = u32::try_from(again.count())?.max(1);
        note(format!(
            "CPU per answer: replica {:?}, agent {:?}",
            (cpu.0 - before.0) / n_answers,
            (cpu.1 - before.1) / n_answers,
        ));
        if n_clients == 1 {
            promises.at_most("again, p50 with 1 client", again.p50(), P50);
        }
        if n_clients == 8 {
            promises.at_least_per_second("again, 8 clients", again.per_second(), PER_SECOND);
        }
    }

    headline("memory after this (resident)");
    note(format!("replica: {}", mb(replica.process.rss_kb()?)));
    note(format!("bare handler: {}", mb(bare.process.rss_kb()?)));
    for agent in &agents {
        let name = agent.process.name();
        promises.at_most_mb(&format!("agent {name}"), agent.process.rss_kb()?, AGENT_MB);
    }
    Ok(promises.verdict())
}

/// Gives some users a suspended session each, by turns on all servers, and returns their
/// requests.
fn suspend_sessions(agents: &[Agent]) -> anyhow::Result<Vec<Vec<u8>>> {
    let mut requests = Vec::new();
    for (number, agent) in (0..N_RESUMING).zip(agents.iter().cycle()) {
        let user = format!("old{number:03}");
        let display = 50 + number / u16::try_from(agents.len())?;
        let id = agent.sessions.run(&NewSession::terminal(&user, display))?;
        agent.sessions.suspend(&id)?;
        requests.push(select(&user));
    }
    Ok(requests)
}

fn users(kind: &str, count: u16) -> Vec<Vec<u8>> {
    (0..count)
        .map(|number| select(&format!("{kind}{number:03}")))
        .collect()
}

fn select(user: &str) -> Vec<u8> {
    let fields = [
        ("task", "selectsession"),
        ("sid", "farm"),
        ("user", user),
        ("password", "secret"),
        ("authid", ""),
        ("login", user),
    ];
    post("/plain/", &fields)
}

/// Waits until the replica follows all agents, so that its connections are open.
fn wait_until_placed(target: &Target) -> anyhow::Result<()> {
    use tests::wait::{Progress, wait_for};
    for server in SERVERS {
        // Users with a session on each of the servers; the first three sessions are one on
        // each.
        let idx = SERVERS.iter().position(|name| *name == server).unwrap_or(0);
        let request = select(&format!("old{idx:03}"));
        let resumed = wait_for(JOIN_LIMIT, || {
            let client = HttpsClient::connect(target.server, &target.trust);
            let resumed = client.and_then(|mut client| {
                let answer = String::from_utf8_lossy(client.ask(&request)?).into_owned();
                ensure!(answer.contains("SESSION_INFO:"), "not resumed: {answer}");
                Ok(())
            });
            Progress::retry(resumed)
        });
        resumed.with_context(|| format!("a session on {server}"))?;
    }
    Ok(())
}

fn is_placed(answer: &[u8]) -> anyhow::Result<()> {
    let is_placed = answer
        .windows(WANTED.len())
        .any(|bytes| bytes == WANTED.as_bytes());
    ensure!(is_placed, "no server: {}", String::from_utf8_lossy(answer));
    Ok(())
}

fn is_anything(_answer: &[u8]) -> anyhow::Result<()> {
    Ok(())
}

/// What the replica, and all agents together, have used.
fn cpu(replica: &Replica, agents: &[Agent]) -> anyhow::Result<(Duration, Duration)> {
    let of_agents = agents.iter().map(|agent| agent.process.cpu());
    let of_agents: Vec<Duration> = of_agents.collect::<anyhow::Result<_>>()?;
    Ok((replica.process.cpu()?, of_agents.iter().sum()))
}

fn print_row(what: &str, n_clients: usize, answers: &Answers) {
    let per_second = answers.per_second();
    note(format!(
        "{what:<6} {n_clients} client(s): {:>6} answers, {per_second:>6.0}/s, p50 {}, p95 {}, \
         p99 {}",
        answers.count(),
        ms(answers.p50()),
        ms(answers.quantile(950)),
        ms(answers.quantile(990)),
    ));
}

const SERVERS: [&str; 3] = ["s1", "s2", "s3"];
/// The host names of servers begin so.
const WANTED: &str = "SERVER:s";
const PROFILES: &str = "\
[DEFAULT]
command=TERMINAL
user=BROKER_USER
usebrokerpass=true

[farm]
name=Farm
host=s1,s2,s3
";
/// Fewer than three servers of two fast cores take at a time.
const N_NEWCOMERS: u16 = 60;
const N_RESUMING: u16 = 60;
const N_ROUNDS: usize = 3;
const ROUND: Duration = Duration::from_millis(800);
/// Gossip needs a few rounds; a busy machine some more.
const JOIN_LIMIT: Duration = Duration::from_secs(60);
