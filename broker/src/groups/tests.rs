use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use proto::BrokerUser;
use tokio::task::JoinSet;
use tokio::time::error::Elapsed;
use tokio_util::sync::CancellationToken;

use super::{
    Answer, GroupLimits, GroupName, GroupsHandle, GroupsOwner, GroupsUnknown, LookUpError,
    UserGroups,
};

fn user(name: &str) -> BrokerUser {
    BrokerUser::parse(name).unwrap()
}

fn in_group(name: &str) -> UserGroups {
    UserGroups::new(vec![GroupName::parse(name).unwrap()], None)
}

fn names(answer: &Answer) -> Vec<String> {
    let groups = answer.as_ref().unwrap().all();
    groups.iter().map(ToString::to_string).collect()
}

const SHORT: GroupLimits = GroupLimits {
    deadline: Duration::from_millis(200),
    remember: Duration::from_secs(30),
    at_once: 2,
};

/// An owner that runs until it is dropped.
struct Running {
    groups: GroupsHandle,
    _tasks: JoinSet<()>,
}

fn run(
    limits: GroupLimits,
    look_up: impl Fn(&BrokerUser) -> Result<UserGroups, LookUpError> + Send + Sync + 'static,
) -> Running {
    let (owner, groups) = GroupsOwner::new(look_up, limits);
    let mut tasks = JoinSet::new();
    tasks.spawn(owner.run(CancellationToken::new()));
    Running {
        groups,
        _tasks: tasks,
    }
}

/// The answer, if it comes without a wait.
async fn at_once(groups: &GroupsHandle, name: &str) -> Result<Answer, Elapsed> {
    tokio::time::timeout(SHORT.deadline / 2, groups.of(&user(name))).await
}

/// A system that hangs for users whose name starts with h, until the sender is dropped.
fn hanging() -> (
    mpsc::Sender<()>,
    impl Fn(&BrokerUser) -> Result<UserGroups, LookUpError> + Send + Sync,
) {
    let (release, held) = mpsc::channel();
    let held = Mutex::new(held);
    let look_up = move |user: &BrokerUser| {
        if user.as_str().starts_with('h') {
            let _ = held.lock().unwrap().recv();
        }
        Ok(in_group(user.as_str()))
    };
    (release, look_up)
}

#[test]
fn a_primary_group_counts_unless_it_is_ignored() {
    let [staff, alice] = ["staff", "alice"].map(|name| GroupName::parse(name).unwrap());
    let groups = UserGroups::new(vec![staff.clone()], Some(alice.clone()));
    assert_eq!(groups.all(), [staff.clone(), alice.clone()]);
    assert_eq!(groups.counting(false), [staff.clone(), alice]);
    assert_eq!(groups.counting(true), [staff]);
}

#[tokio::test]
async fn one_answer_serves_everybody_who_waits_and_who_asks_soon_after() {
    let n_asked = Arc::new(AtomicUsize::new(0));
    let (release, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let counted = Arc::clone(&n_asked);
    let running = run(GroupLimits::default(), move |user| {
        counted.fetch_add(1, Ordering::SeqCst);
        let _ = held.lock().unwrap().recv();
        Ok(in_group(user.as_str()))
    });
    let mut waiting = JoinSet::new();
    for _ in 0..10 {
        let groups = running.groups.clone();
        waiting.spawn(async move { groups.of(&user("alice")).await });
    }
    tokio::task::yield_now().await;
    drop(release);
    for answer in waiting.join_all().await {
        assert_eq!(names(&answer), ["alice"]);
    }
    assert_eq!(names(&running.groups.of(&user("alice")).await), ["alice"]);
    assert_eq!(n_asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_answer_counts_for_a_while() {
    let n_asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&n_asked);
    let limits = GroupLimits {
        remember: Duration::ZERO,
        ..GroupLimits::default()
    };
    let running = run(limits, move |user| {
        counted.fetch_add(1, Ordering::SeqCst);
        Ok(in_group(user.as_str()))
    });
    for _ in 0..3 {
        assert!(running.groups.of(&user("alice")).await.is_ok());
    }
    assert_eq!(n_asked.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_system_that_hangs_for_one_user_harms_no_other() {
    let (release, look_up) = hanging();
    let running = run(SHORT, look_up);
    let hung = running.groups.of(&user("h1")).await;
    assert_eq!(hung, Err(GroupsUnknown));
    assert_eq!(names(&running.groups.of(&user("alice")).await), ["alice"]);
    // Nobody waits a second time for what hangs.
    assert_eq!(at_once(&running.groups, "h1").await, Ok(Err(GroupsUnknown)));
    drop(release);
}

#[tokio::test]
async fn where_everything_hangs_nobody_waits_and_all_recovers() {
    let (release, look_up) = hanging();
    let running = run(SHORT, look_up);
    for hung in ["h1", "h2"] {
        let answer = running.groups.of(&user(hung)).await;
        assert_eq!(answer, Err(GroupsUnknown), "{hung}");
    }
    assert_eq!(
        at_once(&running.groups, "alice").await,
        Ok(Err(GroupsUnknown))
    );
    drop(release);
    let mut n_tries = 0;
    while running.groups.of(&user("alice")).await.is_err() {
        n_tries += 1;
        assert!(n_tries < 1000, "groups are still unknown");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn who_does_not_wait_any_more_is_not_asked_about() {
    let (release, look_up) = hanging();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    let limits = GroupLimits {
        at_once: 1,
        deadline: Duration::from_secs(5),
        ..SHORT
    };
    let running = run(limits, move |user: &BrokerUser| {
        seen.lock().unwrap().push(user.to_string());
        look_up(user)
    });
    let (h1, gone, alice) = (user("h1"), user("gone"), user("alice"));
    let mut first = Box::pin(running.groups.of(&h1));
    let mut second = Box::pin(running.groups.of(&gone));
    // Both questions are on their way, and one of them is taken back.
    let pause = Duration::from_millis(50);
    assert!(tokio::time::timeout(pause, &mut first).await.is_err());
    assert!(tokio::time::timeout(pause, &mut second).await.is_err());
    drop(second);
    drop(release);
    assert_eq!(names(&first.await), ["h1"]);
    assert_eq!(names(&running.groups.of(&alice).await), ["alice"]);
    assert_eq!(*asked.lock().unwrap(), ["h1", "alice"]);
}

#[tokio::test]
async fn a_system_that_fails_or_panics_makes_groups_unknown_and_nothing_else() {
    let running = run(GroupLimits::default(), |user| match user.as_str() {
        "fails" => Err(LookUpError::TooMany),
        "panics" => panic!("as a test"),
        name => Ok(in_group(name)),
    });
    for odd in ["fails", "panics", "fails"] {
        assert_eq!(running.groups.of(&user(odd)).await, Err(GroupsUnknown));
    }
    assert_eq!(names(&running.groups.of(&user("alice")).await), ["alice"]);
}
