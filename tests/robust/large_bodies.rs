//! What happens to a request body of more than 1 MB?

use std::io::Write as _;
use std::thread;

use tests::wait::now;

use crate::raw::{Got, connect, exchange, login_form, post};
use crate::small_farm::{ANSWER_LIMIT, Plan, SmallFarm};

/// The bound of the daemon.
const MAX_BODY_BYTES: usize = 1 << 20;
/// How many clients stream without an end at the same time.
const N_STREAMS: usize = 16;
/// 16 bodies of 1 MB while they are collected, and what the allocator keeps.
const MAX_GROWTH_KB: u64 = 64 * 1024;

#[test]
fn a_body_over_one_megabyte_is_refused_and_the_connection_closed() {
    let farm = SmallFarm::up(Plan::ONE_SERVER);
    farm.log_in("before");

    let just_below = exchange(farm.http, &post("/plain/", "", &padded(MAX_BODY_BYTES)));
    assert_eq!(just_below.status(), 200, "{}", just_below.text());
    assert!(just_below.text().contains("SERVER:127.0.0.1:22001\n"));

    let one_more = exchange(farm.http, &post("/plain/", "", &padded(MAX_BODY_BYTES + 1)));
    check_refused("one byte more", &one_more);

    // Announced, and never sent: nobody waits for it.
    let begun = now();
    let mut announced = connect(farm.http);
    announced
        .write_all(b"POST /plain/ HTTP/1.1\r\nHost: b\r\nContent-Length: 5000000000\r\n\r\n")
        .unwrap();
    check_refused("announced", &Got::from(&mut announced, ANSWER_LIMIT));
    println!(
        "an announced body was refused after {:.1?}",
        begun.elapsed()
    );

    let head =
        "POST /plain/ HTTP/1.1\r\nHost: b\r\nContent-Length: 99999999999999999999999\r\n\r\n";
    let absurd = exchange(farm.http, head.as_bytes());
    assert_eq!(absurd.status(), 400, "{}", absurd.text());

    let rss_before = farm.daemon.rss_kb().unwrap();
    thread::scope(|scope| {
        let stream = || check_refused("streamed", &stream_for_ever(&farm));
        let streams: Vec<_> = (0..N_STREAMS).map(|_| scope.spawn(stream)).collect();
        for turn in 0..5 {
            farm.log_in(&format!("during{turn}"));
        }
        streams
            .into_iter()
            .for_each(|stream| stream.join().unwrap());
    });
    let rss_after = farm.daemon.rss_kb().unwrap();
    println!("{N_STREAMS} endless bodies: RSS {rss_before} KB, then {rss_after} KB");
    assert!(rss_after < rss_before + MAX_GROWTH_KB);
    farm.log_in("after");
}

/// A form of a login that is `n_bytes` long.
fn padded(n_bytes: usize) -> Vec<u8> {
    let mut form = login_form("alice") + "&padding=";
    form += &"x".repeat(n_bytes - form.len());
    form.into_bytes()
}

/// Sends chunks until the daemon takes no more, 100 MB at most.
fn stream_for_ever(farm: &SmallFarm) -> Got {
    let mut stream = connect(farm.http);
    let head = "POST /plain/ HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let chunk = ["10000\r\n", &"x".repeat(0x10000), "\r\n"].concat();
    let n_taken = (0..1600)
        .take_while(|_| stream.write_all(chunk.as_bytes()).is_ok())
        .count();
    assert!(n_taken < 1600, "the daemon took 100 MB");
    Got::from(&mut stream, ANSWER_LIMIT)
}

fn check_refused(what: &str, got: &Got) {
    let (head, body) = got.head_and_body();
    assert_eq!(got.status(), 413, "{what}: {}", got.text());
    assert!(head.contains("connection: close"), "{what}: {head}");
    assert!(body.contains("413: Payload Too Large"), "{what}: {body}");
    assert!(got.closed, "{what}: the connection is still open");
}
