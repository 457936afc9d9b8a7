//! What strangers can do to a listener: nothing that members notice.

use std::net::SocketAddr;
use std::time::Duration;

use pki::{ListenerLimits, Role};
use rustls::ClientConnection;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::farm::{Echo, Farm, Talk, anybody};
use crate::logs::Logs;
use crate::wait::{LIMIT, wait_for, within};

async fn reads_until_closed(tcp: &mut TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    // An alert and a reset are both fine.
    let _end = within(
        "the listener keeps the connection",
        tcp.read_to_end(&mut answer),
    )
    .await;
    answer
}

#[tokio::test]
async fn bytes_that_are_not_tls_are_refused_with_a_reason_and_stop_nothing() {
    let farm = Farm::new("office");
    let echo = Echo::start(farm.member(Role::Broker, "srv")).await;
    let good = farm.member(Role::Agent, "good");
    let table: [&[u8]; 5] = [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        &[0; 64],
        &[0xff; 20_000],
    ];
    for bytes in table {
        let logs = Logs::capture();
        let mut tcp = TcpStream::connect(echo.address).await.unwrap();
        // The listener may close before everything is written.
        let _written = tcp.write_all(bytes).await;
        let answer = reads_until_closed(&mut tcp).await;
        assert!(answer.len() < 10, "at most an alert: {answer:?}");
        logs.wait_for("it does not speak TLS").await;
        Talk::begin(echo.address, &anybody(), &good).await.unwrap();
    }
}

#[tokio::test]
async fn a_port_check_is_no_reason_for_a_warning() {
    let logs = Logs::capture();
    let farm = Farm::new("office");
    let echo = Echo::start(farm.member(Role::Broker, "srv")).await;
    drop(TcpStream::connect(echo.address).await.unwrap());
    logs.wait_for("it closed the connection during the handshake")
        .await;
    assert_eq!(logs.count("WARN"), 0, "{:#?}", logs.lines());
}

#[tokio::test]
async fn many_failures_of_one_source_are_one_warning_per_second() {
    let logs = Logs::capture();
    let farm = Farm::new("office");
    let echo = Echo::start(farm.member(Role::Broker, "srv")).await;
    let begin = Instant::now();
    for n in 1..=50 {
        let mut tcp = TcpStream::connect(echo.address).await.unwrap();
        tcp.write_all(b"hello, is it me you are looking for")
            .await
            .unwrap();
        reads_until_closed(&mut tcp).await;
        wait_for(|| match logs.count("connection refused") {
            found if found >= n => Ok(()),
            found => Err(format!("{found} of {n} failures in the log")),
        })
        .await;
    }
    let seconds = usize::try_from(begin.elapsed().as_secs()).unwrap();
    let warnings = logs.count("WARN");
    assert!(
        (1..=seconds + 1).contains(&warnings),
        "{warnings} warnings in {seconds} s"
    );
}

#[tokio::test]
async fn a_client_that_says_nothing_is_given_up_after_the_time_out() {
    let logs = Logs::capture();
    let farm = Farm::new("office");
    let handshake_timeout = Duration::from_millis(100);
    let limits = ListenerLimits {
        handshake_timeout,
        ..ListenerLimits::default()
    };
    let echo = Echo::start_with(farm.member(Role::Broker, "srv"), limits).await;
    let good = farm.member(Role::Agent, "good");
    let mut silent = TcpStream::connect(echo.address).await.unwrap();
    Talk::begin(echo.address, &anybody(), &good).await.unwrap();
    let begin = Instant::now();
    assert_eq!(reads_until_closed(&mut silent).await, b"");
    assert!(begin.elapsed() < Duration::from_secs(10));
    logs.wait_for("it did not finish the handshake within 100ms")
        .await;
    Talk::begin(echo.address, &anybody(), &good).await.unwrap();
}

/// Connects from another address of the loopback network.
async fn connect_from(source: [u8; 4], address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((source, 0).into()).unwrap();
    within("no TCP connection", socket.connect(address))
        .await
        .unwrap()
}

