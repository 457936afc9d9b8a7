use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use proptest::prelude::{Just, Strategy, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proto::{KeyFile, KeyGrant, PublicKey, Username};

use super::removal::{HOUR, LONGEST_PAUSE, REFUSED_FOR_GOOD, TRIES_OF_A_DAY, pause};
use super::{
    Added, KeyId, Ledger, MAX_KEYS, MAX_KEYS_OF_USER, MAX_STUCK, MAX_STUCK_OF_USER, Noted, Now,
    Removal, Removed, TooMany,
};
use crate::keys::line::LineRules;
use crate::shim_client::{KeyAct, KeyEdit, LINGERS};

const EPOCH: Duration = Duration::from_secs(1_795_323_502);

/// Both clocks, moved together.
#[derive(Clone, Copy)]
struct Time {
    begin: Instant,
    passed: Duration,
}

impl Time {
    fn new() -> Self {
        Self {
            #[expect(clippy::disallowed_methods, reason = "any instant will do")]
            begin: Instant::now(),
            passed: Duration::ZERO,
        }
    }

    fn now(self) -> Now {
        Now {
            instant: self.begin + self.passed,
            since_epoch: EPOCH + self.passed,
        }
    }

    fn pass(&mut self, seconds: u64) {
        self.passed += Duration::from_secs(seconds);
    }
}

fn user(number: u32) -> Username {
    Username::parse(&format!("user{number}")).unwrap()
}

fn grant(number: u8, seconds: u64) -> KeyGrant {
    let letter = char::from(b'A' + number % 26);
    let other = char::from(b'A' + number / 26);
    let data = format!(
        "AAAAC3NzaC1lZDI1NTE5AAAAII{}{other}I",
        letter.to_string().repeat(40)
    );
    KeyGrant {
        key: PublicKey::parse(&format!("ssh-ed25519 {data}")).unwrap(),
        client: Some("10.77.0.20".parse().unwrap()),
        file: KeyFile::default(),
        life: Duration::from_secs(seconds),
    }
}

fn ledger(rules: LineRules) -> Ledger {
    Ledger::new(
        rules,
        "x2gobroker-temporary:s1:7".to_owned(),
        vec![],
        Time::new().now(),
    )
}

/// Notes what is to be noted, and begins what is to be run.
fn step(ledger: &mut Ledger, time: Time) -> Vec<(KeyId, KeyAct, KeyEdit)> {
    if let Some((ids, _)) = ledger.note() {
        for id in ids {
            ledger.is_noted(id, true);
        }
    }
    ledger.runs(time.now())
}

fn add(ledger: &mut Ledger, time: Time, grant: &KeyGrant) -> (KeyId, KeyEdit) {
    let id = ledger.request(&user(1), grant, time.now()).unwrap();
    let runs = step(ledger, time);
    let [(ran, KeyAct::Add, edit)] = runs.as_slice() else {
        panic!("{runs:?}")
    };
    assert_eq!(*ran, id);
    let until = time.now().instant + grant.life;
    ledger.added(id, Added::Yes, Some(until), time.now());
    (id, edit.clone())
}

#[test]
fn nothing_is_added_before_it_is_noted() {
    let mut ledger = ledger(LineRules::default());
    let time = Time::new();
    let id = ledger.request(&user(1), &grant(1, 20), time.now()).unwrap();
    assert!(ledger.runs(time.now()).is_empty());
    let (ids, noted) = ledger.note().unwrap();
    assert_eq!((ids, noted.len()), (vec![id], 1));
    assert!(ledger.runs(time.now()).is_empty());
    // Nobody waits any more: then it is never added, and the note goes.
    ledger.is_noted(id, false);
    assert!(ledger.runs(time.now()).is_empty());
    assert_eq!(ledger.note(), Some((vec![], vec![])));
}

#[test]
fn the_same_key_again_has_one_line_and_the_later_end() {
    for rules in [
        LineRules::default(),
        LineRules {
            from: true,
            expiry: true,
        },
    ] {
        let mut ledger = ledger(rules);
        let mut time = Time::new();
        let (_, first) = add(&mut ledger, time, &grant(1, 20));
        time.pass(10);
        let (id, second) = add(&mut ledger, time, &grant(1, 20));
        assert_eq!(first, second, "{rules:?}");
        assert_eq!(ledger.n_keys(), 1);
        time.pass(19);
        assert!(step(&mut ledger, time).is_empty(), "{rules:?}");
        time.pass(1);
        let gone = step(&mut ledger, time);
        assert_eq!(gone, [(id, KeyAct::Remove, first.clone())]);
        // While it is being removed, the same key is a new line.
        let again = ledger.request(&user(1), &grant(1, 20), time.now());
        assert_ne!(again, Ok(id));
        assert_eq!(ledger.removed(id, Removed::Yes, time.now()), Removal::Gone);
        let runs = step(&mut ledger, time);
        assert!(runs[0].2.line != first.line, "{runs:?}");
    }
}

#[test]
fn a_line_that_says_when_it_ends_is_not_used_beyond_that() {
    let mut ledger = ledger(LineRules {
        from: false,
        expiry: true,
    });
    let time = Time::new();
    let (_, first) = add(&mut ledger, time, &grant(1, 20));
    assert!(
        first.line.contains("expiry-time=\"20261122045942Z\""),
        "{first:?}"
    );
    let (_, second) = add(&mut ledger, time, &grant(1, 600));
    assert!(second.line != first.line);
    assert_eq!(ledger.n_keys(), 2);
}

#[test]
fn a_user_can_not_have_all_the_room() {
    let mut ledger = ledger(LineRules::default());
    let time = Time::new();
    for number in 0..u8::try_from(MAX_KEYS_OF_USER).unwrap() {
        ledger
            .request(&user(1), &grant(number, 20), time.now())
            .unwrap();
    }
    // As many as a room of kiosks with one account has.
    const { assert!(MAX_KEYS_OF_USER >= 64) };
    assert_eq!(
        ledger.request(&user(1), &grant(200, 20), time.now()),
        Err(TooMany)
    );
    ledger.request(&user(1), &grant(0, 20), time.now()).unwrap();
    let mut n_keys = MAX_KEYS_OF_USER;
    for number in 2..=255 {
        for key in 0..3 {
            let asked = ledger.request(&user(number), &grant(key, 20), time.now());
            n_keys += usize::from(asked.is_ok());
        }
    }
    assert_eq!(n_keys, MAX_KEYS);
    assert!(!ledger.has_room());
}

/// Tries to remove a key, which ends so, until `last`. Returns the tries, and those of which
/// the administrator hears.
fn fail_until(ledger: &mut Ledger, time: &mut Time, how: Removed, last: Duration) -> (u32, u32) {
    let (mut n_tries, mut n_told) = (0, 0);
    while time.passed < last {
        let [(id, KeyAct::Remove, _)] = step(ledger, *time)[..] else {
            panic!("nothing to remove after {:?}", time.passed)
        };
        match ledger.removed(id, how, time.now()) {
            Removal::Again { is_told, .. } => n_told += u32::from(is_told),
            other => panic!("{other:?} after {:?}", time.passed),
        }
        n_tries += 1;
        assert!(step(ledger, *time).is_empty());
        let next = ledger.next_run().unwrap();
        time.passed = next - time.begin;
    }
    (n_tries, n_told)
}

const DAY: Duration = Duration::from_secs(24 * 3600);

#[test]
fn a_key_that_can_not_be_removed_is_tried_for_ever_and_stays_in_the_journal() {
    let mut ledger = ledger(LineRules::default());
    let mut time = Time::new();
    let (id, edit) = add(&mut ledger, time, &grant(1, 20));
    time.pass(20);
    let began = time.passed;
    let first_day = fail_until(&mut ledger, &mut time, Removed::Failed, began + DAY);
    assert!(first_day.0.abs_diff(TRIES_OF_A_DAY) < 16, "{first_day:?}");
    assert!(first_day.1.abs_diff(24) < 3, "{first_day:?}");
    let months = time.passed + DAY * 100;
    let later = fail_until(&mut ledger, &mut time, Removed::Failed, months);
    assert!(later.0.abs_diff(2400) < 16, "{later:?}");
    assert!(later.1 <= 2401, "{later:?}");
    // Whatever makes the journal be written now, the key is in it.
    ledger.note_later();
    let (_, noted) = ledger.note().unwrap();
    assert_eq!(noted.len(), 1);
    assert_eq!(noted[0].edit, edit);
    // The home is there again.
    assert_eq!(step(&mut ledger, time).len(), 1);
    let gone = ledger.removed(id, Removed::Yes, time.now());
    assert_eq!((gone, ledger.n_keys()), (Removal::Gone, 0));
    assert_eq!((pause(u32::MAX), pause(12)), (HOUR, LONGEST_PAUSE));
}

#[test]
fn a_key_is_given_up_only_when_the_program_has_refused_for_a_day_without_a_break() {
    let mut ledger = ledger(LineRules::default());
    let mut time = Time::new();
    let (id, edit) = add(&mut ledger, time, &grant(1, 20));
    time.pass(20);
    for how in [Removed::Refused, Removed::Failed, Removed::NotBegun] {
        // The directory of users comes back each time, but the home does not.
        let until = time.passed + REFUSED_FOR_GOOD - LONGEST_PAUSE;
        fail_until(&mut ledger, &mut time, how, until);
        let until = time.passed + Duration::from_secs(1);
        fail_until(&mut ledger, &mut time, Removed::Failed, until);
    }
    let until = time.passed + REFUSED_FOR_GOOD;
    fail_until(&mut ledger, &mut time, Removed::Refused, until);
    assert_eq!(step(&mut ledger, time).len(), 1);
    let end = ledger.removed(id, Removed::Refused, time.now());
    assert_eq!((end, ledger.n_keys()), (Removal::GivenUp(edit), 0));
}

#[test]
fn what_was_not_begun_is_tried_again_soon_and_is_nobodys_fault() {
    let mut ledger = ledger(LineRules::default());
    let mut time = Time::new();
    let (id, _) = add(&mut ledger, time, &grant(1, 20));
    time.pass(20);
    let until = time.passed + Duration::from_secs(600);
    let ended = fail_until(&mut ledger, &mut time, Removed::NotBegun, until);
    assert_eq!(ended, (600, 0));
    assert!(!ledger.is_stuck(id));
}

/// Makes so many keys that fail to go, of as few users as may be.
fn stick(ledger: &mut Ledger, time: Time, n_keys: usize) {
    let n_keys_before = ledger.n_keys();
    for number in 0.. {
        let (who, key) = (number / MAX_STUCK_OF_USER, number % MAX_STUCK_OF_USER);
        if ledger.n_keys() - n_keys_before == n_keys {
            return;
        }
        let who = user(u32::try_from(1000 + who).unwrap());
        let grant = grant(u8::try_from(key).unwrap(), 20);
        ledger.request(&who, &grant, time.now()).unwrap();
        // Those of before are tried again later.
        let [(id, KeyAct::Add, _)] = step(ledger, time)[..] else {
            panic!("nothing to add")
        };
        ledger.added(id, Added::Unsure, None, time.now());
        let runs = step(ledger, time);
        assert_eq!(runs.len(), 1);
        ledger.removed(runs[0].0, Removed::Failed, time.now());
    }
}

#[test]
fn keys_that_fail_to_go_do_not_use_the_room_of_others() {
    let mut ledger = ledger(LineRules::default());
    let time = Time::new();
    stick(&mut ledger, time, MAX_KEYS + 1);
    assert!(ledger.has_room());
    // A user with a home that has failed so often gets no more; others all that there is.
    assert_eq!(
        ledger.request(&user(1000), &grant(100, 20), time.now()),
        Err(TooMany)
    );
    for number in 0..MAX_KEYS {
        let who = user(u32::try_from(number).unwrap());
        ledger.request(&who, &grant(1, 20), time.now()).unwrap();
    }
    assert!(!ledger.has_room());
}

#[test]
fn stuck_keys_are_never_more_than_the_journal_has_room_for() {
    let mut ledger = ledger(LineRules::default());
    let time = Time::new();
    let all = MAX_KEYS + MAX_STUCK;
    stick(&mut ledger, time, all);
    assert!(!ledger.has_room());
    let late = ledger.request(&user(1), &grant(1, 20), time.now());
    assert_eq!((late, ledger.n_keys()), (Err(TooMany), all));
}

#[test]
fn when_one_key_of_a_file_goes_the_others_need_wait_no_longer() {
    let mut ledger = ledger(LineRules::default());
    let mut time = Time::new();
    stick(&mut ledger, time, 2);
    time.pass(1);
    let runs = step(&mut ledger, time);
    let (id, KeyAct::Remove, _) = runs[0] else {
        panic!("{runs:?}")
    };
    // Its turn would be later.
    ledger.removed(id, Removed::Failed, time.now());
    let other = step(&mut ledger, time);
    let [(other, KeyAct::Remove, _)] = other[..] else {
        panic!("{other:?}")
    };
    assert_ne!(other, id);
    ledger.removed(other, Removed::Yes, time.now());
    let runs = step(&mut ledger, time);
    assert_eq!((runs.len(), runs[0].0), (1, id));
}

#[test]
fn a_line_of_an_earlier_run_is_not_forgotten_when_a_later_one_adds_nothing() {
    let mut ledger = ledger(LineRules::default());
    let time = Time::new();
    let (id, edit) = add(&mut ledger, time, &grant(1, 20));
    assert_eq!(ledger.request(&user(1), &grant(1, 20), time.now()), Ok(id));
    assert_eq!(step(&mut ledger, time)[0].1, KeyAct::Add);
    assert_eq!(ledger.revoke(&user(1), &grant(1, 20).key, time.now()), [id]);
    ledger.added(id, Added::Not, None, time.now());
    assert_eq!(step(&mut ledger, time), [(id, KeyAct::Remove, edit)]);
}

#[test]
fn a_key_that_is_taken_back_before_it_was_added_needs_no_removal() {
    let mut ledger = ledger(LineRules::default());
    let time = Time::new();
    let id = ledger.request(&user(1), &grant(1, 20), time.now()).unwrap();
    ledger.note().unwrap();
    ledger.is_noted(id, true);
    let concerned = ledger.revoke(&user(1), &grant(1, 20).key, time.now());
    assert_eq!((concerned, ledger.n_keys()), (vec![id], 0));
    assert!(step(&mut ledger, time).is_empty());
}

#[test]
fn what_is_left_from_before_goes_when_it_is_due_and_once_more_after_late_runs() {
    let time = Time::new();
    let noted = |until: u64| Noted {
        until: EPOCH + Duration::from_secs(until) - Duration::from_secs(100),
        edit: KeyEdit {
            user: user(u32::try_from(until).unwrap()),
            line: format!("ssh-rsa AAAA x2gobroker-temporary:s1:6:{until}").into(),
            file: KeyFile::default(),
        },
    };
    // Long overdue; due in ten seconds.
    let before = vec![noted(1), noted(110)];
    let mut ledger = Ledger::new(
        LineRules::default(),
        "x2gobroker-temporary:s1:7".to_owned(),
        before.clone(),
        time.now(),
    );
    assert_eq!(ledger.note(), Some((vec![], before)));
    let mut time = time;
    let gone: Vec<u8> = vec![];
    let mut gone = gone;
    for second in 0..u8::try_from(LINGERS.as_secs()).unwrap() + 2 {
        for (id, act, _) in step(&mut ledger, time) {
            assert_eq!(act, KeyAct::Remove);
            gone.push(second);
            ledger.removed(id, Removed::Yes, time.now());
        }
        time.pass(1);
    }
    let late = u8::try_from(LINGERS.as_secs()).unwrap();
    assert_eq!(gone, [0, 10, late, late]);
    assert_eq!(ledger.n_keys(), 0);
}

#[test]
fn a_clock_that_was_set_back_lengthens_no_life_beyond_the_longest() {
    let time = Time::new();
    let noted = Noted {
        until: EPOCH + Duration::from_secs(100_000),
        edit: KeyEdit {
            user: user(1),
            line: "ssh-rsa AAAA x2gobroker-temporary:s1:6:1".into(),
            file: KeyFile::default(),
        },
    };
    let ledger = Ledger::new(
        LineRules::default(),
        "m".to_owned(),
        vec![noted],
        time.now(),
    );
    assert_eq!(
        ledger.next_run(),
        Some(time.now().instant + proto::MAX_KEY_LIFE)
    );
}

/// What may happen to a ledger.
#[derive(Clone, Copy, Debug)]
enum Event {
    Ask { user: u32, key: u8, seconds: u64 },
    Revoke { user: u32, key: u8 },
    Note { works: bool, somebody_waits: bool },
    End { which: usize, how: u8 },
    Pass(u64),
    Crash,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0u32..3, 0u8..3, 1u64..40)
            .prop_map(|(user, key, seconds)| Event::Ask { user, key, seconds }),
        1 => (0u32..3, 0u8..3).prop_map(|(user, key)| Event::Revoke { user, key }),
        4 => (proptest::bool::weighted(0.8), proptest::bool::weighted(0.8))
            .prop_map(|(works, somebody_waits)| Event::Note { works, somebody_waits }),
        6 => (0usize..4, 0u8..6).prop_map(|(which, how)| Event::End { which, how }),
        3 => (0u64..30).prop_map(Event::Pass),
        1 => Just(Event::Crash),
    ]
}

