use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{ClientNamesResolver, ClientNamesWatch, Finding, KEEP, mentioned};
use crate::acl::{Asker, ClientName, ClientNames, Groups};
use crate::config::{Config, Sources};
use crate::profiles::SessionProfiles;
use crate::settings::Settings;

fn settings(profiles: &str) -> Arc<Settings> {
    let sources = Sources {
        config_file: "x2gobroker.conf",
        config: "[global]\ndefault-auth-mech=none\n",
        defaults_file: "defaults.conf",
        defaults: "",
        environment: &BTreeMap::new(),
        bind: None,
        host_name: "broker1",
    };
    let (config, _) = Config::parse(&sources).unwrap();
    let (profiles, _) = SessionProfiles::parse("profiles", profiles).unwrap();
    Arc::new(Settings::new(&config, Arc::new(profiles)))
}

/// Whether the profile `p` is there for a client with this address.
fn sees(settings: &Settings, address: &str, client_names: &ClientNames) -> bool {
    let profile = settings.profiles().unwrap().get("p").unwrap();
    profile.acl.allows(&Asker {
        user: None,
        groups: Groups::Unknown,
        client: address.parse().unwrap(),
        client_names,
    })
}

async fn published(names: &mut ClientNamesWatch, what: impl Fn(&ClientNames) -> bool) {
    let limit = Duration::from_secs(20);
    let waited = tokio::time::timeout(limit, names.wait_for(|names| what(names))).await;
    let came = matches!(waited, Ok(Ok(_)));
    drop(waited);
    assert!(came, "not published: {:?}", names.borrow());
}

#[test]
fn every_name_of_every_profile_is_looked_up_once() {
    let settings = settings(
        "[a]\nacl-clients-allow=desk1, 10.0.0.1, ALL\nacl-clients-deny=Desk2.lab.test\n\
         [b]\nacl-clients-allow=DESK1,10.0.0.0/8,10.0.0.1-10.0.0.2\n[c]\n",
    );
    let names: Vec<String> = mentioned(&settings)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(names, ["desk1", "desk2.lab.test"]);
}

#[tokio::test]
async fn names_are_resolved_and_forgotten_with_their_profiles() {
    // The one name that every system knows.
    let with_name = settings("[p]\nacl-clients-allow=localhost\n");
    let (sender, watched) = watch::channel(Arc::clone(&with_name));
    let (resolver, mut names) = ClientNamesResolver::new(watched);
    assert!(!sees(&with_name, "127.0.0.1", &names.borrow()));
    let mut tasks = JoinSet::new();
    let stop = CancellationToken::new();
    tasks.spawn(resolver.run(stop.clone()));
    published(&mut names, |names| sees(&with_name, "127.0.0.1", names)).await;
    assert!(!sees(&with_name, "10.0.0.1", &names.borrow()));
    sender.send_replace(settings("[p]\n"));
    published(&mut names, |names| *names == ClientNames::default()).await;
    stop.cancel();
    assert!(tasks.join_next().await.is_some());
}

#[tokio::test(start_paused = true)]
async fn an_address_outlives_a_silent_name_server_for_a_while() {
    let name = ClientName::parse("desk1").unwrap();
    let address: IpAddr = "10.0.0.1".parse().unwrap();
    let failed = || Err(std::io::ErrorKind::TimedOut.into());
    let mut finding = Finding::asked();
    finding.take(&name, failed());
    assert_eq!(finding.addresses(), None);
    finding.take(&name, Ok(vec![address, address]));
    tokio::time::advance(KEEP).await;
    finding.take(&name, failed());
    assert_eq!(finding.addresses(), Some(&[address][..]));
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(finding.addresses(), None);
    finding.take(&name, Ok(vec![address]));
    assert_eq!(finding.addresses(), Some(&[address][..]));
}
