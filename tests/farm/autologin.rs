//! Does a user get onto a real X2Go server with a key alone, and is the key gone again?
//!
//! sshd takes no password here, so whoever gets in has a key.

use std::time::{Duration, Instant};

use tests::lab::{CLIENT_HOST, Desktop, HostName, Lab, Login, Pyhoca, password};
use tests::wait::{Progress, now, wait_for};

use crate::site::{Setup, Site};

const S1: HostName = HostName::server(1);
const S2: HostName = HostName::server(2);

/// What keys are for: nothing of a password is in it.
const PROFILES: &str = "\
[DEFAULT]
command=TERMINAL
user=BROKER_USER
rootless=true
sound=false
print=false
fstunnel=false
broker-session-autologin=true

[farm]
name=Farm
host=s1

[typed]
name=Typed
host=s1
broker-session-autologin=false

[nowhere]
name=Nowhere
host=s1
broker-authorized-keys=/nobody/can/make/%u

[through]
name=Through
host=s1
usesshproxy=true
sshproxytype=SSH
sshproxyhost=s2
sshproxyport=22
sshproxysameuser=true
sshproxysamekey=true
";

#[test]
fn the_real_client_starts_resumes_and_takes_over_without_any_password() {
    let Some(site) = up(1) else { return };
    let password = password("alice");
    let login = Login {
        broker_url: "http://broker1:8080/plain/",
        user: "alice",
        password: &password,
        profile: "Farm",
    };
    let begun = now();
    let mut desktop = Desktop::log_in(&site.lab, 1, login).unwrap();
    let installed = wait_for_keys(&site, S1, 1);
    let session = desktop.wait_until_running(SESSION_LIMIT, "alice");
    let session = session.unwrap_or_else(|error| panic!("{error:#}\n{}", site.story()));
    desktop.wait_until_seen(SESSION_LIMIT, "XTerm").unwrap();
    println!("the session runs after {:.1?}", begun.elapsed());
    wait_until_gone(&site, S1, installed);

    // Somewhere else: the session is taken over, with a key that is installed once.
    let begun = now();
    let mut elsewhere = Desktop::log_in(&site.lab, 2, login).unwrap();
    let installed = wait_for_keys(&site, S1, 1);
    elsewhere.wait_until_seen(SESSION_LIMIT, "XTerm").unwrap();
    println!("a second client has it after {:.1?}", begun.elapsed());
    let logged = site.replica.log_lines(&["a running session is taken over"]);
    assert_eq!(logged.len(), 1, "{}", site.story());
    let listed = site.lab.sessions(S1, "alice").unwrap();
    let ids: Vec<&str> = listed.iter().map(|listed| listed.id.as_str()).collect();
    assert_eq!(ids, [session.id.as_str()], "{}", site.story());
    wait_until_gone(&site, S1, installed);
}

#[test]
fn a_client_with_a_key_of_its_own_logs_in_with_that_for_as_long_as_it_lasts() {
    let Some(site) = up(1) else { return };
    let make = "ssh-keygen -q -t ed25519 -N '' -f own && cat own.pub";
    let public = site
        .lab
        .exec(CLIENT_HOST, "desk", &["sh", "-c", make])
        .unwrap();
    let answer = select(&site, "farm", Some(public.trim())).unwrap();
    let installed = now();
    assert!(
        answer.contains("\"authentication_pubkey\": \"ACCEPTED\""),
        "{answer}"
    );
    assert!(!answer.contains("PRIVATE"), "{answer}");
    let who = log_in(&site.lab, S1, "own", "id -un").unwrap();
    assert_eq!(who.trim(), "alice");
    wait_until_gone(&site, S1, installed);
    let error = log_in(&site.lab, S1, "own", "id -un").unwrap_err();
    assert!(
        format!("{error:#}").contains("Permission denied"),
        "{error:#}"
    );
}

#[test]
fn pyhoca_starts_a_session_with_a_key_of_its_own() {
    let Some(site) = up(1) else { return };
    let password = password("alice");
    let url = "http://broker1:8080/json/";
    let pyhoca = Pyhoca::with_own_key(&site.lab, 1, url, ("alice", &password)).unwrap();
    let mut client = pyhoca.start(&["--session-profile", "farm"]).unwrap();
    let running = wait_for(SESSION_LIMIT, || {
        if !client.is_running() {
            return Progress::Failed("pyhoca-cli ended by itself".to_owned());
        }
        let listed = site.lab.sessions(S1, "alice").unwrap();
        let runs = listed.iter().any(|one| one.started && one.state == "R");
        Progress::when(runs, || format!("listed: {listed:?}"))
    });
    running.unwrap_or_else(|error| panic!("{error}\n{}\n{}", client.story(), site.story()));
    assert!(
        keys(&site, S1)[0].contains("ssh-rsa"),
        "{:?}",
        keys(&site, S1)
    );
}

