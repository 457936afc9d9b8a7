//! Does a whole agent act at the deadline of a drain, also at one that came while it was
//! away?

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use agent::config::Config;
use pki::{Clock, Role};
use proto::{AtDeadline, Deadline, Drain, Readiness, v1};
use tonic::Code;

use crate::farm::{Farm, LIMIT, RunningAgent, admit};

/// Notes what it was run for, and leaves it to the test to be x2goserver.
const PROGRAM: &str = "#!/bin/sh\necho \"$1 $2\" >>\"${0%/*}/ran\"\n";

fn config(farm: &Farm) -> Config {
    let (draft, program) = (farm.path("draft"), farm.path("program"));
    fs::write(&draft, PROGRAM).unwrap();
    fs::set_permissions(&draft, fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(draft, &program).unwrap();
    Config {
        agent_program: program,
        ..farm.config()
    }
}

fn now() -> u64 {
    Clock::system().since_epoch().as_secs()
}

fn request(at: u64, then: AtDeadline) -> v1::SetDrainRequest {
    let deadline = Some(Deadline { at, then });
    let drain = Drain {
        deadline,
        ..Drain::new("new disks")
    };
    drain.into()
}

async fn wait_until_ran(farm: &Farm, expected: &[&str]) {
    let began = tokio::time::Instant::now();
    loop {
        let text = fs::read_to_string(farm.path("ran")).unwrap_or_default();
        let mut ran: Vec<&str> = text.lines().collect();
        ran.sort_unstable();
        if ran == expected {
            return;
        }
        assert!(began.elapsed() < LIMIT, "{ran:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn verdict(agent: &RunningAgent, farm: &Farm, user: &str) -> String {
    let mut broker = agent.client(farm, Role::Broker);
    let answer = broker.admit(admit(user)).await.unwrap().into_inner();
    let verdict = format!("{:?}", answer.verdict.unwrap());
    verdict.split('(').next().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_are_suspended_at_the_deadline_and_ended_at_one_that_came_meanwhile() {
    let farm = Farm::new();
    farm.session("alice", 50, "R");
    farm.session("bob", 51, "S");
    let agent = farm.start_with(config(&farm)).await;
    let mut operator = agent.client(&farm, Role::Operator);
    let suspend = request(now() + 2, AtDeadline::Suspend);
    let answer = operator.set_drain(suspend.clone()).await.unwrap();
    let told = answer.into_inner().state.unwrap().readiness.unwrap();
    assert_eq!(told.deadline_seconds, suspend.deadline_seconds);
    assert_eq!(told.at_deadline(), v1::AtDeadline::Suspend);
    assert_eq!(verdict(&agent, &farm, "alice").await, "Resume");
    assert_eq!(verdict(&agent, &farm, "carol").await, "Refused");

    wait_until_ran(&farm, &["alice suspendsession"]).await;
    farm.set("alice", "S");
    agent
        .wait_for(&farm, |state| state.counts.suspended == 2)
        .await;
    assert_eq!(verdict(&agent, &farm, "alice").await, "Refused");

    let at = now() + 1;
    let terminate = request(at, AtDeadline::Terminate);
    operator.set_drain(terminate).await.unwrap();
    agent.end().await;
    fs::remove_file(farm.path("ran")).unwrap();
    let until = Duration::from_secs(at).saturating_sub(Clock::system().since_epoch());
    tokio::time::sleep(until).await;
    let agent = farm.launch(config(&farm)).await;
    wait_until_ran(&farm, &["alice terminatesession", "bob terminatesession"]).await;
    for user in ["alice", "bob"] {
        farm.set(user, "F");
    }
    agent
        .wait_for(&farm, |state| {
            let is_drained = matches!(state.readiness, Readiness::Draining(_));
            is_drained && state.counts.active + state.counts.suspended == 0
        })
        .await;
    let mut operator = agent.client(&farm, Role::Operator);
    let undrain = v1::SetDrainRequest::default();
    operator.set_drain(undrain).await.unwrap();
    assert_eq!(verdict(&agent, &farm, "carol").await, "Admitted");
    agent.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_that_can_not_be_meant_changes_nothing() {
    let farm = Farm::new();
    let agent = farm.start().await;
    let mut operator = agent.client(&farm, Role::Operator);
    let in_a_minute = now() + 60;
    let unknown = v1::SetDrainRequest {
        at_deadline: 7,
        ..request(in_a_minute, AtDeadline::Accept)
    };
    let rows = [
        (
            request(now() - 5, AtDeadline::Accept),
            "the deadline is not in the future: it is 2",
        ),
        (
            request(now() + 40 * 24 * 3600, AtDeadline::Accept),
            "the deadline is more than 30 days ahead: it is 2",
        ),
        (
            request(0, AtDeadline::Suspend),
            "something is to happen at the deadline, and there is no deadline",
        ),
        (unknown, "what is to happen at the deadline is not known"),
    ];
    for (request, expected) in rows {
        let status = operator.set_drain(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().starts_with(expected), "{status}");
        assert_eq!(verdict(&agent, &farm, "alice").await, "Admitted");
    }
    agent.end().await;
}
