//! The `|` line of `x2golistsessions`, which X2Go clients read as `SESSION_INFO:`.

use std::fmt;

use super::{SessionId, SessionState};
use crate::{Secret, Session, Username};

/// One session with all that a client needs to resume it.
///
/// Holds the X cookie, so it travels only as the answer to the broker that resumes, and
/// `Debug` shows dots for it. Texts hold neither `|` nor line ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRecord {
    /// Pid of the session's X2Go agent process (field 1).
    pub session_agent_pid: u32,
    /// The server's name of the session (field 2).
    pub id: SessionId,
    /// X display number (field 3).
    pub display: u32,
    /// Host name of its server (field 4). X2Go Client resumes at this name.
    pub server: String,
    /// Running or suspended (field 5).
    pub state: SessionState,
    /// When it started, in the server's words: `2026-11-22T04:58:23` (field 6).
    pub started_at: String,
    /// X authority cookie (field 7).
    pub cookie: Secret,
    /// Address of its last client (field 8).
    pub client: String,
    /// Port of the graphics channel (field 9).
    pub graphics_port: u32,
    /// Port of the sound channel (field 10).
    pub sound_port: u32,
    /// When its state was last written (field 11).
    pub last_seen_at: String,
    /// Whose it is (field 12).
    pub user: Username,
    /// Seconds since it started (field 13).
    pub age_seconds: u64,
    /// Port of the file-sharing channel (field 14).
    pub sshfs_port: Option<u32>,
    /// Two ports that only SQLite databases list (fields 15 and 16); -1 is none.
    pub tekictrl_and_tekidata_ports: Option<(i32, i32)>,
}

/// Why a line is not a session record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// 14 fields with PostgreSQL, 16 with SQLite.
    #[error("a session record has {found} fields, not 14 or 16")]
    FieldCount {
        /// How many there were.
        found: usize,
    },
    /// One field can't be right.
    #[error("field {number} of a session record ({name}) can't be read")]
    Field {
        /// Counted from 1, as x2golistsessions(8) does.
        number: usize,
        /// What it should hold.
        name: &'static str,
    },
}

impl SessionRecord {
    /// What everybody may know of it.
    #[must_use]
    pub fn summary(&self) -> Session {
        Session {
            id: self.id.clone(),
            user: self.user.clone(),
            state: self.state,
            starting: false,
            client_order: None,
        }
    }

    /// Reads a line without its line end.
    ///
    /// # Errors
    /// When fields are missing or can't be read.
    pub fn parse(line: &str) -> Result<Self, RecordError> {
        let fields: Vec<&str> = line.split('|').collect();
        let found = fields.len();
        if found != 14 && found != 16 {
            return Err(RecordError::FieldCount { found });
        }
        let reader = Fields(&fields);
        let state = match reader.text(5, "state")?.as_str() {
            "R" => SessionState::Running,
            "S" => SessionState::Suspended,
            _ => {
                return Err(RecordError::Field {
                    number: 5,
                    name: "state",
                });
            }
        };
        let id = SessionId::parse(&reader.text(2, "session ID")?).or(Err(RecordError::Field {
            number: 2,
            name: "session ID",
        }))?;
        let user = Username::parse(&reader.text(12, "user")?).or(Err(RecordError::Field {
            number: 12,
            name: "user",
        }))?;
        let sshfs_port = match reader.text(14, "sshfs port")?.as_str() {
            "" => None,
            _ => Some(reader.number(14, "sshfs port")?),
        };
        let teki = if found == 16 {
            Some((
                reader.number(15, "tekictrl port")?,
                reader.number(16, "tekidata port")?,
            ))
        } else {
            None
        };
        Ok(Self {
            session_agent_pid: reader.number(1, "agent pid")?,
            id,
            display: reader.number(3, "display")?,
            server: reader.text(4, "server")?,
            state,
            started_at: reader.text(6, "start time")?,
            cookie: Secret::new(reader.text(7, "cookie")?),
            client: reader.text(8, "client")?,
            graphics_port: reader.number(9, "graphics port")?,
            sound_port: reader.number(10, "sound port")?,
            last_seen_at: reader.text(11, "last time")?,
            user,
            age_seconds: reader.number(13, "age")?,
            sshfs_port,
            tekictrl_and_tekidata_ports: teki,
        })
    }

    /// Writes the line, without a line end, for a client that is told to connect to
    /// `server`: X2Go Client resumes at field 4, so it must be the address handed out.
    #[must_use]
    pub fn line_for<'a>(&'a self, server: &'a str) -> impl fmt::Display + 'a {
        Line {
            record: self,
            server,
        }
    }
}

