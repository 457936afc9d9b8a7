//! Does the real x2goclient keep a person safe and informed with our daemon: over HTTPS
//! with the administrator's own CA, with a certificate that can't be trusted, and with a
//! wrong password?

use std::time::Duration;

use tests::lab::{CLIENT_HOST, Desktop, HostName, Login, WebCa, password};
use tests::wait::{Progress, now, wait_for};

use crate::site::{BROKER, PROFILES, Setup, Site};

const S1: HostName = HostName::server(1);
const OVER_HTTPS: &str = "https-bind = 0.0.0.0:8443";

#[test]
fn a_session_starts_over_https_with_our_own_ca() {
    let ca = WebCa::new("Own web CA").unwrap();
    let Some(site) = Site::up(Setup {
        servers: 1,
        http: OVER_HTTPS,
        profiles: PROFILES,
        certificate: Some(&ca.issue("broker1").unwrap()),
        ..Setup::default()
    }) else {
        return;
    };
    let trusted = trust(&site, "own", &ca);
    let begun = now();
    let login = login("https://broker1:8443/plain/", "Farm");
    let mut desktop = Desktop::open(&site.lab, 1, login, &["--no-menu", &trusted]).unwrap();
    desktop.type_password(&password("alice")).unwrap();
    println!("the list came over HTTPS after {:.1?}", begun.elapsed());
    let session = desktop.wait_until_running(SESSION_LIMIT, "alice");
    let session = session.unwrap_or_else(|error| panic!("{error:#}\n{}", site.story()));
    println!("{} runs after {:.1?}", session.id, begun.elapsed());
    assert_eq!(session.server, S1);
    // Once for the list; selectsession brings the AUTHID of that.
    assert_eq!(site.n_passwords_checked("alice"), 1, "{}", site.story());
}

#[test]
fn nothing_is_sent_to_a_broker_whose_certificate_can_not_be_trusted() {
    let (own, foreign) = (WebCa::new("Own").unwrap(), WebCa::new("Foreign").unwrap());
    let Some(mut site) = Site::up(Setup {
        http: OVER_HTTPS,
        profiles: PROFILES,
        certificate: Some(&own.issue("broker1").unwrap()),
        ..Setup::default()
    }) else {
        return;
    };
    let (trusted, mistrusted) = (trust(&site, "own", &own), trust(&site, "foreign", &foreign));
    let cases = [
        ("broker1", &mistrusted, "issuer certificate"),
        ("broker1.lab.test", &trusted, "host name did not match"),
    ];
    for (number, (host, ca, what)) in (1..).zip(cases) {
        let begun = now();
        let url = format!("https://{host}:8443/plain/");
        let login = login(&url, "Farm");
        let mut desktop = Desktop::open(&site.lab, number, login, &["--no-menu", ca]).unwrap();
        let asked = desktop.type_password_for_message(&password("alice"));
        let asked = asked.unwrap();
        println!("{what}: {asked} after {:.1?}", begun.elapsed());
        assert_eq!(asked, "Secure connection failed.", "{}", desktop.story());
        desktop.wait_for_text(END_LIMIT, what).unwrap();
        assert_eq!(site.n_requests(), 0, "{what}: {}", site.story());
        // Escape is the button "Exit".
        desktop.answer_message("Escape").unwrap();
        desktop.wait_until_ended(END_LIMIT).unwrap();
        assert_eq!(site.n_requests(), 0, "{what}: {}", site.story());
        assert_eq!(site.n_passwords_checked("alice"), 0, "{}", site.story());
    }

    // The test can fail: with the right CA and name the same is let through at once.
    let login = login("https://broker1:8443/plain/", "");
    let options = ["--no-menu", trusted.as_str()];
    let mut desktop = Desktop::open(&site.lab, 3, login, &options).unwrap();
    desktop.type_password(&password("alice")).unwrap();
    assert_eq!(site.n_passwords_checked("alice"), 1, "{}", site.story());
    assert!(site.n_requests() > 0 && site.replica.is_running());
}

