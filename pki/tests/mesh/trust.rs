//! Who may connect to whom.

use std::sync::Arc;
use std::time::Duration;

use pki::{Expect, IdentityWatch, Role};
use rustls::client::WebPkiServerVerifier;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, HandshakeKind, RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::farm::{DAY, Echo, Farm, Talk, anybody, connect_text, load, node, uri};
use crate::logs::Logs;
use crate::wait::{LIMIT, within};

#[tokio::test]
async fn each_role_talks_to_each_role_and_both_know_who_is_there() {
    let farm = Farm::new("office");
    for server_role in Role::ALL {
        let server = farm.member(server_role, "srv.example.org");
        let echo = Echo::start(server.clone()).await;
        for role in Role::ALL {
            let client = farm.member(role, "cli");
            let expect = node(server_role, "srv.example.org");
            let (mut talk, hello) = Talk::begin(echo.address, &expect, &client).await.unwrap();
            let serial = client.borrow().serial().to_owned();
            assert_eq!(
                hello,
                format!("hello x2gofarm://office/{role}/cli {serial}")
            );
            assert_eq!(talk.peer().subject, *server.borrow().subject());
            assert_eq!(talk.peer().serial, server.borrow().serial());
            assert_eq!(talk.peer().not_after, server.borrow().not_after());
            assert_eq!(talk.peer().address, echo.address);
            assert_eq!(talk.ask("how are you").await.unwrap(), "how are you");
        }
    }
}

/// Tries to talk as `client`, and gives what it was told and what the server logged. Then a
/// good client must still get in.
async fn refused(farm: &Farm, client: &IdentityWatch, reason: &str) -> String {
    let logs = Logs::capture();
    let echo = Echo::start(farm.member(Role::Broker, "srv")).await;
    let told = match Talk::begin(echo.address, &anybody(), client).await {
        Ok((_, hello)) => panic!("was let in: {hello}"),
        Err(told) => told,
    };
    let line = logs.wait_for(reason).await;
    assert!(line.contains("connection refused"), "{line}");
    logs.wait_for("WARN").await;
    let good = farm.member(Role::Agent, "good");
    Talk::begin(echo.address, &anybody(), &good).await.unwrap();
    told
}

#[tokio::test]
async fn a_client_of_a_foreign_ca_is_refused_even_when_its_farm_has_our_name() {
    let (ours, theirs) = (Farm::new("office"), Farm::new("office"));
    let stranger = theirs.member(Role::Broker, "evil");
    // It trusts our root as well as its own, so that only the server can object.
    let both = std::fs::read_to_string(ours.ca().join("root.crt")).unwrap()
        + &std::fs::read_to_string(theirs.ca().join("root.crt")).unwrap();
    let dir = theirs.member_dir(Role::Broker, "evil");
    std::fs::write(dir.join("roots.pem"), both).unwrap();
    drop(stranger);
    let stranger = load(&dir, &theirs.clock);
    let told = refused(
        &ours,
        &stranger,
        "its certificate comes from an unknown issuer",
    )
    .await;
    assert_eq!(told, "received fatal alert: UnknownCA");
}

#[tokio::test]
async fn a_client_whose_certificate_only_claims_to_come_from_our_ca_is_refused() {
    let farm = Farm::new("office");
    let dir = farm.forged_member("forged");
    let config = raw_client(&farm, Some(&dir), &TLS13);
    let reason = "its certificate comes from an unknown issuer";
    let told = refused_raw(&farm, config, reason).await;
    assert_eq!(told, "received fatal alert: DecryptError");
}

#[tokio::test]
async fn a_client_whose_certificate_expired_by_the_clock_is_refused() {
    let farm = Farm::new("office");
    let client = farm.member_for(Role::Agent, "old", DAY);
    let echo = Echo::start(farm.member(Role::Broker, "srv")).await;
    let (mut open, _) = Talk::begin(echo.address, &anybody(), &client)
        .await
        .unwrap();
    farm.hand.advance(DAY + Duration::from_secs(1));
    let reason = "its certificate expired at 2026-11-23T07:30:00Z";
    let told = refused(&farm, &client, reason).await;
    assert_eq!(told, "received fatal alert: CertificateExpired");
    assert_eq!(
        open.ask("still here").await.unwrap(),
        "still here",
        "open connections live on"
    );
}