#[test]
fn a_key_takes_little_more_time_than_a_plain_answer() {
    let Some(site) = up(1) else { return };
    // The first one waits for a pair of keys to be made, and for gossip.
    select(&site, "farm", None).unwrap();
    let (mut keyed, mut plain) = (Vec::new(), Vec::new());
    for _ in 0..N_COMPARED {
        for (profile, took) in [("farm", &mut keyed), ("typed", &mut plain)] {
            let begun = now();
            let answer = select(&site, profile, None).unwrap();
            took.push(begun.elapsed());
            assert_eq!(answer.contains("PRIVATE"), profile == "farm", "{answer}");
        }
    }
    let median = |took: &mut Vec<Duration>| {
        took.sort_unstable();
        took[took.len() / 2]
    };
    let (keyed, plain) = (median(&mut keyed), median(&mut plain));
    println!("selectsession of {N_COMPARED}: with a key p50 {keyed:.1?}, without {plain:.1?}");
    // Under any load: the agent has two seconds to install a key, and this is no such wait.
    assert!(
        keyed < plain + Duration::from_secs(1),
        "{keyed:?} {plain:?}"
    );
}

#[test]
fn a_key_is_gone_in_time_though_its_agent_was_killed() {
    let Some(mut site) = up(1) else { return };
    // Away for a moment while the key lives, and for longer than it lives.
    for away in [Duration::from_secs(2), KEY_LIFE + Duration::from_secs(4)] {
        let answer = select(&site, "farm", None).unwrap();
        let installed = now();
        assert!(
            answer.contains("BEGIN RSA PRIVATE KEY"),
            "{answer}\n{}",
            site.story()
        );
        assert_eq!(keys(&site, S1).len(), 1);
        site.kill_agent(S1);
        wait_until(installed + away);
        assert_eq!(keys(&site, S1).len(), 1, "nobody is there to remove it");
        site.restart_agent(S1);
        let begun = now();
        wait_until_gone(&site, S1, installed);
        println!("that is {:.1?} after the agent came back", begun.elapsed());
        // The replica has found the agent again before the next one asks.
        let found = wait_for(SESSION_LIMIT, || {
            let answer = select(&site, "farm", None);
            let answer = answer.unwrap_or_else(|error| format!("{error:#}"));
            Progress::when(answer.contains("PRIVATE"), || answer)
        });
        found.unwrap();
        wait_until_gone(&site, S1, now());
    }
}

#[test]
fn the_real_client_passes_an_ssh_proxy_with_the_same_key() {
    let Some(site) = up(2) else { return };
    let password = password("alice");
    let login = Login {
        broker_url: "http://broker1:8080/plain/",
        user: "alice",
        password: &password,
        profile: "Through",
    };
    let begun = now();
    let mut desktop = Desktop::log_in(&site.lab, 1, login).unwrap();
    let at_proxy = wait_for_keys(&site, S2, 1);
    let session = desktop.wait_until_running(SESSION_LIMIT, "alice");
    let session = session.unwrap_or_else(|error| panic!("{error:#}\n{}", site.story()));
    desktop.wait_until_seen(SESSION_LIMIT, "XTerm").unwrap();
    println!("through the proxy after {:.1?}", begun.elapsed());
    assert_eq!(session.server, S1);
    // The server has seen the proxy, and not the client.
    let from = site.lab.exec(
        S1,
        "alice",
        &["sh", "-c", "ss -Htn state established sport = :22"],
    );
    let from = from.unwrap();
    let (proxy, client) = (Lab::address(S2), Lab::address(CLIENT_HOST));
    assert!(from.contains(&format!("{proxy}:")), "{from}");
    assert!(!from.contains(&format!("{client}:")), "{from}");
    wait_until_gone(&site, S1, at_proxy);
    wait_until_gone(&site, S2, at_proxy);
}

#[test]
fn where_the_promised_key_does_not_come_the_real_client_asks_for_the_password() {
    let setup = Setup {
        servers: 1,
        profiles: PROFILES,
        ..Setup::default()
    };
    let Some(site) = Site::up(setup) else { return };
    let password = password("alice");
    let login = Login {
        broker_url: "http://broker1:8080/plain/",
        user: "alice",
        password: &password,
        profile: "Nowhere",
    };
    let desktop = Desktop::log_in_readably(&site.lab, 1, login).unwrap();
    let asked = desktop.wait_for_text(SESSION_LIMIT, "Enter user account password:");
    asked.unwrap_or_else(|error| panic!("{error:#}\n{}", site.story()));
    let told = ["no key; the user types their password", "user=alice"];
    assert_eq!(site.replica.log_lines(&told).len(), 1, "{}", site.story());
}

