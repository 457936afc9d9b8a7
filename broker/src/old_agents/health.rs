//! Does an old agent answer? What each answer, and each silence, says of it.
//!
//! A log-in that asks an agent which does not answer waits for nothing, so such an agent is
//! passed over. That ends by an answer, never by time: else log-ins would find out again and
//! again. What hangs may be the agent, or what it needs to tell of a user: the homes, or the
//! session database. Of that no ping says anything, only a listing does.

use std::collections::VecDeque;
use std::time::Duration;

use proto::Username;
use tokio::time::Instant;

use super::call::Call;

/// What is known of one old agent. Times come from outside.
#[derive(Clone, Debug, Default)]
pub(super) struct Health {
    /// When it said anything at all, a no as well.
    answered_at: Option<Instant>,
    /// When it listed anybody's sessions.
    listed_at: Option<Instant>,
    /// Nothing came about this user, and nobody's sessions were listed since.
    silent_about: Option<Username>,
    passed_over: Option<Why>,
    /// Whose sessions it listed last, the latest first.
    listed: VecDeque<Username>,
    n_probes: usize,
}

/// Why an agent is passed over.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Why {
    /// It can't be talked to at all.
    Away,
    /// It was silent about two users, of whom this is the second.
    SilentAbout(Username),
}

/// What became of one call.
#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    /// It did what it was to do.
    Answered,
    /// It said no, or too much.
    Refused,
    /// Nothing came in that time. `connected`: as far as can be seen, the server is there.
    Silent { limit: Duration, connected: bool },
    /// The program can't be started or reached.
    Away,
}

/// What an event changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Nothing,
    /// A ping must show whether the agent is there.
    Doubtful,
    /// It is passed over from now on.
    PassedOver,
    /// It is asked again.
    Back,
}

impl Health {
    /// Notes what became of a call.
    pub(super) fn take(&mut self, call: &Call, event: Event, now: Instant) -> Verdict {
        match event {
            Event::Answered => self.answered(call, now),
            Event::Refused => self.refused(call, now),
            Event::Silent { limit, connected } => self.silent(call, limit, connected, now),
            Event::Away => self.pass_over(Why::Away),
        }
    }

    pub(super) fn is_passed_over(&self) -> bool {
        self.passed_over.is_some()
    }

    #[cfg(test)]
    pub(super) fn has_answered(&self) -> bool {
        self.answered_at.is_some()
    }

    /// Somebody who has an account there.
    pub(super) fn known_user(&self) -> Option<&Username> {
        self.listed.front()
    }

    /// The call whose answer would end the passing over. Where users are concerned it is
    /// about one after the other, since the home of one may hang for a reason of its own.
    pub(super) fn next_probe(&mut self) -> Option<Call> {
        if *self.passed_over.as_ref()? == Why::Away {
            return Some(Call::Ping);
        }
        let n_probes = self.n_probes;
        let users: Vec<&Username> = self.probed_users().collect();
        let user = (*users.get(n_probes.checked_rem(users.len())?)?).clone();
        self.n_probes = n_probes.wrapping_add(1);
        Some(Call::ListSessions(user))
    }

    /// Those who were listed before, then those about whom nothing came.
    fn probed_users(&self) -> impl Iterator<Item = &Username> {
        let second = match &self.passed_over {
            Some(Why::SilentAbout(user)) => Some(user),
            Some(Why::Away) | None => None,
        };
        let silent = self.silent_about.iter().chain(second);
        let silent = silent.filter(|user| !self.listed.contains(user));
        self.listed.iter().chain(silent)
    }

    fn answered(&mut self, call: &Call, now: Instant) -> Verdict {
        self.answered_at = Some(now);
        let Call::ListSessions(user) = call else {
            return self.is_there();
        };
        self.listed_at = Some(now);
        self.silent_about = None;
        self.listed.retain(|known| known != user);
        self.listed.push_front(user.clone());
        self.listed.truncate(MAX_LISTED);
        self.back()
    }

    /// A no comes soon, so nobody waits for it. But one about somebody who has no account
    /// there says nothing of homes and the database.
    fn refused(&mut self, call: &Call, now: Instant) -> Verdict {
        self.answered_at = Some(now);
        if let Call::ListSessions(user) = call
            && self.probed_users().any(|probed| probed == user)
        {
            self.listed.retain(|known| known != user);
            return self.back();
        }
        self.is_there()
    }

    fn silent(&mut self, call: &Call, limit: Duration, connected: bool, now: Instant) -> Verdict {
        let lately =
            |at: Option<Instant>| at.is_some_and(|at| now.saturating_duration_since(at) < limit);
        let Some(user) = call.user() else {
            if lately(self.answered_at) {
                return Verdict::Nothing;
            }
            return self.pass_over(Why::Away);
        };
        // Others were listed meanwhile, so it is this user's matter.
        if lately(self.listed_at) || self.is_passed_over() {
            return Verdict::Nothing;
        }
        if !connected {
            return self.pass_over(Why::Away);
        }
        match &self.silent_about {
            Some(first) if first != user => self.pass_over(Why::SilentAbout(user.clone())),
            _ => {
                self.silent_about = Some(user.clone());
                Verdict::Doubtful
            }
        }
    }

    /// The first reason stays: a ping that fails as well is not undone by one that comes back.
    fn pass_over(&mut self, why: Why) -> Verdict {
        if self.is_passed_over() {
            return Verdict::Nothing;
        }
        self.passed_over = Some(why);
        Verdict::PassedOver
    }

    fn is_there(&mut self) -> Verdict {
        match self.passed_over {
            Some(Why::Away) => self.back(),
            Some(Why::SilentAbout(_)) | None => Verdict::Nothing,
        }
    }

    fn back(&mut self) -> Verdict {
        match self.passed_over.take() {
            Some(_) => Verdict::Back,
            None => Verdict::Nothing,
        }
    }
}

/// Enough that not the homes of all of them hang each for a reason of its own.
const MAX_LISTED: usize = 3;

#[cfg(test)]
mod tests;
