//! Which known word did the operator probably mean?

/// The known word that is nearest to this one, if it is near at all.
pub(super) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > MAX_WORD {
        return None;
    }
    let near = (word.chars().count() / 3).clamp(1, MOST_EDITS);
    let distances = known.map(|known| (distance(&plain(word), &plain(known)), known));
    let (edits, known) = distances.min()?;
    (edits <= near).then_some(known)
}

/// Case, and which of the joining characters it is, are the commonest mistakes.
fn plain(word: &str) -> Vec<char> {
    let lower = word.chars().flat_map(char::to_lowercase);
    lower
        .map(|c| if "_ .".contains(c) { '-' } else { c })
        .collect()
}

/// How many letters must be added, removed, replaced or swapped with their neighbour.
fn distance(from: &[char], to: &[char]) -> usize {
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for (row, &a) in from.iter().enumerate() {
        let mut current = vec![row + 1];
        for (column, &b) in to.iter().enumerate() {
            let at = |row: &[usize], column: usize| row.get(column).copied().unwrap_or(usize::MAX);
            let replaced = at(&last, column) + usize::from(a != b);
            let removed = at(&last, column + 1).saturating_add(1);
            let added = at(&current, column).saturating_add(1);
            let mut best = replaced.min(removed).min(added);
            let is_swap = row > 0
                && column > 0
                && from.get(row - 1) == Some(&b)
                && to.get(column - 1) == Some(&a);
            if is_swap {
                best = best.min(at(&before_last, column - 1).saturating_add(1));
            }
            current.push(best);
        }
        before_last = std::mem::replace(&mut last, current);
    }
    last.last().copied().unwrap_or_default()
}

/// A longer word is none that somebody mistyped; the work grows with its square.
const MAX_WORD: usize = 64;

/// Words further apart are different ones.
const MOST_EDITS: usize = 3;

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, proptest};

    use super::{distance, nearest};

    #[test]
    fn the_nearest_word_is_found_or_none() {
        let known = ["require-password", "require-cookie", "verify-ip", "seeds"];
        for (word, expected) in [
            ("requir-password", Some("require-password")),
            ("Require_Password", Some("require-password")),
            ("require-pasword", Some("require-password")),
            ("require-cookei", Some("require-cookie")),
            ("verify_ip", Some("verify-ip")),
            ("seed", Some("seeds")),
            ("x", None),
            ("", None),
            ("listen", None),
            (&"x".repeat(100), None),
        ] {
            assert_eq!(nearest(word, known.into_iter()), expected, "{word}");
        }
    }

    proptest! {
        #[test]
        fn the_distance_is_one(a in "[abc]{0,8}", b in "[abc]{0,8}") {
            let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
            let there = distance(&a, &b);
            prop_assert!((there == 0) == (a == b));
            prop_assert!(there == distance(&b, &a));
            prop_assert!(there <= a.len().max(b.len()));
            prop_assert!(there >= a.len().abs_diff(b.len()));
        }
    }
}
