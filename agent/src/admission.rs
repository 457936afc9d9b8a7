//! May this user start or resume a session here now?
//!
//! A pure function of the facts: the same question over the same facts gives the same
//! answer, and no answer changes anything. The inventory acts on it.

use std::time::Duration;

use proto::{NodeId, Readiness, SessionRecord, SessionState, Username};

/// What a broker asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Whom the broker means to ask.
    pub node: NodeId,
    /// Who wants to start or resume.
    pub user: Username,
    /// The last try: crowding no longer refuses.
    pub forced: bool,
}

/// What this server knows that matters for the answer.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// This server.
    pub node: &'a NodeId,
    /// Whether it takes new sessions.
    pub readiness: &'a Readiness,
    /// What time it is, since 1970-01-01 UTC: a drain may have come to its deadline.
    pub since_epoch: Duration,
    /// The user's sessions that can be resumed.
    pub records: Vec<SessionRecord>,
    /// Whether a session of the user is starting right now.
    pub is_starting: bool,
    /// Whether a place is held for the user.
    pub is_reserved: bool,
    /// Reservations that no session has fulfilled yet.
    pub pending: u32,
    /// Sessions started or resumed in the last 30 s.
    pub young: u32,
    /// In reference cores; none until the load was read.
    pub capacity: Option<f64>,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// These sessions can be resumed here, the best one first.
    Resume(Vec<SessionRecord>),
    /// The user's place, or a session that is starting, is already there.
    Confirmed,
    /// A place is to be held.
    Reserve,
    /// Not here.
    Refused(Refusal),
}

/// Why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The request was meant for another node.
    WrongNode,
    /// An operator wants no new sessions here, or none at all any more.
    Draining,
    /// The agent can't tell the truth now.
    NotReady,
    /// The agent is stopping.
    Leaving,
    /// Too many logins at once for this server's size.
    Crowded,
}

/// Decides.
///
/// Draining refuses new sessions only: who has a session here may come back to it, until
/// the deadline at which sessions are suspended or ended. A reservation from before the
/// drain is no session, so its user is sent elsewhere.
#[must_use]
pub fn decide(request: &Request, facts: Facts<'_>) -> Verdict {
    if request.node != *facts.node {
        return Verdict::Refused(Refusal::WrongNode);
    }
    let is_draining = match facts.readiness {
        Readiness::Ready => false,
        Readiness::Draining(drain) if drain.is_closed(facts.since_epoch) => {
            return Verdict::Refused(Refusal::Draining);
        }
        // One that is due and closes nothing is over: the inventory ends it in this moment.
        Readiness::Draining(drain) => drain.due(facts.since_epoch).is_none(),
        Readiness::NotReady { .. } => return Verdict::Refused(Refusal::NotReady),
        Readiness::Leaving => return Verdict::Refused(Refusal::Leaving),
    };
    if !facts.records.is_empty() {
        return Verdict::Resume(best_first(facts.records));
    }
    if facts.is_starting {
        return Verdict::Confirmed;
    }
    if is_draining {
        return Verdict::Refused(Refusal::Draining);
    }
    if facts.is_reserved {
        return Verdict::Confirmed;
    }
    let on_their_way = f64::from(facts.pending) + f64::from(facts.young);
    if !request.forced && on_their_way >= login_limit(facts.capacity) {
        return Verdict::Refused(Refusal::Crowded);
    }
    Verdict::Reserve
}

/// Suspended sessions before running ones, the most recently used first.
#[must_use]
pub fn best_first(mut records: Vec<SessionRecord>) -> Vec<SessionRecord> {
    let rank = |state| match state {
        SessionState::Suspended => 0,
        SessionState::Running => 1,
    };
    // Times are written so that they sort as text.
    records.sort_by(|a, b| {
        let by_state = rank(a.state).cmp(&rank(b.state));
        by_state
            .then_with(|| b.last_seen_at.cmp(&a.last_seen_at))
            .then_with(|| a.id.cmp(&b.id))
    });
    records
}

/// How many logins may be on their way at once, see the placement's safety net.
fn login_limit(capacity: Option<f64>) -> f64 {
    (LOGINS_PER_CAPACITY * capacity.unwrap_or(0.0)).max(LOGINS_AT_LEAST)
}

