use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use proto::{KeyFile, SessionId, Username};
use tempfile::TempDir;

use super::run::MAX_WORDS;
use super::{
    Act, KeyEdit, MAX_LISTINGS_RUNNING, MAX_OF_USER, MAX_REMOVALS_RUNNING, MAX_RUNNING,
    MAX_STUCK_RUNNING, MAX_WAITING, ShimClient, ShimError,
};

const SESSION: &str = "alice-50-1795323502_stRTERMINAL_dp24";

/// A program of the test in the place of the setuid one.
struct Program {
    folder: TempDir,
}

impl Program {
    fn new(script: &str) -> Self {
        let program = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        let path = program.path();
        // Written aside and renamed: a script that is being written can't be run.
        let draft = program.folder.path().join("draft");
        fs::write(&draft, format!("#!/bin/sh\n{script}")).unwrap();
        fs::set_permissions(&draft, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(draft, path).unwrap();
        program
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("x2gobroker-agent")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn client(&self) -> ShimClient {
        ShimClient::new(&self.path())
    }
}

async fn suspend(client: &ShimClient, user: &str) -> Result<(), ShimError> {
    let user = Username::parse(user).unwrap();
    let session = SessionId::parse(SESSION).unwrap();
    let run = client.run(Act::Suspend, &user, &session);
    tokio::time::timeout(LIMIT, run).await.unwrap()
}

#[tokio::test]
async fn the_program_gets_the_recorded_command_line_and_no_environment_but_path() {
    // agent-cli: x2gobroker-agent alice suspendsession SID
    let script = "printf '%s\\n' \"$@\" >\"${0%/*}/args\"\nenv >\"${0%/*}/env\"\npwd >>\"${0%/*}/env\"\nread -r line || echo 'no input' >>\"${0%/*}/env\"";
    let program = Program::new(script);
    let client = program.client();
    suspend(&client, "alice").await.unwrap();
    let args = fs::read_to_string(program.file("args")).unwrap();
    assert_eq!(args, format!("alice\nsuspendsession\n{SESSION}\n"));
    let environment = fs::read_to_string(program.file("env")).unwrap();
    // The shell itself adds PWD and the like.
    let of_shell = ["PWD=", "OLDPWD=", "SHLVL=", "_="];
    let ours: Vec<&str> = environment
        .lines()
        .filter(|line| !of_shell.iter().any(|start| line.starts_with(start)))
        .collect();
    assert_eq!(
        ours,
        [&format!("PATH={}", super::run::PATH), "/", "no input"]
    );

    let user = Username::parse("alice").unwrap();
    let session = SessionId::parse(SESSION).unwrap();
    client.run(Act::Terminate, &user, &session).await.unwrap();
    let args = fs::read_to_string(program.file("args")).unwrap();
    assert_eq!(args, format!("alice\nterminatesession\n{SESSION}\n"));
}

#[tokio::test]
async fn what_the_program_complains_of_is_told_in_one_short_line() {
    let program = Program::new("echo OK; printf 'no \\033such session\\nmore\\n' >&2; exit 255");
    let error = suspend(&program.client(), "alice").await.unwrap_err();
    let told = error.to_string();
    assert!(
        told.ends_with("exit status: 255: \"no such session\""),
        "{told}"
    );

    // A program that says far too much is cut short, and its end is seen all the same.
    let program = Program::new("head -c 3000000 /dev/zero | tr '\\0' x >&2; exit 3");
    let error = suspend(&program.client(), "alice").await.unwrap_err();
    let ShimError::Failed { text, .. } = error else {
        panic!("{error:?}")
    };
    assert_eq!(text.len(), MAX_WORDS);
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named() {
    let program = Program::new("");
    fs::remove_file(program.path()).unwrap();
    let error = suspend(&program.client(), "alice").await.unwrap_err();
    assert!(matches!(error, ShimError::Start { .. }), "{error:?}");
    assert!(error.to_string().contains("x2gobroker-agent"), "{error}");
}

#[tokio::test]
async fn output_that_something_keeps_open_is_not_waited_for() {
    let program = Program::new("sleep 30 &\nexit 0");
    suspend(&program.client(), "alice").await.unwrap();
}

#[tokio::test(start_paused = false)]
async fn the_same_is_not_done_twice_at_once_and_those_who_are_too_many_are_told_so() {
    let program = Program::new("while [ ! -e \"${0%/*}/go\" ]; do sleep 0.05; done");
    let client = program.client();
    let mut runs = tokio::task::JoinSet::new();
    let all = MAX_RUNNING + MAX_WAITING;
    for number in 0..all {
        let client = client.clone();
        runs.spawn(async move { suspend(&client, &format!("user{number}")).await });
    }
    // All are there: some run, the others wait for their turn.
    while client.under_way.lock().unwrap().len() < all {
        tokio::task::yield_now().await;
    }
    let again = suspend(&client, "user0").await;
    assert!(matches!(again, Err(ShimError::UnderWay)), "{again:?}");
    while client.sessions.waiting.available_permits() > 0 {
        tokio::task::yield_now().await;
    }
    let too_many = suspend(&client, "late").await;
    assert!(matches!(too_many, Err(ShimError::Busy)), "{too_many:?}");
    fs::write(program.file("go"), "").unwrap();
    for ended in runs.join_all().await {
        // On a machine that is very busy some have waited too long for their turn.
        assert!(matches!(ended, Ok(()) | Err(ShimError::Busy)), "{ended:?}");
    }
    suspend(&client, "late").await.unwrap();
    assert_eq!(client.under_way.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn desktops_are_read_from_an_answer_that_begins_with_ok() {
    let alice = Username::parse("alice").unwrap();
    let program = Program::new("printf 'OK\nalice@:51\nbob@:78\n'; echo \"$@\" >&2");
    let listing = program.client().desktops(&alice).await.unwrap();
    let found: Vec<String> = listing.desktops.iter().map(ToString::to_string).collect();
    assert_eq!(found, ["alice@:51", "bob@:78"]);

    // Silence is not the same as "none".
    let program = Program::new("printf 'OK\n'");
    let listing = program.client().desktops(&alice).await.unwrap();
    assert!(listing.desktops.is_empty());
    let program = Program::new("exit 0");
    let error = program.client().desktops(&alice).await.unwrap_err();
    assert!(matches!(error, ShimError::Odd { .. }), "{error:?}");

    // What is beyond the cap is not read, and the line at the cap is none.
    let program = Program::new("echo OK; yes 'alice@:51' | head -n 100000; exit 0");
    let listing = program.client().desktops(&alice).await.unwrap();
    assert_eq!(listing.desktops.len(), proto::MAX_DESKTOPS);
    assert!(listing.n_left_out < 20_000, "{}", listing.n_left_out);
    assert_eq!(listing.n_odd, 1);
}

#[tokio::test]
async fn listings_that_hang_hold_up_no_sessions() {
    let program = Program::new(
        "case $2 in listdesktops)
             while [ ! -e \"${0%/*}/go\" ]; do sleep 0.05; done; echo OK ;;
         esac",
    );
    let client = program.client();
    let mut runs = tokio::task::JoinSet::new();
    for number in 0..MAX_LISTINGS_RUNNING {
        let client = client.clone();
        let user = Username::parse(&format!("user{number}")).unwrap();
        runs.spawn(async move { client.desktops(&user).await.map(drop) });
    }
    while client.listings.running.available_permits() > 0 {
        tokio::task::yield_now().await;
    }
    suspend(&client, "alice").await.unwrap();
    // One user has one listing at a time.
    let again = client.desktops(&Username::parse("user0").unwrap()).await;
    assert!(matches!(again, Err(ShimError::UnderWay)), "{again:?}");
    fs::write(program.file("go"), "").unwrap();
    for ended in runs.join_all().await {
        ended.unwrap();
    }
}

#[tokio::test]
async fn a_user_has_two_runs_at_once_in_all_lanes_together_and_others_have_theirs() {
    let program = Program::new("while [ ! -e \"${0%/*}/go\" ]; do sleep 0.05; done");
    let client = program.client();
    let mut runs = tokio::task::JoinSet::new();
    let alice = client.clone();
    runs.spawn(async move { suspend(&alice, "user1").await });
    let alice = client.clone();
    runs.spawn(async move { alice.remove_stuck_key(edit(1)).await });
    let under_way = |n| {
        let client = client.clone();
        async move {
            while client.under_way.lock().unwrap().len() < n {
                tokio::task::yield_now().await;
            }
        }
    };
    under_way(MAX_OF_USER).await;
    let user = Username::parse("user1").unwrap();
    let session = SessionId::parse(SESSION).unwrap();
    let refused = [
        client.run(Act::Terminate, &user, &session).await,
        client.add_key(edit(1)).await,
        client
            .remove_key(KeyEdit {
                line: "ssh-rsa BBBB me".into(),
                ..edit(1)
            })
            .await,
    ];
    for refused in refused {
        let error = refused.unwrap_err();
        assert!(matches!(error, ShimError::Unfinished), "{error:?}");
        assert!(error.is_without_effect() && !error.is_refusal());
    }
    let again = suspend(&client, "user1").await;
    assert!(matches!(again, Err(ShimError::UnderWay)), "{again:?}");
    let bob = client.clone();
    runs.spawn(async move { bob.add_key(edit(2)).await });
    under_way(MAX_OF_USER + 1).await;
    fs::write(program.file("go"), "").unwrap();
    for ended in runs.join_all().await {
        ended.unwrap();
    }
    client.add_key(edit(1)).await.unwrap();
}

fn edit(number: usize) -> KeyEdit {
    KeyEdit {
        user: Username::parse(&format!("user{number}")).unwrap(),
        line: "ssh-rsa AAAA me".into(),
        file: KeyFile::default(),
    }
}

#[tokio::test]
async fn removals_hold_up_no_additions_and_stuck_ones_no_others() {
    // Users with a number below 100 have a home that hangs when a key is to go.
    let program = Program::new(
        "case $1.$2 in user?.del*|user??.del*)
             while [ ! -e \"${0%/*}/go\" ]; do sleep 0.05; done ;;
         esac",
    );
    let client = program.client();
    let mut runs = tokio::task::JoinSet::new();
    for number in 0..MAX_STUCK_RUNNING {
        let client = client.clone();
        runs.spawn(async move { client.remove_stuck_key(edit(number)).await });
    }
    while client.stuck.running.available_permits() > 0 {
        tokio::task::yield_now().await;
    }
    let removed = tokio::time::timeout(super::QUEUE_LIMIT, client.remove_key(edit(100)));
    removed.await.unwrap().unwrap();
    for number in 10..10 + MAX_REMOVALS_RUNNING {
        let client = client.clone();
        runs.spawn(async move { client.remove_key(edit(number)).await });
    }
    while client.removals.running.available_permits() > 0 {
        tokio::task::yield_now().await;
    }
    let added = tokio::time::timeout(super::QUEUE_LIMIT, client.add_key(edit(1)));
    added.await.unwrap().unwrap();
    fs::write(program.file("go"), "").unwrap();
    for ended in runs.join_all().await {
        ended.unwrap();
    }
}

#[tokio::test]
async fn the_exit_code_tells_whether_a_line_may_be_there() {
    // As deploy/man/x2gobroker-agent.8 has them; 255 also is what the original ends with.
    let rows = [
        (255, true, true),
        (71, true, false),
        (73, true, false),
        (75, true, false),
        (77, true, false),
        (78, true, false),
        (74, false, false),
        (69, false, false),
        (1, false, false),
    ];
    for (code, is_without_effect, is_refusal) in rows {
        let program = Program::new(&format!("exit {code}"));
        let error = program.client().add_key(edit(1)).await.unwrap_err();
        assert_eq!(error.is_without_effect(), is_without_effect, "{error}");
        assert_eq!(error.is_refusal(), is_refusal, "{error}");
    }
    let program = Program::new("kill -9 $$");
    let error = program.client().add_key(edit(1)).await.unwrap_err();
    assert!(!error.is_without_effect(), "{error}");
}

/// Longer than the module's own limits.
const LIMIT: Duration = Duration::from_secs(30);
