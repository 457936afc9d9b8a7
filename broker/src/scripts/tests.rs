use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use super::{Change, Facts, MAX_AT_ONCE, MAX_OF_CLIENT, Refused, Scripts, ScriptsConfig, Stage};
use crate::scripts::message::Server;

fn facts() -> Facts {
    Facts {
        task: "selectsession".to_owned(),
        user: "alice".to_owned(),
        login: String::new(),
        profile: "farm".to_owned(),
        client: "10.0.0.1".parse().unwrap(),
        authenticated: None,
        server: None,
    }
}

/// A directory with one script.
fn site(text: &str) -> (TempDir, ScriptsConfig) {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("check"), text);
    let config = ScriptsConfig {
        directory: dir.path().to_owned(),
        deadline: Duration::from_secs(5),
        names: [(Stage::PreAuth, vec!["check".to_owned()])].into(),
    };
    (dir, config)
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
}

/// Scripts must belong to root, so only root can try them.
fn is_root(dir: &TempDir) -> bool {
    let is_root = dir.path().metadata().unwrap().uid() == 0;
    if !is_root {
        println!("skipped: only root can make scripts that belong to root");
    }
    is_root
}

async fn run(config: &ScriptsConfig, facts: &mut Facts) -> Result<(), Refused> {
    Scripts::default().run(config, Stage::PreAuth, facts).await
}

#[tokio::test]
async fn a_script_reads_the_request_and_changes_it() {
    // Answers with what it read.
    let echo = "#!/bin/sh\nread -r request\ncase $request in\n\
                *'\"stage\":\"pre_auth\"'*'\"user\":\"alice\"'*'\"client\":\"10.0.0.1\"'*)\n\
                echo '{\"user\": \"bob\", \"profile\": \"lab\"}';;\nesac\n";
    let (dir, config) = site(echo);
    if !is_root(&dir) {
        return;
    }
    let mut facts = facts();
    run(&config, &mut facts).await.unwrap();
    assert_eq!(
        (facts.user.as_str(), facts.profile.as_str()),
        ("bob", "lab")
    );
}

#[tokio::test]
async fn a_script_that_refuses_fails_or_is_odd_lets_nobody_in() {
    let odd = [
        "#!/bin/sh\necho '{\"refuse\": \"closed\"}'\n",
        "#!/bin/sh\nexit 3\n",
        "#!/bin/sh\necho '{\"user\": \"bob\"'\n",
        "#!/bin/sh\necho '{\"uid\": 0}'\n",
        "#!/bin/sh\necho '{\"server\": \"s2\"}'\n",
        "#!/bin/sh\nexec cat /dev/zero\n",
        "#!/nonexistent\n",
    ];
    for text in odd {
        let (dir, config) = site(text);
        if !is_root(&dir) {
            return;
        }
        let mut asked = facts();
        assert_eq!(run(&config, &mut asked).await, Err(Refused), "{text}");
        assert_eq!(asked, facts(), "{text}");
    }
}

