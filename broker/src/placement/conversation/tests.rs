//! What placement does as answers come in, and what it never does.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proto::{Counts, Drain, Readiness};

use super::{MAX_ASKS, NoServer, Placement, Step};
use crate::placement::testing::{KEY, Member, asked, begin, servers, sized, user};
use crate::placement::{Averages, Exclusion, Freshness, Outcome};

/// Answers to successive asks: `c` refused as crowded, `d` refused as draining, `t` timed
/// out, `u` unavailable. Gives who was asked, and what comes after the last answer.
fn talk(members: &[Member], answers: &str) -> String {
    let servers = servers(members);
    let mut placement = begin(&user("alice"), &servers);
    let mut told = Vec::new();
    for answer in answers.chars() {
        let Step::Ask { server_idx, .. } = placement.step() else {
            break;
        };
        told.push(asked(&mut placement, &servers));
        answer_with(&mut placement, answer, &members[server_idx]);
    }
    told.push(asked(&mut placement, &servers));
    told.join(" ")
}

fn answer_with(placement: &mut Placement<'_>, answer: char, member: &Member) {
    let mut state = member.state.clone();
    match answer {
        'c' => {
            state.counts.pending += 40;
            placement.refused(&state, 0);
        }
        'd' => {
            state.readiness = Readiness::Draining(Drain::default());
            placement.refused(&state, 0);
        }
        't' => placement.timed_out(),
        _ => placement.unavailable(),
    }
}

/// `n` servers of which each is a bit more loaded than the one before.
fn graded(n: u32) -> Vec<Member> {
    (0..n)
        .map(|i| Member::new(&format!("s{i}"), sized(16, f64::from(i))))
        .collect()
}

#[test]
fn the_best_is_asked_first_and_asking_again_changes_nothing() {
    let members = graded(3);
    let servers = servers(&members);
    let mut placement = begin(&user("alice"), &servers);
    let first = placement.step();
    assert_eq!(
        first,
        Step::Ask {
            server_idx: 0,
            forced: false
        }
    );
    assert_eq!(placement.step(), first);
}

#[test]
fn ties_do_not_always_pick_the_first_name() {
    let members: Vec<Member> = ["s1", "s2", "s3"]
        .map(|name| Member::new(name, sized(4, 0.0)))
        .into();
    let servers = servers(&members);
    let mut first = BTreeMap::<String, usize>::new();
    for n in 0..300 {
        let mut placement = begin(&user(&format!("user{n}")), &servers);
        *first.entry(asked(&mut placement, &servers)).or_default() += 1;
    }
    // A third each, give or take.
    assert!(
        first.len() == 3 && first.values().all(|&n| n > 50),
        "{first:?}"
    );
}

#[test]
fn a_zero_load_factor_divides_nothing_and_hides_no_other_server() {
    let mut members = vec![
        Member::new("none", sized(0, 0.0)),
        Member::new("good", sized(4, 0.0)),
    ];
    members[0].state.load = Some(proto::Load::default());
    let servers = servers(&members);
    for n in 0..50 {
        let mut placement = begin(&user(&format!("user{n}")), &servers);
        let told = asked(&mut placement, &servers);
        assert!(["none", "good"].contains(&told.as_str()), "{told}");
    }
    // Alone it is still a server.
    let (alone, _) = servers.split_at(1);
    assert_eq!(asked(&mut begin(&user("alice"), alone), alone), "none");
}

#[test]
fn after_each_answer_the_next_best_is_asked() {
    let table = [
        ("", "s0"),
        ("t", "s0 s1"),
        ("tu", "s0 s1 s2"),
        ("d", "s0 s1"),
        (
            "dddd",
            "s0 s1 s2 s3 no server that was asked took the session",
        ),
        (
            "tttt",
            "s0 s1 s2 s3 no server that was asked took the session",
        ),
    ];
    for (answers, expected) in table {
        assert_eq!(talk(&graded(4), answers), expected, "{answers}");
    }
}

