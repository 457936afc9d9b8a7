//! Does a profile that shows a desktop lead to the server that has one? With the real
//! x2golistdesktops, run by the setuid program.

use std::time::Duration;

use tests::lab::{Caller, Desktop, HostName, Login, password};
use tests::wait::{Progress, wait_for};

use crate::mesh::{address, operate};
use crate::site::{BROKER, Setup, Site};

/// Alice's desktop is on the second host of the profile that shows desktops.
const PROFILES: &str = "\
[DEFAULT]
user=BROKER_USER
usebrokerpass=true
sound=false
print=false
fstunnel=false

[work]
name=Work
host=s2
command=xterm
rootless=false

[watch]
name=Watch
host=s1,s2
command=SHADOW
";

#[test]
fn a_shadow_profile_leads_to_the_server_that_has_a_desktop() {
    let Some(mut site) = Site::up(Setup {
        servers: 2,
        profiles: PROFILES,
        ..Setup::default()
    }) else {
        return;
    };
    let mut caller = site.lab.caller("watcher").unwrap();
    let (s1, s2) = (HostName::server(1), HostName::server(2));
    // Nothing is to be seen anywhere: the first host, as ever.
    assert_eq!(watch(&mut caller, "alice"), "s1", "{}", site.story());
    let desktops = ["desktops", "--user", "alice"];
    let none = operate(&site.lab, s2, &desktops);
    assert_eq!(none, "s2 has no desktop that alice may watch\n");

    let password = password("alice");
    let login = Login {
        broker_url: "http://broker1:8080/plain/",
        user: "alice",
        password: &password,
        profile: "Work",
    };
    let mut desk = Desktop::log_in(&site.lab, 1, login).unwrap();
    let session = desk.wait_until_running(SESSION_LIMIT, "alice").unwrap();
    assert_eq!(session.server, s2);
    assert!(session.id.contains("_stD"), "{session:?}");
    let listed = wait_for(SESSION_LIMIT, || {
        let listed = operate(&site.lab, s2, &desktops);
        Progress::when(listed.starts_with("alice@:"), || listed)
    });
    listed.unwrap_or_else(|error| panic!("{error}\n{}", site.story()));

    assert_eq!(watch(&mut caller, "alice"), "s2", "{}", site.story());
    // Nobody else is shown it.
    assert_eq!(watch(&mut caller, "bob"), "s1", "{}", site.story());
    // Watching is no new desktop.
    operate(&site.lab, s2, &["drain"]);
    assert_eq!(watch(&mut caller, "alice"), "s2", "{}", site.story());
    let status = operate(&site.lab, s2, &["status"]);
    assert!(
        status.contains(&format!("R alice {}\n", session.id)),
        "{status}"
    );

    // Who is not there is passed over.
    site.kill_agent(s2);
    assert_eq!(watch(&mut caller, "alice"), "s1", "{}", site.story());
    let none = operate(&site.lab, s1, &desktops);
    assert_eq!(none, "s1 has no desktop that alice may watch\n");
}

/// Where somebody is sent to watch a desktop.
fn watch(caller: &mut Caller, user: &str) -> String {
    let call = caller.select(address(BROKER), user, "watch").unwrap();
    println!(
        "{user} is sent to {:?} after {:.1?}",
        call.server(),
        call.took
    );
    assert!(call.took < ANSWER_LIMIT, "{:?}", call.took);
    call.server().unwrap().to_owned()
}

/// A session starts in 5 to 10 s on an idle machine; it runs a hundred scripts.
const SESSION_LIMIT: Duration = Duration::from_secs(90);
/// All agents are asked at once, with two seconds for the slowest.
const ANSWER_LIMIT: Duration = Duration::from_secs(4);
