//! How much of a listener may one source address take?

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::Semaphore;

use super::listener::ListenerLimits;

/// The unfinished handshakes of a listener, by source. There are never more sources in it
/// than unfinished handshakes.
#[derive(Debug)]
pub(super) struct Sources {
    by_address: HashMap<IpAddr, Source>,
    most_each: usize,
    slots_each: usize,
}

#[derive(Debug)]
struct Source {
    unfinished: usize,
    slots: Arc<Semaphore>,
}

impl Sources {
    /// One source gets at most half of everything, so that a single one that opens
    /// connections and stays silent never shuts out all others.
    pub(super) fn new(limits: &ListenerLimits) -> Self {
        Self {
            by_address: HashMap::new(),
            most_each: limits.unfinished.div_ceil(2),
            slots_each: limits.handshakes.div_ceil(2),
        }
    }

    /// Lets one more connection of `address` in, or says how many it may have. The
    /// semaphore bounds how many of them shake hands at the same time.
    pub(super) fn enter(&mut self, address: IpAddr) -> Result<Arc<Semaphore>, usize> {
        let slots_each = self.slots_each;
        let source = self.by_address.entry(address).or_insert_with(|| Source {
            unfinished: 0,
            slots: Arc::new(Semaphore::new(slots_each)),
        });
        if source.unfinished >= self.most_each {
            return Err(self.most_each);
        }
        source.unfinished += 1;
        Ok(source.slots.clone())
    }

    /// A connection that was let in is finished, well or badly.
    pub(super) fn leave(&mut self, address: IpAddr) {
        if let Some(source) = self.by_address.get_mut(&address) {
            source.unfinished = source.unfinished.saturating_sub(1);
            if source.unfinished == 0 {
                self.by_address.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::Sources;
    use crate::tls::ListenerLimits;

    #[test]
    fn one_source_gets_half_and_is_forgotten_when_it_left() {
        let limits = ListenerLimits {
            unfinished: 5,
            handshakes: 3,
            ..ListenerLimits::default()
        };
        let mut sources = Sources::new(&limits);
        let (a, b): (IpAddr, IpAddr) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        for _ in 0..3 {
            assert_eq!(sources.enter(a).unwrap().available_permits(), 2);
        }
        assert_eq!(sources.enter(a).unwrap_err(), 3);
        assert!(sources.enter(b).is_ok());
        sources.leave(a);
        assert!(sources.enter(a).is_ok());
        for _ in 0..3 {
            sources.leave(a);
        }
        sources.leave(b);
        sources.leave(b);
        assert!(sources.by_address.is_empty());
    }
}
