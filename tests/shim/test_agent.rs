//! Does `x2gobroker-testagent` call the installed program as the broker would?

use tests::binaries;

use crate::stage::{BROKER, KEY, Outcome, ROOT, SESSION, Stage, ok};

/// Runs the tool as root with these options.
fn test(stage: &Stage, options: &str) -> Outcome {
    let program = binaries::binary("x2gobroker-testagent").unwrap();
    let config = "[broker_inifile]\\nenable = true\\nsession-profiles = /home/none\\n";
    stage.root(&format!("printf '{config}' >/home/x2gobroker.conf"));
    let program = program.display();
    stage.script(
        ROOT,
        &format!("{program} -C /home/x2gobroker.conf {options}"),
    )
}

#[test]
fn each_task_reaches_the_program_of_this_host() {
    let Some(stage) = Stage::up() else { return };
    assert_eq!(test(&stage, "-t ping"), ok(""));
    let tasks = test(&stage, "--list-tasks");
    assert_eq!(tasks, stage.call(BROKER, &["foo", "availabletasks"]));
    let listed = test(&stage, "--task listsessions --username alice");
    assert_eq!(listed.code, Some(0), "{listed:?}");
    assert!(listed.out.contains("\nuser 2001 "), "{listed:?}");
    let suspended = test(
        &stage,
        &format!("-t suspendsession -u alice --session-id {SESSION}"),
    );
    let program = format!("OK\nprogram /usr/bin/x2gosuspend-session {SESSION}\n");
    assert!(suspended.out.starts_with(&program), "{suspended:?}");
    let added = test(&stage, &format!("-t addauthkey -u alice --pubkey '{KEY}'"));
    assert_eq!(added, ok(""));
    let keys = "cat /home/alice/.x2go/authorized_keys";
    assert!(stage.root(keys).starts_with("ssh-ed25519 AAAA"));
    assert_eq!(
        test(
            &stage,
            &format!("-t delauthkey --user alice --pubkey '{KEY}'")
        ),
        ok("")
    );
    assert_eq!(stage.root(keys), "");
}

#[test]
fn what_is_missing_or_refused_is_said() {
    let Some(stage) = Stage::up() else { return };
    for (options, code, words) in [
        ("", 2, "--task"),
        ("-t dance", 2, "dance"),
        ("-t listsessions", 1, "needs --user"),
        ("-t suspendsession -u alice", 1, "needs --session-id"),
        ("-t addauthkey -u alice", 1, "needs --pubkey"),
        ("-t listsessions -u '$(id)'", 1, "--user"),
        (
            "-t listsessions -u root",
            1,
            "no ordinary user of that name",
        ),
        ("-t ping --host=-oProxyCommand=id", 1, "neither a host name"),
    ] {
        let found = test(&stage, options);
        assert_eq!(found.code, Some(code), "{options}: {found:?}");
        assert!(found.complaint.contains(words), "{options}: {found:?}");
    }
}
