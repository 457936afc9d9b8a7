//! How often are refusals told, so that nobody fills the log with theirs?

use std::time::Duration;

use tokio::time::Instant;
use tracing::warn;

/// Tells of refused connections at most once in a while, with their number.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    told: Option<Instant>,
    n_untold: u64,
}

impl Refusals {
    /// One more, of this user.
    pub(super) fn tell(&mut self, uid: u32) {
        if let Some(n_refused) = self.due() {
            warn!(uid, n_refused, "too many requests over SSH at once");
        }
    }

    /// How many to tell of, if it is time.
    fn due(&mut self) -> Option<u64> {
        self.n_untold += 1;
        if self.told.is_some_and(|told| told.elapsed() < EACH) {
            return None;
        }
        self.told = Some(Instant::now());
        Some(std::mem::take(&mut self.n_untold))
    }
}

/// Enough to see that it goes on.
const EACH: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::{EACH, Refusals};

    #[tokio::test(start_paused = true)]
    async fn many_refusals_are_one_line_with_their_number() {
        let mut refusals = Refusals::default();
        assert_eq!(refusals.due(), Some(1));
        for _ in 0..1000 {
            assert_eq!(refusals.due(), None);
        }
        tokio::time::advance(EACH).await;
        assert_eq!(refusals.due(), Some(1001));
        assert_eq!(refusals.due(), None);
    }
}
