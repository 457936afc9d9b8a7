//! What follows when a key was to be removed: is it gone, and if not, when is it tried again?

use std::time::Duration;

use super::{KeyId, Ledger, Now, Stage};
use crate::shim_client::KeyEdit;

/// What came of removing a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::keys) enum Removed {
    /// It is gone.
    Yes,
    /// The program won't do it for this user, or with these operands.
    Refused,
    /// It may be there.
    Failed,
    /// Too much was being done here.
    NotBegun,
}

/// What follows from that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::keys) enum Removal {
    /// Nothing.
    Gone,
    /// It will be tried again.
    Again {
        /// How often it has failed.
        tries: u32,
        /// Whether the administrator is to hear of it: about once an hour.
        is_told: bool,
    },
    /// The program has refused for a day: there is no such account any more.
    GivenUp(KeyEdit),
}

impl Ledger {
    /// A key was to be removed. As long as it may be there it is never forgotten.
    pub(in crate::keys) fn removed(&mut self, id: KeyId, how: Removed, now: Now) -> Removal {
        let Some(entry) = self.entries.get_mut(&id) else {
            return Removal::Gone;
        };
        entry.refused_since = match how {
            Removed::Yes => return self.gone(id, now),
            Removed::Refused => entry.refused_since.or(Some(now.instant)),
            Removed::Failed => None,
            Removed::NotBegun => entry.refused_since,
        };
        // A directory of users that is away for hours says the same as one that has
        // forgotten the user.
        let refused = entry.refused_since.map(|since| now.instant - since);
        if refused.is_some_and(|refused| refused >= REFUSED_FOR_GOOD) {
            let edit = entry.edit.clone();
            self.forget(id);
            return Removal::GivenUp(edit);
        }
        let counts = how != Removed::NotBegun;
        entry.tries = entry.tries.saturating_add(u32::from(counts));
        entry.stage = Stage::ToRemove(now.instant + pause(entry.tries));
        Removal::Again {
            tries: entry.tries,
            is_told: counts && is_told(entry.tries),
        }
    }

    fn gone(&mut self, id: KeyId, now: Now) -> Removal {
        let Some(entry) = self.entries.get_mut(&id) else {
            return Removal::Gone;
        };
        let KeyEdit { user, file, .. } = entry.edit.clone();
        match entry.once_more.take() {
            Some(at) if at > now.instant => {
                entry.tries = 0;
                entry.refused_since = None;
                entry.stage = Stage::ToRemove(at);
            }
            _ => self.forget(id),
        }
        // The file can be edited again: the others in it need wait no longer.
        for entry in self.entries.values_mut() {
            let is_same = entry.edit.user == user && entry.edit.file == file;
            if is_same && entry.is_stuck() && matches!(entry.stage, Stage::ToRemove(_)) {
                entry.stage = Stage::ToRemove(now.instant);
            }
        }
        Removal::Gone
    }
}

/// 1, 2, 4 seconds and so on, and after about a day an hour.
pub(super) fn pause(tries: u32) -> Duration {
    if tries > TRIES_OF_A_DAY {
        return HOUR;
    }
    let seconds = 1u64
        .checked_shl(tries.saturating_sub(1))
        .unwrap_or(u64::MAX);
    Duration::from_secs(seconds).min(LONGEST_PAUSE)
}

/// The first failure, and then one an hour.
fn is_told(tries: u32) -> bool {
    tries > TRIES_OF_A_DAY || tries % TRIES_PER_HOUR == 1
}

/// A home that is away for long comes back after some hours: then its keys go.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// A home that was away for a day may be away for weeks.
pub(super) const HOUR: Duration = Duration::from_secs(3600);
/// With the longest pauses.
const TRIES_PER_HOUR: u32 = 12;
/// Likewise.
pub(super) const TRIES_OF_A_DAY: u32 = 288;
/// Long enough to bring a directory of users back.
pub(super) const REFUSED_FOR_GOOD: Duration = Duration::from_secs(24 * 3600);
