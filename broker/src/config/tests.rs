mod faults;
mod packaged;

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::{prop_assert, proptest};

use super::{
    Config, GossipTiming, HttpsConfig, HttpsGetConfig, InifileConfig, Mechanism, Sources, load,
};
use crate::frontend::golden;
use crate::ini::Problem;
use crate::profiles::{AgentQueryMode, HostKeyPolicy, PlainValues};

/// A configuration that this version accepts.
const OPEN: &str = "[global]\ndefault-auth-mech=none\n";

struct Case<'a> {
    config: &'a str,
    defaults: &'a str,
    environment: &'a [(&'a str, &'a str)],
    bind: Option<&'a str>,
}

impl<'a> Case<'a> {
    fn of(config: &'a str) -> Self {
        Self {
            config,
            defaults: "",
            environment: &[],
            bind: None,
        }
    }

    fn parse(&self) -> Result<(Config, Vec<Problem>), Vec<Problem>> {
        let pairs = self.environment.iter();
        let environment = pairs.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::parse(&Sources {
            config_file: "x2gobroker.conf",
            config: self.config,
            defaults_file: "defaults.conf",
            defaults: self.defaults,
            environment: &environment.collect::<BTreeMap<_, _>>(),
            bind: self.bind,
            host_name: "broker1",
        })
    }
}

fn parse(config: &str) -> (Config, Vec<String>) {
    let (config, problems) = Case::of(config).parse().expect(config);
    (config, texts(&problems))
}

fn refused(config: &str) -> Vec<String> {
    texts(&Case::of(config).parse().expect_err(config))
}