const LOGINS_PER_CAPACITY: f64 = 2.0;
/// So that a tiny virtual machine takes somebody too.
const LOGINS_AT_LEAST: f64 = 2.0;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proto::{
        AtDeadline, Deadline, Drain, NodeId, Readiness, SessionId, SessionRecord, SessionState,
        Username,
    };

    use super::{Facts, Refusal, Request, Verdict, decide};

    const LINE: &str = "2245|alice-50-1795323502_stRTERMINAL_dp24|50|s1|S|2026-11-22T04:58:23|7f6f58b8d2090b344f5dfddadaf20900|10.77.0.20|49024|49025|2026-11-22T04:58:39|alice|34|49026|-1|-1";

    const NOW: Duration = Duration::from_secs(1_795_323_600);

    fn node(name: &str) -> NodeId {
        NodeId::parse(name).unwrap()
    }

    fn request() -> Request {
        Request {
            node: node("s1"),
            user: Username::parse("alice").unwrap(),
            forced: false,
        }
    }

    fn record(id: &str, state: SessionState, last: &str) -> SessionRecord {
        let record = SessionRecord::parse(LINE).unwrap();
        let id = SessionId::parse(id).unwrap();
        SessionRecord {
            id,
            state,
            last_seen_at: last.to_owned(),
            ..record
        }
    }

    /// A ready server of one reference core where the user has nothing.
    fn facts<'a>(node: &'a NodeId, readiness: &'a Readiness) -> Facts<'a> {
        Facts {
            node,
            readiness,
            since_epoch: NOW,
            records: Vec::new(),
            is_starting: false,
            is_reserved: false,
            pending: 0,
            young: 0,
            capacity: Some(1.0),
        }
    }

    #[test]
    fn each_readiness_answers_newcomers_and_owners_of_sessions() {
        let until = |at, then| {
            let deadline = Some(Deadline { at, then });
            Readiness::Draining(Drain {
                deadline,
                ..Drain::new("disks")
            })
        };
        let not_ready = Readiness::NotReady {
            reason: "locked".to_owned(),
        };
        let refused = |why| Verdict::Refused(why);
        let suspended = vec![record("a-1", SessionState::Suspended, "2026")];
        let owners_only = |readiness| {
            (
                readiness,
                refused(Refusal::Draining),
                refused(Refusal::Draining),
                Verdict::Confirmed,
                Verdict::Resume(suspended.clone()),
            )
        };
        let nobody = |readiness, why| {
            (
                readiness,
                refused(why),
                refused(why),
                refused(why),
                refused(why),
            )
        };
        // readiness, answer to a newcomer, with reservation, with starting session, with record
        let rows = [
            (
                Readiness::Ready,
                Verdict::Reserve,
                Verdict::Confirmed,
                Verdict::Confirmed,
                Verdict::Resume(suspended.clone()),
            ),
            owners_only(Readiness::Draining(Drain::new("disks"))),
            // Before the deadline, whatever happens then.
            owners_only(until(NOW.as_secs() + 1, AtDeadline::Accept)),
            owners_only(until(NOW.as_secs() + 1, AtDeadline::Suspend)),
            owners_only(until(NOW.as_secs() + 1, AtDeadline::Terminate)),
            // After it.
            (
                until(NOW.as_secs(), AtDeadline::Accept),
                Verdict::Reserve,
                Verdict::Confirmed,
                Verdict::Confirmed,
                Verdict::Resume(suspended.clone()),
            ),
            nobody(until(NOW.as_secs(), AtDeadline::Suspend), Refusal::Draining),
            nobody(until(1, AtDeadline::Terminate), Refusal::Draining),
            nobody(not_ready, Refusal::NotReady),
            nobody(Readiness::Leaving, Refusal::Leaving),
        ];
        let s1 = node("s1");
        for (readiness, newcomer, reserved, starting, with_record) in rows {
            let facts = || facts(&s1, &readiness);
            let check = |facts: Facts<'_>, expected: &Verdict| {
                for forced in [false, true] {
                    let request = Request {
                        forced,
                        ..request()
                    };
                    assert_eq!(&decide(&request, facts.clone()), expected, "{facts:?}");
                }
            };
            check(facts(), &newcomer);
            check(
                Facts {
                    is_reserved: true,
                    ..facts()
                },
                &reserved,
            );
            check(
                Facts {
                    is_starting: true,
                    ..facts()
                },
                &starting,
            );
            check(
                Facts {
                    records: suspended.clone(),
                    ..facts()
                },
                &with_record,
            );
        }
    }

    #[test]
    fn a_request_for_another_node_is_refused_whatever_is_here() {
        let s1 = node("s1");
        let facts = Facts {
            records: vec![record("a-1", SessionState::Suspended, "2026")],
            ..facts(&s1, &Readiness::Ready)
        };
        let request = Request {
            node: node("s2"),
            forced: true,
            ..request()
        };
        assert_eq!(
            decide(&request, facts),
            Verdict::Refused(Refusal::WrongNode)
        );
    }

    #[test]
    fn crowding_refuses_unless_forced_and_a_tiny_server_takes_two() {
        // pending, young, capacity, is it crowded
        let rows = [
            (0, 0, None, false),
            (1, 0, None, false),
            (1, 1, None, true),
            (1, 1, Some(0.1), true),
            (1, 0, Some(0.1), false),
            (3, 4, Some(4.0), false),
            (4, 4, Some(4.0), true),
            (0, 8, Some(4.0), true),
            (8, 0, Some(4.0), true),
            (u32::MAX, u32::MAX, Some(4.0), true),
        ];
        let s1 = node("s1");
        for (pending, young, capacity, crowded) in rows {
            let facts = Facts {
                pending,
                young,
                capacity,
                ..facts(&s1, &Readiness::Ready)
            };
            let expected = if crowded {
                Verdict::Refused(Refusal::Crowded)
            } else {
                Verdict::Reserve
            };
            assert_eq!(decide(&request(), facts.clone()), expected, "{facts:?}");
            let forced = Request {
                forced: true,
                ..request()
            };
            assert_eq!(decide(&forced, facts.clone()), Verdict::Reserve);
            let reserved = Facts {
                is_reserved: true,
                ..facts
            };
            assert_eq!(decide(&request(), reserved), Verdict::Confirmed);
        }
    }

    #[test]
    fn suspended_sessions_come_first_and_the_most_recent_before_the_others() {
        let s1 = node("s1");
        let facts = Facts {
            records: vec![
                record("old-running", SessionState::Running, "2026-11-22T04:00:00"),
                record("old", SessionState::Suspended, "2026-11-22T04:00:00"),
                record("running", SessionState::Running, "2026-11-22T06:00:00"),
                record("new", SessionState::Suspended, "2026-11-22T05:00:00"),
            ],
            ..facts(&s1, &Readiness::Ready)
        };
        let Verdict::Resume(records) = decide(&request(), facts) else {
            panic!("not resumed")
        };
        let ids: Vec<&str> = records.iter().map(|record| record.id.as_str()).collect();
        assert_eq!(ids, ["new", "old", "running", "old-running"]);
    }
}
