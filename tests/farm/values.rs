//! Does the real x2goclient show names as they stand in the file of session profiles?
//! Read from its screen, with values quoted and, to see that the test can fail, with the
//! form of x2gobroker 0.0.4.3.

use std::sync::PoisonError;
use std::time::Duration;

use tests::binaries;
use tests::lab::{Desktop, HostName, Lab, Login, Plan, SERVICE, password};
use tests::process::Process;
use tests::wait::{Progress, wait_for};

use crate::mesh::{IDENTITY, ONE_FARM, PROFILES_PATH, STATE, enrol_all, program};

#[test]
fn x2goclient_shows_names_as_they_stand_in_the_file() {
    if crate::skipped() {
        return;
    }
    // Two labs at once on two cores would wait for each other.
    let _alone = ONE_FARM.lock().unwrap_or_else(PoisonError::into_inner);
    let plan = Plan {
        brokers: 2,
        servers: 0,
    };
    let lab = Lab::up(plan, &binaries::folder().unwrap()).unwrap();
    enrol_all(&lab);
    let _quoting = start_replica(&lab, HostName::broker(1), "quoted");
    let _raw = start_replica(&lab, HostName::broker(2), "raw");

    let shown = shown_by(&lab, 1, HostName::broker(1));
    for name in NAMES {
        assert!(
            shown.iter().any(|text| text == name),
            "{name} of {shown:#?}"
        );
    }
    let shown = shown_by(&lab, 2, HostName::broker(2));
    for name in NAMES {
        assert!(
            !shown.iter().any(|text| text == name),
            "{name} of {shown:#?}"
        );
    }
    // The semicolon cuts, and each byte of a letter is one letter.
    for cut in ["Semi", "GrÃ¼n"] {
        assert!(shown.iter().any(|text| text == cut), "{cut} of {shown:#?}");
    }
}

#[test]
fn x2goclient_starts_the_profile_whose_odd_id_and_name_it_has_read() {
    if crate::skipped() {
        return;
    }
    let _alone = ONE_FARM.lock().unwrap_or_else(PoisonError::into_inner);
    let plan = Plan {
        brokers: 1,
        servers: 0,
    };
    let lab = Lab::up(plan, &binaries::folder().unwrap()).unwrap();
    enrol_all(&lab);
    let mut replica = start_replica(&lab, HostName::broker(1), "quoted");
    // --session=NAME starts the profile with exactly this name; its ID, which is not a
    // name in ASCII either, comes back in selectsession.
    let login = Login {
        broker_url: "http://broker1:8080/plain/",
        user: "alice",
        password: &password("alice"),
        profile: NAMES[0],
    };
    let desktop = Desktop::log_in(&lab, 1, login).unwrap();
    let asked = replica.wait_for_log(LIST_LIMIT, &["user=alice", "profile=Büro; 1"]);
    asked.unwrap_or_else(|error| panic!("{error}\n{}", desktop.story()));
}

/// All texts on the screen of a client that has got the list of this replica.
fn shown_by(lab: &Lab, number: u32, broker: HostName) -> Vec<String> {
    let url = format!("http://{broker}:8080/plain/");
    let login = Login {
        broker_url: &url,
        user: "alice",
        password: &password("alice"),
        profile: "",
    };
    let desktop = Desktop::log_in_readably(lab, number, login).unwrap();
    let shown = wait_for(LIST_LIMIT, || match desktop.texts() {
        Ok(texts) if texts.iter().any(|text| text == LAST) => Progress::Ready(texts),
        Ok(texts) => Progress::NotYet(format!("{LAST} is not among {texts:?}")),
        Err(error) => Progress::NotYet(format!("{error:#}")),
    });
    shown.unwrap_or_else(|error| panic!("{error}\n{}", desktop.story()))
}

fn start_replica(lab: &Lab, broker: HostName, plain_values: &str) -> Process {
    let text = format!(
        "[global]\n\
         default-auth-mech = none\n\
         plain-values = {plain_values}\n\
         [broker_inifile]\n\
         session-profiles = {PROFILES_PATH}\n\
         [mesh]\n\
         identity = {IDENTITY}\n\
         advertise = {}:7465\n\
         state-directory = {STATE}\n",
        Lab::address(broker)
    );
    let config = "/etc/x2go/broker/x2gobroker.conf";
    lab.write(broker, SERVICE, config, &text).unwrap();
    lab.write(broker, SERVICE, PROFILES_PATH, PROFILES).unwrap();
    let program = program("x2gobroker-daemon");
    let argv = [&program, "--config-file", config, "--bind", "0.0.0.0:8080"];
    let mut command = lab.command(broker, SERVICE, &argv).unwrap();
    command.envs([("RUST_LOG", "debug"), ("NO_COLOR", "1")]);
    let mut replica = lab.start_command(broker, "daemon", &mut command).unwrap();
    replica
        .wait_for_log(LIST_LIMIT, &["session profiles read"])
        .unwrap();
    replica
}

/// They stand in the profiles below.
const NAMES: [&str; 5] = [
    r#"Ünïcödé, "quotes"; \ and 'single'"#,
    "Semi;colon",
    "Grün",
    "C:\\new €fé 😀",
    "Two lines",
];

/// The last profile is shown alike by both.
const LAST: &str = "Plain";

const PROFILES: &str = r#"
[DEFAULT]
usebrokerpass=true
[Büro; 1]
name=Ünïcödé, "quotes"; \ and 'single'
host=s1
[b]
name=Semi;colon
host=s1
[c]
name=Grün
host=s1
[d]
name=C:\new €fé 😀
host=s1
[e]
name=Two
  lines
host=s1
[z]
name=Plain
host=s1
"#;

/// x2goclient needs a few seconds on a busy machine, and each text on its screen a call.
const LIST_LIMIT: Duration = Duration::from_secs(60);
