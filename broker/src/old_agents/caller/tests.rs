//! Calls of agents that are shell scripts here.

use std::time::Duration;

use proto::Username;
use tokio::time::Instant;

use super::{CallError, Event};
use crate::config::OldAgentsConfig;
use crate::old_agents::agent::testing::{config, program};
use crate::old_agents::{Call, LIST_DEADLINE, OldAgent, OldAgents};

#[test]
fn what_an_operator_must_change_is_a_warning_and_no_reason_to_pass_an_agent_over() {
    let said = String::new;
    let lasting = [
        CallError::Refused { said: said() },
        CallError::TooLong,
        CallError::Busy,
    ];
    for error in lasting {
        let event = error.event(true);
        let harmless = matches!(event, None | Some(Event::Refused));
        assert!(error.is_for_operators() && harmless, "{error}");
    }
    let silent = CallError::Silent(Duration::ZERO);
    let event = silent.event(true);
    assert!(!silent.is_for_operators() && matches!(event, Some(Event::Silent { .. })));
}

fn user(name: &str) -> Username {
    Username::parse(name).unwrap()
}

fn agents() -> OldAgents {
    OldAgents::new("/nonexistent/sockets".into())
}

fn agent(command: String) -> OldAgent {
    OldAgent::local(&OldAgentsConfig {
        command,
        ..config()
    })
}

async fn list(agents: &OldAgents, agent: &OldAgent, name: &str) -> Result<String, CallError> {
    let call = Call::ListSessions(user(name));
    agents.call(agent, call, Duration::from_millis(300)).await
}

async fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..500 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{what}: not so after 10 s");
}

fn is_passed_over(agents: &OldAgents, agent: &OldAgent) -> bool {
    agents.slot(agent).unwrap().is_passed_over()
}

#[tokio::test]
async fn a_user_whose_home_hangs_takes_the_server_from_nobody_else() {
    let (_folder, command) = program("[ \"$1\" = hung ] && exec sleep 60; echo OK");
    let (agents, agent) = (agents(), agent(command));
    for _ in 0..2 {
        let listed = list(&agents, &agent, "hung").await;
        assert!(matches!(listed, Err(CallError::Silent(_))), "{listed:?}");
        assert!(!is_passed_over(&agents, &agent));
        let slot = agents.slot(&agent).unwrap();
        let pinged = || slot.has_answered();
        wait_until("the agent was pinged", pinged).await;
        assert!(!is_passed_over(&agents, &agent));
    }
}

#[tokio::test]
async fn an_agent_that_says_nothing_at_all_is_passed_over_after_one_more_call() {
    let (_folder, command) = program("exec sleep 60");
    let (agents, agent) = (agents(), agent(command));
    assert!(list(&agents, &agent, "alice").await.is_err());
    assert!(!is_passed_over(&agents, &agent));
    wait_until("it is passed over", || is_passed_over(&agents, &agent)).await;
}

#[tokio::test]
async fn an_agent_that_is_silent_about_two_users_is_passed_over_at_once() {
    let (_folder, command) = program("exec sleep 60");
    let (agents, agent) = (agents(), agent(command));
    let (alice, bob) = tokio::join!(list(&agents, &agent, "alice"), list(&agents, &agent, "bob"));
    assert!(alice.is_err() && bob.is_err());
    assert!(is_passed_over(&agents, &agent));
}

#[tokio::test]
async fn one_user_does_not_take_all_places_of_an_agent() {
    let (_folder, command) = program("[ \"$1\" = hung ] && exec sleep 60; echo OK");
    let (agents, agent) = (agents(), agent(command));
    let mut hung = tokio::task::JoinSet::new();
    for _ in 0..32 {
        let (agents, agent) = (agents.clone(), agent.clone());
        let limit = Duration::from_secs(20);
        let call = Call::ListSessions(user("hung"));
        hung.spawn(async move { agents.call(&agent, call, limit).await.is_ok() });
    }
    let slot = agents.slot(&agent).unwrap();
    let are_taken = || !slot.places.has_some_for(&user("hung"));
    wait_until("the user has all places they get", are_taken).await;
    let limit = Duration::from_secs(10);
    let of_another = agents.call(&agent, Call::ListSessions(user("alice")), limit);
    assert!(of_another.await.is_ok());
}

