//! Which temporary keys are there, and what is to be done about each? Pure: each step is
//! told the time.

mod removal;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use proto::{KeyGrant, MAX_KEY_LIFE, PublicKey, Username};

use super::line::{self, LineRules, Parts};
use crate::shim_client::{KeyAct, KeyEdit, LINGERS};

pub(super) use removal::{Removal, Removed};

/// Which of the keys.
pub(super) type KeyId = u64;

/// All temporary keys of this server.
#[derive(Debug)]
pub(super) struct Ledger {
    rules: LineRules,
    mark: String,
    next: KeyId,
    entries: BTreeMap<KeyId, Entry>,
    /// Whether the journal on the disk says something else.
    is_dirty: bool,
}

/// A point in time, on both clocks: the one that never jumps, and the one that survives.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    pub(super) instant: Instant,
    pub(super) since_epoch: Duration,
}

/// A key as the journal keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Noted {
    /// Until when it may be there, since 1970-01-01 UTC.
    pub(super) until: Duration,
    /// What was, or may have been, added.
    pub(super) edit: KeyEdit,
}

/// There are too many keys, here or of this user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many temporary keys")]
pub(super) struct TooMany;

/// What came of adding a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Added {
    /// It is there.
    Yes,
    /// This run has added nothing, and will not.
    Not,
    /// It may be there.
    Unsure,
    /// It may be there, or get there until the program has ended.
    Late,
}

#[derive(Debug)]
struct Entry {
    edit: KeyEdit,
    /// Which key, by type and data; none after a restart.
    key: Option<PublicKey>,
    from: Option<IpAddr>,
    /// When sshd stops taking it, if the line says so.
    expires: Option<Duration>,
    /// Until when it was promised to somebody who was told that it is there.
    promised: Option<Instant>,
    /// The same for the journal, and for all who have asked.
    noted_until: Duration,
    stage: Stage,
    /// When it is to be removed once more, since a late run may add it after its removal.
    once_more: Option<Instant>,
    /// Whether it was, or may have been, added.
    may_be_there: bool,
    /// How often it could not be removed.
    tries: u32,
    /// Since when the program has refused to remove it.
    refused_since: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The journal on the disk does not have it yet.
    Unnoted,
    ToAdd,
    Adding,
    Present,
    ToRemove(Instant),
    Removing,
}

impl Ledger {
    /// Knows of what a journal has from before. `mark` is the beginning of new marks.
    pub(super) fn new(rules: LineRules, mark: String, noted: Vec<Noted>, now: Now) -> Self {
        let mut ledger = Self {
            rules,
            mark,
            next: 0,
            entries: BTreeMap::new(),
            // Written once in any case: only that shows that it can be.
            is_dirty: true,
        };
        for Noted { until, edit } in noted {
            // A clock that was set back meanwhile lengthens no life.
            let left = until.saturating_sub(now.since_epoch).min(MAX_KEY_LIFE);
            ledger.insert(Entry {
                edit,
                key: None,
                from: None,
                expires: None,
                promised: Some(now.instant + left),
                noted_until: until,
                stage: Stage::Present,
                // What the agent before had begun may end only now.
                once_more: Some(now.instant + LINGERS),
                may_be_there: true,
                tries: 0,
                refused_since: None,
            });
        }
        ledger
    }

