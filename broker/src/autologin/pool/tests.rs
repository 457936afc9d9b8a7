//! Pairs here are made by a program that waits to be told to; one real pair stands for all.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use proto::{PublicKey, Secret, Username};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{
    KeyPair, KeyPairs, KeyPairsOwner, MAX_OF_USER, MAX_READY, MAX_WAITING, NoKeyPair, PairError,
};

/// Pairs with numbers instead of keys, each made when a permit for it comes. Dropping the
/// permits lets all of them be made.
struct Fixture {
    pairs: KeyPairs,
    permits: Option<SyncSender<bool>>,
    n_made: Receiver<usize>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Fixture {
    fn new() -> Self {
        let (permits, gate) = sync_channel(1000);
        let (count, n_made) = sync_channel(1000);
        let gate = Mutex::new((gate, 0));
        let public = PublicKey::parse(KEY).unwrap();
        let (owner, pairs) = KeyPairsOwner::new(move || {
            let mut gate = gate.lock().unwrap();
            if gate.0.recv() == Ok(false) {
                return Err(PairError::NotMade);
            }
            gate.1 += 1;
            let _ = count.send(gate.1);
            Ok(KeyPair {
                public: public.clone(),
                private: Secret::new(gate.1.to_string()),
            })
        });
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(owner.run(stop.clone()));
        Self {
            pairs,
            permits: Some(permits),
            n_made,
            stop,
            tasks,
        }
    }

    fn permit(&self, works: bool) {
        self.permits.as_ref().unwrap().send(works).unwrap();
    }

    /// Waits until the pair of that number was made.
    async fn made(self, number: usize) -> Self {
        let waiting = tokio::task::spawn_blocking(move || {
            while self.n_made.recv_timeout(LIMIT).unwrap() < number {}
            self
        });
        waiting.await.unwrap()
    }

    async fn end(mut self) {
        self.permits = None;
        self.stop.cancel();
        self.tasks.join_next().await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn nothing_is_made_before_somebody_was_promised_a_key() {
    let fixture = Fixture::new();
    fixture.permit(true);
    tokio::task::yield_now().await;
    assert!(
        fixture
            .n_made
            .recv_timeout(Duration::from_millis(50))
            .is_err()
    );
    fixture.pairs.prepare();
    fixture.made(1).await.end().await;
}

#[tokio::test]
async fn pairs_wait_ready_and_each_is_handed_out_once() {
    let mut fixture = Fixture::new();
    fixture.permits = None;
    fixture.pairs.prepare();
    let fixture = fixture.made(MAX_READY).await;
    // Full: no more is made until one is taken.
    let more = fixture.n_made.recv_timeout(Duration::from_millis(50));
    assert!(more.is_err(), "{more:?}");
    for number in 1..=2 * MAX_READY {
        let pair = fixture.pairs.take(&user(0)).await.unwrap();
        assert_eq!(pair.private.expose(), number.to_string());
    }
    fixture.end().await;
}

#[tokio::test]
async fn who_waits_too_long_goes_without_and_the_pair_is_for_the_next() {
    let fixture = Fixture::new();
    assert_eq!(
        fixture.pairs.take(&user(0)).await.unwrap_err(),
        NoKeyPair::TooSlow
    );
    fixture.permit(true);
    let fixture = fixture.made(1).await;
    let pair = fixture.pairs.take(&user(0)).await.unwrap();
    assert_eq!(pair.private.expose(), "1");
    fixture.end().await;
}

#[tokio::test]
async fn more_than_a_bounded_number_does_not_wait() {
    let fixture = Fixture::new();
    let mut takers = JoinSet::new();
    for number in 0..=MAX_WAITING {
        let pairs = fixture.pairs.clone();
        takers.spawn(async move { pairs.take(&user(number)).await.map(|_| ()) });
    }
    let first = takers.join_next().await.unwrap().unwrap();
    assert_eq!(first, Err(NoKeyPair::Crowded));
    takers.shutdown().await;
    fixture.end().await;
}

#[tokio::test]
async fn a_user_who_logs_in_again_and_again_leaves_room_for_others() {
    let fixture = Fixture::new();
    let mut crowd = JoinSet::new();
    for _ in 0..MAX_WAITING {
        let pairs = fixture.pairs.clone();
        crowd.spawn(async move { pairs.take(&user(0)).await.map(|_| ()) });
    }
    for _ in MAX_OF_USER..MAX_WAITING {
        let turned_away = crowd.join_next().await.unwrap().unwrap();
        assert_eq!(turned_away, Err(NoKeyPair::Crowded));
    }
    let pairs = fixture.pairs.clone();
    crowd.spawn(async move { pairs.take(&user(1)).await.map(|_| ()) });
    for _ in 0..=MAX_OF_USER {
        fixture.permit(true);
        assert_eq!(crowd.join_next().await.unwrap().unwrap(), Ok(()));
    }
    fixture.end().await;
}

#[tokio::test]
async fn a_failure_is_not_tried_again_until_somebody_asks() {
    let fixture = Fixture::new();
    fixture.permit(false);
    let failed = fixture.pairs.take(&user(0)).await.unwrap_err();
    assert_eq!(failed, NoKeyPair::Crowded);
    fixture.permit(true);
    assert!(
        fixture
            .n_made
            .recv_timeout(Duration::from_millis(50))
            .is_err()
    );
    assert_eq!(
        fixture.pairs.take(&user(0)).await.unwrap().private.expose(),
        "1"
    );
    fixture.end().await;
}

fn user(number: usize) -> Username {
    Username::parse(&format!("user{number}")).unwrap()
}

/// Some key; the tests look at the numbers.
const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIII";

const LIMIT: Duration = Duration::from_secs(10);