#[test]
fn after_two_refusals_the_third_ask_is_forced() {
    assert_eq!(talk(&graded(4), "cc"), "s0 s1 s2!");
    assert_eq!(talk(&graded(4), "ctc"), "s0 s1 s2 s3!");
    assert_eq!(talk(&graded(4), "dcc"), "s0 s1 s2 s3!");
}

#[test]
fn when_all_have_refused_the_least_crowded_is_forced() {
    assert_eq!(talk(&graded(1), "c"), "s0 s0!");
    assert_eq!(talk(&graded(2), "cc"), "s0 s1 s0!");
    assert_eq!(talk(&graded(2), "ct"), "s0 s1 s0!");
}

#[test]
fn who_refuses_even_when_forced_is_not_asked_again() {
    assert_eq!(
        talk(&graded(2), "cccc"),
        "s0 s1 s0! s1! no server that was asked took the session"
    );
    assert_eq!(talk(&graded(3), "ccd"), "s0 s1 s2! s0!");
}

#[test]
fn the_true_state_that_comes_with_a_refusal_is_used() {
    let members = graded(2);
    let servers = servers(&members);
    let mut placement = begin(&user("alice"), &servers);
    placement.step();
    let mut state = members[0].state.clone();
    state.counts.young = 99;
    placement.refused(&state, 7);
    placement.step();
    let decision = placement.admitted();
    let s0 = decision
        .candidates
        .iter()
        .find(|c| c.node == members[0].node)
        .unwrap();
    assert_eq!(s0.outcome, Outcome::Crowded);
    assert!((s0.score.logins - (0.25 * 99.0 + 0.5 * 7.0) / 16.0).abs() < 1e-9);
}

#[test]
fn an_answer_that_nobody_waits_for_changes_nothing() {
    let members = graded(2);
    let servers = servers(&members);
    let mut placement = begin(&user("alice"), &servers);
    placement.timed_out();
    placement.refused(&members[0].state, 0);
    assert_eq!(asked(&mut placement, &servers), "s0");
}

#[test]
fn when_the_candidates_are_used_up_others_are_looked_for() {
    let talked = talk(&graded(30), "ttttttttttttttt");
    let names: Vec<&str> = talked
        .split(' ')
        .take_while(|word| word.starts_with('s'))
        .collect();
    let different: BTreeSet<&str> = names.iter().copied().collect();
    assert_eq!(
        (names.len(), different.len()),
        (MAX_ASKS as usize, MAX_ASKS as usize)
    );
    assert!(
        talked.ends_with("no server that was asked took the session"),
        "{talked}"
    );
}

#[test]
fn when_the_best_candidate_is_full_the_best_of_all_is_looked_at_too() {
    let mut members: Vec<Member> = (0..40)
        .map(|i| Member::new(&format!("s{i}"), sized(16, 17.0)))
        .collect();
    let n_asking_for = |members: &[Member], name: &str| {
        let servers = servers(members);
        let asks = |i: &u32| asked(&mut begin(&user(&format!("u{i}")), &servers), &servers) == name;
        (0..100).filter(asks).count()
    };
    members[7].state = sized(16, 16.5);
    assert_eq!(n_asking_for(&members, "s7"), 100);
    // As long as there is room elsewhere it takes only the users that have it as candidate.
    for member in &mut members {
        member.state = sized(16, 12.0);
    }
    members[7].state = sized(16, 0.0);
    let n = n_asking_for(&members, "s7");
    assert!(
        (5..=40).contains(&n),
        "{n} of 100, but 8 of 40 are expected"
    );
}

#[test]
fn a_server_without_load_is_asked_only_when_no_other_is_there() {
    let mut members = graded(3);
    members[0].state.load = None;
    assert_eq!(
        talk(&members, "tt"),
        "s1 s2 no server that was asked took the session"
    );
    for member in &mut members {
        member.state.load = None;
    }
    members[0].state.counts = Counts {
        pending: 2,
        ..Counts::default()
    };
    members[1].in_flight = 1;
    assert_eq!(talk(&members, "tt"), "s2 s1 s0");
    let servers = servers(&members);
    let mut placement = begin(&user("alice"), &servers);
    placement.step();
    assert_eq!(
        placement.admitted().why(),
        "load unknown, fewest log-ins of 3"
    );
}

