//! Are 10,000 connections from one address bounded?

use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use tests::process::Process;
use tests::wait::{Progress, now, wait_for};

use crate::raw::{Got, connect_from, is_closed, login_form, post};
use crate::small_farm::{OTHER_CLIENT, Plan, SmallFarm};

/// `max-connections-per-client` unless it is configured.
const MAX_PER_CLIENT: usize = 256;
const N_CONNECTIONS: usize = 10_000;
const N_HANDSHAKES: usize = 2_000;
/// Opening them from one thread would take longer.
const N_THREADS: usize = 8;
/// Buffers of a few KB for each place; the rest is closed at once.
const MAX_GROWTH_KB: u64 = 24 * 1024;
/// The limit for a client at another address.
const OTHER_LIMIT: Duration = Duration::from_secs(1);
/// The limit for it while the flood comes in: a connection that finds the queue full tries
/// again after a second.
const MEANWHILE_LIMIT: Duration = Duration::from_secs(3);
/// The limit for the whole flood.
const FLOOD_LIMIT: Duration = Duration::from_secs(20);
/// Longer than it takes to notice a closed connection, shorter than a handshake may last.
const SETTLE_LIMIT: Duration = Duration::from_secs(8);
/// Descriptors of this test and its programs beside the flood.
const SPARE_DESCRIPTORS: usize = 500;

#[test]
fn ten_thousand_connections_from_one_address_take_only_the_places_of_one_address() {
    let mut farm = SmallFarm::up(Plan {
        https: true,
        ..Plan::ONE_SERVER
    });
    let mut kept = farm.client();
    let place = "an earlier connection is kept";
    assert_eq!(kept.get("/").unwrap().status, 200, "{place}");
    let (rss, n_files) = (farm.daemon.rss_kb().unwrap(), n_descriptors(&farm.daemon));
    let n_connections = N_CONNECTIONS.min(max_descriptors() - SPARE_DESCRIPTORS);

    let begun = now();
    let (idle, meanwhile) = thread::scope(|scope| {
        let opening = scope.spawn(|| open(farm.http, n_connections, b""));
        let mut slowest = Duration::ZERO;
        while !opening.is_finished() {
            slowest = slowest.max(log_in_from_elsewhere(&farm, "meanwhile"));
        }
        (opening.join().unwrap(), slowest)
    });
    let opened = begun.elapsed();
    println!("the slowest login from another address meanwhile took {meanwhile:.1?}");
    assert!(meanwhile < MEANWHILE_LIMIT);
    // The connection that was there before has one of the places.
    wait_for_open(&idle, MAX_PER_CLIENT - 1);
    let (rss_held, n_held) = (farm.daemon.rss_kb().unwrap(), n_descriptors(&farm.daemon));
    let other = log_in_from_elsewhere(&farm, "elsewhere");
    println!(
        "{n_connections} connections opened in {opened:.1?}, settled after {:.1?}: the daemon \
         holds {} more descriptors, RSS {rss} KB, then {rss_held} KB; a login from another \
         address took {other:.1?}",
        begun.elapsed(),
        n_held - n_files
    );
    assert!(n_held - n_files <= MAX_PER_CLIENT);
    assert!(rss_held < rss + MAX_GROWTH_KB);
    assert!(other < OTHER_LIMIT);
    assert_eq!(kept.get("/").unwrap().status, 200, "{place}");
    drop(idle);

    // The first bytes of a TLS record, and no more.
    let half = open(
        farm.https.unwrap(),
        N_HANDSHAKES,
        b"\x16\x03\x01\x02\x00\x01",
    );
    wait_for_open(&half, MAX_PER_CLIENT - 1);
    let rss_half = farm.daemon.rss_kb().unwrap();
    let other = log_in_from_elsewhere(&farm, "overthere");
    println!(
        "{N_HANDSHAKES} half handshakes: RSS {rss_half} KB; a login from another address took \
         {other:.1?}; all took {:.1?}",
        begun.elapsed()
    );
    assert!(rss_half < rss + MAX_GROWTH_KB);
    assert!(other < OTHER_LIMIT);
    assert!(begun.elapsed() < FLOOD_LIMIT);

    // What was never asked need not be finished.
    let begun = now();
    farm.daemon.terminate().unwrap();
    let ended = farm.daemon.wait_exit(SETTLE_LIMIT).unwrap();
    println!(
        "with {} half handshakes it ended in {:.1?}",
        MAX_PER_CLIENT - 1,
        begun.elapsed()
    );
    assert!(ended.success(), "{}", farm.daemon.story());
    assert!(farm.daemon.log_lines(&["did not end in time"]).is_empty());
}

/// Opens connections from several threads, and sends `bytes` on each.
fn open(to: SocketAddr, n_connections: usize, bytes: &[u8]) -> Vec<TcpStream> {
    let some = || {
        let open_one = |_| {
            let mut stream = TcpStream::connect_timeout(&to, SETTLE_LIMIT).ok()?;
            // It may be closed already.
            let _ = stream.write_all(bytes);
            Some(stream)
        };
        let streams = (0..n_connections / N_THREADS).filter_map(open_one);
        streams.collect::<Vec<TcpStream>>()
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..N_THREADS).map(|_| scope.spawn(some)).collect();
        let streams = threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap());
        streams.collect()
    })
}

/// Waits until all but `n_expected` connections were closed by the daemon.
fn wait_for_open(streams: &[TcpStream], n_expected: usize) {
    let settled = wait_for(SETTLE_LIMIT, || {
        let n_open = streams.iter().filter(|stream| !is_closed(stream)).count();
        Progress::when(n_open == n_expected, || format!("{n_open} are open"))
    });
    settled.unwrap();
}

fn log_in_from_elsewhere(farm: &SmallFarm, user: &str) -> Duration {
    let begun = now();
    let mut stream = connect_from(OTHER_CLIENT, farm.http).unwrap();
    let request = post("/plain/", "", login_form(user).as_bytes());
    stream.write_all(&request).unwrap();
    let got = Got::from(&mut stream, FLOOD_LIMIT);
    assert!(
        got.text().contains("SERVER:127.0.0.1:22001\n"),
        "{}",
        got.text()
    );
    begun.elapsed()
}

/// How many descriptors a process has open.
fn n_descriptors(process: &Process) -> usize {
    fs::read_dir(format!("/proc/{}/fd", process.pid()))
        .unwrap()
        .count()
}

/// How many descriptors this process may have.
fn max_descriptors() -> usize {
    let limits = fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.unwrap().split_whitespace().next().unwrap();
    soft.parse().unwrap_or(usize::MAX)
}