struct Fields<'a>(&'a [&'a str]);

impl Fields<'_> {
    fn text(&self, number: usize, name: &'static str) -> Result<String, RecordError> {
        let field = number.checked_sub(1).and_then(|idx| self.0.get(idx));
        let text = field.ok_or(RecordError::Field { number, name })?;
        if text.chars().any(char::is_control) {
            return Err(RecordError::Field { number, name });
        }
        Ok((*text).to_owned())
    }

    fn number<N: std::str::FromStr>(
        &self,
        number: usize,
        name: &'static str,
    ) -> Result<N, RecordError> {
        self.text(number, name)?
            .parse()
            .or(Err(RecordError::Field { number, name }))
    }
}

struct Line<'a> {
    record: &'a SessionRecord,
    server: &'a str,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let r = self.record;
        write!(
            f,
            "{}|{}|{}|{}|",
            r.session_agent_pid, r.id, r.display, self.server
        )?;
        write!(
            f,
            "{}|{}|{}|",
            r.state.letter(),
            r.started_at,
            r.cookie.expose()
        )?;
        write!(f, "{}|{}|{}|", r.client, r.graphics_port, r.sound_port)?;
        write!(f, "{}|{}|{}|", r.last_seen_at, r.user, r.age_seconds)?;
        if let Some(port) = r.sshfs_port {
            write!(f, "{port}")?;
        }
        if let Some((control, data)) = r.tekictrl_and_tekidata_ports {
            write!(f, "|{control}|{data}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Strategy, any, prop_assert_eq, proptest};

    use super::{RecordError, SessionRecord};

    // Recorded from x2golistsessions of x2goserver 4.1.0.3: PostgreSQL, then SQLite.
    const FOURTEEN: &str = "2245|alice-50-1795323502_stRTERMINAL_dp24|50|s1|S|2026-11-22T04:58:23|7f6f58b8d2090b344f5dfddadaf20900|10.77.0.20|49024|49025|2026-11-22T04:58:39|alice|34|49026";
    const SIXTEEN: &str = "2245|alice-50-1795323502_stRTERMINAL_dp24|50|s1|S|2026-11-22T04:58:23|7f6f58b8d2090b344f5dfddadaf20900|10.77.0.20|49024|49025|2026-11-22T04:58:39|alice|34|49026|-1|-1";

    #[test]
    fn both_lines_of_x2goserver_come_back_byte_for_byte() {
        for line in [FOURTEEN, SIXTEEN] {
            let record = SessionRecord::parse(line).unwrap();
            assert_eq!(record.line_for(&record.server).to_string(), line);
        }
    }

    #[test]
    fn the_line_names_the_address_that_was_handed_out() {
        let record = SessionRecord::parse(FOURTEEN).unwrap();
        let line = record.line_for("10.77.0.101").to_string();
        assert_eq!(line.split('|').nth(3), Some("10.77.0.101"));
    }

    #[test]
    fn the_cookie_is_not_in_debug_output() {
        let record = SessionRecord::parse(FOURTEEN).unwrap();
        assert!(!format!("{record:?}").contains("7f6f58b8"));
    }

    #[test]
    fn odd_lines_are_refused_with_the_field_that_is_odd() {
        let with = |number: usize, value: &str| {
            let mut fields: Vec<&str> = FOURTEEN.split('|').collect();
            fields[number - 1] = value;
            SessionRecord::parse(&fields.join("|")).unwrap_err()
        };
        assert_eq!(
            SessionRecord::parse("").unwrap_err(),
            RecordError::FieldCount { found: 1 }
        );
        assert_eq!(
            with(1, ""),
            RecordError::Field {
                number: 1,
                name: "agent pid"
            }
        );
        assert_eq!(
            with(2, "a b"),
            RecordError::Field {
                number: 2,
                name: "session ID"
            }
        );
        assert_eq!(
            with(5, "T"),
            RecordError::Field {
                number: 5,
                name: "state"
            }
        );
        assert_eq!(
            with(9, "-1"),
            RecordError::Field {
                number: 9,
                name: "graphics port"
            }
        );
        assert_eq!(
            with(12, "../x"),
            RecordError::Field {
                number: 12,
                name: "user"
            }
        );
    }

    /// Mostly good lines: each field is now and then replaced by odd text.
    fn lines() -> impl Strategy<Value = String> {
        let odd = proptest::option::weighted(0.05, "[ -~]{0,12}");
        let odd_fields = proptest::collection::vec(odd, 16);
        (odd_fields, any::<u16>(), any::<bool>()).prop_map(|(odd, number, sqlite)| {
            let fields = SIXTEEN.split('|').zip(odd).map(|(good, odd)| {
                odd.unwrap_or_else(|| good.replace("49024", &number.to_string()))
            });
            fields
                .take(if sqlite { 16 } else { 14 })
                .collect::<Vec<_>>()
                .join("|")
        })
    }

    proptest! {
        #[test]
        fn no_line_panics_and_a_good_one_comes_back(line in lines()) {
            if let Ok(record) = SessionRecord::parse(&line) {
                let again = record.line_for(&record.server).to_string();
                prop_assert_eq!(SessionRecord::parse(&again), Ok(record));
            }
        }
    }
}
