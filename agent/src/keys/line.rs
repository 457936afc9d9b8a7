//! How does the line look that lets a key in? Pure.

use std::net::IpAddr;
use std::time::Duration;

use proto::PublicKey;

/// Which restrictions a line has beyond those that every line has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineRules {
    /// `from="ADDRESS"`: sshd takes the key only from the address at which the broker saw
    /// the client. Of no use where a proxy or NAT stands before either of them.
    pub from: bool,
    /// `expiry-time="…Z"`: sshd takes the key no longer than that, also if nobody removes
    /// it. OpenSSH 9.1 and later; an older one refuses the whole line.
    pub expiry: bool,
}

/// What a line is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parts<'a> {
    pub(super) key: &'a PublicKey,
    pub(super) from: Option<IpAddr>,
    /// Since 1970-01-01 UTC.
    pub(super) expires: Option<Duration>,
    pub(super) mark: &'a str,
}

/// Writes the line. Of the options that a client gave to its key, those are kept that don't
/// keep X2Go from working: `no-agent-forwarding`. `no-X11-forwarding` and `no-user-rc` are
/// there in any case. `no-pty`, `no-port-forwarding` and `restrict` are left out: X2Go
/// Client checks its log-in on a pty, and a session is nothing but forwarded ports.
pub(super) fn build(parts: Parts<'_>) -> String {
    let mut options = "no-X11-forwarding,no-user-rc".to_owned();
    let is_kept = |option: &str| option.eq_ignore_ascii_case("no-agent-forwarding");
    if parts.key.options().any(is_kept) {
        options += ",no-agent-forwarding";
    }
    if let Some(address) = parts.from {
        options += &format!(",from=\"{address}\"");
    }
    if let Some(expires) = parts.expires {
        options += &format!(",expiry-time=\"{}\"", utc(expires));
    }
    format!("{options} {} {}", parts.key.without_options(), parts.mark)
}

/// A time as sshd(8) reads it: `YYYYMMDDHHMMSSZ`.
fn utc(since_epoch: Duration) -> String {
    let seconds = since_epoch.as_secs();
    let (days, second) = (seconds / DAY, seconds % DAY);
    // Days in eras of 400 years that begin on 1 March: then a leap day is a year's last.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next_year) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    let year = year + era * 400 + next_year;
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}Z")
}

const DAY: u64 = 24 * 3600;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::{prop_assert, proptest};
    use proto::PublicKey;

    use super::{Parts, build, utc};

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIII";
    const MARK: &str = "x2gobroker-temporary:s1:7:1";

    fn line(options: &str, from: Option<&str>, expires: Option<u64>) -> String {
        let key = PublicKey::parse(&format!("{options} {KEY} me@here")).unwrap();
        build(Parts {
            key: &key,
            from: from.map(|address| address.parse().unwrap()),
            expires: expires.map(Duration::from_secs),
            mark: MARK,
        })
    }

    #[test]
    fn a_line_has_the_agents_options_and_mark_and_nothing_of_the_clients_but_the_key() {
        let ours = "no-X11-forwarding,no-user-rc";
        // pyhoca-cli sends these three; x2goclient 4.1.2 needs a pty.
        let rows = [
            ("", ours.to_owned()),
            ("no-X11-forwarding,no-pty,no-user-rc", ours.to_owned()),
            ("restrict", ours.to_owned()),
            ("no-port-forwarding", ours.to_owned()),
            ("no-agent-forwarding", format!("{ours},no-agent-forwarding")),
        ];
        for (options, expected) in rows {
            assert_eq!(
                line(options, None, None),
                format!("{expected} {KEY} {MARK}"),
                "{options}"
            );
        }
        assert_eq!(
            line("", Some("10.77.0.20"), Some(1_795_323_503)),
            format!("{ours},from=\"10.77.0.20\",expiry-time=\"20261122045823Z\" {KEY} {MARK}")
        );
        assert!(line("", Some("fd77::20"), None).contains(",from=\"fd77::20\" "));
    }

    #[test]
    fn the_setuid_program_takes_such_a_line() {
        let line = line("", Some("fd77::20"), Some(1_795_323_503));
        assert!(shim::request::KeyLine::parse(line.as_bytes()).is_ok());
    }

    #[test]
    fn times_are_those_of_date() {
        // date -u -d @N +%Y%m%d%H%M%SZ
        for (seconds, expected) in [
            (0, "19700101000000Z"),
            (951_782_400, "20000229000000Z"),
            (951_868_799, "20000229235959Z"),
            (1_709_251_199, "20240229235959Z"),
            (1_735_689_599, "20241231235959Z"),
            (1_735_689_600, "20250101000000Z"),
            (4_107_542_400, "21000301000000Z"),
        ] {
            assert_eq!(utc(Duration::from_secs(seconds)), expected);
        }
    }

    proptest! {
        #[test]
        fn later_times_sort_later(a in 0u64..200_000_000_000, b in 0u64..200_000_000_000) {
            let text = |seconds| utc(Duration::from_secs(seconds));
            prop_assert!((a < b) == (text(a) < text(b)));
        }
    }
}