fn texts(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

#[test]
fn what_is_not_given_has_its_default() {
    let (config, problems) = parse(OPEN);
    assert_eq!(problems, Vec::<String>::new());
    let mesh = &config.mesh;
    assert_eq!(mesh.node.as_str(), "broker1");
    assert_eq!(mesh.identity.to_str(), Some("/etc/x2go/pki/broker"));
    assert_eq!(mesh.listen.to_string(), "0.0.0.0:7465");
    assert_eq!((mesh.advertise, mesh.seeds.len()), (None, 0));
    assert_eq!(mesh.state_directory.to_str(), Some("/var/lib/x2gobroker"));
    assert_eq!(mesh.gossip, GossipTiming::Lan);
    let http = config.http.http.map(|address| address.to_string());
    assert_eq!(http.as_deref(), Some("127.0.0.1:8080"));
    assert_eq!(config.http.https, None);
    assert!(config.frontends.plain && config.inifile.enabled);
    assert_eq!(config.frontends.default_backend, "inifile");
    let profiles = "/etc/x2go/broker/x2gobroker-sessionprofiles.conf";
    assert_eq!(config.inifile.session_profiles.to_str(), Some(profiles));
    assert_eq!(config.limits.max_connections, 4096);
    assert_eq!(config.limits.max_connections_per_client, 256);
    assert!(config.auth.inifile.authid.verify_ip && !config.auth.inifile.authid.is_static);
    assert_eq!(
        config.auth.inifile.authid.timeout,
        Duration::from_secs(36_000)
    );
}

#[test]
fn the_mesh_section_is_read() {
    let mesh = "[mesh]\nnode=Broker2.lab.test\nidentity=/id\nlisten=10.77.0.10\n\
        advertise=192.0.2.1\nseeds=broker1, 10.77.0.11:7000,[fd77::1]\nstate-directory=/state\n\
        gossip=local\n";
    let (config, problems) = parse(&format!("{OPEN}{mesh}"));
    assert_eq!(problems, Vec::<String>::new());
    let mesh = config.mesh;
    assert_eq!(mesh.node.as_str(), "broker2.lab.test");
    assert_eq!(mesh.listen.to_string(), "10.77.0.10:7465");
    let advertise = mesh.advertise.map(|address| address.to_string());
    assert_eq!(advertise.as_deref(), Some("192.0.2.1:7465"));
    let seeds: Vec<String> = mesh.seeds.iter().map(ToString::to_string).collect();
    let expected = ["broker1:7465", "10.77.0.11:7000", "[fd77::1]:7465"];
    assert_eq!(seeds, expected);
    assert_eq!(mesh.gossip, GossipTiming::Local);
}

#[test]
fn only_what_checks_nobody_by_mistake_is_accepted() {
    let page = Mechanism::HttpsGet(HttpsGetConfig {
        host: "web.example".to_owned(),
        port: 443,
        path: "/auth".to_owned(),
        ca_file: None,
    });
    let web = "[authmech_https_get]\nhost=web.example\npath=/auth\n";
    // Keys, mechanism of inifile, mechanism of zeroconf.
    for (keys, inifile, zeroconf) in [
        ("", Mechanism::Pam, Mechanism::Pam),
        ("default-auth-mech=none", Mechanism::None, Mechanism::None),
        (
            "default-auth-mech=pam\n[broker_inifile]\nauth-mech=none",
            Mechanism::None,
            Mechanism::Pam,
        ),
        (
            &format!("[broker_zeroconf]\nauth-mech=https_get\n{web}"),
            Mechanism::Pam,
            page,
        ),
    ] {
        let (config, _) = parse(&format!("[global]\n{keys}\n"));
        assert_eq!(config.auth.inifile.mechanism, inifile, "{keys}");
        assert_eq!(config.auth.zeroconf.mechanism, zeroconf, "{keys}");
        let auth = config.auth.inifile;
        assert!(auth.require_password && !auth.require_authid, "{keys}");
    }
    let (config, _) = parse("[global]\nrequire-password=false\nrequire-cookie=true\n");
    let auth = config.auth.inifile;
    assert!(!auth.require_password && auth.require_authid);
    for (config, problem) in [
        (
            "[global]\ndefault-auth-mech=https_get",
            "x2gobroker.conf:2: [global] default-auth-mech: https_get needs a \
             [authmech_https_get] host",
        ),
        (
            "[authmech_https_get]\nhost=web.example\npath=auth page",
            "x2gobroker.conf:3: [authmech_https_get] path: this is not a path",
        ),
        (
            "[global]\ndefault-auth-mech=ldap",
            "x2gobroker.conf:2: [global] default-auth-mech: \"ldap\" is none of pam",
        ),
        (
            "[global]\ndefault-auth-mech=none\n[broker_inifile]\nauth-mech=PAM",
            "x2gobroker.conf:4: [broker_inifile] auth-mech: \"PAM\" is none of pam",
        ),
        (
            "[global]\nrequire-cookie=perhaps",
            "x2gobroker.conf:2: [global] require-cookie: this is neither true nor false",
        ),
        (
            "[global]\nrequire-password=maybe\ndefault-auth-mech=none",
            "x2gobroker.conf:2: [global] require-password: this is neither true nor false",
        ),
    ] {
        let problems = refused(config);
        let found = problems.iter().any(|told| told.starts_with(problem));
        assert!(found, "{config}: {problems:?}");
    }
}

#[test]
fn all_problems_are_told_at_once_with_their_lines() {
    let problems = refused(
        "[global]\ndefault-auth-mech=ldap\nauth-timeout=long\n[mesh]\nlisten=here\n\
         seeds=a b,c:0,d\ngossip=wan\nnode=a/b\nadvertise=0.0.0.0\n\
         [limits]\nmax-connections=0\n[http]\nhttps-bind=:8443\nodd=1\n[odd]\nkey=1\n",
    );
    let starts: Vec<&str> = problems
        .iter()
        .map(|p| p.split(": ").take(2).last().unwrap())
        .collect();
    let expected = [
        "[global] default-auth-mech",
        "[global] auth-timeout",
        "[mesh] listen",
        "[mesh] seeds",
        "[mesh] seeds",
        "[mesh] gossip",
        "[mesh] node",
        "[mesh] advertise",
        "[limits] max-connections",
        "[http] https-bind",
        "[http] odd",
        "[odd] this section is not known; its keys have no effect",
    ];
    assert_eq!(starts, expected, "{problems:#?}");
    let lines = problems
        .iter()
        .filter(|p| p.starts_with("x2gobroker.conf:"));
    assert_eq!(lines.count(), problems.len());
}

#[test]
fn lines_that_can_not_be_read_make_the_file_unusable() {
    let problems = refused("[global]\nword\nx=1\nx=2\n");
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems[0].starts_with("x2gobroker.conf:2: [global] a key needs"));
}

