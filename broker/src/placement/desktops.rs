//! On which of several servers is there a desktop to be watched?

use proto::{Desktop, Username};

/// What is known of one server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It has been asked, and may still answer.
    NotYet,
    /// Somebody else has announced one to this user there.
    OfOthers,
    /// This user has one there, and nobody else.
    OwnOnly,
    /// It has none, or did not say.
    NoDesktop,
}

/// What follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watched {
    /// One that would be preferred may still have one.
    Wait,
    /// The one to go to.
    On {
        /// Its place in the list.
        server_idx: usize,
    },
    /// None has one.
    Nowhere,
}

impl Heard {
    /// What a server has said to `user`.
    #[must_use]
    pub fn of(desktops: &[Desktop], user: &Username) -> Self {
        match desktops {
            [] => Self::NoDesktop,
            all if all.iter().any(|desktop| desktop.user != *user) => Self::OfOthers,
            _ => Self::OwnOnly,
        }
    }
}

/// Decides for the first of the `servers` where somebody else waits to be watched, since who
/// helps others has a desktop, too; else for the first that has any. As soon as that is certain.
#[must_use]
pub fn first_with_desktop(servers: &[Heard]) -> Watched {
    for (server_idx, heard) in servers.iter().enumerate() {
        match heard {
            Heard::OfOthers => return Watched::On { server_idx },
            Heard::NotYet => return Watched::Wait,
            Heard::OwnOnly | Heard::NoDesktop => {}
        }
    }
    let own = servers.iter().position(|heard| *heard == Heard::OwnOnly);
    own.map_or(Watched::Nowhere, |server_idx| Watched::On { server_idx })
}

#[cfg(test)]
mod tests {
    use proto::{Desktop, Username};

    use super::{Heard, Watched, first_with_desktop};

    #[test]
    fn desktops_of_others_come_before_ones_own_and_the_first_server_before_others() {
        let on = |server_idx| Watched::On { server_idx };
        // In the profile's order: `?` is asked, `y` has one of others, `o` one's own, `n` none.
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
            ("o", on(0)),
            ("no", on(1)),
            ("oo", on(0)),
            ("oy", on(1)),
            ("yo", on(0)),
            ("o?", Watched::Wait),
            ("o?y", Watched::Wait),
            ("on", on(0)),
        ];
        for (known, expected) in cases {
            let servers: Vec<Heard> = known
                .chars()
                .map(|known| match known {
                    '?' => Heard::NotYet,
                    'y' => Heard::OfOthers,
                    'o' => Heard::OwnOnly,
                    _ => Heard::NoDesktop,
                })
                .collect();
            assert_eq!(first_with_desktop(&servers), expected, "{known:?}");
        }
    }

    #[test]
    fn a_server_is_known_by_whose_desktops_it_has() {
        let alice = Username::parse("alice").unwrap();
        for (lines, heard) in [
            (&[][..], Heard::NoDesktop),
            (&["alice@:50", "alice@:51"], Heard::OwnOnly),
            (&["alice@:50", "bob@:78.0"], Heard::OfOthers),
        ] {
            let desktops: Vec<Desktop> = lines
                .iter()
                .map(|line| Desktop::parse(line).unwrap())
                .collect();
            assert_eq!(Heard::of(&desktops, &alice), heard, "{lines:?}");
        }
    }
}
