//! What happens to clients that send or take their bytes slowly, or not at all?

use std::io::{ErrorKind, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use tests::wait::{Progress, now, wait_for};

use crate::raw::{Got, connect, is_closed, login_form};
use crate::small_farm::{Plan, SmallFarm};

const PLAN: Plan = Plan {
    limits: "request-timeout = 1\nidle-timeout = 2\n",
    ..Plan::ONE_SERVER
};
const REQUEST_TIMEOUT: Duration = Duration::from_secs(1);
const IDLE_TIMEOUT: Duration = Duration::from_secs(2);
/// What a busy machine may add.
const LATENESS: Duration = Duration::from_secs(3);
/// Between two bytes of a slow sender.
const PAUSE: Duration = Duration::from_millis(100);

/// Begins a request badly, and returns what came back until it was cut.
type SlowClient = fn(&SmallFarm) -> Got;

#[test]
fn slow_clients_are_cut_in_time_and_others_served_meanwhile() {
    let farm = SmallFarm::up(PLAN);
    let farm = &farm;
    thread::scope(|scope| {
        let clients: [(&str, Duration, u16, SlowClient); 4] = [
            ("no byte", IDLE_TIMEOUT, 0, silent),
            ("a slow head", IDLE_TIMEOUT, 0, slow_head),
            ("a slow body", REQUEST_TIMEOUT, 408, slow_body),
            ("a slow chunked body", REQUEST_TIMEOUT, 408, slow_chunks),
        ];
        let clients: Vec<_> = (0..3)
            .flat_map(|_| clients)
            .map(|(what, limit, status, client)| {
                (what, limit, status, scope.spawn(move || client(farm)))
            })
            .collect();
        let mut slowest = Duration::ZERO;
        for turn in 0..20 {
            slowest = slowest.max(farm.log_in(&format!("during{turn}")));
            thread::sleep(PAUSE);
        }
        println!("the slowest of 20 logins meanwhile took {slowest:.1?}");
        for (what, limit, status, client) in clients {
            let got = client.join().unwrap();
            println!(
                "{what}: status {}, cut after {:.1?}",
                got.status(),
                got.took
            );
            assert!(got.closed, "{what}: still open after {:?}", got.took);
            assert!(got.took + PAUSE > limit, "{what}: cut after {:?}", got.took);
            assert!(got.took < limit + LATENESS, "{what}: {:?}", got.took);
            // A head that never ends may be answered by 408 or by silence.
            if status != 0 || got.status() != 0 {
                assert_eq!(got.status(), 408, "{what}: {}", got.text());
            }
        }
    });
    farm.log_in("after");
}

#[test]
fn a_client_that_takes_no_answers_is_cut() {
    let farm = SmallFarm::up(Plan {
        log_level: "broker=debug",
        ..PLAN
    });
    let mut stream = connect(farm.http);
    let form = "task=listsessions&user=alice&password=pw";
    let request = format!(
        "POST /plain/ HTTP/1.1\r\nHost: b\r\nContent-Length: {}\r\n\r\n{form}",
        form.len()
    );
    // Far more answers than all buffers on their way take.
    let requests = request.repeat(1000);
    stream.set_write_timeout(Some(PAUSE)).unwrap();
    let (begun, mut at) = (now(), 0);
    // A daemon that is only slow takes the rest later; one that cuts makes the write fail.
    while begun.elapsed() < FILLED_LIMIT {
        match stream.write(&requests.as_bytes()[at..]) {
            Ok(n_taken) => at = (at + n_taken) % requests.len(),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
    }
    let begun = now();
    let cut = wait_for(IDLE_TIMEOUT + LATENESS, || {
        let open = farm
            .daemon
            .log_lines(&["connection ended", "takes no answer"]);
        Progress::when(!open.is_empty(), || {
            "the connection is still served".to_owned()
        })
    });
    cut.unwrap_or_else(|error| panic!("{error}\n{}", farm.story()));
    println!("cut {:.1?} after the last byte was taken", begun.elapsed());
    farm.log_in("after");
}

/// A busy machine answers some hundred requests a second.
const FILLED_LIMIT: Duration = Duration::from_secs(15);

fn silent(farm: &SmallFarm) -> Got {
    Got::from(&mut connect(farm.http), IDLE_TIMEOUT + LATENESS)
}

fn slow_head(farm: &SmallFarm) -> Got {
    trickle(
        connect(farm.http),
        &b"POST /plain/ HTTP/1.1\r\nX-Slow: ".repeat(9),
    )
}

fn slow_body(farm: &SmallFarm) -> Got {
    let mut stream = connect(farm.http);
    let head = "POST /plain/ HTTP/1.1\r\nHost: b\r\nContent-Length: 200\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    trickle(stream, login_form("slow").repeat(9).as_bytes())
}

fn slow_chunks(farm: &SmallFarm) -> Got {
    let mut stream = connect(farm.http);
    let head = "POST /plain/ HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    trickle(stream, "1\r\nx\r\n".repeat(99).as_bytes())
}

/// Sends a byte now and then until the connection is closed.
fn trickle(mut stream: TcpStream, bytes: &[u8]) -> Got {
    let begun = now();
    for byte in bytes {
        let sent = stream.write_all(&[*byte]);
        if sent.is_err() || begun.elapsed() > IDLE_TIMEOUT + LATENESS || has_answer(&stream) {
            break;
        }
        thread::sleep(PAUSE);
    }
    let took = begun.elapsed();
    let got = Got::from(&mut stream, LATENESS);
    Got { took, ..got }
}

/// Whether anything has come back: an answer, or the end.
fn has_answer(stream: &TcpStream) -> bool {
    let closed = is_closed(stream);
    let answered = stream.peek(&mut [0]).is_ok();
    stream.set_nonblocking(false).unwrap();
    closed || answered
}