#[test]
fn why_there_is_no_server_is_told() {
    let reason = |members: &[Member]| {
        let servers = servers(members);
        match begin(&user("alice"), &servers).step() {
            Step::NoServer(why) => Some(why),
            Step::Ask { .. } => None,
        }
    };
    assert_eq!(reason(&[]), Some(NoServer::NoneKnown));
    let mut members = graded(1);
    assert_eq!(reason(&members), None);
    members[0].suspect = true;
    assert_eq!(reason(&members), Some(NoServer::NoneEligible));
}

#[test]
fn log_ins_of_a_storm_spread_in_proportion_to_capacity() {
    let mut members: Vec<Member> = (0..60)
        .map(|i| Member::new(&format!("s{i}"), sized(if i < 30 { 8 } else { 32 }, 0.0)))
        .collect();
    for i in 0..2400 {
        let servers = servers(&members);
        let mut placement = begin(&user(&format!("u{i}")), &servers);
        let Step::Ask { server_idx, .. } = placement.step() else {
            panic!("no server for u{i}")
        };
        members[server_idx].in_flight += 1;
    }
    // 2400 log-ins on 1200 reference cores: two for each.
    for member in &members {
        let cores = member.state.load.unwrap().cores;
        let per_core = f64::from(member.in_flight) / f64::from(cores);
        assert!(
            (1.5..=2.5).contains(&per_core),
            "{}: {per_core} per core",
            member.node
        );
    }
}

fn members() -> impl Strategy<Value = Vec<Member>> {
    let readiness = prop_oneof![
        6 => Just(Readiness::Ready),
        1 => Just(Readiness::Draining(Drain::default())),
        1 => Just(Readiness::NotReady { reason: String::new() }),
        1 => Just(Readiness::Leaving),
    ];
    let numbers = (1u32..64, 0u32..80, 0u32..4, 0u64..20);
    let member = (
        readiness,
        numbers,
        proptest::bool::weighted(0.2),
        any::<[bool; 2]>(),
    );
    vec(member, 0..40).prop_map(|members| {
        let numbered = members.into_iter().enumerate();
        numbered
            .map(
                |(i, (readiness, (cores, used, in_flight, age), suspect, [a, b]))| {
                    let mut member = Member::new(&format!("s{i}"), sized(cores, f64::from(used)));
                    member.state.readiness = readiness;
                    member.state.load = member.state.load.filter(|_| a || b || i % 3 != 0);
                    member.in_flight = in_flight;
                    member.age = Duration::from_secs(age);
                    member.suspect = suspect;
                    member
                },
            )
            .collect()
    })
}

/// Everything that is asked, by name, when these answers come in.
fn conversation(members: &[Member], who: &str, answers: &[u8]) -> Vec<(String, bool)> {
    let servers = servers(members);
    let mut placement = begin(&user(who), &servers);
    let mut told = Vec::new();
    for answer in answers.iter().cycle() {
        let Step::Ask { server_idx, forced } = placement.step() else {
            return told;
        };
        let member = &members[server_idx];
        told.push((member.node.to_string(), forced));
        answer_with(&mut placement, char::from(*answer), member);
    }
    told
}

fn answers() -> impl Strategy<Value = Vec<u8>> {
    vec(
        prop_oneof![Just(b'c'), Just(b'd'), Just(b't'), Just(b'u')],
        1..15,
    )
}

