//! On which of several servers is there a desktop to be watched?

/// What is known of one server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It has been asked, and may still answer.
    NotYet,
    /// It has at least one for this user.
    ADesktop,
    /// It has none, or did not say.
    NoDesktop,
}

/// What follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watched {
    /// One that comes before all that have one may still have one.
    Wait,
    /// The first that has one.
    On {
        /// Its place in the list.
        server_idx: usize,
    },
    /// None has one.
    Nowhere,
}

/// Decides for the first of the `servers` that has a desktop, as soon as that is certain.
#[must_use]
pub fn first_with_desktop(servers: &[Heard]) -> Watched {
    let first = servers.iter().position(|heard| *heard != Heard::NoDesktop);
    match first.and_then(|server_idx| Some((server_idx, servers.get(server_idx)?))) {
        Some((server_idx, Heard::ADesktop)) => Watched::On { server_idx },
        Some((_, Heard::NotYet)) => Watched::Wait,
        Some((_, Heard::NoDesktop)) | None => Watched::Nowhere,
    }
}

#[cfg(test)]
mod tests {
    use super::{Heard, Watched, first_with_desktop};

    #[test]
    fn the_first_server_with_a_desktop_is_named_as_soon_as_none_before_it_can_be() {
        let on = |server_idx| Watched::On { server_idx };
        // In the profile's order: `?` is asked, `y` has one, `n` has none or is silent.
        let cases = [
            ("", Watched::Nowhere),
            ("n", Watched::Nowhere),
            ("nnn", Watched::Nowhere),
            ("y", on(0)),
            ("ny", on(1)),
            ("nyy", on(1)),
            ("yny", on(0)),
            ("y?", on(0)),
            ("ny?", on(1)),
            ("?", Watched::Wait),
            ("?y", Watched::Wait),
            ("n?y", Watched::Wait),
            ("nn?", Watched::Wait),
        ];
        for (known, expected) in cases {
            let servers: Vec<Heard> = known
                .chars()
                .map(|known| match known {
                    '?' => Heard::NotYet,
                    'y' => Heard::ADesktop,
                    _ => Heard::NoDesktop,
                })
                .collect();
            assert_eq!(first_with_desktop(&servers), expected, "{known:?}");
        }
    }
}