/// Asks for a server through `/json/` as alice, perhaps with a key.
fn select(site: &Site, profile: &str, key: Option<&str>) -> anyhow::Result<String> {
    let ask = "import sys, urllib.parse, urllib.request\n\
        words = dict(word.split('=', 1) for word in sys.argv[2:])\n\
        form = urllib.parse.urlencode(words).encode()\n\
        print(urllib.request.urlopen(sys.argv[1], form).read().decode())";
    let password = format!("password={}", password("alice"));
    let profile = format!("profile-id={profile}");
    let key = key.map(|key| format!("pubkey={key}"));
    let url = "http://broker1:8080/json/";
    let mut argv = vec![
        "python3",
        "-c",
        ask,
        url,
        "task=selectsession",
        "user=alice",
    ];
    argv.extend(
        [password.as_str(), &profile]
            .into_iter()
            .chain(key.as_deref()),
    );
    site.lab.exec(CLIENT_HOST, "desk", &argv)
}

/// Runs a command as alice on a server, with a key of the client host and nothing else.
fn log_in(lab: &Lab, server: HostName, key: &str, command: &str) -> anyhow::Result<String> {
    let options = [
        "StrictHostKeyChecking=no",
        "UserKnownHostsFile=/dev/null",
        "BatchMode=yes",
        "IdentitiesOnly=yes",
        "LogLevel=ERROR",
    ];
    let mut argv = vec!["ssh", "-i", key];
    argv.extend(options.iter().flat_map(|option| ["-o", *option]));
    let whom = format!("alice@{server}");
    argv.extend([whom.as_str(), command]);
    lab.exec(CLIENT_HOST, "desk", &argv)
}

fn wait_until(moment: Instant) {
    let over = wait_for(SESSION_LIMIT, || {
        Progress::when(now() >= moment, || "not yet".to_owned())
    });
    over.unwrap();
}

fn up(servers: u8) -> Option<Site> {
    let site = Site::up(Setup {
        servers,
        profiles: PROFILES,
        ..Setup::default()
    })?;
    for server in site.lab.servers() {
        take_keys_only(&site.lab, server);
    }
    Some(site)
}

/// Has sshd take keys, also those of a broker, and no password.
fn take_keys_only(lab: &Lab, server: HostName) {
    let change = "sed -i 's/^PasswordAuthentication .*/PasswordAuthentication no/' \
                  /etc/ssh/sshd_config && \
                  echo 'AuthorizedKeysFile .ssh/authorized_keys .x2go/authorized_keys' \
                  >>/etc/ssh/sshd_config && kill -HUP \"$(cat /run/sshd.pid)\"";
    lab.exec(server, "root", &["sh", "-ec", change]).unwrap();
    let address = server.to_string();
    let options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null"];
    let mut ask = vec!["ssh", "-o", "PreferredAuthentications=none"];
    ask.extend(options.iter().flat_map(|option| ["-o", *option]));
    ask.extend(["-l", "alice", &address, "true"]);
    let changed = wait_for(SSHD_LIMIT, || {
        let error = lab.exec(CLIENT_HOST, "desk", &ask).unwrap_err();
        let text = format!("{error:#}");
        Progress::when(text.contains("(publickey)"), || text)
    });
    changed.unwrap();
}

/// The lines of the file that keys go to.
fn keys(site: &Site, server: HostName) -> Vec<String> {
    let show = "cat /home/alice/.x2go/authorized_keys 2>/dev/null || true";
    let text = site.lab.exec(server, "root", &["sh", "-c", show]).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// Waits until there are so many keys, and returns when that was.
fn wait_for_keys(site: &Site, server: HostName, n_keys: usize) -> Instant {
    let there = wait_for(SESSION_LIMIT, || {
        let lines = keys(site, server);
        Progress::when(lines.len() == n_keys, || format!("{lines:?}"))
    });
    there.unwrap_or_else(|error| panic!("{error}\n{}", site.story()));
    now()
}

/// Waits until no key is left, and says how long it was there.
fn wait_until_gone(site: &Site, server: HostName, installed: Instant) {
    let gone = wait_for(GONE_LIMIT, || {
        let lines = keys(site, server);
        Progress::when(lines.is_empty(), || format!("{lines:?}"))
    });
    gone.unwrap_or_else(|error| panic!("{error}\n{}", site.story()));
    let after = installed.elapsed();
    println!("the key on {server} was gone after {after:.1?}");
    assert!(after < GONE_LIMIT, "{after:?}");
}

/// Each key stays for 20 s, and a user has 64 at most.
const N_COMPARED: usize = 20;
/// A session starts in 5 to 10 s on an idle machine; it runs a hundred scripts.
const SESSION_LIMIT: Duration = Duration::from_secs(90);
const KEY_LIFE: Duration = Duration::from_secs(20);
/// The agent is not in a hurry, and the machine is busy.
const GONE_LIMIT: Duration = Duration::from_secs(26);
/// sshd starts itself anew in less than a second.
const SSHD_LIMIT: Duration = Duration::from_secs(20);