/// The world around a ledger: files, the journal on the disk, runs under way.
struct World {
    time: Time,
    ledger: Ledger,
    disk: Vec<Noted>,
    files: BTreeSet<(Username, String)>,
    running: BTreeMap<KeyId, (KeyAct, KeyEdit)>,
    n_starts: u32,
}

impl World {
    fn new() -> Self {
        Self {
            time: Time::new(),
            ledger: ledger(LineRules::default()),
            disk: vec![],
            files: BTreeSet::new(),
            running: BTreeMap::new(),
            n_starts: 0,
        }
    }

    fn happen(&mut self, event: Event) {
        let now = self.time.now();
        match event {
            Event::Ask {
                user: who,
                key,
                seconds,
            } => {
                let _too_many = self.ledger.request(&user(who), &grant(key, seconds), now);
            }
            Event::Revoke { user: who, key } => {
                self.ledger.revoke(&user(who), &grant(key, 1).key, now);
            }
            Event::Note {
                works,
                somebody_waits,
            } => {
                let Some((ids, noted)) = self.ledger.note() else {
                    return;
                };
                if works {
                    self.disk = noted;
                } else {
                    self.ledger.note_later();
                }
                for id in ids {
                    if works {
                        self.ledger.is_noted(id, somebody_waits);
                    } else {
                        self.ledger.forget(id);
                    }
                }
            }
            Event::End { which, how } => self.end(which, how),
            Event::Pass(seconds) => self.time.pass(seconds),
            Event::Crash => {
                // What runs is brought to its end by itself.
                let running = std::mem::take(&mut self.running);
                for (act, edit) in running.into_values() {
                    self.edit(act, &edit);
                }
                self.n_starts += 1;
                let mark = format!("x2gobroker-temporary:s1:{}", self.n_starts);
                let noted = self.disk.clone();
                self.ledger = Ledger::new(LineRules::default(), mark, noted, now);
            }
        }
        for (id, act, edit) in self.ledger.runs(self.time.now()) {
            self.running.insert(id, (act, edit));
        }
    }