#[tokio::test]
async fn a_client_whose_certificate_is_not_valid_yet_is_refused() {
    let farm = Farm::new("office");
    farm.hand.advance(2 * DAY);
    farm.issue(Role::Agent, "early", DAY);
    let (future, _hand) = pki::Clock::manual(farm.clock.now());
    let client = load(&farm.member_dir(Role::Agent, "early"), &future);
    farm.hand.set(crate::farm::start());
    let reason = "its certificate is not valid yet, only from 2026-11-24T07:29:00Z; are the clocks";
    let told = refused(&farm, &client, reason).await;
    assert_eq!(told, "received fatal alert: CertificateExpired");
}

#[tokio::test]
async fn a_client_of_another_farm_under_the_same_root_is_refused() {
    let farm = Farm::new("office");
    let dir = farm.odd_member("spy", |params| {
        params
            .subject_alt_names
            .push(uri("x2gofarm://lab/broker/spy"));
    });
    let client = load(&dir, &farm.clock);
    // Seen from the client, the server is of another farm, too.
    let echo = Echo::start(farm.member(Role::Broker, "srv")).await;
    let told = Talk::begin(echo.address, &anybody(), &client)
        .await
        .unwrap_err();
    let address = echo.address;
    assert_eq!(
        told,
        format!(
            "no trust between us and any agent or broker or operator at {address}: \
             it is x2gofarm://office/broker/srv, of another farm than ours, lab"
        )
    );
    // A client that does not care is stopped by the server.
    let logs = Logs::capture();
    let config = client.borrow().client_config();
    let name = pki::MEMBER_DNS_NAME.try_into().unwrap();
    let tcp = TcpStream::connect(address).await.unwrap();
    let mut tls = tokio_rustls::TlsConnector::from(config)
        .connect(name, tcp)
        .await
        .unwrap();
    let read = within("not closed", tls.read(&mut [0; 10])).await;
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    logs.wait_for("it is x2gofarm://lab/broker/spy, of another farm than ours, office")
        .await;
    Talk::begin(address, &anybody(), &farm.member(Role::Agent, "good"))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_client_with_a_certificate_that_names_nobody_is_refused() {
    let farm = Farm::new("office");
    let config = {
        let dir = farm.odd_member("nobody", |_| {});
        raw_client(&farm, Some(&dir), &TLS13)
    };
    let reason = "its certificate does not name a member: it has no URI x2gofarm://FARM/ROLE/NODE";
    refused_raw(&farm, config, reason).await;
}

#[tokio::test]
async fn a_client_with_a_certificate_for_servers_only_is_refused() {
    let farm = Farm::new("office");
    let dir = farm.odd_member("half", |params| {
        params
            .subject_alt_names
            .push(uri("x2gofarm://office/agent/half"));
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    });
    let config = raw_client(&farm, Some(&dir), &TLS13);
    let reason = "does not allow extended key usage for client authentication";
    let told = refused_raw(&farm, config, reason).await;
    assert!(told.contains("received fatal alert"), "{told}");
}

#[tokio::test]
async fn a_client_without_a_certificate_is_refused() {
    let farm = Farm::new("office");
    let config = raw_client(&farm, None, &TLS13);
    let told = refused_raw(&farm, config, "it showed no certificate").await;
    assert_eq!(told, "received fatal alert: CertificateRequired");
}

#[tokio::test]
async fn a_client_that_wants_another_protocol_than_http_2_is_refused() {
    let farm = Farm::new("office");
    let mut config = raw_client(&farm, None, &TLS13);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let told = refused_raw(
        &farm,
        config,
        "the TLS handshake failed: peer doesn't support",
    )
    .await;
    assert_eq!(told, "received fatal alert: NoApplicationProtocol");
}

#[tokio::test]
async fn a_client_with_tls_1_2_is_refused() {
    let farm = Farm::new("office");
    let config = raw_client(&farm, None, &TLS12);
    let told = refused_raw(
        &farm,
        config,
        "the TLS handshake failed: peer is incompatible",
    )
    .await;
    assert_eq!(told, "received fatal alert: ProtocolVersion");
}

/// A client that follows rustls, but not our rules.
fn raw_client(
    farm: &Farm,
    member: Option<&std::path::Path>,
    version: &'static SupportedProtocolVersion,
) -> ClientConfig {
    use rustls_pki_types::pem::PemObject;
    use rustls_pki_types::{CertificateDer, PrivateKeyDer};
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(farm.ca().join("root.crt")).unwrap())
        .unwrap();
    let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), provider.clone());
    let builder = ClientConfig::builder_with_details(provider, Arc::new(farm.clock.clone()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_webpki_verifier(verifier.build().unwrap());
    let Some(dir) = member else {
        return builder.with_no_client_auth();
    };
    let chain = CertificateDer::pem_file_iter(dir.join("leaf.crt")).unwrap();
    let key = PrivateKeyDer::from_pem_file(dir.join("leaf.key")).unwrap();
    builder
        .with_client_auth_cert(chain.map(Result::unwrap).collect(), key)
        .unwrap()
}

#[tokio::test]
async fn a_server_of_ours_never_lets_a_client_resume() {
    let farm = Farm::new("office");
    let echo = Echo::start(farm.member(Role::Broker, "srv")).await;
    farm.issue(Role::Agent, "cli", DAY);
    // This one would resume, as is the default of rustls.
    let config = raw_client(&farm, Some(&farm.member_dir(Role::Agent, "cli")), &TLS13);
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    for _ in 0..2 {
        let tcp = TcpStream::connect(echo.address).await.unwrap();
        let name = pki::MEMBER_DNS_NAME.try_into().unwrap();
        let mut tls = connector.connect(name, tcp).await.unwrap();
        within("no greeting", tls.read_exact(&mut [0; 20]))
            .await
            .unwrap();
        let session = tls.get_ref().1;
        assert_eq!(session.handshake_kind(), Some(HandshakeKind::Full));
        assert_eq!(session.tls13_tickets_received(), 0);
    }
}

#[tokio::test]
async fn a_client_of_ours_never_resumes() {
    use tokio::io::AsyncWriteExt;
    let farm = Farm::new("office");
    let client = farm.member(Role::Agent, "cli");
    let server = farm.issue(Role::Broker, "srv", DAY).directory;
    // This one offers it, as is the default of rustls.
    let key = server.join("leaf.key");
    let config = pki::https_server_config(&server.join("leaf.crt"), &key).unwrap();
    let mut config = ServerConfig::clone(&config);
    config.alpn_protocols.clear();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let connector = tokio_rustls::TlsConnector::from(client.borrow().client_config());
    for _ in 0..2 {
        let (near, far) = tokio::io::duplex(16 * 1024);
        let name = pki::MEMBER_DNS_NAME.try_into().unwrap();
        let (ours, theirs) = tokio::join!(connector.connect(name, near), acceptor.accept(far));
        let (mut ours, mut theirs) = (ours.unwrap(), theirs.unwrap());
        theirs.write_all(b"tickets come before this").await.unwrap();
        theirs.flush().await.unwrap();
        within("no bytes", ours.read_exact(&mut [0; 24]))
            .await
            .unwrap();
        let session = ours.get_ref().1;
        assert!(
            session.tls13_tickets_received() > 0,
            "the server did not even offer"
        );
        assert_eq!(session.handshake_kind(), Some(HandshakeKind::Full));
    }
}

async fn refused_raw(farm: &Farm, config: ClientConfig, reason: &str) -> String {
    let logs = Logs::capture();
    let echo = Echo::start(farm.member(Role::Broker, "srv")).await;
    let tcp = TcpStream::connect(echo.address).await.unwrap();
    let name = pki::MEMBER_DNS_NAME.try_into().unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let told = match connector.connect(name, tcp).await {
        Err(error) => error.to_string(),
        Ok(mut tls) => match within("not refused", tls.read(&mut [0; 10])).await {
            Ok(0) => "the connection was closed".to_owned(),
            Ok(read) => panic!("was let in and got {read} bytes"),
            Err(error) => error.to_string(),
        },
    };
    logs.wait_for(reason).await;
    Talk::begin(echo.address, &anybody(), &farm.member(Role::Agent, "good"))
        .await
        .unwrap();
    told
}

#[tokio::test]
async fn a_server_that_is_not_the_wanted_member_gets_no_request() {
    let farm = Farm::new("office");
    let echo = Echo::start(farm.member(Role::Agent, "web1")).await;
    let client = farm.member(Role::Broker, "replica");
    let address = echo.address;
    let wrong =
        |wanted: &str| format!("wanted {wanted} at {address}, found x2gofarm://office/agent/web1");
    let table = [
        (
            node(Role::Agent, "web1"),
            "connected to x2gofarm://office/agent/web1".to_owned(),
        ),
        (
            anybody(),
            "connected to x2gofarm://office/agent/web1".to_owned(),
        ),
        (
            Expect::AnyOf(&[Role::Agent]),
            "connected to x2gofarm://office/agent/web1".to_owned(),
        ),
        (node(Role::Agent, "web2"), wrong("agent web2")),
        (node(Role::Broker, "web1"), wrong("broker web1")),
        (
            Expect::AnyOf(&[Role::Broker, Role::Operator]),
            wrong("any broker or operator"),
        ),
        (Expect::AnyOf(&[]), wrong("any ")),
    ];
    for (expect, expected) in table {
        let result = pki::mesh_connect(address, &expect, &client, LIMIT).await;
        assert_eq!(connect_text(result), expected);
    }
}

#[tokio::test]
async fn a_server_with_a_bad_certificate_gets_no_request() {
    let farm = Farm::new("office");
    let client = farm.member(Role::Broker, "replica");
    let wanted = node(Role::Agent, "web1");

    let foreign = Farm::new("office");
    let echo = Echo::start(foreign.member(Role::Agent, "web1")).await;
    let result = pki::mesh_connect(echo.address, &wanted, &client, LIMIT).await;
    let start = format!("no trust between us and agent web1 at {}", echo.address);
    assert_eq!(
        connect_text(result),
        format!(
            "{start}: its certificate comes from an unknown issuer, not from the root of this farm"
        )
    );

    let echo = Echo::start(farm.member_for(Role::Agent, "web1", DAY)).await;
    farm.hand.advance(2 * DAY);
    let result = pki::mesh_connect(echo.address, &wanted, &client, LIMIT).await;
    let start = format!("no trust between us and agent web1 at {}", echo.address);
    assert_eq!(
        connect_text(result),
        format!("{start}: its certificate expired at 2026-11-23T07:30:00Z")
    );
}

#[tokio::test]
async fn the_error_says_who_was_wanted_where_and_why_nobody_answered() {
    let farm = Farm::new("office");
    let client = farm.member(Role::Broker, "replica");
    let wanted = node(Role::Agent, "web1");

    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    let short = Duration::from_millis(50);
    // Bound, but nobody accepts: TCP connects, and TLS waits.
    let result = pki::mesh_connect(address, &wanted, &client, short).await;
    assert_eq!(
        connect_text(result),
        format!("cannot reach agent web1 at {address} within 50ms")
    );
    drop(free);
    let result = pki::mesh_connect(address, &wanted, &client, LIMIT).await;
    let expected =
        format!("cannot reach agent web1 at {address}: Connection refused (os error 111)");
    assert_eq!(connect_text(result), expected);

    let plain = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = plain.local_addr().unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move {
        let (mut tcp, _) = plain.accept().await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut tcp, b"SSH-2.0-OpenSSH_9.2\r\n")
            .await
            .unwrap();
        tcp.read_to_end(&mut Vec::new()).await.unwrap();
    });
    let result = pki::mesh_connect(address, &wanted, &client, LIMIT).await;
    let expected =
        format!("no trust between us and agent web1 at {address}: it does not speak TLS");
    assert_eq!(connect_text(result), expected);
}
