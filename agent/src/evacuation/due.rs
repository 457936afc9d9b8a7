//! Which sessions are to be acted on now, on a server that is to become empty?

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use proto::{Session, SessionId, SessionState};

use crate::shim_client::Act;

/// The sessions to begin with now, at most `n_free` of them: those that are not yet as they
/// should be, and were not tried for [`AGAIN_AFTER`]. `begun` says when each was tried last.
///
/// What was never tried comes first, so that many that fail keep nobody waiting. A session
/// that is just starting can't be acted on; when it has started, it is.
pub(super) fn due<'a>(
    act: Act,
    sessions: &'a [Session],
    begun: &BTreeMap<SessionId, Instant>,
    n_free: usize,
    now: Instant,
) -> Vec<&'a Session> {
    let rests = |session: &Session| {
        let begun = begun.get(&session.id);
        begun.is_some_and(|begun| now.saturating_duration_since(*begun) < AGAIN_AFTER)
    };
    let open = sessions.iter().filter(|session| {
        let is_wanted = match act {
            Act::Suspend => session.state == SessionState::Running,
            Act::Terminate => true,
        };
        is_wanted && !session.starting && !rests(session)
    });
    let mut due: Vec<&Session> = open.collect();
    due.sort_by_key(|session| begun.get(&session.id));
    due.truncate(n_free);
    due
}

/// When the next of those that were tried may be tried again.
pub(super) fn next_try(begun: &BTreeMap<SessionId, Instant>, now: Instant) -> Option<Instant> {
    let again = begun.values().map(|begun| *begun + AGAIN_AFTER);
    again.filter(|again| *again > now).min()
}

/// Longer than an act takes at most, so that nothing is begun twice at once; and no session
/// that comes back each time, or can't be had, keeps the server busy.
pub(super) const AGAIN_AFTER: Duration = Duration::from_secs(60);

const _: () = assert!(AGAIN_AFTER.as_secs() > 2 * crate::operations::ACT_LIMIT.as_secs());

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::{Duration, Instant};

    use proto::SessionState::{self, Running, Suspended};
    use proto::{Session, SessionId, Username};

    use super::{due, next_try};
    use crate::shim_client::Act;

    fn session(name: &str, state: SessionState, starting: bool) -> Session {
        Session {
            id: SessionId::parse(&format!("{name}-1")).unwrap(),
            user: Username::parse(name).unwrap(),
            state,
            starting,
            client_order: None,
        }
    }

    fn names<'a>(due: &[&'a Session]) -> Vec<&'a str> {
        due.iter().map(|session| session.user.as_str()).collect()
    }

    fn start() -> Instant {
        tokio::time::Instant::now().into_std()
    }

    #[test]
    fn what_runs_is_suspended_and_everything_that_has_started_is_ended() {
        // state, is it starting, is it to be suspended, is it to be ended
        let rows = [
            (Running, false, true, true),
            (Suspended, false, false, true),
            (Running, true, false, false),
            (Suspended, true, false, false),
        ];
        for (state, starting, suspend, terminate) in rows {
            let sessions = [session("alice", state, starting)];
            for (act, expected) in [(Act::Suspend, suspend), (Act::Terminate, terminate)] {
                let found = due(act, &sessions, &BTreeMap::new(), 4, start());
                assert_eq!(!found.is_empty(), expected, "{act} {state:?} {starting}");
            }
        }
    }

    #[test]
    fn each_session_rests_for_a_minute_and_new_ones_come_first() {
        let sessions = ["a", "b", "c", "d"].map(|name| session(name, Running, false));
        let begin = start();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let begun = |rows: &[(&str, u64)]| -> BTreeMap<SessionId, Instant> {
            let row = |(name, seconds): &(&str, u64)| {
                (
                    SessionId::parse(&format!("{name}-1")).unwrap(),
                    at(*seconds),
                )
            };
            rows.iter().map(row).collect()
        };
        let (none, some) = (begun(&[]), begun(&[("a", 5), ("b", 0), ("c", 30)]));
        // tried, free places, seconds, who is due
        let rows: [(_, _, _, &[&str]); 7] = [
            (&none, 0, 0, &[]),
            (&none, 3, 0, &["a", "b", "c"]),
            (&none, 9, 0, &["a", "b", "c", "d"]),
            (&some, 9, 59, &["d"]),
            (&some, 9, 60, &["d", "b"]),
            (&some, 9, 65, &["d", "b", "a"]),
            (&some, 2, 300, &["d", "b"]),
        ];
        for (tried, n_free, seconds, expected) in rows {
            let found = due(Act::Suspend, &sessions, tried, n_free, at(seconds));
            assert_eq!(names(&found), expected, "{n_free} free at {seconds} s");
        }
        assert_eq!(next_try(&none, at(0)), None);
        assert_eq!(next_try(&some, at(59)), Some(at(60)));
        assert_eq!(next_try(&some, at(60)), Some(at(65)));
        assert_eq!(next_try(&some, at(90)), None);
    }
}