#[tokio::test]
async fn equal_listings_on_their_way_are_one_call() {
    let (folder, command) = program(
        "[ \"$2\" = listsessions ] && echo x >>\"$(dirname \"$0\")/calls\"; sleep 0.5; echo OK",
    );
    let (agents, agent) = (agents(), agent(command));
    let mut asked = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let (agents, agent) = (agents.clone(), agent.clone());
        asked.spawn(async move { agents.list_joined(&agent, &user("alice")).await.sessions() });
    }
    let answers = asked.join_all().await;
    assert!(answers.iter().all(|found| found.as_deref() == Some(&[])));
    let calls = std::fs::read_to_string(folder.path().join("calls")).unwrap();
    assert_eq!(calls, "x\n");
    // The next one is asked anew.
    agents.list_joined(&agent, &user("alice")).await;
    let calls = std::fs::read_to_string(folder.path().join("calls")).unwrap();
    assert_eq!(calls, "x\nx\n");
}

#[tokio::test]
async fn a_call_that_waited_for_its_place_has_its_whole_time_for_the_answer() {
    let (_folder, command) = program("sleep 0.8; echo OK");
    let (agents, agent) = (agents(), agent(command));
    let mut asked = tokio::task::JoinSet::new();
    // Eight at once, eight after them, and eight that find no place within a second.
    for number in 0..24 {
        let (agents, agent) = (agents.clone(), agent.clone());
        let call = Call::ListSessions(user(&format!("user{number}")));
        let limit = Duration::from_millis(1500);
        asked.spawn(async move { agents.call(&agent, call, limit).await });
    }
    let answers = asked.join_all().await;
    let is_good = |a: &Result<String, CallError>| matches!(a, Ok(_) | Err(CallError::Busy));
    assert!(answers.iter().all(is_good), "{answers:?}");
    assert!(answers.iter().filter(|answer| answer.is_ok()).count() >= 8);
    assert!(!is_passed_over(&agents, &agent));
}

#[tokio::test]
async fn agents_that_hang_leave_another_one_its_place() {
    let (_folder, command) = program("exec sleep 60");
    let agents = agents();
    let mut hung = tokio::task::JoinSet::new();
    // The same program by other names is another agent. Ten take all that is shared.
    let names = (0..10).map(|n| command.replace("/agent", &format!("{}/agent", "/.".repeat(n))));
    for command in names {
        for number in 0..8 {
            let (agents, agent) = (agents.clone(), agent(command.clone()));
            let call = Call::ListSessions(user(&format!("user{number}")));
            let limit = Duration::from_secs(20);
            hung.spawn(async move { agents.call(&agent, call, limit).await.is_ok() });
        }
    }
    let are_taken = || agents.shared.places.n_free() == 0;
    wait_until("all shared places are taken", are_taken).await;
    let (_folder, command) = program("echo OK");
    let well = agent(command);
    for _ in 0..3 {
        let listed = list(&agents, &well, "alice").await;
        assert!(listed.is_ok(), "{listed:?}");
    }
}

#[tokio::test]
async fn a_log_in_waits_as_long_as_is_usual_and_the_next_one_has_the_late_answer() {
    let (folder, command) = program(
        "cd \"$(dirname \"$0\")\"; [ \"$2\" = listsessions ] && echo x >>calls
while [ -e slow ]; do sleep 0.05; done; echo OK",
    );
    let (agents, agent) = (agents(), agent(command));
    let slow = folder.path().join("slow");
    let ask = async || agents.list_joined(&agent, &user("alice")).await.sessions();
    assert!(ask().await.is_some());
    let slot = agents.slot(&agent).unwrap();
    let patience = slot.patience(true);
    assert!(patience < LIST_DEADLINE, "{patience:?}");
    assert_eq!(slot.patience(false), LIST_DEADLINE);

    std::fs::write(&slow, "").unwrap();
    let begun = Instant::now();
    assert!(ask().await.is_none());
    assert!(begun.elapsed() < LIST_DEADLINE, "{:?}", begun.elapsed());
    assert!(!is_passed_over(&agents, &agent));
    std::fs::remove_file(&slow).unwrap();
    let has_ended = || slot.n_listings() == 0;
    wait_until("the listing has ended", has_ended).await;
    assert!(ask().await.is_some());
    let calls = || std::fs::read_to_string(folder.path().join("calls")).unwrap();
    assert_eq!(calls(), "x\nx\n", "the second one was used");
    assert!(ask().await.is_some());
    assert_eq!(calls(), "x\nx\nx\n", "and only once");
}
