use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::time::Duration;

use pki::Clock;
use proto::{KEY_LIMIT, KeyFile, KeyGrant, KeyOutcome, PublicKey, Username};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Keys, KeysHandle, KeysMode, KeysSetup, LineRules};
use crate::shim_client::ShimClient;

/// Plays the setuid program: the keys of a user are in the file USER.keys beside it. Waits
/// while there is a file USER.wait, fails to remove while there is USER.stuck, and can't reach
/// the file while there is USER.odd.
const PROGRAM: &str = r#"#!/bin/sh
here=${0%/*}
while [ -e "$here/$1.wait" ]; do sleep 0.02; done
if [ -e "$here/$1.odd" ]; then echo 'a symbolic link' >&2; exit 73; fi
case $2 in
    availabletasks) printf 'OK\navailabletasks\naddauthkey\ndelauthkey\n' ;;
    addauthkey)
        if [ "$1" = root ]; then echo 'no ordinary user' >&2; exit 255; fi
        grep -sqxF -- "$3" "$here/$1.keys" || printf '%s\n' "$3" >>"$here/$1.keys"
        echo OK ;;
    delauthkey)
        if [ -e "$here/$1.stuck" ]; then echo 'no home' >&2; exit 74; fi
        grep -svxF -- "$3" "$here/$1.keys" >"$here/$1.new"
        mv "$here/$1.new" "$here/$1.keys"
        echo OK ;;
esac
"#;

/// A server with a state directory, and files of keys.
struct Server {
    folder: TempDir,
}

/// An agent's owner of keys, until it is killed.
struct Owner {
    handle: KeysHandle,
    tasks: JoinSet<()>,
}

impl Server {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = Self { folder };
        let draft = server.path("draft");
        fs::write(&draft, PROGRAM).unwrap();
        fs::set_permissions(&draft, fs::Permissions::from_mode(0o4755)).unwrap();
        fs::rename(draft, server.path("program")).unwrap();
        fs::create_dir(server.path("state")).unwrap();
        server
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn start(&self, generation: u64) -> Owner {
        self.start_as(generation, KeysMode::Files)
    }

    fn start_as(&self, generation: u64, mode: KeysMode) -> Owner {
        let setup = KeysSetup {
            mode,
            rules: LineRules::default(),
            state_directory: self.path("state"),
            mark: format!("x2gobroker-temporary:s1:{generation}"),
            program_owner: fs::metadata(self.folder.path()).unwrap().uid(),
        };
        let shim = ShimClient::new(&self.path("program"));
        let (keys, handle) = Keys::build(setup, shim, Clock::system());
        let mut tasks = JoinSet::new();
        tasks.spawn(keys.run(CancellationToken::new()));
        Owner { handle, tasks }
    }

    /// The lines of a user's file.
    fn lines(&self, user: &str) -> Vec<String> {
        let text = fs::read_to_string(self.path(&format!("{user}.keys"))).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn journal(&self) -> String {
        fs::read_to_string(self.path("state/keys")).unwrap_or_default()
    }

    async fn wait_until(&self, what: &str, good: impl Fn(&Self) -> bool) {
        let until = Instant::now() + LIMIT;
        while !good(self) {
            let journal = self.journal();
            assert!(Instant::now() < until, "not yet: {what}\n{journal}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn wait_until_empty(&self, user: &str) {
        let what = format!("no keys of {user}");
        self.wait_until(&what, |server| server.lines(user).is_empty())
            .await;
        self.wait_until("no notes", |server| server.journal().lines().count() == 2)
            .await;
    }
}

impl Owner {
    async fn grant(&self, name: &str, key: u8, life: Duration) -> KeyOutcome {
        self.handle.grant(user(name), grant(key, life)).await
    }

    async fn wait_until_it_installs(&self, installs: bool) {
        let mut state = self.handle.watch_state();
        let told = state.wait_for(|state| state.installs == installs);
        tokio::time::timeout(LIMIT, told).await.unwrap().unwrap();
    }

    /// As a SIGKILL does: nothing more is done.
    async fn kill(mut self) {
        self.tasks.shutdown().await;
    }
}

fn user(name: &str) -> Username {
    Username::parse(name).unwrap()
}

fn key(number: u8) -> PublicKey {
    let letter = char::from(b'A' + number % 26);
    let data = format!(
        "AAAAC3NzaC1lZDI1NTE5AAAAII{}I",
        letter.to_string().repeat(41)
    );
    PublicKey::parse(&format!("ssh-ed25519 {data}")).unwrap()
}

fn grant(number: u8, life: Duration) -> KeyGrant {
    KeyGrant {
        key: key(number),
        client: None,
        file: KeyFile::default(),
        life,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_there_with_the_answer_and_gone_after_its_time() {
    let server = Server::new();
    let owner = server.start(7);
    owner.wait_until_it_installs(true).await;
    // The user has put the same key there before, in several ways.
    let own = format!(
        "{0}\n{0} me@here\nno-X11-forwarding,no-user-rc {0}\n",
        key(1)
    );
    fs::write(server.path("alice.keys"), &own).unwrap();
    let began = Instant::now();
    let life = Duration::from_secs(1);
    assert_eq!(owner.grant("alice", 1, life).await, KeyOutcome::Installed);
    println!("installed after {:?}", began.elapsed());
    let lines = server.lines("alice");
    let ours = format!(
        "no-X11-forwarding,no-user-rc {} x2gobroker-temporary:s1:7:0",
        key(1)
    );
    assert_eq!(lines.last(), Some(&ours));
    assert_eq!(lines.len(), 4);
    assert!(server.journal().contains(&ours));
    assert_eq!(owner.handle.state().n_keys, 1);
    server
        .wait_until("gone", |server| server.lines("alice").len() == 3)
        .await;
    assert!(began.elapsed() >= life);
    assert_eq!(fs::read_to_string(server.path("alice.keys")).unwrap(), own);
    server
        .wait_until("no notes", |server| !server.journal().contains("alice"))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_taken_back_when_that_is_asked_for() {
    let server = Server::new();
    let owner = server.start(7);
    for number in [1, 2] {
        let outcome = owner.grant("alice", number, LONG).await;
        assert_eq!(outcome, KeyOutcome::Installed);
    }
    assert_eq!(owner.handle.revoke(user("bob"), key(1)).await, Ok(0));
    assert_eq!(owner.handle.revoke(user("alice"), key(1)).await, Ok(1));
    server
        .wait_until("one key", |server| server.lines("alice").len() == 1)
        .await;
    assert!(server.lines("alice")[0].contains(key(2).as_str()));
    assert_eq!(owner.handle.revoke(user("alice"), key(1)).await, Ok(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_whom_the_program_refuses_leaves_nothing_behind() {
    let server = Server::new();
    let owner = server.start(7);
    assert_eq!(owner.grant("root", 1, LONG).await, KeyOutcome::Refused);
    server.wait_until_empty("root").await;
    assert_eq!(owner.handle.state().n_keys, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_is_killed_leaves_its_keys_to_the_next_one() {
    let server = Server::new();
    let owner = server.start(7);
    let short = Duration::from_millis(1500);
    assert_eq!(owner.grant("alice", 1, short).await, KeyOutcome::Installed);
    assert_eq!(owner.grant("bob", 1, LONG).await, KeyOutcome::Installed);
    owner.kill().await;
    let owner = server.start(8);
    // It is not yet time.
    owner.wait_until_it_installs(true).await;
    assert_eq!(owner.handle.state().n_keys, 2);
    server
        .wait_until("alice's is gone", |server| server.lines("alice").is_empty())
        .await;
    assert_eq!(server.lines("bob").len(), 1);
    // And if installing was forbidden meanwhile, the keys go all the same.
    owner.kill().await;
    let journal = server.journal();
    let due = journal
        .lines()
        .map(|line| match line.split_once("\tbob\t") {
            Some((_, rest)) => format!("1\tbob\t{rest}\n"),
            None => format!("{line}\n"),
        });
    fs::write(server.path("state/keys"), due.collect::<String>()).unwrap();
    let owner = server.start_as(9, KeysMode::Off);
    server
        .wait_until("bob's is gone", |server| server.lines("bob").is_empty())
        .await;
    assert_eq!(owner.grant("bob", 1, LONG).await, KeyOutcome::Refused);
    assert!(!owner.handle.state().installs);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_hundred_keys_at_once_none_is_lost_and_none_left() {
    let server = Server::new();
    let owner = server.start(7);
    let life = Duration::from_secs(3);
    let began = Instant::now();
    let mut asking = JoinSet::new();
    for number in 0..200u8 {
        let handle = owner.handle.clone();
        let user = user(&format!("user{}", number / 5));
        // A machine that is busy takes longer than the limit for so many.
        asking.spawn(async move {
            let mut outcome = KeyOutcome::Failed;
            while outcome == KeyOutcome::Failed {
                outcome = handle.grant(user.clone(), grant(number % 5, life)).await;
            }
            outcome
        });
    }
    let outcomes = asking.join_all().await;
    println!("200 keys were there after {:?}", began.elapsed());
    assert!(
        outcomes
            .iter()
            .all(|outcome| *outcome == KeyOutcome::Installed)
    );
    for number in 0..40 {
        server.wait_until_empty(&format!("user{number}")).await;
    }
    println!("and gone after {:?}", began.elapsed());
    assert_eq!(owner.handle.state().n_keys, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_home_that_does_not_answer_costs_its_own_user_the_key_and_nobody_else() {
    let server = Server::new();
    let owner = server.start(7);
    fs::write(server.path("alice.wait"), "").unwrap();
    let mut slow = JoinSet::new();
    let handle = owner.handle.clone();
    slow.spawn(async move { handle.grant(user("alice"), grant(1, LONG)).await });
    server
        .wait_until("noted", |server| server.journal().contains("alice"))
        .await;
    assert_eq!(owner.grant("bob", 1, LONG).await, KeyOutcome::Installed);
    let began = Instant::now();
    assert_eq!(slow.join_next().await.unwrap().unwrap(), KeyOutcome::Failed);
    assert!(began.elapsed() < KEY_LIMIT + Duration::from_secs(1));
    // The home is there again: the key comes, and goes at once.
    fs::remove_file(server.path("alice.wait")).unwrap();
    server
        .wait_until("gone again", |server| {
            server.path("alice.keys").exists() && !server.journal().contains("alice")
        })
        .await;
    assert!(server.lines("alice").is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removal_that_fails_is_tried_again() {
    let server = Server::new();
    let owner = server.start(7);
    fs::write(server.path("alice.stuck"), "").unwrap();
    let life = Duration::from_millis(200);
    assert_eq!(owner.grant("alice", 1, life).await, KeyOutcome::Installed);
    tokio::time::sleep(life * 2).await;
    assert_eq!(server.lines("alice").len(), 1);
    fs::remove_file(server.path("alice.stuck")).unwrap();
    server.wait_until_empty("alice").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_home_that_can_not_be_edited_leaves_nothing_behind() {
    let server = Server::new();
    let owner = server.start(7);
    fs::write(server.path("alice.odd"), "").unwrap();
    for number in 0..3 {
        let outcome = owner.grant("alice", number, LONG).await;
        assert_eq!(outcome, KeyOutcome::Failed);
        server.wait_until_empty("alice").await;
        assert_eq!(owner.handle.state().n_keys, 0);
    }
    // Of a key that was there before, the line still is.
    fs::remove_file(server.path("alice.odd")).unwrap();
    let outcome = owner.grant("alice", 1, LONG).await;
    assert_eq!(outcome, KeyOutcome::Installed);
    fs::write(server.path("alice.odd"), "").unwrap();
    let outcome = owner.grant("alice", 1, LONG).await;
    assert_eq!(outcome, KeyOutcome::Failed);
    assert_eq!(server.journal().lines().count(), 3);
    fs::remove_file(server.path("alice.odd")).unwrap();
    assert_eq!(owner.handle.revoke(user("alice"), key(1)).await, Ok(1));
    server.wait_until_empty("alice").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_key_is_promised_while_there_is_no_room_for_one() {
    let server = Server::new();
    let until = Clock::system().since_epoch() + LONG;
    let noted = (1..super::ledger::MAX_KEYS).map(|number| {
        let line = format!("ssh-rsa AAAA x2gobroker-temporary:s1:6:{number}");
        let until = until.as_millis();
        format!("{until}\tuser{number}\t%h/.ssh/authorized_keys\t{line}\n")
    });
    let noted: String = noted.collect();
    let n_noted = super::ledger::MAX_KEYS - 1;
    let journal = format!("x2gobroker temporary keys 1\n{noted}end {n_noted}\n");
    fs::write(server.path("state/keys"), journal).unwrap();
    let owner = server.start(7);
    owner.wait_until_it_installs(true).await;
    let outcome = owner.grant("alice", 1, LONG).await;
    assert_eq!(outcome, KeyOutcome::Installed);
    owner.wait_until_it_installs(false).await;
    assert_eq!(owner.grant("bob", 1, LONG).await, KeyOutcome::Failed);
    assert_eq!(owner.handle.revoke(user("alice"), key(1)).await, Ok(1));
    owner.wait_until_it_installs(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_not_be_noted_is_not_added() {
    let server = Server::new();
    // A disk that is full says so at the first byte.
    std::os::unix::fs::symlink("/dev/full", server.path("state/keys.new")).unwrap();
    let owner = server.start(7);
    assert_eq!(owner.grant("alice", 1, LONG).await, KeyOutcome::Failed);
    assert!(!owner.handle.state().installs);
    assert!(!server.path("alice.keys").exists());
    // There is room again: the next one who asks gets a key.
    fs::remove_file(server.path("state/keys.new")).unwrap();
    assert_eq!(owner.grant("alice", 1, LONG).await, KeyOutcome::Installed);
    owner.wait_until_it_installs(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_damaged_journal_no_key_is_added_and_all_that_can_be_read_are_removed() {
    let server = Server::new();
    let owner = server.start(7);
    let short = Duration::from_millis(1);
    assert_eq!(owner.grant("alice", 1, LONG).await, KeyOutcome::Installed);
    owner.kill().await;
    let damaged = format!(
        "{}\0\0",
        server
            .journal()
            .replacen(|c: char| c.is_ascii_digit(), "", 4)
    );
    fs::write(server.path("state/keys"), &damaged).unwrap();
    let owner = server.start(8);
    assert_eq!(owner.grant("bob", 1, short).await, KeyOutcome::Failed);
    server
        .wait_until("alice's is gone", |server| server.lines("alice").is_empty())
        .await;
    assert!(!owner.handle.state().installs);
    assert!(!server.path("bob.keys").exists());
    // It is left for the administrator to look at.
    assert_eq!(server.journal(), damaged);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_promised_only_while_the_program_can_be_used() {
    let server = Server::new();
    let set_mode = |mode| {
        fs::set_permissions(server.path("program"), fs::Permissions::from_mode(mode)).unwrap();
    };
    set_mode(0o755);
    let owner = server.start(7);
    // The first look has been taken when the second is due.
    let mut state = owner.handle.watch_state();
    let no_promise = state.wait_for(|state| state.installs);
    let waited = tokio::time::timeout(Duration::from_millis(500), no_promise).await;
    assert!(waited.is_err());
    set_mode(0o4755);
    owner.wait_until_it_installs(true).await;
}

/// Nothing waits for its end.
const LONG: Duration = Duration::from_secs(600);
/// Everything here takes moments, but for a busy machine.
const LIMIT: Duration = Duration::from_secs(20);