#[test]
fn unknown_and_ignored_keys_are_told_and_harmless() {
    let (_, problems) = parse(&format!(
        "{OPEN}requir-password=false\nverify_ip=no\nseeds=s1\nxyzzy=1\n\
         cookie-directory = '/var/lib/x2gobroker/cookies'\nmy-cookie=11111111-2222\n\
         [brokr_inifile]\nenable=true\n[http]\nhttps_bind=:1\n[broker_ldap]\nuri=ldap://x\n"
    ));
    let expected = [
        "x2gobroker.conf:3: [global] requir-password: this key is not known and has no effect; \
         did you mean require-password?",
        "x2gobroker.conf:4: [global] verify_ip: this key is not known and has no effect; \
         did you mean verify-ip?",
        "x2gobroker.conf:5: [global] seeds: this key is not known and has no effect here; \
         it belongs into [mesh]",
        "x2gobroker.conf:6: [global] xyzzy: this key is not known and has no effect",
        "x2gobroker.conf:7: [global] cookie-directory: this has no effect: the broker writes no \
         cookie files",
        "x2gobroker.conf:9: [brokr_inifile] this section is not known; did you mean \
         [broker_inifile]?",
        "x2gobroker.conf:12: [http] https_bind: this key is not known and has no effect; \
         did you mean https-bind?",
        "x2gobroker.conf:14: [broker_ldap] uri: this has no effect: there is no backend ldap, \
         here or in x2gobroker 0.0.4.3",
    ];
    assert_eq!(problems, expected);
}

#[test]
fn names_of_the_environment_and_defaults_are_known_or_told() {
    let case = Case {
        defaults: "[common]\nX2GOBROKER_DEBGU=1\nX2GOBROKER_DAEMON_USER=broker\n\
            [authservice]\nX2GOBROKER_DEBUG=1\n[demon]\nX2GOBROKER_DEBUG=1\n",
        environment: &[
            ("X2GOBROKER_LOADCHECKER_SOCKET", "/socket"),
            ("X2GOBROKER_ODD", "1"),
            ("ODD", "1"),
        ],
        ..Case::of(OPEN)
    };
    let (config, problems) = case.parse().unwrap();
    assert_eq!(config.process.user, "broker");
    assert!(!config.process.debug);
    let expected = [
        "defaults.conf:2: [common] X2GOBROKER_DEBGU: this key is not known and has no effect; \
         did you mean X2GOBROKER_DEBUG?",
        "defaults.conf:7: [demon] X2GOBROKER_DEBUG: this section is not known; write [common] \
         or [daemon]",
        "environment: X2GOBROKER_LOADCHECKER_SOCKET: this has no effect: write \
         load-checker-socket into [http] of x2gobroker.conf",
        "environment: X2GOBROKER_ODD: this key is not known and has no effect",
    ];
    assert_eq!(texts(&problems), expected);
}

