use std::time::Duration;

use proto::{AtDeadline, Deadline, Drain, Readiness, Session, SessionRecord, SessionState};

use super::{Fixture, NOW, StoredSession, running};
use crate::admission::{Refusal, Verdict};

/// A session that can be resumed.
fn suspended(name: &str) -> StoredSession {
    let running = running(name);
    let session = Session {
        state: SessionState::Suspended,
        starting: false,
        ..running.session.clone()
    };
    let line = "2245|x-1|50|s1|S|2026-11-22T04:58:23|7f6f58b8d2090b344f5dfddadaf20900|10.77.0.20|\
        49024|49025|2026-11-22T04:58:39|x|34|49026|-1|-1";
    let record = SessionRecord {
        id: session.id.clone(),
        user: session.user.clone(),
        ..SessionRecord::parse(line).unwrap()
    };
    StoredSession {
        session,
        record: Some(record),
        ..running
    }
}

#[tokio::test]
async fn a_drain_is_kept_over_a_restart() {
    let fixture = Fixture::ready().await;
    let state = fixture
        .handle
        .set_drain(Some(Drain::new("new\ndisks")))
        .await
        .unwrap();
    let draining = Readiness::Draining(Drain::new("new disks"));
    assert_eq!(state.readiness, draining);
    assert_eq!(
        fixture.admit("alice").await,
        Verdict::Refused(Refusal::Draining)
    );

    let fixture = fixture.restart().await;
    fixture.read(&[]).await;
    assert_eq!(fixture.handle.state().readiness, draining);
    let state = fixture.handle.set_drain(None).await.unwrap();
    assert_eq!(state.readiness, Readiness::Ready);

    let fixture = fixture.restart().await;
    fixture.read(&[]).await;
    assert_eq!(fixture.handle.state().readiness, Readiness::Ready);
}

#[tokio::test]
async fn a_drain_that_can_not_be_kept_is_refused_and_an_unreadable_one_is_kept() {
    let fixture = Fixture::ready().await;
    let in_the_way = fixture.folder.path().join("drain.new");
    std::fs::create_dir(&in_the_way).unwrap();
    let error = fixture
        .handle
        .set_drain(Some(Drain::new("disks")))
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("drain can't be written"),
        "{error}"
    );
    assert_eq!(fixture.handle.state().readiness, Readiness::Ready);

    std::fs::create_dir(fixture.folder.path().join("drain")).unwrap();
    let fixture = fixture.restart().await;
    fixture.read(&[]).await;
    let unreadable = Drain::new("the drain file can't be read");
    assert_eq!(
        fixture.handle.state().readiness,
        Readiness::Draining(unreadable)
    );
}

/// A drain whose deadline comes after an hour.
fn for_an_hour(then: AtDeadline) -> Drain {
    let at = NOW.as_secs() + 3600;
    Drain {
        deadline: Some(Deadline { at, then }),
        ..Drain::new("disks")
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_that_was_only_to_last_so_long_ends_by_itself() {
    let fixture = Fixture::ready().await;
    let drain = for_an_hour(AtDeadline::Accept);
    let state = fixture.handle.set_drain(Some(drain.clone())).await.unwrap();
    assert_eq!(state.readiness, Readiness::Draining(drain));
    let mut states = fixture.handle.watch_state();
    states.mark_unchanged();
    // The clock that counts is the one on the wall, which may also be put to another time.
    let early = tokio::time::timeout(Duration::from_secs(7200), states.changed()).await;
    assert!(early.is_err(), "{:?}", fixture.handle.state());
    fixture.hand.advance(Duration::from_secs(3600));
    let began = tokio::time::Instant::now();
    states.changed().await.unwrap();
    assert!(
        began.elapsed() <= Duration::from_secs(60),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(fixture.handle.state().readiness, Readiness::Ready);
    assert!(!fixture.folder.path().join("drain").exists());
    assert_eq!(fixture.admit("alice").await, Verdict::Reserve);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_came_while_the_agent_was_away_counts_at_once() {
    for (then, expected) in [
        (AtDeadline::Accept, Readiness::Ready),
        (
            AtDeadline::Suspend,
            Readiness::Draining(for_an_hour(AtDeadline::Suspend)),
        ),
        (
            AtDeadline::Terminate,
            Readiness::Draining(for_an_hour(AtDeadline::Terminate)),
        ),
    ] {
        let fixture = Fixture::ready().await;
        let drain = Some(for_an_hour(then));
        fixture.handle.set_drain(drain).await.unwrap();
        fixture.hand.advance(Duration::from_secs(3600));
        let fixture = fixture.restart().await;
        let resumable = suspended("alice");
        fixture.read(&[running("bob"), resumable.clone()]).await;
        assert_eq!(fixture.handle.state().readiness, expected);
        let is_kept = fixture.folder.path().join("drain").exists();
        assert_eq!(is_kept, then != AtDeadline::Accept);
        let verdict = fixture.admit("bob").await;
        let n_resumable = fixture.handle.resumable(resumable.session.user.clone());
        let n_resumable = n_resumable.await.unwrap().len();
        assert_eq!(n_resumable, usize::from(then == AtDeadline::Accept));
        match then {
            AtDeadline::Accept => assert_eq!(verdict, Verdict::Confirmed),
            AtDeadline::Suspend | AtDeadline::Terminate => {
                assert_eq!(verdict, Verdict::Refused(Refusal::Draining));
            }
        }
    }
}

#[tokio::test]
async fn a_new_drain_replaces_the_deadline_and_undoing_it_leaves_none() {
    let fixture = Fixture::ready().await;
    let timed = for_an_hour(AtDeadline::Terminate);
    fixture.handle.set_drain(Some(timed)).await.unwrap();
    let without = Drain::new("later");
    fixture
        .handle
        .set_drain(Some(without.clone()))
        .await
        .unwrap();
    let fixture = fixture.restart().await;
    fixture.read(&[]).await;
    assert_eq!(
        fixture.handle.state().readiness,
        Readiness::Draining(without)
    );
    let timed = for_an_hour(AtDeadline::Terminate);
    fixture.handle.set_drain(Some(timed)).await.unwrap();
    fixture.handle.set_drain(None).await.unwrap();
    let fixture = fixture.restart().await;
    fixture.read(&[]).await;
    assert_eq!(fixture.handle.state().readiness, Readiness::Ready);
}
