//! A number that another member can't guess, without a crate for it.

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// A new number each time. Unpredictable without the keys, which the standard library
/// takes from the system once per process. Not for keys or passwords.
pub(crate) fn unguessable() -> u64 {
    static KEYS: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    static COUNT: AtomicU64 = AtomicU64::new(0);
    KEYS.hash_one(COUNT.fetch_add(1, Ordering::Relaxed))
}

/// A fraction from 0 to almost 1.
pub(crate) fn fraction() -> f64 {
    // The upper 32 bits are as random as all, and every u32 is a float.
    let upper = u32::try_from(unguessable() >> 32).unwrap_or(u32::MAX);
    f64::from(upper) / (f64::from(u32::MAX) + 1.0)
}

/// An index into something of this length; none if it is empty.
pub(crate) fn index(length: usize) -> Option<usize> {
    let length = u64::try_from(length).ok()?;
    usize::try_from(unguessable().checked_rem(length)?).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{fraction, unguessable};

    #[test]
    fn numbers_do_not_repeat_and_fractions_spread() {
        let numbers: BTreeSet<_> = (0..1000).map(|_| unguessable()).collect();
        assert_eq!(numbers.len(), 1000);
        let fractions: Vec<_> = (0..1000).map(|_| fraction()).collect();
        assert!(fractions.iter().all(|f| (0.0..1.0).contains(f)));
        let low = fractions.iter().filter(|f| **f < 0.5).count();
        assert!((400..600).contains(&low), "{low} of 1000 in the lower half");
    }
}