#[tokio::test]
async fn a_script_that_hangs_is_killed_at_its_deadline() {
    // As scripts do that ask a directory: the shell waits for another program.
    let (dir, mut config) =
        site("#!/bin/sh\nsleep 600 & echo $! > $0.new; mv $0.new $0.pid; wait\n");
    if !is_root(&dir) {
        return;
    }
    config.deadline = Duration::from_millis(500);
    assert_eq!(run(&config, &mut facts()).await, Err(Refused));
    let pid = std::fs::read_to_string(dir.path().join("check.pid")).unwrap();
    let process = format!("/proc/{}", pid.trim());
    for _ in 0..200 {
        let state = std::fs::read_to_string(format!("{process}/stat")).unwrap_or_default();
        // A zombie was killed as well; the system collects it later.
        if state.is_empty() || state.contains(") Z ") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{process} is still there");
}

#[tokio::test]
async fn one_client_takes_a_quarter_of_the_places_and_others_are_asked_meanwhile() {
    // Each hangs until all of this client's have begun, and then for ever.
    let (dir, config) = site(
        "#!/bin/sh\nread -r request\ncase $request in *10.0.0.1*) \
                              : > $0.$$; sleep 600;; esac\n",
    );
    if !is_root(&dir) {
        return;
    }
    let scripts = Scripts::default();
    let mut crowd = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let (scripts, config) = (scripts.clone(), config.clone());
        crowd.spawn(async move { scripts.run(&config, Stage::PreAuth, &mut facts()).await });
    }
    let begun = || std::fs::read_dir(dir.path()).unwrap().count() - 1;
    while begun() < MAX_OF_CLIENT {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut other = facts();
    other.client = "10.0.0.2".parse().unwrap();
    let asked = scripts.run(&config, Stage::PreAuth, &mut other);
    assert_eq!(asked.await, Ok(()));
    assert_eq!(begun(), MAX_OF_CLIENT);
}

#[tokio::test]
async fn a_script_whose_client_hung_up_keeps_its_place_until_it_is_gone() {
    let (dir, mut config) = site("#!/bin/sh\n: > $0.begun; sleep 600\n");
    if !is_root(&dir) {
        return;
    }
    config.deadline = Duration::from_millis(500);
    let scripts = Scripts::default();
    let begun = dir.path().join("check.begun");
    {
        let mut facts = facts();
        let mut asked = std::pin::pin!(scripts.run(&config, Stage::PreAuth, &mut facts));
        while !begun.exists() {
            let pause = tokio::time::sleep(Duration::from_millis(10));
            tokio::select! { _ = &mut asked => panic!("it hangs"), () = pause => {} }
        }
    }
    assert_eq!(scripts.places.available_permits(), MAX_AT_ONCE - 1);
    scripts.running.close();
    scripts.running.wait().await;
    assert_eq!(scripts.places.available_permits(), MAX_AT_ONCE);
}

#[tokio::test]
async fn a_script_that_others_can_write_is_not_run() {
    let (dir, config) = site("#!/bin/sh\n");
    if !is_root(&dir) {
        return;
    }
    run(&config, &mut facts()).await.unwrap();
    let script = dir.path().join("check");
    std::fs::set_permissions(script, PermissionsExt::from_mode(0o775)).unwrap();
    assert_eq!(run(&config, &mut facts()).await, Err(Refused));
}

#[test]
fn each_stage_changes_what_is_still_open() {
    let check = |stage, output: &str| Change::parse(stage, output.as_bytes()).is_ok();
    use Stage::{PostAuth, PreAuth, SelectSession};
    for (field, stages) in [
        ("\"user\": \"bob\"", &[PreAuth][..]),
        ("\"login\": \"bob\"", &[PreAuth]),
        ("\"profile\": \"lab\"", &[PreAuth, PostAuth]),
        ("\"server\": \"s2.example.org\"", &[SelectSession]),
        ("\"port\": 2222", &[SelectSession]),
    ] {
        for stage in [PreAuth, PostAuth, SelectSession] {
            let output = format!("{{{field}}}");
            assert_eq!(
                check(stage, &output),
                stages.contains(&stage),
                "{stage} {field}"
            );
        }
    }
    assert!(check(SelectSession, "\n"));
    // It would end in the answer's lines.
    assert!(!check(
        SelectSession,
        "{\"server\": \"s2\\nSESSION_INFO:x\"}"
    ));
    assert!(!check(SelectSession, "{\"server\": \"2001:db8::1\"}"));
    assert!(!check(SelectSession, "{\"port\": 0}"));
}

#[test]
fn a_changed_server_keeps_its_port() {
    let mut facts = facts();
    facts.server = Some(Server {
        server: "s1".to_owned(),
        port: 2222,
    });
    let Ok(Change::Apply(values)) = Change::parse(Stage::SelectSession, b"{\"server\":\"s2\"}")
    else {
        panic!("a server may change");
    };
    assert!(facts.apply(values));
    let json = String::from_utf8(facts.to_json(Stage::SelectSession)).unwrap();
    assert!(json.contains("\"server\":\"s2\",\"port\":2222"), "{json}");
}