#[test]
fn the_address_comes_from_the_nearest_source() {
    let defaults = "[daemon]\nDAEMON_BIND_ADDRESS=10.0.0.1:1\n";
    let environment: &[_] = &[("DAEMON_BIND_ADDRESS", "10.0.0.2:2")];
    for (bind, environment, defaults, expected) in [
        (Some("10.0.0.3:3"), environment, defaults, "10.0.0.3:3"),
        (None, environment, defaults, "10.0.0.2:2"),
        (None, &[], defaults, "10.0.0.1:1"),
        (None, &[], "[daemon]\n", "127.0.0.1:8080"),
        (Some("8081"), &[], "", "0.0.0.0:8081"),
        (Some(":8081"), &[], "", "0.0.0.0:8081"),
        (Some("localhost:0"), &[], "", "127.0.0.1:0"),
        (Some("10.0.0.3"), &[], "", "10.0.0.3:8080"),
        (Some("[::1]:8081"), &[], "", "[::1]:8081"),
    ] {
        let case = Case {
            config: OPEN,
            defaults,
            environment,
            bind,
        };
        let (config, _) = case.parse().unwrap();
        assert_eq!(config.http.http.unwrap().to_string(), expected);
    }
    for bind in ["", "broker:8080", "10.0.0.1:x", "10.0.0.1:99999"] {
        let case = Case {
            bind: Some(bind),
            ..Case::of(OPEN)
        };
        let problems = texts(&case.parse().unwrap_err());
        let expected = "command line: --bind: this is not [address:]port with an IP address";
        assert_eq!(problems, [expected], "{bind:?}");
    }
}

#[test]
fn https_needs_certificate_and_key() {
    let both = "[daemon]\nDAEMON_BIND_ADDRESS=0.0.0.0:443\nX2GOBROKER_SSL_CERTFILE=/crt\n\
        X2GOBROKER_SSL_KEYFILE=/key\n";
    let https = |bind: &str| {
        Some(HttpsConfig {
            bind: bind.parse().unwrap(),
            certificate: "/crt".into(),
            key: "/key".into(),
        })
    };
    let case = Case {
        defaults: both,
        ..Case::of(OPEN)
    };
    let http = case.parse().unwrap().0.http;
    assert_eq!((http.http, http.https), (None, https("0.0.0.0:443")));

    let config = format!("{OPEN}[http]\nhttps-bind=10.0.0.1:8443\n");
    let case = Case {
        defaults: both,
        ..Case::of(&config)
    };
    let http = case.parse().unwrap().0.http;
    let plain = Some("0.0.0.0:443".parse().unwrap());
    assert_eq!((http.http, http.https), (plain, https("10.0.0.1:8443")));

    for name in ["X2GOBROKER_SSL_CERTFILE", "X2GOBROKER_SSL_KEYFILE"] {
        let case = Case {
            environment: &[(name, "/file")],
            ..Case::of(OPEN)
        };
        let problems = texts(&case.parse().unwrap_err());
        let start = format!("environment: {name}: HTTPS needs both");
        assert!(problems[0].starts_with(&start), "{problems:?}");
    }
}

#[test]
fn the_profile_file_and_backend_can_come_from_the_environment() {
    let environment = &[
        ("X2GOBROKER_SESSIONPROFILES", "/env"),
        ("X2GOBROKER_DEFAULT_BACKEND", "zeroconf"),
    ];
    let case = Case {
        environment,
        ..Case::of(OPEN)
    };
    let (config, _) = case.parse().unwrap();
    assert_eq!(config.inifile.session_profiles.to_str(), Some("/env"));
    assert_eq!(config.frontends.default_backend, "zeroconf");
    let text = format!("{OPEN}[broker_inifile]\nsession-profiles=/key\n");
    let case = Case {
        environment,
        ..Case::of(&text)
    };
    let (config, _) = case.parse().unwrap();
    assert_eq!(config.inifile.session_profiles.to_str(), Some("/key"));
}

#[test]
fn the_mode_of_the_backend_goes_before_the_default_one_and_without_any_it_is_the_mesh() {
    for (keys, expected) in [
        ("", AgentQueryMode::Mesh),
        ("default-agent-query-mode=NONE\n", AgentQueryMode::None),
        ("default-agent-query-mode=SSH\n", AgentQueryMode::Ssh),
        ("default-agent-query-mode=mesh\n", AgentQueryMode::Mesh),
        (
            "default-agent-query-mode=NONE\n[broker_inifile]\nagent-query-mode=local\n",
            AgentQueryMode::Local,
        ),
    ] {
        let (config, _) = parse(&format!("{OPEN}{keys}"));
        assert_eq!(config.inifile.query_mode, expected, "{keys}");
    }
    let problems = refused(&format!("{OPEN}default-agent-query-mode=RPC\n"));
    assert!(
        problems[0].contains("none of NONE, LOCAL, SSH, MESH"),
        "{problems:?}"
    );
}

