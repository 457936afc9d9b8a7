//! Does the real x2goclient start a session over HTTPS with PAM through each replica?

use std::time::Duration;

use tests::lab::{CLIENT_HOST, Desktop, HostName, Login, WebCa, password};
use tests::wait::now;

use crate::pam_farm::{PamFarm, Setup};

#[test]
fn x2goclient_starts_a_session_over_https_with_pam_through_each_replica() {
    let ca = WebCa::new("Own web CA").unwrap();
    let Some(farm) = PamFarm::up(Setup {
        web: Some(&ca),
        ..Setup::of(3, 1)
    }) else {
        return;
    };
    let path = "/home/desk/own.pem";
    let text = ca.certificate().unwrap();
    farm.lab.write(CLIENT_HOST, "desk", path, &text).unwrap();
    let trusted = format!("--broker-cacertfile={path}");
    let users = ["alice", "bob", "carol"];
    let brokers = farm.lab.brokers();
    for (number, (user, broker)) in (1..).zip(users.into_iter().zip(&brokers)) {
        let url = format!("https://{broker}:8443/plain/");
        let login = Login {
            broker_url: &url,
            user,
            password: "",
            profile: "Farm",
        };
        let begun = now();
        let mut desktop =
            Desktop::open(&farm.lab, number, login, &["--no-menu", &trusted]).unwrap();
        desktop.type_password(&password(user)).unwrap();
        let listed = begun.elapsed();
        let session = desktop.wait_until_running(SESSION_LIMIT, user);
        let session = session.unwrap_or_else(|error| panic!("{error:#}\n{}", farm.story()));
        println!(
            "{broker}: the list after {listed:.1?}, {} runs after {:.1?}",
            session.id,
            begun.elapsed()
        );
        assert_eq!(session.server, HostName::server(1));
        // PAM was asked once, by this replica; selectsession came with the AUTHID.
        for other in &brokers {
            let user = format!("user=\"{user}\"");
            let asked = farm
                .logged(*other, &["PAM was asked", &user, "Granted"])
                .len();
            assert_eq!(
                asked,
                usize::from(other == broker),
                "{other}: {}",
                farm.story()
            );
        }
    }
}

/// A session starts in 5 to 10 s on an idle machine; it runs a hundred scripts.
const SESSION_LIMIT: Duration = Duration::from_secs(90);