/// Whether the listener has closed it.
fn is_closed(tcp: &TcpStream) -> bool {
    let read = tcp.try_read(&mut [0; 16]);
    !matches!(read, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
}

#[tokio::test]
async fn a_flood_of_silent_connections_takes_half_the_room_and_members_get_in() {
    let farm = Farm::new("office");
    let limits = ListenerLimits {
        unfinished: 64,
        handshake_timeout: 3 * LIMIT,
        ..ListenerLimits::default()
    };
    let echo = Echo::start_with(farm.member(Role::Broker, "srv"), limits).await;
    let mut flood = Vec::new();
    for _ in 0..400 {
        flood.push(connect_from([127, 0, 0, 2], echo.address).await);
    }
    wait_for(|| {
        let open = flood.iter().filter(|tcp| !is_closed(tcp)).count();
        if open == 32 {
            Ok(())
        } else {
            Err(format!("{open} of 400 are still open, not 32"))
        }
    })
    .await;
    let good = farm.member(Role::Agent, "good");
    let (mut talk, _) = Talk::begin(echo.address, &anybody(), &good).await.unwrap();
    assert_eq!(talk.ask("in").await.unwrap(), "in");
}

#[tokio::test]
async fn clients_that_stop_in_the_middle_of_the_handshake_leave_slots_for_others() {
    let farm = Farm::new("office");
    let limits = ListenerLimits {
        handshakes: 4,
        handshake_timeout: 3 * LIMIT,
        ..ListenerLimits::default()
    };
    let echo = Echo::start_with(farm.member(Role::Broker, "srv"), limits).await;
    let good = farm.member(Role::Agent, "good");
    let name: rustls_pki_types::ServerName<'_> = pki::MEMBER_DNS_NAME.try_into().unwrap();
    let mut stalled = Vec::new();
    for _ in 0..20 {
        let config = good.borrow().client_config();
        let mut hello = Vec::new();
        let mut tls = ClientConnection::new(config, name.clone()).unwrap();
        tls.write_tls(&mut hello).unwrap();
        let mut tcp = connect_from([127, 0, 0, 2], echo.address).await;
        tcp.write_all(&hello).await.unwrap();
        stalled.push(tcp);
    }
    // Two got the server's part of the handshake and stop there; the others wait behind.
    wait_for(|| {
        let answered = stalled
            .iter()
            .filter(|tcp| tcp.try_read(&mut [0; 8]).is_ok())
            .count();
        if answered > 0 {
            Ok(())
        } else {
            Err("nobody was answered".to_owned())
        }
    })
    .await;
    let (mut talk, _) = Talk::begin(echo.address, &anybody(), &good).await.unwrap();
    assert_eq!(talk.ask("in").await.unwrap(), "in");
}

#[tokio::test]
async fn a_storm_of_members_is_served_to_the_last_with_few_handshakes_at_once() {
    let farm = Farm::new("office");
    let limits = ListenerLimits {
        handshakes: 4,
        ..ListenerLimits::default()
    };
    let echo = Echo::start_with(farm.member(Role::Broker, "srv"), limits).await;
    let good = farm.member(Role::Agent, "good");
    let mut storm = JoinSet::new();
    for _ in 0..100 {
        let (address, good) = (echo.address, good.clone());
        storm.spawn(async move { Talk::begin(address, &anybody(), &good).await });
    }
    let mut open = Vec::new();
    while let Some(talk) = within("the storm hangs", storm.join_next()).await {
        open.push(talk.unwrap().unwrap());
    }
    assert_eq!(open.len(), 100);
}

#[tokio::test]
async fn finished_handshakes_good_or_bad_give_their_place_back() {
    let farm = Farm::new("office");
    let limits = ListenerLimits {
        unfinished: 4,
        handshakes: 2,
        ..ListenerLimits::default()
    };
    let echo = Echo::start_with(farm.member(Role::Broker, "srv"), limits).await;
    let good = farm.member(Role::Agent, "good");
    let mut open = Vec::new();
    for _ in 0..10 {
        let mut tcp = TcpStream::connect(echo.address).await.unwrap();
        tcp.write_all(b"no TLS").await.unwrap();
        tcp.shutdown().await.unwrap();
        reads_until_closed(&mut tcp).await;
        open.push(Talk::begin(echo.address, &anybody(), &good).await.unwrap());
    }
}

#[tokio::test]
async fn more_connections_than_allowed_are_closed_until_one_ends() {
    let logs = Logs::capture();
    let farm = Farm::new("office");
    let limits = ListenerLimits {
        connections: 3,
        ..ListenerLimits::default()
    };
    let echo = Echo::start_with(farm.member(Role::Broker, "srv"), limits).await;
    let good = farm.member(Role::Agent, "good");
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(
            Talk::begin(echo.address, &anybody(), &good)
                .await
                .unwrap()
                .0,
        );
    }
    let told = Talk::begin(echo.address, &anybody(), &good)
        .await
        .unwrap_err();
    logs.wait_for("all 3 connections are in use").await;
    assert!(told.contains("close") || told.contains("reset"), "{told}");
    for talk in &mut open {
        assert_eq!(talk.ask("still in").await.unwrap(), "still in");
    }
    drop(open.pop());
    let end = Instant::now() + LIMIT;
    while Talk::begin(echo.address, &anybody(), &good).await.is_err() {
        assert!(Instant::now() < end, "no connection although one ended");
    }
}

#[tokio::test]
async fn a_stopped_listener_refuses_connections() {
    let farm = Farm::new("office");
    let mut echo = Echo::start(farm.member(Role::Broker, "srv")).await;
    let good = farm.member(Role::Agent, "good");
    let (mut open, _) = Talk::begin(echo.address, &anybody(), &good).await.unwrap();
    echo.stop();
    let end = Instant::now() + LIMIT;
    while TcpStream::connect(echo.address).await.is_ok() {
        assert!(Instant::now() < end, "the port is still open");
    }
    assert!(open.is_closed().await);
}
