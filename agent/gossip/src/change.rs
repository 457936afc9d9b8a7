//! What happened between two snapshots of the cluster?

use std::sync::Arc;

use crate::{Member, Members};

/// One difference between two snapshots. A member that is not live counts as absent.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// It is live now and was not before.
    Joined(Arc<Member>),
    /// It was live and is not any more; this is how it was last.
    Left(Arc<Member>),
    /// It is live as before, with another advert, address or generation.
    Updated {
        /// How it was.
        before: Arc<Member>,
        /// How it is.
        after: Arc<Member>,
    },
}

/// Lists what changed from `old` to `new`: first who left, then the others, each by role
/// and name.
#[must_use]
pub fn changes(old: &Members, new: &Members) -> Vec<Change> {
    let live_in = |members: &Members, member: &Member| {
        let found = members.get(member.role, &member.node);
        found.filter(|member| member.live).map(Arc::clone)
    };
    let were_live = old.iter().filter(|member| member.live);
    let left = were_live
        .filter(|member| live_in(new, member).is_none())
        .map(|member| Change::Left(Arc::clone(member)));
    let are_live = new.iter().filter(|member| member.live);
    let others = are_live.filter_map(|after| match live_in(old, after) {
        None => Some(Change::Joined(Arc::clone(after))),
        Some(before) if Arc::ptr_eq(&before, after) || before == *after => None,
        Some(before) => Some(Change::Updated {
            before,
            after: Arc::clone(after),
        }),
    });
    left.chain(others).collect()
}

#[cfg(test)]
mod tests {
    use pki::Role::{Agent, Broker};

    use super::{Change, changes};
    use crate::Members;
    use crate::member::member;

    #[test]
    fn only_live_members_join_leave_and_change() {
        let old = Members::of_generations(&[
            member(Agent, "dies", 1, true),
            member(Agent, "goes", 1, true),
            member(Agent, "restarts", 1, true),
            member(Agent, "stays", 1, true),
            member(Agent, "wakes", 1, false),
            member(Agent, "stays-dead", 1, false),
        ]);
        let new = Members::of_generations(&[
            member(Agent, "dies", 1, false),
            member(Agent, "restarts", 2, true),
            member(Agent, "stays", 1, true),
            member(Agent, "wakes", 1, true),
            member(Agent, "stays-dead", 2, false),
            member(Broker, "comes", 1, true),
        ]);
        assert_eq!(
            changes(&old, &new),
            [
                Change::Left(member(Agent, "dies", 1, true)),
                Change::Left(member(Agent, "goes", 1, true)),
                Change::Updated {
                    before: member(Agent, "restarts", 1, true),
                    after: member(Agent, "restarts", 2, true),
                },
                Change::Joined(member(Agent, "wakes", 1, true)),
                Change::Joined(member(Broker, "comes", 1, true)),
            ]
        );
        assert_eq!(changes(&new, &new.clone()), []);
    }
}