proptest! {
    #[test]
    fn only_eligible_servers_are_ever_asked(members in members(), answers in answers()) {
        let ages: Vec<Duration> = members.iter().map(|m| m.age).collect();
        let n_old = ages.iter().filter(|age| age.as_secs() > 10).count();
        let cut_off = n_old * 2 > ages.len();
        prop_assert_eq!(Freshness::new(Duration::from_secs(1), ages).is_cut_off(), cut_off);
        let some_load_is_known = members.iter().any(|m| {
            m.state.readiness.is_ready() && !m.suspect && (cut_off || m.age.as_secs() <= 10)
                && m.state.load.is_some()
        });
        let by_name: BTreeMap<String, &Member> = members.iter().map(|m| (m.node.to_string(), m)).collect();
        for (name, _) in conversation(&members, "alice", &answers) {
            let member = by_name[&name];
            prop_assert!(member.state.readiness.is_ready(), "{} is not ready", name);
            prop_assert!(!member.suspect, "{} is suspect", name);
            prop_assert!(cut_off || member.age.as_secs() <= 10, "{} is stale", name);
            prop_assert!(member.state.load.is_some() || !some_load_is_known, "{} has no load", name);
        }
    }

    #[test]
    fn if_any_server_is_eligible_one_is_asked(members in members()) {
        let freshness = Freshness::new(Duration::from_secs(1), members.iter().map(|m| m.age));
        let servers = servers(&members);
        let eligible = servers.iter().any(|server| {
            matches!(Exclusion::of(server, &freshness), None | Some(Exclusion::NoLoad))
        });
        let step = begin(&user("alice"), &servers).step();
        prop_assert_eq!(matches!(step, Step::Ask { .. }), eligible);
    }

    #[test]
    fn the_order_of_servers_changes_nothing(
        members in members(), answers in answers(), turn in 0usize..40, reverse in any::<bool>(),
    ) {
        let expected = conversation(&members, "alice", &answers);
        let mut permuted = members;
        if reverse {
            permuted.reverse();
        }
        let turn = turn % permuted.len().max(1);
        permuted.rotate_left(turn);
        prop_assert_eq!(conversation(&permuted, "alice", &answers), expected);
    }

    #[test]
    fn replicas_with_the_same_view_ask_the_same(members in members(), answers in answers()) {
        // What differs between replicas is the order in which they learned of servers.
        let mut sorted = members.clone();
        sorted.sort_by(|a, b| a.node.cmp(&b.node));
        for who in ["alice", "bob"] {
            prop_assert_eq!(conversation(&members, who, &answers), conversation(&sorted, who, &answers));
        }
    }

    #[test]
    fn asks_are_bounded_and_no_server_is_bothered_in_vain(members in members(), answers in answers()) {
        let asks = conversation(&members, "alice", &answers);
        prop_assert!(asks.len() <= MAX_ASKS as usize);
        let mut n_refusals = 0;
        let mut gone: BTreeSet<&String> = BTreeSet::new();
        let mut refused: BTreeSet<&String> = BTreeSet::new();
        for ((name, forced), answer) in asks.iter().zip(answers.iter().cycle()) {
            prop_assert!(!gone.contains(name), "{} was asked again", name);
            prop_assert!(*forced || !refused.contains(name), "{} would refuse again", name);
            prop_assert!(*forced || n_refusals < 2, "the ask after two refusals is forced");
            if *answer == b'c' && !forced {
                n_refusals += 1;
                refused.insert(name);
            } else {
                gone.insert(name);
            }
        }
    }

    #[test]
    fn a_decision_can_always_be_told(members in members(), answers in answers(), n in 0usize..15) {
        let servers = servers(&members);
        let freshness = Freshness::new(Duration::from_secs(1), []);
        let mut placement =
            Placement::begin(&user("alice"), &servers, Averages::default(), KEY, freshness);
        for answer in answers.iter().take(n) {
            if let Step::Ask { server_idx, .. } = placement.step() {
                answer_with(&mut placement, char::from(*answer), &members[server_idx]);
            }
        }
        let placed = matches!(placement.step(), Step::Ask { .. });
        let decision = if placed { placement.admitted() } else { placement.decision() };
        prop_assert_eq!(decision.chosen().is_some(), placed);
        prop_assert!((1..=60).contains(&decision.why().chars().count()));
        prop_assert!(!decision.to_string().contains('\n'));
        let n_told = decision.n_eligible + decision.excluded.len();
        prop_assert_eq!(n_told, members.len());
    }
}
