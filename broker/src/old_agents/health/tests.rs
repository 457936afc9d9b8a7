//! Stories of calls, as tables and as a property.

use std::time::Duration;

use proptest::prelude::{Just, Strategy, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proto::Username;
use tokio::time::Instant;

use super::{Event, Health, MAX_LISTED, Verdict};
use crate::old_agents::Call;

fn user(name: &str) -> Username {
    Username::parse(name).unwrap()
}

fn list(name: &str) -> Call {
    Call::ListSessions(user(name))
}

fn count(name: &str) -> Call {
    Call::GetServers(user(name))
}

const LIMIT: Duration = Duration::from_secs(4);
const SILENT: Event = Event::Silent {
    limit: LIMIT,
    connected: true,
};
const SILENT_AND_GONE: Event = Event::Silent {
    limit: LIMIT,
    connected: false,
};

/// Tells a story, with a minute between the calls, and what each of them changes.
fn check(name: &str, story: &[(Call, Event, Verdict)]) {
    let (mut health, mut now) = (Health::default(), Instant::now());
    for (idx, (call, event, expected)) in story.iter().enumerate() {
        let verdict = health.take(call, *event, now);
        assert_eq!(verdict, *expected, "{name}: call {idx}, {call:?} {event:?}");
        now += Duration::from_secs(60);
    }
}

#[test]
fn an_agent_whose_listings_hang_is_passed_over_though_it_answers_pings() {
    use Event::Answered;
    use Verdict::{Back, Doubtful, Nothing, PassedOver};
    check(
        "two users",
        &[
            (list("alice"), SILENT, Doubtful),
            (Call::Ping, Answered, Nothing),
            (Call::CheckLoad, Answered, Nothing),
            (list("bob"), SILENT, PassedOver),
            (Call::Ping, Answered, Nothing),
            (Call::CheckLoad, Answered, Nothing),
            (count("carol"), Answered, Nothing),
            (list("carol"), SILENT, Nothing),
            (list("alice"), Answered, Back),
        ],
    );
    check(
        "a ping that fails meanwhile changes nothing",
        &[
            (list("alice"), SILENT, Doubtful),
            (list("bob"), SILENT, PassedOver),
            (Call::Ping, SILENT, Nothing),
            (Call::Ping, Event::Away, Nothing),
            (Call::Ping, Answered, Nothing),
            (list("bob"), Answered, Back),
        ],
    );
}

#[test]
fn the_silence_about_one_user_alone_is_that_users_matter() {
    use Event::Answered;
    use Verdict::{Doubtful, Nothing};
    check(
        "again and again",
        &[
            (list("alice"), SILENT, Doubtful),
            (list("alice"), SILENT, Doubtful),
            (list("bob"), Answered, Nothing),
            (list("carol"), SILENT, Doubtful),
            (list("bob"), Answered, Nothing),
            (list("alice"), SILENT, Doubtful),
        ],
    );
}

#[test]
fn an_agent_that_is_away_is_back_with_any_answer() {
    use Event::{Answered, Away, Refused};
    use Verdict::{Back, Doubtful, Nothing, PassedOver};
    for event in [Answered, Refused] {
        for call in [Call::Ping, Call::CheckLoad, list("alice"), count("bob")] {
            let story = [
                (Call::CheckLoad, Away, PassedOver),
                (Call::Ping, SILENT, Nothing),
                (call, event, Back),
            ];
            check("refused or reached", &story);
        }
    }
    check(
        "silent to a ping as well",
        &[
            (list("alice"), SILENT, Doubtful),
            (Call::Ping, SILENT, PassedOver),
            (Call::Ping, Answered, Back),
        ],
    );
    check(
        "not let in",
        &[(list("alice"), SILENT_AND_GONE, PassedOver)],
    );
}

#[test]
fn a_no_ends_it_only_where_it_is_about_somebody_who_has_or_had_an_account() {
    use Event::{Answered, Refused};
    use Verdict::{Back, Doubtful, Nothing, PassedOver};
    check(
        "nobody there",
        &[
            (list("dave"), Answered, Nothing),
            (list("alice"), SILENT, Doubtful),
            (list("bob"), SILENT, PassedOver),
            (list("nobody"), Refused, Nothing),
            (list("dave"), Refused, Back),
            (list("alice"), SILENT, Doubtful),
        ],
    );
}

#[test]
fn a_silence_beside_a_listing_says_nothing_of_the_agent_and_beside_a_ping_it_does() {
    let now = Instant::now();
    let soon = now + LIMIT / 2;
    let mut health = Health::default();
    health.take(&list("alice"), Event::Answered, now);
    assert_eq!(health.take(&list("bob"), SILENT, soon), Verdict::Nothing);
    assert_eq!(health.take(&Call::Ping, SILENT, soon), Verdict::Nothing);
    let mut health = Health::default();
    health.take(&Call::Ping, Event::Answered, now);
    assert_eq!(health.take(&list("bob"), SILENT, soon), Verdict::Doubtful);
}

#[test]
fn probes_are_of_the_kind_that_failed() {
    let now = Instant::now();
    let mut health = Health::default();
    assert_eq!(health.next_probe(), None);
    health.take(&list("dave"), Event::Answered, now - 2 * LIMIT);
    health.take(&Call::Ping, Event::Away, now);
    assert_eq!(health.next_probe(), Some(Call::Ping));
    health.take(&Call::Ping, Event::Answered, now);
    assert_eq!(health.next_probe(), None);
    health.take(&list("alice"), SILENT, now);
    health.take(&list("bob"), SILENT, now);
    let probes: Vec<_> = (0..4).filter_map(|_| health.next_probe()).collect();
    let expected = ["dave", "alice", "bob", "dave"].map(list);
    assert_eq!(probes, expected);
}

const NAMES: [&str; 5] = ["alice", "bob", "carol", "dave", "eve"];

fn calls() -> impl Strategy<Value = Call> {
    let users = || (0..NAMES.len()).prop_map(|idx| user(NAMES[idx]));
    prop_oneof![
        Just(Call::Ping),
        Just(Call::CheckLoad),
        users().prop_map(Call::GetServers),
        users().prop_map(Call::ListSessions),
        users().prop_map(Call::ListSessions),
    ]
}

fn events() -> impl Strategy<Value = Event> {
    prop_oneof![
        Just(Event::Answered),
        Just(Event::Refused),
        Just(SILENT),
        Just(SILENT_AND_GONE),
        Just(Event::Away),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_an_answer_of_the_kind_that_failed_brings_an_agent_back_and_no_other(
        story in proptest::collection::vec((calls(), events(), 0_u64..10), 0..40)
    ) {
        let (mut health, mut now) = (Health::default(), Instant::now());
        for (call, event, seconds) in story {
            now += Duration::from_secs(seconds);
            let before = health.clone();
            let verdict = health.take(&call, event, now);
            let lists = matches!(call, Call::ListSessions(_));
            let of_users = matches!(before.passed_over, Some(super::Why::SilentAbout(_)));
            if lists && matches!(event, Event::Answered) {
                prop_assert!(!health.is_passed_over() && health.silent_about.is_none());
            } else if matches!(event, Event::Answered) {
                prop_assert_eq!(health.is_passed_over(), of_users);
                prop_assert_eq!(&health.silent_about, &before.silent_about);
            }
            // The verdict tells each change, once.
            let (was, is) = (before.is_passed_over(), health.is_passed_over());
            prop_assert_eq!(verdict == Verdict::PassedOver, !was && is);
            prop_assert_eq!(verdict == Verdict::Back, was && !is);
            prop_assert!(health.listed.len() <= MAX_LISTED);
            // There is always a way back.
            let mut again = health.clone();
            prop_assert_eq!(again.next_probe().is_some(), is);
            if let Some(probe) = again.next_probe() {
                prop_assert_eq!(again.take(&probe, Event::Answered, now), Verdict::Back);
            }
        }
    }
}
