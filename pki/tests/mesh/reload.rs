//! A renewed certificate comes into use without a restart.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use pki::{IdentityWatch, Reloader, Role};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::farm::{DAY, Echo, Farm, Talk, anybody};
use crate::logs::Logs;
use crate::wait::wait_for;

const OFTEN: Duration = Duration::from_millis(5);

struct Watched {
    identity: IdentityWatch,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Watched {
    fn start(farm: &Farm, dir: &Path) -> Self {
        let (reloader, identity) = Reloader::open(dir, farm.clock.clone()).unwrap();
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(reloader.every(OFTEN).run(stop.clone()));
        Self {
            identity,
            stop,
            tasks,
        }
    }

    fn serial(&self) -> String {
        self.identity.borrow().serial().to_owned()
    }

    async fn wait_for_serial(&self, wanted: &str) {
        wait_for(|| match self.serial() {
            serial if serial == wanted => Ok(()),
            serial => Err(format!("still serial {serial}, not {wanted}")),
        })
        .await;
    }

    async fn end(mut self) {
        self.stop.cancel();
        self.tasks.join_next().await.unwrap().unwrap();
    }
}

/// Replaces a file in one step, so that nobody looks at half of it.
fn put(dir: &Path, name: &str, bytes: &[u8]) {
    let new = dir.join(format!("{name}.new"));
    fs::write(&new, bytes).unwrap();
    fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(&new, dir.join(name)).unwrap();
}

#[tokio::test]
async fn new_connections_show_the_new_certificate_on_both_ends_and_old_ones_live_on() {
    let farm = Farm::new("office");
    let server = farm.issue(Role::Broker, "srv", DAY);
    let client = farm.issue(Role::Agent, "cli", DAY);
    let server_files = Watched::start(&farm, &server.directory);
    let client_files = Watched::start(&farm, &client.directory);
    let echo = Echo::start(server_files.identity.clone()).await;

    let anybody = anybody();
    let begin = || Talk::begin(echo.address, &anybody, &client_files.identity);
    let (mut old, hello) = begin().await.unwrap();
    assert!(
        hello.ends_with(&client.serial),
        "{hello} is not {}",
        client.serial
    );
    assert_eq!(old.peer().serial, server.serial);

    let renewed_server = farm.issue(Role::Broker, "srv", 2 * DAY);
    let renewed_client = farm.issue(Role::Agent, "cli", 2 * DAY);
    server_files.wait_for_serial(&renewed_server.serial).await;
    client_files.wait_for_serial(&renewed_client.serial).await;

    let (new, hello) = begin().await.unwrap();
    assert!(hello.ends_with(&renewed_client.serial), "{hello}");
    assert_eq!(new.peer().serial, renewed_server.serial);
    assert_eq!(new.peer().not_after, renewed_server.not_after);
    assert_eq!(old.ask("old one").await.unwrap(), "old one");
    assert_eq!(old.peer().serial, server.serial);
    server_files.end().await;
    client_files.end().await;
}

#[tokio::test]
async fn a_broken_replacement_keeps_the_old_and_is_reported_once() {
    let farm = Farm::new("office");
    let before = farm.issue(Role::Agent, "web1", DAY);
    let dir = &before.directory;
    let good_key = fs::read(dir.join("leaf.key")).unwrap();
    let files = Watched::start(&farm, dir);
    let other = farm.issue(Role::Agent, "web2", DAY).directory;
    let refused = "new certificate files refused, the old stay in use";

    let breakages: [(&str, &dyn Fn()); 5] = [
        ("holds no certificate", &|| {
            put(dir, "leaf.crt", b"half a fi");
        }),
        ("cannot read", &|| {
            fs::remove_file(dir.join("leaf.crt")).unwrap();
        }),
        ("the key does not belong to the leaf", &|| {
            put(dir, "leaf.crt", &fs::read(other.join("leaf.crt")).unwrap());
        }),
        ("has mode 0640", &|| {
            let mode = fs::Permissions::from_mode(0o640);
            fs::set_permissions(dir.join("leaf.key"), mode).unwrap();
        }),
        ("holds no certificate", &|| {
            put(dir, "roots.pem", b"");
        }),
    ];
    for (expected, break_it) in breakages {
        let logs = Logs::capture();
        break_it();
        let line = logs.wait_for(refused).await;
        assert!(line.contains("WARN") && line.contains(expected), "{line}");
        assert_eq!(files.serial(), before.serial);
    }

    // Many looks later there is no second warning.
    let logs = Logs::capture();
    put(dir, "leaf.key", &good_key);
    logs.wait_for(refused).await;
    tokio::time::timeout(40 * OFTEN, std::future::pending::<()>())
        .await
        .unwrap_err();
    assert_eq!(logs.count(refused), 1, "{:#?}", logs.lines());

    fs::remove_file(dir.join("leaf.crt")).unwrap();
    let after = farm.issue(Role::Agent, "web1", DAY);
    files.wait_for_serial(&after.serial).await;
    files.end().await;
}

#[tokio::test]
async fn an_expired_replacement_is_refused() {
    let farm = Farm::new("office");
    let before = farm.issue(Role::Agent, "web1", 10 * DAY);
    let files = Watched::start(&farm, &before.directory);
    farm.issue(Role::Agent, "web1", DAY);
    wait_for(|| {
        if files.serial() == before.serial {
            Err("old".to_owned())
        } else {
            Ok(())
        }
    })
    .await;
    let short = files.serial();

    // The short one ends; what is put in its place has ended, too.
    farm.hand.advance(5 * DAY);
    let logs = Logs::capture();
    let key = fs::read(before.directory.join("leaf.key")).unwrap();
    put(&before.directory, "leaf.key", &key);
    let line = logs.wait_for("refused").await;
    assert!(line.contains("expired at 2026-11-23T07:30:00Z"), "{line}");
    assert_eq!(files.serial(), short);
    files.end().await;
}

#[tokio::test]
async fn a_certificate_near_its_end_is_a_warning_and_only_one() {
    let farm = Farm::new("office");
    let issued = farm.issue(Role::Agent, "web1", 10 * DAY);
    let logs = Logs::capture();
    let files = Watched::start(&farm, &issued.directory);
    farm.hand.advance(7 * DAY);
    tokio::time::timeout(10 * OFTEN, std::future::pending::<()>())
        .await
        .unwrap_err();
    assert_eq!(logs.count("ends soon"), 0, "{:#?}", logs.lines());
    farm.hand.advance(2 * DAY);
    let line = logs.wait_for("the certificate ends soon").await;
    assert!(line.contains("2026-12-02T07:30:00Z"), "{line}");
    tokio::time::timeout(20 * OFTEN, std::future::pending::<()>())
        .await
        .unwrap_err();
    assert_eq!(logs.count("ends soon"), 1, "{:#?}", logs.lines());
    files.end().await;
}
