//! Which desktops can be watched? What x2golistdesktops(8) prints becomes a type here.

use std::fmt;

use crate::node::WireError;
use crate::{Username, v1};

/// A desktop that can be watched or worked on: an X display, and whose it is.
///
/// As x2golistdesktops(8) writes it: `alice@:50`, or with a screen, `bob@:0.0`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Desktop {
    /// Who is logged in there.
    pub user: Username,
    /// The number of the X display.
    pub display: u32,
    /// The number of its screen, if there is one.
    pub screen: Option<u32>,
}

/// A text that is no desktop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a desktop must be a user name, @: and the number of a display")]
pub struct DesktopError;

/// What a listing holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DesktopListing {
    /// The first [`MAX_DESKTOPS`] of them, in the order of the listing.
    pub desktops: Vec<Desktop>,
    /// How many lines could not be read. Whoever may announce a desktop chooses the name of
    /// a file, and that stands here: any text can come.
    pub n_odd: usize,
    /// How many more there were.
    pub n_left_out: usize,
}

impl Desktop {
    /// Reads a line of the listing.
    ///
    /// # Errors
    /// When it is anything else than a user name and a display of the same server.
    pub fn parse(line: &str) -> Result<Self, DesktopError> {
        // A user name may hold an @.
        let (user, place) = line.rsplit_once("@:").ok_or(DesktopError)?;
        let (display, screen) = match place.split_once('.') {
            Some((display, screen)) => (display, Some(number(screen)?)),
            None => (place, None),
        };
        Ok(Self {
            user: Username::parse(user).or(Err(DesktopError))?,
            display: number(display)?,
            screen,
        })
    }
}

impl DesktopListing {
    /// Reads what x2golistdesktops(8) prints. A line without an end was cut, and is odd.
    #[must_use]
    pub fn read(text: &[u8]) -> Self {
        let mut listing = Self::default();
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            let line = line.strip_suffix(b"\n");
            let line = line.and_then(|line| str::from_utf8(line).ok());
            match line.map(Desktop::parse) {
                Some(Ok(_)) if listing.desktops.len() >= MAX_DESKTOPS => listing.n_left_out += 1,
                Some(Ok(desktop)) => listing.desktops.push(desktop),
                Some(Err(DesktopError)) | None => listing.n_odd += 1,
            }
        }
        listing
    }
}

// `parse` alone would also take a sign.
fn number(text: &str) -> Result<u32, DesktopError> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|_| is_plain);
    number.ok_or(DesktopError)
}

impl fmt::Display for Desktop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@:{}", self.user, self.display)?;
        match self.screen {
            Some(screen) => write!(f, ".{screen}"),
            None => Ok(()),
        }
    }
}

impl From<Desktop> for v1::Desktop {
    fn from(desktop: Desktop) -> Self {
        Self {
            user: desktop.user.as_str().to_owned(),
            display: desktop.display,
            screen: desktop.screen,
        }
    }
}

impl TryFrom<v1::Desktop> for Desktop {
    type Error = WireError;

    fn try_from(wire: v1::Desktop) -> Result<Self, WireError> {
        Ok(Self {
            user: Username::parse(&wire.user).or(Err(WireError::new("Desktop", "user")))?,
            display: wire.display,
            screen: wire.screen,
        })
    }
}

/// More than the users of one server; whoever helps them sees all that they have announced.
pub const MAX_DESKTOPS: usize = 1000;

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, proptest};

    use super::{Desktop, DesktopListing, MAX_DESKTOPS};
    use crate::{Username, v1};

    fn desktop(user: &str, display: u32, screen: Option<u32>) -> Desktop {
        Desktop {
            user: Username::parse(user).unwrap(),
            display,
            screen,
        }
    }

    #[test]
    fn lines_of_x2golistdesktops_are_read() {
        // Seen in a lab: sessions of the user's own, and what x2godesktopsharing announced
        // that was started with DISPLAY=:78 and with DISPLAY=:78.0.
        let cases = [
            ("alice@:51", desktop("alice", 51, None)),
            ("bob@:78", desktop("bob", 78, None)),
            ("bob@:78.0", desktop("bob", 78, Some(0))),
            ("doe@example.org@:50", desktop("doe@example.org", 50, None)),
        ];
        for (line, expected) in cases {
            let read = Desktop::parse(line);
            assert_eq!(read.as_ref(), Ok(&expected), "{line}");
            assert_eq!(expected.to_string(), line);
            assert_eq!(
                Desktop::try_from(v1::Desktop::from(expected.clone())),
                Ok(expected)
            );
        }
    }

    #[test]
    fn a_line_that_is_no_desktop_is_refused() {
        // Those with $, | and too many letters came out of x2golistdesktops in a lab, after
        // somebody had given files such names.
        for line in [
            "",
            "alice",
            "alice@",
            "alice@:",
            "@:50",
            "alice@s2:50",
            "alice@:50.",
            "alice@:.0",
            "alice@:+5",
            "alice@:-1",
            "alice@:50 ",
            "alice@:4294967296",
            "alice@:50.0.0",
            "$(id)@:97",
            "a b|c@:98",
            "carol@:notnum",
            "../x@:1",
            "-x@:1",
        ] {
            assert!(Desktop::parse(line).is_err(), "{line:?}");
        }
        let long = format!("{}@:95", "z".repeat(70));
        assert!(Desktop::parse(&long).is_err());
    }

    #[test]
    fn an_odd_line_never_drops_the_listing() {
        let text = b"alice@:51\n$(id)@:97\n\xff\n\nbob@:78\ncarol@:7";
        let listing = DesktopListing::read(text);
        let desktops = vec![desktop("alice", 51, None), desktop("bob", 78, None)];
        let expected = DesktopListing {
            desktops,
            n_odd: 4,
            n_left_out: 0,
        };
        // The last line has no end: it may have been that of display 77.
        assert_eq!(listing, expected);
        assert_eq!(DesktopListing::read(b""), DesktopListing::default());
    }

    #[test]
    fn a_listing_has_a_bounded_number_of_entries() {
        let text: String = (0..MAX_DESKTOPS + 3).map(|n| format!("a@:{n}\n")).collect();
        let listing = DesktopListing::read(text.as_bytes());
        assert_eq!(listing.desktops.len(), MAX_DESKTOPS);
        assert_eq!(listing.n_left_out, 3);
    }

    proptest! {
        #[test]
        fn no_bytes_stop_the_reader(text in prop::collection::vec(any::<u8>(), 0..200)) {
            let listing = DesktopListing::read(&text);
            let n_lines = text.split_inclusive(|byte| *byte == b'\n').count();
            prop_assert_eq!(listing.desktops.len() + listing.n_odd, n_lines);
        }

        #[test]
        fn what_is_read_is_written_as_it_was(line in "[a-z@.]{0,8}@:[0-9]{0,3}(\\.[0-9])?") {
            if let Ok(desktop) = Desktop::parse(&line) {
                let again = Desktop::parse(&desktop.to_string());
                prop_assert!(again == Ok(desktop));
            }
        }
    }
}