    /// Takes a request: a new key, or one that is there already and is to stay.
    pub(super) fn request(
        &mut self,
        user: &Username,
        grant: &KeyGrant,
        now: Now,
    ) -> Result<KeyId, TooMany> {
        let until = now.since_epoch + grant.life;
        let from = grant.client.filter(|_| self.rules.from);
        let same = self.entries.iter_mut().find(|(_, entry)| {
            let key = entry.key.as_ref().map(PublicKey::without_options);
            let can_stay = match entry.stage {
                Stage::Unnoted | Stage::ToAdd | Stage::Adding | Stage::Present => true,
                Stage::ToRemove(_) | Stage::Removing => false,
            };
            can_stay
                && entry.edit.user == *user
                && entry.edit.file == grant.file
                && key == Some(grant.key.without_options())
                && entry.from == from
                && entry.expires.is_none_or(|expires| expires > until)
        });
        if let Some((id, entry)) = same {
            if entry.noted_until < until {
                entry.noted_until = until;
                self.is_dirty = true;
            }
            // Once more, so that the answer is true also if the user has edited the file.
            if entry.stage == Stage::Present {
                entry.stage = Stage::ToAdd;
            }
            return Ok(*id);
        }
        if !self.has_room() || !self.has_room_for(user) {
            return Err(TooMany);
        }
        let expires = self.rules.expiry.then(|| until + EXPIRY_SLACK);
        let mark = format!("{}:{}", self.mark, self.next);
        let line = line::build(Parts {
            key: &grant.key,
            from,
            expires,
            mark: &mark,
        });
        let edit = KeyEdit {
            user: user.clone(),
            line: line.into(),
            file: grant.file.clone(),
        };
        self.is_dirty = true;
        Ok(self.insert(Entry {
            edit,
            key: Some(grant.key.clone()),
            from,
            expires,
            promised: None,
            noted_until: until,
            stage: Stage::Unnoted,
            once_more: None,
            may_be_there: false,
            tries: 0,
            refused_since: None,
        }))
    }

    /// Whether another key can be taken. Those that fail to go take no room of the others,
    /// until they are too many for the journal.
    pub(super) fn has_room(&self) -> bool {
        let others = self.entries.values().filter(|entry| !entry.is_stuck());
        others.count() < MAX_KEYS && self.entries.len() < MAX_KEYS + MAX_STUCK
    }

    fn has_room_for(&self, user: &Username) -> bool {
        let entries = self.entries.values();
        let theirs = entries.filter(|entry| entry.edit.user == *user);
        let stuck = theirs.clone().filter(|entry| entry.is_stuck());
        stuck.count() < MAX_STUCK_OF_USER && theirs.count() < MAX_KEYS_OF_USER
    }

    /// Whether a key has failed to go.
    pub(super) fn is_stuck(&self, id: KeyId) -> bool {
        self.entries.get(&id).is_some_and(Entry::is_stuck)
    }

    fn insert(&mut self, entry: Entry) -> KeyId {
        let id = self.next;
        self.next += 1;
        self.entries.insert(id, entry);
        id
    }