    fn edit(&mut self, act: KeyAct, edit: &KeyEdit) {
        let line = (edit.user.clone(), edit.line.to_string());
        match act {
            KeyAct::Add => self.files.insert(line),
            KeyAct::Remove => self.files.remove(&line),
        };
    }

    fn end(&mut self, which: usize, how: u8) {
        let Some(id) = self.running.keys().nth(which).copied() else {
            return;
        };
        let (act, edit) = self.running.remove(&id).unwrap();
        let now = self.time.now();
        match act {
            KeyAct::Add => {
                let promised = now.instant + Duration::from_secs(20);
                let (added, is_there, promised) = match how {
                    0 => (Added::Not, false, None),
                    1 => (Added::Unsure, true, None),
                    2 => (Added::Unsure, false, None),
                    // Done, but nobody has waited.
                    3 => (Added::Yes, true, None),
                    _ => (Added::Yes, true, Some(promised)),
                };
                if is_there {
                    self.edit(act, &edit);
                }
                self.ledger.added(id, added, promised, now);
            }
            KeyAct::Remove => {
                let removed = match how {
                    0 => Removed::Failed,
                    1 => Removed::NotBegun,
                    2 => Removed::Refused,
                    _ => Removed::Yes,
                };
                if removed == Removed::Yes {
                    self.edit(act, &edit);
                }
                self.ledger.removed(id, removed, now);
            }
        }
    }
}

