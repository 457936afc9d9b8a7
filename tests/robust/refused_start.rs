//! Does a program that can't run say so, with what to do, and end?

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::Duration;

use tests::process::Process;
use tests::wait::now;

use crate::site::{BROKER, Site};
use crate::small_farm::START_LIMIT;

#[test]
fn a_daemon_names_all_problems_of_its_configuration_and_ends() {
    let site = Site::new();
    let identity = site.issue("broker", BROKER);
    let good = site.replica(&identity);
    let refused = |what: &str, text: &str, words: &[&str]| {
        let config = site.write("x2gobroker.conf", text);
        check_refused(&site, what, &mut site.daemon(&config), words);
    };
    let file = site.path("x2gobroker.conf").display().to_string();
    let at = |line: u32| format!("{file}:{line}: ");

    let unparsable = "what is this\n[global]\nrequire-password = true\nno separator\n[global]\n";
    refused(
        "unparsable",
        unparsable,
        &[&at(1), &at(4), &at(5), "error(s), named above"],
    );
    let wrong = "[global]\nrequire-password = perhaps\ndefault-auth-mech = magic\n\
                 [limits]\nidle-timeout = soon\n[mesh]\nlisten = everywhere\nseeds = a b, c\n\
                 [http]\nhttps-bind = 127.0.0.1:0\n";
    refused(
        "wrong values",
        wrong,
        &[
            &at(2),
            &at(3),
            &at(5),
            &at(7),
            &at(8),
            &at(10),
            "6 error(s)",
        ],
    );
    let web = good.replace("default-auth-mech = none", "default-auth-mech = https_get");
    refused(
        "https_get without a host",
        &web,
        &[&at(2), "https_get needs a [authmech_https_get] host"],
    );
    let own = good.replace("enable = true", "enable = true\nauth-mech = ldap");
    refused(
        "a mechanism of the backend that is none",
        &own,
        &["auth-mech", "none of pam, none, https_get"],
    );
    let cookie = good.replace("[global]", "[global]\nrequire-cookie = perhaps");
    refused("an AUTHID", &cookie, &[&at(2), "neither true nor false"]);

    let mut missing = site.daemon(&site.path("nothing.conf"));
    check_refused(
        &site,
        "no file",
        &mut missing,
        &["nothing.conf", "can't be read", "No such file"],
    );
}

#[test]
fn a_daemon_refuses_certificates_that_are_not_its_own_and_ports_that_are_taken() {
    let site = Site::new();
    let identity = site.issue("broker", BROKER);
    let good = site.replica(&identity);
    let refused = |what: &str, text: &str, words: &[&str]| {
        let config = site.write("x2gobroker.conf", text);
        check_refused(&site, what, &mut site.daemon(&config), words);
    };
    let how = "x2gobroker-ca issue --role broker --node broker1";
    let with = |identity: &str| good.replace("broker-broker1", identity);
    refused(
        "no certificate",
        &with("nowhere"),
        &["nowhere", "No such file", how],
    );
    site.issue("broker", "broker2");
    refused(
        "another node",
        &with("broker-broker2"),
        &["is for broker/broker2", how],
    );
    site.issue("agent", BROKER);
    refused(
        "another role",
        &with("agent-broker1"),
        &["is for agent/broker1", how],
    );

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listener.local_addr().unwrap().to_string();
    let in_use = "Address already in use";
    let mesh = good.replace("listen = 127.0.0.1:0", &format!("listen = {taken}"));
    refused("the mesh port", &mesh, &[&taken, in_use]);
    let config = site.write("x2gobroker.conf", &good);
    let mut http = site.daemon_at(&config, &taken);
    check_refused(&site, "the HTTP port", &mut http, &[&taken, in_use]);
    drop(listener);

    site.write(
        "defaults.conf",
        "[daemon]\nX2GOBROKER_SSL_CERTFILE=/nowhere/tls.crt\n\
         X2GOBROKER_SSL_KEYFILE=/nowhere/tls.key\n",
    );
    refused(
        "HTTPS",
        &good,
        &["HTTPS", "/nowhere/tls.crt", "No such file"],
    );
    site.write("defaults.conf", "");

    let key = identity.join("leaf.key");
    fs::set_permissions(&key, Permissions::from_mode(0o640)).unwrap();
    refused("a loose key", &good, &["leaf.key", "640", "chmod"]);
}

#[test]
fn an_agent_that_can_not_run_says_why_and_ends() {
    let site = Site::new();
    let identity = site.issue("agent", "s1");
    let good = site.agent("s1", &identity, &[]);
    let refused = |what: &str, text: &str, words: &[&str]| {
        let config = site.write("agentd.toml", text);
        check_refused(&site, what, &mut site.agentd(&config), words);
    };
    let with = |identity: &str| good.replace("agent-s1", identity);
    refused(
        "no certificate",
        &with("nowhere"),
        &["nowhere", "leaf.crt", "No such file"],
    );
    site.issue("agent", "s2");
    refused(
        "another node",
        &with("agent-s2"),
        &["the node s2, but this is s1; issue one"],
    );
    site.issue("broker", "s1");
    refused(
        "another role",
        &with("broker-s1"),
        &["the role broker", "issued with --role agent"],
    );
    refused(
        "no TOML",
        &format!("{good}what is this\n"),
        &["agentd.toml", "line 9"],
    );
    refused(
        "an unknown key",
        &format!("{good}nodes = 1\n"),
        &["line 9", "nodes"],
    );
    let wrong = "node = \"a b\"\nlisten = \"everywhere\"\nseeds = [\"c d\"]\ngossip = \"fast\"\n";
    refused(
        "wrong values",
        wrong,
        &["\n  node:", "\n  listen:", "\n  seeds:", "\n  gossip:"],
    );

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listener.local_addr().unwrap().to_string();
    let port = good.replace("listen = \"127.0.0.1:0\"", &format!("listen = \"{taken}\""));
    refused(
        "a port that is taken",
        &port,
        &[&taken, "Address already in use"],
    );

    fs::set_permissions(identity.join("leaf.key"), Permissions::from_mode(0o604)).unwrap();
    refused("a loose key", &good, &["leaf.key", "604", "chmod"]);
}

/// Runs a program that ends by itself with an error, and checks what it says.
fn check_refused(site: &Site, what: &str, program: &mut Command, words: &[&str]) {
    let log = site.path("refused.log");
    let _old = fs::remove_file(&log);
    let begun = now();
    let mut process = Process::start(what, program, &log).unwrap();
    let ended = process.wait_exit(START_LIMIT).unwrap();
    let took: Duration = begun.elapsed();
    let said = fs::read_to_string(&log).unwrap();
    println!("--- {what} ({took:.1?})\n{}", said.trim_end());
    assert_eq!(ended.code(), Some(1), "{what}: {said}");
    for word in words {
        assert!(said.contains(word), "{what}: no {word:?} in {said}");
    }
}
