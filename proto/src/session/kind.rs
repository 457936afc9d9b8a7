//! What does a session show? Its ID says so.

use std::fmt;

use super::{Session, SessionId};
use crate::Username;

/// What a session shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SessionKind {
    /// `D`: a desktop of its own.
    Desktop,
    /// `R`: the windows of an application.
    Rootless,
    /// `S`: a desktop that is there already, to watch it or to work on it.
    Shadow,
}

/// What the ID of a session tells.
struct Parts {
    display: u32,
    kind: Option<SessionKind>,
}

impl Parts {
    /// Reads the ID of a session of `user`; none if it is not made as x2goserver makes them.
    // x2gostartagent(8): the session type is D, R or S. The lab: USER-DISPLAY-TIME_stTYPE…
    fn of(id: &SessionId, user: &Username) -> Option<Self> {
        // The user's own name, and what stands after the type, may look like anything.
        let rest = id.as_str().strip_prefix(user.as_str())?.strip_prefix('-')?;
        let (numbers, kind) = rest.split_once('_')?;
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let (display, time) = numbers.split_once('-')?;
        if !(is_number(display) && is_number(time)) {
            return None;
        }
        Some(Self {
            display: display.parse().ok()?,
            kind: match kind.strip_prefix("st")?.bytes().next() {
                Some(b'D') => Some(SessionKind::Desktop),
                Some(b'R') => Some(SessionKind::Rootless),
                Some(b'S') => Some(SessionKind::Shadow),
                _ => None,
            },
        })
    }
}

impl fmt::Display for SessionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Desktop => "desktop",
            Self::Rootless => "rootless",
            Self::Shadow => "shadow",
        })
    }
}

impl Session {
    /// What it shows; none if its ID names no known kind.
    #[must_use]
    pub fn kind(&self) -> Option<SessionKind> {
        Parts::of(&self.id, &self.user)?.kind
    }

    /// The number of its X display, as its ID says.
    #[must_use]
    pub fn display(&self) -> Option<u32> {
        Parts::of(&self.id, &self.user).map(|parts| parts.display)
    }
}

#[cfg(test)]
mod tests {
    use super::{Parts, SessionKind};
    use crate::{SessionId, Username};

    #[test]
    fn the_kind_is_the_letter_after_the_numbers() {
        use SessionKind::{Desktop, Rootless, Shadow};
        let cases = [
            ("alice", "alice-50-1795886231_stRxterm_dp24", Some(Rootless)),
            ("alice", "alice-51-1795886231_stDxterm_dp24", Some(Desktop)),
            // Seen in a lab: alice works on what is on her own display 51.
            (
                "alice",
                "alice-52-1795886378_stS1XSHADaliceXSHADPP51_dp24",
                Some(Shadow),
            ),
            // Names and commands that look like a kind themselves.
            ("a_stSb", "a_stSb-50-1_stDMATE_dp24", Some(Desktop)),
            ("a-1-2_stS", "a-1-2_stS-50-1_stDMATE_dp24", Some(Desktop)),
            ("alice", "alice-50-1_stR-1-2_stS", Some(Rootless)),
            ("alice", "bob-51-1_stSx_dp24", None),
            ("alice", "alice-51-1_stX", None),
            ("alice", "alice-51-1_st", None),
            ("alice", "alice-51-_stS", None),
            ("alice", "alice-x-1_stS", None),
            ("alice", "alice-51-1_xxS", None),
            ("alice", "alice", None),
        ];
        for (user, id, expected) in cases {
            let user = Username::parse(user).unwrap();
            let parts = Parts::of(&SessionId::parse(id).unwrap(), &user);
            assert_eq!(parts.and_then(|parts| parts.kind), expected, "{id}");
        }
    }

    #[test]
    fn the_display_is_the_first_number() {
        let cases = [
            ("alice-52-1795886378_stS1XSHADaliceXSHADPP51_dp24", Some(52)),
            ("alice-51-1_stX", Some(51)),
            ("alice-4294967296-1_stD", None),
            ("alice-51-1", None),
        ];
        for (id, expected) in cases {
            let user = Username::parse("alice").unwrap();
            let parts = Parts::of(&SessionId::parse(id).unwrap(), &user);
            assert_eq!(parts.map(|parts| parts.display), expected, "{id}");
        }
    }
}