proptest! {
    #[test]
    fn whatever_happens_each_line_that_is_there_is_noted_and_goes_in_the_end(
        events in proptest::collection::vec(event(), 1..80),
    ) {
        let mut world = World::new();
        for event in events {
            world.happen(event);
            // Were the agent to die now, nothing would stay behind.
            let noted: BTreeSet<(Username, String)> = world.disk.iter()
                .map(|noted| (noted.edit.user.clone(), noted.edit.line.to_string()))
                .collect();
            prop_assert!(world.files.is_subset(&noted), "{:?} {:?}", world.files, noted);
            let mut users: Vec<_> = world.running.values().map(|(_, edit)| &edit.user).collect();
            let n_running = users.len();
            users.dedup();
            users.sort();
            users.dedup();
            prop_assert_eq!(users.len(), n_running, "a user has two runs at once");
        }
        for _ in 0..40 {
            world.happen(Event::Note { works: true, somebody_waits: true });
            while !world.running.is_empty() {
                world.end(0, 5);
                world.happen(Event::Pass(0));
            }
            world.happen(Event::Pass(30));
        }
        prop_assert!(world.files.is_empty(), "{:?}", world.files);
        prop_assert_eq!(world.ledger.n_keys(), 0);
        prop_assert!(world.disk.is_empty(), "{:?}", world.disk);
    }
}