    /// What the journal is to hold, if it holds something else.
    pub(super) fn note(&mut self) -> Option<(Vec<KeyId>, Vec<Noted>)> {
        if !std::mem::take(&mut self.is_dirty) {
            return None;
        }
        let unnoted = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.stage == Stage::Unnoted);
        let unnoted = unnoted.map(|(id, _)| *id).collect();
        let noted = self.entries.values().map(|entry| Noted {
            until: entry.noted_until,
            edit: entry.edit.clone(),
        });
        Some((unnoted, noted.collect()))
    }

    /// Whether a key waits to be noted.
    pub(super) fn has_unnoted(&self) -> bool {
        let mut stages = self.entries.values().map(|entry| entry.stage);
        stages.any(|stage| stage == Stage::Unnoted)
    }

    /// The journal could not be written: it must be, later.
    pub(super) fn note_later(&mut self) {
        self.is_dirty = true;
    }

    /// A key is in the journal. Nobody may wait for it any more.
    pub(super) fn is_noted(&mut self, id: KeyId, somebody_waits: bool) {
        match self.entries.get_mut(&id) {
            Some(entry) if somebody_waits => entry.stage = Stage::ToAdd,
            _ => self.forget(id),
        }
    }

    /// Forgets a key that was never added.
    pub(super) fn forget(&mut self, id: KeyId) {
        self.is_dirty |= self.entries.remove(&id).is_some();
    }

    /// What the setuid program is to do now: for each user one thing at a time.
    pub(super) fn runs(&mut self, now: Now) -> Vec<(KeyId, KeyAct, KeyEdit)> {
        let mut busy = self.busy_users();
        let mut runs = Vec::new();
        // Somebody waits for what is added.
        for wanted in [KeyAct::Add, KeyAct::Remove] {
            for (id, entry) in &mut self.entries {
                let act = match entry.stage {
                    Stage::ToAdd => KeyAct::Add,
                    Stage::ToRemove(at) if at <= now.instant => KeyAct::Remove,
                    Stage::Present if entry.promised.is_none_or(|until| until <= now.instant) => {
                        KeyAct::Remove
                    }
                    _ => continue,
                };
                if act != wanted || !busy.insert(entry.edit.user.clone()) {
                    continue;
                }
                entry.stage = match act {
                    KeyAct::Add => Stage::Adding,
                    KeyAct::Remove => Stage::Removing,
                };
                runs.push((*id, act, entry.edit.clone()));
            }
        }
        runs
    }

    /// When there may be something to do next that nothing else leads to.
    pub(super) fn next_run(&self) -> Option<Instant> {
        let busy = self.busy_users();
        let idle = self
            .entries
            .values()
            .filter(|entry| !busy.contains(&entry.edit.user));
        let times = idle.filter_map(|entry| match entry.stage {
            Stage::ToRemove(at) => Some(at),
            Stage::Present => entry.promised,
            Stage::Unnoted | Stage::ToAdd | Stage::Adding | Stage::Removing => None,
        });
        times.min()
    }

    fn busy_users(&self) -> BTreeSet<Username> {
        let runs = |entry: &&Entry| matches!(entry.stage, Stage::Adding | Stage::Removing);
        let busy = self.entries.values().filter(runs);
        busy.map(|entry| entry.edit.user.clone()).collect()
    }

    /// A key was to be added. `promised` is until when somebody now relies on it.
    pub(super) fn added(&mut self, id: KeyId, how: Added, promised: Option<Instant>, now: Now) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        if entry.stage != Stage::Adding {
            return;
        }
        entry.promised = entry.promised.max(promised);
        // What an earlier run has added is still there.
        entry.may_be_there |= how != Added::Not;
        if how == Added::Late {
            entry.once_more = Some(now.instant + LINGERS);
        }
        if entry.promised.is_some() {
            entry.stage = Stage::Present;
        } else if entry.may_be_there {
            entry.stage = Stage::ToRemove(now.instant);
        } else {
            self.forget(id);
        }
    }

    /// Takes a key of `user` back; returns those that are concerned.
    pub(super) fn revoke(&mut self, user: &Username, key: &PublicKey, now: Now) -> Vec<KeyId> {
        let mut concerned = Vec::new();
        let mut never_added = Vec::new();
        for (id, entry) in &mut self.entries {
            let same = entry.key.as_ref().map(PublicKey::without_options);
            if entry.edit.user != *user || same != Some(key.without_options()) {
                continue;
            }
            entry.promised = None;
            match entry.stage {
                // When the run ends, nobody relies on it.
                Stage::Adding | Stage::Unnoted => {}
                // It never was there.
                Stage::ToAdd if !entry.may_be_there => never_added.push(*id),
                Stage::ToAdd | Stage::Present => entry.stage = Stage::ToRemove(now.instant),
                Stage::ToRemove(_) | Stage::Removing => continue,
            }
            concerned.push(*id);
        }
        for id in never_added {
            self.forget(id);
        }
        concerned
    }

    pub(super) fn n_keys(&self) -> usize {
        self.entries.len()
    }

    /// Which line that is, for the log: its mark says more than the key.
    pub(super) fn mark_of(edit: &KeyEdit) -> &str {
        edit.line.rsplit(' ').next().unwrap_or_default()
    }
}

impl Entry {
    fn is_stuck(&self) -> bool {
        self.tries > 0
    }
}

/// A wave of log-ins fits. With those that are stuck, and with keys of the usual kinds, the
/// journal stays below two megabytes.
pub(super) const MAX_KEYS: usize = 512;
/// One account may stand for many people: a broker can map all of them to it, `* = kiosk`,
/// and a room of kiosks is switched on at once. Others still find most of the room free.
pub(super) const MAX_KEYS_OF_USER: usize = 64;
/// Keys that fail to go stay in the journal for as long as they may be there. So many hold
/// up nobody else.
const MAX_STUCK: usize = 1024;
/// More keys are no use to a user whose home has failed so often. Those that are there already
/// fail too, up to [`MAX_KEYS_OF_USER`]: so it takes two dozen such users to have no room left.
const MAX_STUCK_OF_USER: usize = 8;
/// So that a second log-in soon after the first one needs no second line, and a clock that
/// is a little off shuts nobody out.
pub(super) const EXPIRY_SLACK: Duration = Duration::from_secs(60);
#[cfg(test)]
mod tests;