#[test]
fn old_agents_are_called_as_the_files_say_and_never_by_a_path_that_a_shell_would_read() {
    let (config, _) = parse(OPEN);
    let old = config.inifile.old_agents;
    assert_eq!(old.host_key_policy, HostKeyPolicy::Reject);
    assert_eq!(old.user, "x2gobroker");
    assert_eq!(old.command, "/usr/lib/x2go/x2gobroker-agent");
    let keys = "default-agent-hostkey-policy=AutoAddPolicy\n\
                [broker_inifile]\nagent-hostkey-policy=WarningPolicy\n";
    let (config, _) = parse(&format!("{OPEN}{keys}"));
    let old = config.inifile.old_agents;
    assert_eq!(old.host_key_policy, HostKeyPolicy::Warn);
    let problems = refused(&format!("{OPEN}default-agent-hostkey-policy=Any\n"));
    assert!(problems[0].contains("RejectPolicy"), "{problems:?}");
    for command in ["agent", "/a b", "/a;b", "/a'b", "/a$b", "/a\\b"] {
        let case = Case {
            environment: &[("X2GOBROKER_AGENT_CMD", command)],
            ..Case::of(OPEN)
        };
        assert!(case.parse().is_err(), "{command}");
    }
}

#[test]
fn values_are_quoted_for_x2goclient_unless_told_otherwise() {
    for (keys, expected) in [
        ("", PlainValues::Quoted),
        ("plain-values=quoted\n", PlainValues::Quoted),
        ("plain-values=raw\n", PlainValues::Raw),
    ] {
        let (config, problems) = parse(&format!("{OPEN}{keys}"));
        assert_eq!(config.inifile.plain_values, expected, "{keys}");
        assert!(!problems.iter().any(|p| p.contains("plain-values")));
    }
    let problems = refused(&format!("{OPEN}plain-values=some\n"));
    assert!(
        problems[0].contains("neither quoted nor raw"),
        "{problems:?}"
    );
}

#[test]
fn recorded_configurations_of_the_original_are_read() {
    for case in ["nocreds", "nocreds-nouser"] {
        let text = golden::config(case, "x2gobroker.conf");
        let (config, _) = parse(&text);
        let auth = config.auth.inifile;
        assert!(!auth.require_password && !auth.require_authid);
        assert_eq!(config.inifile.query_mode, AgentQueryMode::None);
    }
    for case in ["frontend-off-plain", "backend-off", "ssh-list-running"] {
        let text = golden::config(case, "x2gobroker.conf");
        let (config, _) = parse(&text);
        let expected = (case != "frontend-off-plain", case != "backend-off");
        let found = (config.frontends.plain, config.inifile.enabled);
        assert_eq!(found, expected, "{case}");
    }
}

/// A packaged file, with every commented key switched on.
fn example(file: &str, switched_on: bool) -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/example");
    let text = std::fs::read_to_string(format!("{path}/{file}")).unwrap();
    let is_key = |rest: &str| {
        let key = rest.split_once('=').map_or("", |(key, _)| key.trim_end());
        let letters = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
        rest.starts_with('[') || (!key.is_empty() && key.chars().all(letters))
    };
    let lines = text.lines().map(|line| match line.strip_prefix('#') {
        Some(rest) if switched_on && is_key(rest) => rest,
        _ => line,
    });
    let lines = lines.map(|line| line.split(" -> MUSIC").next().unwrap_or(line));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn every_key_of_the_packaged_files_is_known() {
    let config = example("x2gobroker.conf", true);
    assert!(config.contains("\nstarttls = false\n"));
    let defaults = example("defaults.conf", true);
    assert!(defaults.contains("\nX2GOBROKER_SSL_KEYFILE="));
    let case = Case {
        defaults: &defaults,
        ..Case::of(&config)
    };
    let (config, problems) = case.parse().unwrap();
    let unknown = texts(&problems)
        .into_iter()
        .filter(|p| p.contains("not known"));
    assert_eq!(unknown.collect::<Vec<_>>(), Vec::<String>::new());
    let preset = config.auth.inifile.authid.preset.unwrap();
    assert_eq!(preset.expose(), "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx");
    assert!(config.http.https.is_some());
}

