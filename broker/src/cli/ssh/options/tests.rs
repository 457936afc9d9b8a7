//! Options as clients and people write them.

use proptest::prelude::*;

use super::{GivenBy, Options, OptionsError, Wants};

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

fn read(line: &str) -> Result<Options, OptionsError> {
    Options::parse(&words(line), GivenBy::CommandLine)
}

#[test]
fn each_name_of_an_option_leads_to_its_field() {
    let all = "--task t --user u --login l --authid a --sid s --backend b --event e --server v \
               --client c --cmd m --display 5 --start d --elapsed 9 --newpass n";
    let request = read(all).unwrap().request("10.77.0.20");
    assert_eq!((request.task.as_str(), request.user.as_str()), ("t", "u"));
    assert_eq!(
        (request.login.as_str(), request.authid.expose()),
        ("l", "a")
    );
    assert_eq!((request.sid.as_str(), request.backend.as_str()), ("s", "b"));
    assert_eq!(request.client_address, "10.77.0.20");
    assert_eq!(request.new_password.expose(), "n");
    let event = request.event;
    let fields = [event.event, event.server, event.client, event.command];
    assert_eq!(fields, ["e", "v", "c", "m"]);
    assert_eq!(
        [event.display, event.started, event.elapsed],
        ["5", "d", "9"]
    );
    for name in ["authid", "auth-id", "auth-cookie", "next-authid"] {
        let request = read(&format!("--{name} x")).unwrap().request("");
        assert_eq!(request.authid.expose(), "x", "{name}");
    }
    for line in ["--sid p", "--profile-id p", "--profile-id=p", "--prof p"] {
        assert_eq!(read(line).unwrap().request("").sid, "p", "{line}");
    }
}

#[test]
fn a_value_may_look_like_an_option_and_the_last_one_counts() {
    let options = read("--task x --task --user --user=a=b").unwrap();
    let request = options.request("");
    assert_eq!(
        (request.task.as_str(), request.user.as_str()),
        ("--user", "a=b")
    );
}

#[test]
fn options_of_a_daemon_have_no_effect_and_are_told() {
    let options =
        read("-C /tmp/mine -di --config-file=x -L/tmp --mode ssh -M SSH --debug").unwrap();
    let expected = [
        "--config-file",
        "--debug",
        "--debug-interactively",
        "--config-file",
    ];
    assert_eq!(options.without_effect()[..4], expected);
    assert_eq!(options.without_effect()[4..], ["--logdir", "--debug"]);
    assert!(!options.are_a_call());
    assert_eq!(read("-h").unwrap().wants(), Some(Wants::Help));
    assert_eq!(read("--version").unwrap().wants(), Some(Wants::Version));
}

#[test]
fn what_is_no_option_is_refused() {
    let texts = [
        ("--bogus", "unrecognized arguments: --bogus"),
        ("listsessions", "unrecognized arguments: listsessions"),
        ("--", "unrecognized arguments: --"),
        ("-x", "unrecognized arguments: -x"),
        ("a\u{1b}", "unrecognized arguments: a\\u{1b}"),
        ("--task", "argument --task: expected one argument"),
        ("-C", "argument -C: expected one argument"),
        ("--debug=1", "argument --debug: expected no argument"),
        ("--s x", "ambiguous option: --s"),
        (
            "-M HTTP",
            "argument --mode: this program answers one request; x2gobroker-daemon serves HTTP",
        ),
    ];
    for (line, text) in texts {
        assert_eq!(read(line).unwrap_err().to_string(), text, "{line}");
    }
    let long = format!("--sid {}", "x".repeat(5000));
    assert!(matches!(read(&long), Err(OptionsError::TooLong(_))));
    assert!(matches!(
        read(&"-d ".repeat(200)),
        Err(OptionsError::TooMany)
    ));
}

#[test]
fn only_the_command_line_chooses_the_socket_and_it_goes_before_what_the_client_says() {
    let line = "--socket /run/other";
    let refused = Options::parse(&words(line), GivenBy::Client).unwrap_err();
    assert_eq!(refused, OptionsError::Unknown("--socket".to_owned()));
    let own = read("--socket /run/other --backend inifile").unwrap();
    assert!(!own.are_a_call());
    let of_client = "--task listsessions --backend zeroconf --s x";
    let of_client = Options::parse(&words(of_client), GivenBy::Client);
    assert!(of_client.is_err(), "still ambiguous");
    let of_client = "--task listsessions --backend zeroconf";
    let of_client = Options::parse(&words(of_client), GivenBy::Client).unwrap();
    let both = own.over(of_client);
    assert_eq!(both.request("").backend, "inifile");
    assert_eq!(both.request("").task, "listsessions");
    assert!(both.has_task() && both.socket().is_some());
}

#[test]
fn no_value_is_shown() {
    let shown = format!("{:?}", read("--newpass hunter2 --authid a.b.c").unwrap());
    assert!(
        !shown.contains("hunter2") && !shown.contains("a.b.c"),
        "{shown}"
    );
}

#[test]
fn each_option_is_told_and_nothing_else() {
    let long = super::super::usage::LONG;
    for (name, kind) in super::LONG {
        let is_of_a_daemon = matches!(kind, super::Kind::Ignored(_) | super::Kind::Flag(_));
        let is_alias = ["auth-id", "mode"].contains(name);
        let is_told = long.contains(&format!("--{name}"));
        assert!(is_told || is_of_a_daemon || is_alias, "--{name}");
    }
    let told = long.split("--").skip(1);
    let told = told.map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '-'));
    for name in told.filter_map(|mut words| words.next()) {
        let is_known = super::LONG.iter().any(|(known, _)| *known == name);
        assert!(is_known, "--{name}");
    }
}

proptest! {
    #[test]
    fn values_come_back_whatever_they_are(values in proptest::array::uniform3("\\PC{0,20}")) {
        let [user, sid, newpass] = values;
        let args = ["--user", &user, "--sid", &sid, "--newpass", &newpass].map(str::to_owned);
        let request = Options::parse(&args, GivenBy::Client).unwrap().request("");
        prop_assert_eq!(request.user, user);
        prop_assert_eq!(request.sid, sid);
        prop_assert_eq!(request.new_password.expose(), newpass);
    }

    #[test]
    fn no_words_panic(args in proptest::collection::vec("-{0,3}[a-zA-Z=]{0,6}", 0..8)) {
        let _ = Options::parse(&args, GivenBy::Client);
    }
}
