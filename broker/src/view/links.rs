//! Follows the sessions of one server: its watch stream, opened again whenever it breaks.

use std::time::Duration;

use proto::v1::watch_event::What as WireWhat;
use proto::v1::{self, WatchEvent};
use proto::{Counts, Generation, NodeId, Session, SessionId, Username, Version};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::feed::News;
use crate::agents::AgentLink;

/// One event of a watch stream, read and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WatchUpdate {
    pub(crate) generation: Generation,
    pub(crate) version: Version,
    pub(crate) counts: Counts,
    pub(crate) what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Snapshot {
        sessions: Vec<Session>,
        reserved: Vec<Username>,
    },
    Changes {
        upserted: Vec<Session>,
        removed: Vec<SessionId>,
        reserved: Vec<Username>,
        released: Vec<Username>,
    },
}

/// Follows one server until told to stop.
pub(super) async fn follow(
    node: NodeId,
    link: AgentLink,
    news: mpsc::Sender<News>,
    stop: CancellationToken,
) {
    let mut backoff = FIRST_BACKOFF;
    loop {
        let stream = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            stream = link.watch() => stream,
        };
        match stream {
            Ok(mut stream) => {
                backoff = FIRST_BACKOFF;
                let end = tokio::select! {
                    biased;
                    () = stop.cancelled() => return,
                    end = read(&node, &mut stream, &news) => end,
                };
                debug!(%node, end, "watch stream ended");
                let _ = news.send(News::WatchBroke { node: node.clone() }).await;
            }
            Err(error) => debug!(%node, error = %error, "watch stream could not be opened"),
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = tokio::time::sleep(jittered(backoff)) => {}
        }
        backoff = (backoff * 2).min(LAST_BACKOFF);
    }
}

/// Reads until the stream ends; tells why it did.
async fn read(
    node: &NodeId,
    stream: &mut tonic::Streaming<WatchEvent>,
    news: &mpsc::Sender<News>,
) -> String {
    loop {
        let event = match stream.message().await {
            Ok(Some(event)) => event,
            Ok(None) => return "the agent ended it".to_owned(),
            Err(status) => return status.message().to_owned(),
        };
        let (update, n_odd) = read_event(event);
        if n_odd > 0 {
            warn!(%node, n_odd, "the agent showed sessions that can't be read; they are left out");
        }
        let Some(update) = update else { continue };
        if news
            .send(News::Watched {
                node: node.clone(),
                update,
            })
            .await
            .is_err()
        {
            return "the feed ended".to_owned();
        }
    }
}

/// Turns a message into an update; counts the parts that can't be read and are left out.
fn read_event(event: WatchEvent) -> (Option<WatchUpdate>, usize) {
    let mut n_odd = 0;
    let what = match event.what {
        None => What::Changes {
            upserted: Vec::new(),
            removed: Vec::new(),
            reserved: Vec::new(),
            released: Vec::new(),
        },
        Some(WireWhat::Snapshot(snapshot)) => What::Snapshot {
            sessions: read_all(snapshot.sessions, Session::try_from, &mut n_odd),
            reserved: read_all(
                snapshot.reserved_users,
                |user| Username::parse(&user),
                &mut n_odd,
            ),
        },
        Some(WireWhat::Changes(v1::Changes {
            upserted,
            removed_session_ids,
            reserved_users,
            released_users,
        })) => What::Changes {
            upserted: read_all(upserted, Session::try_from, &mut n_odd),
            removed: read_all(removed_session_ids, |id| SessionId::parse(&id), &mut n_odd),
            reserved: read_all(reserved_users, |user| Username::parse(&user), &mut n_odd),
            released: read_all(released_users, |user| Username::parse(&user), &mut n_odd),
        },
    };
    let Some(counts) = event.counts else {
        return (None, n_odd + 1);
    };
    let update = WatchUpdate {
        generation: Generation(event.generation),
        version: Version(event.version),
        counts: counts.into(),
        what,
    };
    (Some(update), n_odd)
}

fn read_all<W, T, E>(wire: Vec<W>, read: impl Fn(W) -> Result<T, E>, n_odd: &mut usize) -> Vec<T> {
    let before = wire.len();
    let good: Vec<T> = wire
        .into_iter()
        .filter_map(|item| read(item).ok())
        .collect();
    *n_odd += before - good.len();
    good
}

/// Spreads the reconnects of many replicas to one agent that came back.
fn jittered(backoff: Duration) -> Duration {
    use std::hash::{BuildHasher, RandomState};
    let random = RandomState::new().hash_one(()) % 1000;
    backoff.mul_f64(0.75 + 0.5 * f64::from(u32::try_from(random).unwrap_or(0)) / 1000.0)
}

const FIRST_BACKOFF: Duration = Duration::from_millis(200);
/// A server that came back is followed again at most this much later.
const LAST_BACKOFF: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use proto::v1;

    use super::{What, read_event};

    #[test]
    fn what_can_not_be_read_is_left_out_and_counted() {
        let good = v1::Session {
            id: "alice-50".to_owned(),
            user: "alice".to_owned(),
            state: v1::SessionState::Running.into(),
            starting: false,
            client_order: 0,
        };
        let odd = [
            v1::Session {
                id: "a|b".to_owned(),
                ..good.clone()
            },
            v1::Session {
                user: "../x".to_owned(),
                ..good.clone()
            },
            v1::Session {
                state: 9,
                ..good.clone()
            },
        ];
        let snapshot = v1::Snapshot {
            sessions: odd.into_iter().chain([good]).collect(),
            reserved_users: vec!["bob".to_owned(), String::new()],
        };
        let event = v1::WatchEvent {
            counts: Some(v1::Counts::default()),
            what: Some(v1::watch_event::What::Snapshot(snapshot)),
            ..v1::WatchEvent::default()
        };
        let (update, n_odd) = read_event(event);
        assert_eq!(n_odd, 4);
        let Some(What::Snapshot { sessions, reserved }) = update.map(|update| update.what) else {
            panic!("a snapshot was sent");
        };
        assert_eq!((sessions.len(), reserved.len()), (1, 1));
    }

    #[test]
    fn an_event_without_counts_is_not_applied() {
        assert_eq!(read_event(v1::WatchEvent::default()), (None, 1));
    }
}
