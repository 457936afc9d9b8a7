//! Whose account is looked up next? Nothing here waits.
//!
//! A name service may take its time, and only a few are asked at once. Who comes meanwhile
//! waits for a turn, unless far too many do.

use std::collections::VecDeque;

use proto::{KeyGrant, KeyOutcome, Username};
use tokio::sync::oneshot;

/// A request that waits for what the name service says of its user.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) user: Username,
    pub(super) grant: KeyGrant,
    pub(super) answer: oneshot::Sender<KeyOutcome>,
}

/// The look-ups under way, and those that wait.
#[derive(Debug, Default)]
pub(super) struct LookUps {
    n_under_way: usize,
    waiting: VecDeque<Asked>,
}

/// So many wait already.
#[derive(Debug)]
pub(super) struct Full(pub(super) Asked);

impl LookUps {
    /// Takes a request. It is returned when it is to be looked up now, and waits otherwise.
    pub(super) fn ask(&mut self, asked: Asked) -> Result<Option<Asked>, Full> {
        if self.n_under_way < MAX_UNDER_WAY {
            self.n_under_way += 1;
            return Ok(Some(asked));
        }
        if self.waiting.len() >= MAX_WAITING {
            self.waiting.retain(|asked| !asked.answer.is_closed());
        }
        if self.waiting.len() >= MAX_WAITING {
            return Err(Full(asked));
        }
        self.waiting.push_back(asked);
        Ok(None)
    }

    /// A look-up has ended. Returns the request that is looked up in its place.
    pub(super) fn ended(&mut self) -> Option<Asked> {
        self.n_under_way = self.n_under_way.saturating_sub(1);
        while let Some(asked) = self.waiting.pop_front() {
            // Who has given up needs none.
            if !asked.answer.is_closed() {
                self.n_under_way += 1;
                return Some(asked);
            }
        }
        None
    }
}

/// Name services block, and other things want the agent's few threads, too.
const MAX_UNDER_WAY: usize = 3;
/// A room of kiosks is switched on at once. Each waits for two seconds at most.
const MAX_WAITING: usize = 256;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proto::{KeyFile, KeyGrant, KeyOutcome, PublicKey, Username};
    use tokio::sync::oneshot;

    use super::{Asked, Full, LookUps, MAX_UNDER_WAY, MAX_WAITING};

    fn asked(number: usize) -> (Asked, oneshot::Receiver<KeyOutcome>) {
        let (answer, receiver) = oneshot::channel();
        let key = format!("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAII{}I", "A".repeat(41));
        let grant = KeyGrant {
            key: PublicKey::parse(&key).unwrap(),
            client: None,
            file: KeyFile::default(),
            life: Duration::from_secs(20),
        };
        let user = Username::parse(&format!("user{number}")).unwrap();
        let asked = Asked {
            user,
            grant,
            answer,
        };
        (asked, receiver)
    }

    #[test]
    fn of_twenty_at_once_a_few_are_looked_up_and_the_others_after_them_in_their_order() {
        let mut look_ups = LookUps::default();
        let mut receivers = Vec::new();
        let mut begun = Vec::new();
        for number in 0..20 {
            let (asked, receiver) = asked(number);
            receivers.push(receiver);
            begun.extend(look_ups.ask(asked).unwrap());
        }
        assert_eq!(begun.len(), MAX_UNDER_WAY);
        // Two of them don't wait any more.
        receivers.drain(5..7);
        while let Some(next) = look_ups.ended() {
            begun.push(next);
        }
        let names: Vec<String> = begun.iter().map(|asked| asked.user.to_string()).collect();
        let expected: Vec<String> = (0..20)
            .filter(|number| !(5..7).contains(number))
            .map(|number| format!("user{number}"))
            .collect();
        assert_eq!(names, expected);
        // As many places are free as before.
        for _ in 1..MAX_UNDER_WAY {
            assert!(look_ups.ended().is_none());
        }
        let (asked, _receiver) = asked(20);
        assert!(look_ups.ask(asked).unwrap().is_some());
    }

    #[test]
    fn who_comes_when_too_many_wait_is_told_so_unless_some_have_given_up() {
        let mut look_ups = LookUps::default();
        let mut receivers = Vec::new();
        for number in 0..MAX_UNDER_WAY + MAX_WAITING {
            let (asked, receiver) = asked(number);
            receivers.push(receiver);
            look_ups.ask(asked).unwrap();
        }
        let (late, _receiver) = asked(9999);
        let Err(Full(late)) = look_ups.ask(late) else {
            panic!("it is taken");
        };
        receivers.pop();
        assert!(look_ups.ask(late).unwrap().is_none());
    }
}
