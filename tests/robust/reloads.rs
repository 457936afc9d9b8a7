//! Does a reload drop a request, or show anybody half of the old files and half of the new?

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tests::wait::{Progress, now, wait_for};

use crate::raw::connect;
use crate::site::PROFILES_FILE;
use crate::small_farm::{ANSWER_LIMIT, Plan, SmallFarm};

const N_RELOADS: usize = 50;
const N_CLIENTS: usize = 4;
const N_PROFILES: usize = 20;
const BODY: &str = "task=listsessions&user=alice&password=pw";

/// What one client saw.
#[derive(Default)]
struct Seen {
    n_answers: usize,
    generations: BTreeSet<usize>,
    slowest: Duration,
    faults: Vec<String>,
}

#[test]
fn fifty_reloads_under_load_drop_no_request_and_mix_no_answer() {
    let farm = SmallFarm::up(Plan {
        servers: &[],
        ..Plan::ONE_SERVER
    });
    let config = std::fs::read_to_string(farm.site.path("x2gobroker.conf")).unwrap();
    write_generation(&farm, &config, 0);
    farm.daemon.signal("HUP").unwrap();
    wait_for_generation(&farm, 0);
    let stop = AtomicBool::new(false);
    let begun = now();
    let seen = thread::scope(|scope| {
        let (stop, http) = (&stop, farm.http);
        let clients: Vec<_> = (0..N_CLIENTS)
            .map(|_| scope.spawn(move || ask_until(http, stop)))
            .collect();
        for generation in 1..=N_RELOADS {
            if generation % 10 == 0 {
                // A broken file between two good ones changes nothing.
                farm.site.write("x2gobroker.conf", "[global\nbroken = 1\n");
                farm.daemon.signal("HUP").unwrap();
            }
            write_generation(&farm, &config, generation);
            farm.daemon.signal("HUP").unwrap();
            wait_for_generation(&farm, generation);
        }
        stop.store(true, Ordering::Relaxed);
        let joined = clients.into_iter().map(|client| client.join().unwrap());
        joined.collect::<Vec<Seen>>()
    });
    let took = begun.elapsed();
    let faults: Vec<&String> = seen.iter().flat_map(|seen| &seen.faults).collect();
    let n_answers: usize = seen.iter().map(|seen| seen.n_answers).sum();
    let slowest = seen.iter().map(|seen| seen.slowest).max().unwrap();
    let generations: BTreeSet<usize> = seen.iter().flat_map(|s| s.generations.clone()).collect();
    println!(
        "{N_RELOADS} reloads in {took:.1?}: {n_answers} answers on {N_CLIENTS} connections that \
         were kept, of {} generations; slowest {slowest:.1?}; {} faults",
        generations.len(),
        faults.len()
    );
    assert!(faults.is_empty(), "{faults:#?}\n{}", farm.story());
    assert!(n_answers > N_RELOADS * N_CLIENTS, "{n_answers}");
    assert!(generations.len() > N_RELOADS / 2, "{generations:?}");
}

/// The file of profiles has a name of its own in each generation, so that the one file
/// that names it changes all at once; which hosts clients see changes with it.
fn write_generation(farm: &SmallFarm, config: &str, generation: usize) {
    let profiles: String = (0..N_PROFILES)
        .map(|n| format!("[p{n}]\nname=G{generation}-{n}\nhost=s{generation},t{generation}\n\n"))
        .collect();
    let name = format!("profiles-{generation}");
    let path = farm.site.write(&name, &profiles).display().to_string();
    let first = farm.site.path(PROFILES_FILE).display().to_string();
    let mode = if generation.is_multiple_of(2) {
        "NONE"
    } else {
        "SSH"
    };
    let config = config.replace(&first, &path).replace(
        "[global]\n",
        &format!("[global]\ndefault-agent-query-mode = {mode}\n"),
    );
    farm.site.write("x2gobroker.conf", &config);
}

fn wait_for_generation(farm: &SmallFarm, generation: usize) {
    let mut stream = connect(farm.http);
    let limit = ANSWER_LIMIT * 2;
    let seen = wait_for(limit, || match ask(&mut stream) {
        // Before the first generation there are other profiles.
        Ok(body) => Progress::when(judge(&body) == Ok(generation), || body),
        Err(fault) => Progress::Failed(fault),
    });
    seen.unwrap_or_else(|error| panic!("{error}\n{}", farm.story()));
}

fn ask_until(http: SocketAddr, stop: &AtomicBool) -> Seen {
    let mut seen = Seen::default();
    // One connection for all: one that is closed is a fault.
    let mut stream = connect(http);
    while !stop.load(Ordering::Relaxed) && seen.faults.is_empty() {
        let begun = now();
        match ask(&mut stream).and_then(|body| judge(&body)) {
            Ok(generation) => {
                seen.n_answers += 1;
                seen.generations.insert(generation);
                seen.slowest = seen.slowest.max(begun.elapsed());
            }
            Err(fault) => seen.faults.push(fault),
        }
    }
    seen
}

/// Asks for the list on a connection that stays open, and returns the body.
fn ask(stream: &mut TcpStream) -> Result<String, String> {
    let request = format!(
        "POST /plain/ HTTP/1.1\r\nHost: broker\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{BODY}",
        BODY.len()
    );
    let broken = |error: std::io::Error| format!("the connection broke: {error}");
    stream.write_all(request.as_bytes()).map_err(broken)?;
    stream
        .set_read_timeout(Some(ANSWER_LIMIT))
        .map_err(broken)?;
    let mut bytes = Vec::new();
    let mut chunk = [0; 16 * 1024];
    loop {
        let count = stream.read(&mut chunk).map_err(broken)?;
        if count == 0 {
            return Err("the connection was closed".to_owned());
        }
        bytes.extend(&chunk[..count]);
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n")
            && let Some(length) = content_length(head)
            && body.len() >= length
        {
            return match head.starts_with("HTTP/1.1 200 ") {
                true => Ok(body.to_owned()),
                false => Err(head.to_owned()),
            };
        }
    }
}

fn content_length(head: &str) -> Option<usize> {
    let head = head.to_ascii_lowercase();
    let (_, rest) = head.split_once("content-length: ")?;
    rest.lines().next()?.trim().parse().ok()
}

/// The one generation that an answer is of.
fn judge(body: &str) -> Result<usize, String> {
    let names = body.lines().filter_map(|line| line.strip_prefix("name=G"));
    let generations: Vec<&str> = names.filter_map(|name| name.split('-').next()).collect();
    let Some(&first) = generations.first() else {
        return Err(format!("no profiles: {body}"));
    };
    let generation: usize = first
        .parse()
        .map_err(|_error| format!("odd name: {body}"))?;
    let hosts = match generation.is_multiple_of(2) {
        true => format!("s{generation},t{generation}"),
        false => format!("s{generation}"),
    };
    let n_hosts = body.matches(&format!("host={hosts}\n")).count();
    let is_whole = generations.len() == N_PROFILES
        && generations.iter().all(|other| *other == first)
        && n_hosts == N_PROFILES
        && body.contains("END_USER_SESSIONS\n");
    match is_whole {
        true => Ok(generation),
        false => Err(format!("old and new in one answer: {body}")),
    }
}
