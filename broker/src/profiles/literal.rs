//! What are the items of a list value: `a, b` or `['a', 'b']`?

/// Takes a list apart. Items are separated by commas and trimmed; the form in square
/// brackets holds quoted texts or plain words. (The original evaluates that form as
/// program text; here it is only taken apart.)
pub(super) fn list_items(text: &str) -> Vec<String> {
    let text = text.trim();
    let bracketed = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
    match bracketed {
        None if text.is_empty() => Vec::new(),
        Some(inner) => quoted_items(inner),
        None => text.split(',').map(|item| item.trim().to_owned()).collect(),
    }
}

/// Whether nothing but a list stands here. In brackets: words, and quoted texts without
/// backslashes, which Python would read as more than they are.
pub(super) fn is_plain_list(text: &str) -> bool {
    let text = text.trim();
    let inner = match (text.strip_prefix('['), text.ends_with(']')) {
        (None, ends) => return !ends,
        (Some(inner), true) => inner.strip_suffix(']').unwrap_or_default(),
        (Some(_), false) => return false,
    };
    let mut rest = inner.trim();
    while !rest.is_empty() {
        let (item, behind) = first_item(rest);
        let is_quoted = rest.starts_with(['\'', '"']);
        // Its quote must end, else the item is a piece of something else.
        if is_quoted && behind.len() + item.len() == rest.len() {
            return false;
        }
        let odd = |c: char| c == '\\' || (!is_quoted && "'\"[](){}".contains(c));
        let behind = behind.trim_start();
        // Behind a bare word its comma is gone already.
        let is_end = !is_quoted || behind.is_empty() || behind.starts_with(',');
        if item.chars().any(odd) || !is_end {
            return false;
        }
        rest = behind.strip_prefix(',').unwrap_or(behind).trim_start();
    }
    true
}

/// Items that are not empty.
pub(super) fn filled_items(text: &str) -> impl Iterator<Item = String> {
    list_items(text).into_iter().filter(|item| !item.is_empty())
}

fn quoted_items(text: &str) -> Vec<String> {
    let mut items = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (item, behind) = first_item(rest);
        items.push(item.to_owned());
        rest = behind.trim_start();
        rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
    }
    items
}

/// The first item and what follows it. At least one character is taken each time.
fn first_item(text: &str) -> (&str, &str) {
    for quote in ['\'', '"'] {
        let quoted = text.strip_prefix(quote);
        if let Some(pair) = quoted.and_then(|t| t.split_once(quote)) {
            return pair;
        }
    }
    match text.split_once(',') {
        Some((item, rest)) => (item.trim_end(), rest),
        None => (text, ""),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, proptest};

    use super::list_items;

    #[test]
    fn lists_are_taken_apart_as_the_original_does() {
        let cases: &[(&str, &[&str])] = &[
            // {json-listprofiles}: applications= is an empty list
            ("", &[]),
            ("s1", &["s1"]),
            ("s1, s2,s3", &["s1", "s2", "s3"]),
            ("s1,\ns2", &["s1", "s2"]),
            ("a,,b", &["a", "", "b"]),
            ("[]", &[]),
            ("['A','B']", &["A", "B"]),
            ("[ \"A, B\" , 'C', ]", &["A, B", "C"]),
            ("[1, 2]", &["1", "2"]),
            ("['open", &["['open"]),
            ("['open]", &["'open"]),
            ("[,]", &[""]),
        ];
        for (text, items) in cases {
            assert_eq!(list_items(text), *items, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_list_panics_or_grows(text in "\\PC{0,60}", odd in "[\\[\\]'\", ab]{0,30}") {
            for text in [&text, &odd] {
                let items = list_items(text);
                prop_assert!(items.len() <= text.len() + 1);
            }
        }
    }
}