#[test]
fn a_wrong_password_ends_the_client_or_shows_the_form_again_as_configured() {
    let setup = Setup {
        profiles: PROFILES,
        ..Setup::default()
    };
    let Some(site) = Site::up(setup) else {
        return;
    };
    let login = login("http://broker1:8080/plain/", "");
    let begun = now();
    let mut desktop = Desktop::open(&site.lab, 1, login, &["--no-menu"]).unwrap();
    let said = desktop.type_password_for_message("wrong").unwrap();
    println!("401: {said} after {:.1?}", begun.elapsed());
    let box_of_401 = "Host requires authentication";
    desktop.wait_for_text(END_LIMIT, box_of_401).unwrap();
    desktop.answer_message("Return").unwrap();
    desktop.wait_until_ended(END_LIMIT).unwrap();

    site.reconfigure(Setup {
        http: "refusal = login-form",
        ..setup
    });
    let begun = now();
    let mut desktop = Desktop::open(&site.lab, 2, login, &["--no-menu"]).unwrap();
    let said = desktop.type_password_for_message("wrong").unwrap();
    println!("200: {said} after {:.1?}", begun.elapsed());
    desktop.wait_for_text(END_LIMIT, "Login failed!").unwrap();
    desktop.answer_message("Return").unwrap();
    // The same form takes the right password.
    desktop.type_password(&password("alice")).unwrap();
    println!("the list is there after {:.1?}", begun.elapsed());
}

#[test]
fn the_connectivity_test_of_x2goclient_succeeds_before_anybody_logs_in() {
    let ca = WebCa::new("Own web CA").unwrap();
    // x2goclient tries port 443, whatever the URL says, and SSH on the same host.
    let Some(site) = Site::up(Setup {
        http: "https-bind = 0.0.0.0:443",
        profiles: PROFILES,
        certificate: Some(&ca.issue("broker1").unwrap()),
        ..Setup::default()
    }) else {
        return;
    };
    let argv = ["/usr/sbin/sshd", "-D", "-e"];
    let mut sshd = site.lab.start(BROKER, "root", "sshd", &argv).unwrap();
    sshd.wait_for_log(END_LIMIT, &["Server listening"]).unwrap();
    let login = login("http://broker1:8080/plain/", "");
    let begun = now();
    let mut desktop = Desktop::open(&site.lab, 1, login, &["--connectivity-test"]).unwrap();
    let title = desktop.click_for_message(CONNECTIVITY_TEST_AT).unwrap();
    assert_eq!(title, "Connectivity test");
    let measured = wait_for(END_LIMIT, || {
        let lines = desktop.log_lines(&["Elapsed: ", "received:"]);
        Progress::when(!lines.is_empty(), || "no speed was measured".to_owned())
    });
    measured.unwrap_or_else(|error| panic!("{error}\n{}\n{}", desktop.story(), site.story()));
    println!("the test was through after {:.1?}", begun.elapsed());
    let texts = desktop.wait_for_text(END_LIMIT, " Kb/s").unwrap();
    assert_eq!(
        texts.iter().filter(|text| *text == "OK").count(),
        2,
        "{texts:#?}"
    );
    assert_eq!(site.n_passwords_checked("alice"), 0, "{}", site.story());
}

fn login<'a>(broker_url: &'a str, profile: &'a str) -> Login<'a> {
    Login {
        broker_url,
        user: "alice",
        password: "",
        profile,
    }
}

/// Puts the certificate of a CA on the client host, and returns the option that trusts it.
fn trust(site: &Site, name: &str, ca: &WebCa) -> String {
    let path = format!("/home/desk/{name}.pem");
    let text = ca.certificate().unwrap();
    site.lab.write(CLIENT_HOST, "desk", &path, &text).unwrap();
    format!("--broker-cacertfile={path}")
}

/// The button with the plug in the tool bar.
const CONNECTIVITY_TEST_AT: [&str; 2] = ["63", "42"];
/// A session starts in 5 to 10 s on an idle machine; it runs a hundred scripts.
const SESSION_LIMIT: Duration = Duration::from_secs(90);
/// x2goclient takes a second to leave.
const END_LIMIT: Duration = Duration::from_secs(20);