#[test]
fn the_packaged_file_is_read_as_it_is() {
    let (config, _) = parse(&example("x2gobroker.conf", false));
    assert_eq!(config.auth.inifile.mechanism, Mechanism::Pam);
}

#[test]
fn proxies_and_places_of_brokers_are_read() {
    let text = format!(
        "{OPEN}\n[http]\nunix-socket=/run/x2gobroker/http.socket\nunix-socket-mode=0600\n\
         trusted-proxies=10.1.0.0/16, ::1\nforwarded-header=forwarded\n\
         base-path=/sales/\nhost-names=Sales.example.org\n\
         [brokers]\nlab=/etc/x2go/lab/x2gobroker.conf\n"
    );
    let (config, problems) = parse(&text);
    assert_eq!(problems, Vec::<String>::new());
    let unix = config.http.unix.unwrap();
    assert_eq!(
        (unix.path.to_str().unwrap(), unix.mode),
        ("/run/x2gobroker/http.socket", 0o600)
    );
    let proxies = config.http.proxies;
    let trusted = |text: &str| proxies.contains(text.parse().unwrap());
    assert!(trusted("10.1.2.3") && trusted("::1") && !trusted("10.2.0.1"));
    assert_eq!(config.http.location.base_path, "/sales");
    assert_eq!(config.http.location.host_names, ["sales.example.org"]);
    assert_eq!(config.brokers.len(), 1);
    assert_eq!(config.brokers[0].name, "lab");
    let wrong = format!(
        "{OPEN}\n[http]\nunix-socket=/x\nunix-socket-mode=0888\ntrusted-proxies=ALL, proxy1\n\
         forwarded-header=via\nbase-path=sales\nhost-names=a:b\n[brokers]\nlab=lab.conf\n"
    );
    let problems = refused(&wrong);
    assert_eq!(problems.len(), 7, "{problems:?}");
}

#[test]
fn files_are_read_with_a_bound_and_a_clear_error() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("profiles");
    let missing = load::read(&path).unwrap_err();
    assert!(
        missing
            .to_string()
            .contains("this file can't be read: No such file")
    );
    assert_eq!(load::read_if_exists(&path).unwrap(), "");
    std::fs::write(&path, b"[a]\nname=\xfcber\n").unwrap();
    let (config, _) = parse(OPEN);
    let inifile = InifileConfig {
        session_profiles: path.clone(),
        ..config.inifile
    };
    let not_utf8 = load::session_profiles(&inifile).unwrap_err();
    assert_eq!(not_utf8[0].line, Some(2));
    assert!(not_utf8[0].text.contains("not UTF-8"));
    std::fs::write(&path, vec![b'#'; crate::ini::MAX_FILE_BYTES + 1]).unwrap();
    let too_large = load::read_if_exists(&path).unwrap_err();
    assert!(too_large.text.contains("larger than 4 MB"));
    std::fs::write(&path, "[a]\nhost=s1\n").unwrap();
    assert_eq!(load::session_profiles(&inifile).unwrap().0.len(), 1);
    let unreadable = load::read(directory.path()).unwrap_err();
    assert!(unreadable.text.contains("can't be read"), "{unreadable}");
}

proptest! {
    #[test]
    fn no_configuration_panics_and_a_refusal_has_a_reason(
        odd in "((\\[(global|mesh|http|limits)\\]|(node|listen|seeds|advertise|https-bind|auth-timeout|gossip)=\\PC{0,12}|\\PC{0,8})\n){0,10}",
        bind in "\\PC{0,12}",
    ) {
        let case = Case { bind: Some(&bind), ..Case::of(&odd) };
        if let Err(problems) = case.parse() {
            prop_assert!(problems.iter().any(Problem::is_error));
        }
    }
}
