//! How fast does a replica list thirty session profiles of thirty hosts each?
//!
//! `cargo bench -p tests --bench list_sessions`. One real `x2gobroker-daemon` with HTTPS;
//! thirty X2Go servers, played towards it by the bench, with twenty sessions each. The user
//! has a session on one of them, so each profile looks at all of its hosts.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::ensure;
use pki::Role;
use tests::bench::crowd::{Crowd, Server};
use tests::bench::farm::Farm;
use tests::bench::https::post;
use tests::bench::load::{Answers, Target};
use tests::bench::promises::{Promises, headline, machine, ms, note};
use tests::wait::{Progress, wait_for};

const SOURCE: &str = "issue 2";
/// The most that half of the answers may take, to a client that is alone.
const P50: Duration = Duration::from_millis(2);
const N_PROFILES: usize = 30;
const N_HOSTS: usize = 30;

fn main() -> anyhow::Result<ExitCode> {
    headline(format!(
        "listsessions over keep-alive HTTPS, {N_PROFILES} profiles of {N_HOSTS} hosts; {}",
        machine()
    ));
    let farm = Farm::new()?;
    let servers = Server::many(N_HOSTS, N_SESSIONS)?;
    let mut replica = farm.replica(&profiles(&servers), "local")?;
    let mut crowd = Crowd::start(&farm, servers)?;
    crowd.gossip_with(replica.mesh, Role::Broker);
    replica.wait_for_servers(N_HOSTS, JOIN_LIMIT)?;
    let target = Target {
        server: replica.https,
        trust: farm.trust()?,
    };
    // Every user has a session.
    let last = N_HOSTS * N_SESSIONS - 1;
    wait_for(JOIN_LIMIT, || {
        let all = [list(last)];
        Progress::retry(target.ask_each(&all, has_session).map(drop))
    })?;

    let mut promises = Promises::of(SOURCE);
    let users: Vec<Vec<u8>> = (0..=last).map(list).collect();
    for n_clients in [1, 8] {
        let before = replica.process.cpu()?;
        let answers = target.ask_for(ROUND, n_clients, &users, is_complete)?;
        let cpu = replica.process.cpu()? - before;
        print_row(n_clients, &answers);
        let n_answers = u32::try_from(answers.count())?.max(1);
        note(format!("CPU per answer: {:?}", cpu / n_answers));
        if n_clients == 1 {
            promises.at_most("p50 with 1 client", answers.p50(), P50);
        }
    }
    Ok(promises.verdict())
}

fn profiles(servers: &[Server]) -> String {
    let hosts: Vec<&str> = servers.iter().map(|server| server.node.as_str()).collect();
    let hosts = hosts.join(",");
    let profiles = (0..N_PROFILES).map(|number| {
        format!("[profile{number:02}]\nname=Profile {number}\nhost={hosts}\n{OPTIONS}\n")
    });
    profiles.collect()
}

fn list(user: usize) -> Vec<u8> {
    let user = format!("user{user:05}");
    let fields = [
        ("task", "listsessions"),
        ("user", user.as_str()),
        ("password", "secret"),
        ("authid", ""),
    ];
    post("/plain/", &fields)
}

fn has_session(answer: &[u8]) -> anyhow::Result<()> {
    let text = String::from_utf8_lossy(answer);
    ensure!(text.contains("\nstatus="), "no session: {text}");
    is_complete(answer)
}

fn is_complete(answer: &[u8]) -> anyhow::Result<()> {
    ensure!(
        answer.ends_with(b"END_USER_SESSIONS\n"),
        "no list: {}",
        String::from_utf8_lossy(answer)
    );
    Ok(())
}

fn print_row(n_clients: usize, answers: &Answers) {
    note(format!(
        "{n_clients} client(s): {:>6} answers, {:>6.0}/s, p50 {}, p95 {}, p99 {}",
        answers.count(),
        answers.per_second(),
        ms(answers.p50()),
        ms(answers.quantile(950)),
        ms(answers.quantile(990)),
    ));
}

/// What administrators set for a desktop.
const OPTIONS: &str = "\
command=XFCE
user=BROKER_USER
usebrokerpass=true
rootless=false
fullscreen=true
geometry=1024x768
speed=2
pack=16m-jpeg
quality=9
sound=true
soundsystem=pulse
print=true
fstunnel=true
export=
kbdtype=auto
";
const N_SESSIONS: usize = 20;
const ROUND: Duration = Duration::from_secs(4);
/// Gossip needs a few rounds; a busy machine some more.
const JOIN_LIMIT: Duration = Duration::from_secs(60);
