//! May this line be logged again? For lines that another member can cause at will.

use std::time::Duration;

use tokio::time::Instant;

/// Lets one line through per period and counts the others.
#[derive(Debug, Clone)]
pub(crate) struct Throttle {
    period: Duration,
    last: Option<Instant>,
    n_silent: u64,
}

impl Throttle {
    pub(crate) fn new(period: Duration) -> Self {
        Self {
            period,
            last: None,
            n_silent: 0,
        }
    }

    /// If a line may be logged now: how many were not, since the last one.
    pub(crate) fn may_log(&mut self, now: Instant) -> Option<u64> {
        if self
            .last
            .is_some_and(|last| now.saturating_duration_since(last) < self.period)
        {
            self.n_silent = self.n_silent.saturating_add(1);
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.n_silent))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::Throttle;

    #[tokio::test(start_paused = true)]
    async fn one_line_per_period_tells_how_many_were_silent() {
        let mut throttle = Throttle::new(Duration::from_secs(60));
        let start = Instant::now();
        let lines: Vec<_> = [0, 1, 59, 60, 61, 120, 121]
            .map(|second| throttle.may_log(start + Duration::from_secs(second)))
            .into();
        assert_eq!(lines, [Some(0), None, None, Some(2), None, Some(1), None]);
    }
}
