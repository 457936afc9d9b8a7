//! What can users do to others by stopping what runs for them? A run of the setuid program
//! is a process of its user, who may stop it.

use std::time::Duration;

use proto::v1;
use tests::session_db::{NewSession, SessionDatabase};
use tests::wait::{Progress, wait_for};
use tokio::task::JoinSet;
use tonic::Code;

use crate::temporary_keys::Server;

/// The program of x2goserver in the stage: it stops itself, and does not go on before root
/// lets it.
const STOPS: &str = r#"
touch /home/stops; chmod 644 /home/stops
cat >/usr/bin/x2gosuspend-session.new <<'END'
#!/bin/bash
if [ -e /home/stops ] && [ "$USER" != dora ]; then echo $$ >"$HOME/stopped-$$"; kill -STOP $$; fi
touch "$HOME/ran"
END
chmod 755 /usr/bin/x2gosuspend-session.new
mv /usr/bin/x2gosuspend-session.new /usr/bin/x2gosuspend-session"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_who_stop_their_runs_hold_up_others_for_a_moment_and_themselves_until_the_end() {
    let Some(server) = Server::up("") else { return };
    server.stage.root(STOPS);
    let database = SessionDatabase::open(&server.folder.join("x2go_sessions"), "s1").unwrap();
    let mut display = 50;
    let mut session = |user: &str| {
        display += 1;
        let session = NewSession {
            user: user.to_owned(),
            display,
            command: "TERMINAL".to_owned(),
            client: "10.77.0.20".to_owned(),
        };
        let session = database.run(&session).unwrap();
        v1::SuspendRequest {
            node: "s1".to_owned(),
            user: user.to_owned(),
            session_id: session,
        }
    };
    // Two runs of each take all places there are for sessions.
    let mut asking = JoinSet::new();
    for user in ["alice", "alice", "bob", "bob"] {
        let (mut client, request) = (server.client(), session(user));
        asking.spawn(async move { client.suspend(request).await.unwrap_err().code() });
    }
    let n_stopped = || server.stage.root("ls /home/*/stopped-* | wc -l");
    let stopped = wait_for(LIMIT, || {
        let n_stopped = n_stopped();
        Progress::when(n_stopped.trim() == "4", || n_stopped)
    });
    stopped.unwrap();
    // Whoever comes gets a place when nobody waits for those runs any more.
    let (mut client, of_dora) = (server.client(), session("dora"));
    let ran = |user: &str| {
        let ran = format!("test -e /home/{user}/ran && echo yes || true");
        !server.stage.root(&ran).is_empty()
    };
    let mut tries = 0;
    while !ran("dora") {
        tries += 1;
        assert!(
            tries < 6,
            "dora waits for others who have stopped their runs"
        );
        let mut client = client.clone();
        let request = of_dora.clone();
        // The session never changes, so nothing is waited for beyond the run.
        let asked = tokio::time::timeout(TURN, client.suspend(request)).await;
        let refused = asked.map(|answer| answer.map_err(|status| status.code()).err());
        assert!(
            matches!(refused, Err(_) | Ok(Some(Code::ResourceExhausted))),
            "{refused:?}"
        );
    }
    while let Some(code) = asking.join_next().await {
        assert_eq!(code.unwrap(), Code::DeadlineExceeded);
    }
    // They themselves get no third process.
    let third = session("alice");
    let refused = client.suspend(third.clone()).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
    assert!(refused.message().contains("have not ended"), "{refused:?}");
    assert_eq!(n_stopped().trim(), "4");
    server
        .stage
        .root("rm /home/stops; kill -CONT $(cat /home/*/stopped-*)");
    let ended = wait_for(LIMIT, || {
        Progress::when(ran("alice") && ran("bob"), || "still stopped".to_owned())
    });
    ended.unwrap();
    server.stage.root("rm /home/alice/ran");
    // The agent may hear a moment later that they have ended.
    let mut tries = 0;
    while !ran("alice") {
        tries += 1;
        assert!(tries < 1000, "alice's runs have ended");
        let _unchanged = tokio::time::timeout(TURN / 10, client.suspend(third.clone())).await;
    }
}

/// A little longer than a turn is waited for.
const TURN: Duration = Duration::from_secs(6);
/// Everything here takes moments, but for a busy machine.
const LIMIT: Duration = Duration::from_secs(20);
