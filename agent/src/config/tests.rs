use std::path::PathBuf;

use super::{Config, ConfigError, Expiry, HostDefaults, RawConfig, with_port};
use crate::keys::KeysMode;

fn host() -> HostDefaults {
    HostDefaults {
        node: Some(proto::NodeId::parse("s1").unwrap()),
        addresses: vec!["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()],
        session_database: Some(PathBuf::from("/var/lib/x2go/x2go_sessions")),
    }
}

fn config(toml: &str) -> Result<Config, ConfigError> {
    toml::from_str::<RawConfig>(toml).unwrap().check(host())
}

#[test]
fn an_empty_file_is_a_good_one() {
    let config = config("").unwrap();
    assert_eq!(config.node.as_str(), "s1");
    assert_eq!(config.listen, "0.0.0.0:7464".parse().unwrap());
    assert_eq!(config.advertise, "10.0.0.1:7464".parse().unwrap());
    assert_eq!(
        config.session_database,
        PathBuf::from("/var/lib/x2go/x2go_sessions")
    );
    assert_eq!(config.gossip, gossip::Settings::lan());
}

#[test]
fn the_advertised_address_follows_the_one_listened_on() {
    let rows = [
        ("listen = '127.0.0.1:0'", "127.0.0.1:0"),
        ("listen = '[::]:7000'", "10.0.0.1:7000"),
        ("listen = '[::1]:7000'", "[::1]:7000"),
        (
            "listen = '0.0.0.0:7000'\nadvertise = '192.0.2.1:7001'",
            "192.0.2.1:7001",
        ),
    ];
    for (toml, expected) in rows {
        assert_eq!(
            config(toml).unwrap().advertise,
            expected.parse().unwrap(),
            "{toml}"
        );
    }
}

#[test]
fn seeds_get_the_port_of_brokers() {
    let rows = [
        ("brokers.lab.test", Some("brokers.lab.test:7465")),
        ("b1:7000", Some("b1:7000")),
        ("10.0.0.9", Some("10.0.0.9:7465")),
        ("10.0.0.9:1", Some("10.0.0.9:1")),
        ("fd00::9", Some("[fd00::9]:7465")),
        ("[fd00::9]:1", Some("[fd00::9]:1")),
        ("b1:", None),
        ("b1:0", None),
        ("b1:70000", None),
        ("b 1", None),
        ("", None),
    ];
    for (seed, expected) in rows {
        assert_eq!(with_port(seed).ok().as_deref(), expected, "{seed}");
    }
}

#[test]
fn all_problems_are_told_together_with_their_keys() {
    let toml = "node = 'a b'\nidentity = 'here'\nlisten = '7464'\nadvertise = '0.0.0.0:1'\n\
                seeds = ['b1', 'b:x']\nnames = ['/']\nstate_directory = 'there'\n\
                capacity_mhz = 2\ngossip = 'fast'\n";
    let error = config(toml).unwrap_err().to_string();
    let expected = "the configuration is wrong\n  \
        node: \"a b\" is not a host name\n  \
        listen: \"7464\" is not ADDRESS:PORT\n  \
        advertise: \"0.0.0.0:1\" is not ADDRESS:PORT of this host\n  \
        seeds: \"b:x\" is not HOST or HOST:PORT\n  \
        names: \"/\" is not a host name\n  \
        identity: \"here\" is not an absolute path\n  \
        state_directory: \"there\" is not an absolute path\n  \
        capacity_mhz: 2 is not between 100 and 20000\n  \
        gossip: \"fast\" is neither lan nor local";
    assert_eq!(error, expected);
}

#[test]
fn a_host_that_tells_nothing_must_be_told_for() {
    let error = RawConfig::default()
        .check(HostDefaults::default())
        .unwrap_err()
        .to_string();
    for key in ["node", "advertise", "session_database"] {
        assert!(error.contains(&format!("\n  {key}: ")), "{error}");
    }
}

#[test]
fn an_unknown_key_is_named_with_its_line() {
    let error = toml::from_str::<RawConfig>("gossip = 'lan'\nlissten = 'x'\n").unwrap_err();
    let error = error.to_string();
    assert!(
        error.contains("line 2") && error.contains("lissten"),
        "{error}"
    );
}

#[test]
fn what_show_config_prints_is_read_back() {
    let shown = toml::to_string(&RawConfig::default()).unwrap();
    assert_eq!(
        toml::from_str::<RawConfig>(&shown).unwrap(),
        RawConfig::default()
    );
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = RawConfig::read(std::path::Path::new("/nowhere/agentd.toml")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the configuration /nowhere/agentd.toml can't be read"
    );
}

#[test]
fn temporary_keys_go_to_files_unless_somebody_says_otherwise() {
    let default = config("").unwrap();
    assert_eq!(default.keys, KeysMode::Files);
    assert_eq!(default.keys_expiry, Expiry::Auto);
    assert!(!default.keys_from);
    for (word, mode) in [("command", KeysMode::Command), ("off", KeysMode::Off)] {
        assert_eq!(config(&format!("keys = '{word}'")).unwrap().keys, mode);
    }
    let wrong = config("keys = 'yes'\nkeys_expiry = 'Z'\nkeys_socket = 'x'").unwrap_err();
    let told = wrong.to_string();
    for key in ["keys: ", "keys_expiry: ", "keys_socket: "] {
        assert!(told.contains(&format!("\n  {key}")), "{told}");
    }
}
