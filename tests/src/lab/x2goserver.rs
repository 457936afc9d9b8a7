//! How does a host become an X2Go server, and which sessions does it have?

use std::time::Duration;

use anyhow::Context as _;

use super::{HostName, Lab};
use crate::wait::{Progress, wait_for};

/// A session in an X2Go server's session database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedSession {
    /// The X2Go server that has it.
    pub server: HostName,
    /// The session ID.
    pub id: String,
    /// The state: `R` running, `S` suspended, `T` to be terminated, `F` finished.
    pub state: String,
    /// Whether it has started: the pid and the cookie are there.
    pub started: bool,
}

impl Lab {
    /// Returns the sessions of `user` in the session database of one server. Looking
    /// changes nothing, unlike [`Self::x2golistsessions`], so this is what waits look at.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn sessions(&self, server: HostName, user: &str) -> anyhow::Result<Vec<ListedSession>> {
        if self.has_one_database() {
            return self.shared_sessions(server, user);
        }
        // In the host: SQLite would follow a path below /proc/PID/root to this machine's.
        let query = SESSIONS_OF_USER.replace("USER", &user.replace('\'', "''"));
        let ask = [
            "sqlite3",
            "-readonly",
            "-cmd",
            BUSY_LIMIT,
            SESSION_DATABASE,
            &query,
        ];
        let rows = self.exec(server, "root", &ask)?;
        Ok(rows.lines().filter_map(|row| stored(server, row)).collect())
    }

    /// Returns what x2golistsessions(8) shows to `user` on one server. It looks whether the
    /// session's agent really runs, and writes the state anew where it finds another: a
    /// session that it lists early may be written as suspended before it has begun.
    ///
    /// # Errors
    /// When it fails.
    pub fn x2golistsessions(
        &self,
        server: HostName,
        user: &str,
    ) -> anyhow::Result<Vec<ListedSession>> {
        let listing = self.exec(server, user, &["x2golistsessions"])?;
        Ok(listing
            .lines()
            .filter_map(|line| parse(server, line))
            .collect())
    }

    /// Waits until the server shows the session `id` of `user` in `state`, started.
    ///
    /// # Errors
    /// When `limit` passes; the text says what was listed instead.
    pub fn wait_for_state(
        &self,
        limit: Duration,
        (server, user): (HostName, &str),
        id: &str,
        state: &str,
    ) -> anyhow::Result<()> {
        let found = wait_for(limit, || match self.sessions(server, user) {
            Ok(listed) => {
                let there = |session: &ListedSession| session.id == id && session.state == state;
                Progress::when(listed.iter().any(there), || {
                    format!("{server} has {listed:?}")
                })
            }
            Err(error) => Progress::NotYet(format!("{error:#}")),
        });
        found.with_context(|| format!("waiting for {id} to be {state} on {server}"))
    }
}

/// Makes the session database, unless there is one for all, and starts x2gocleansessions and sshd.
pub(crate) fn set_up(lab: &mut Lab, name: HostName) -> anyhow::Result<()> {
    if !lab.has_one_database() {
        lab.exec(name, "root", &["x2godbadmin", "--createdb"])?;
    }
    lab.exec(name, "root", &["x2gocleansessions"])?;
    let mut sshd = lab.start(name, "root", "sshd", &["/usr/sbin/sshd", "-D", "-e"])?;
    sshd.wait_for_log(SSHD_LIMIT, &["Server listening"])?;
    lab.keep(name, sshd)
}

/// Reads one row of the session database.
pub(super) fn stored(server: HostName, row: &str) -> Option<ListedSession> {
    let mut fields = row.split('|');
    Some(ListedSession {
        server,
        id: fields.next()?.to_owned(),
        state: fields.next()?.to_owned(),
        started: fields.next()? == "1",
    })
}

/// Reads one line of the listing.
fn parse(server: HostName, line: &str) -> Option<ListedSession> {
    // x2golistsessions(8): agent pid, session ID, display, server, state, start, cookie, …
    let fields: Vec<&str> = line.split('|').collect();
    let (pid, id, state) = (fields.first()?, fields.get(1)?, fields.get(4)?);
    let started = !pid.is_empty() && !fields.get(6)?.is_empty();
    Some(ListedSession {
        server,
        id: (*id).to_owned(),
        state: (*state).to_owned(),
        started,
    })
}

/// Where `x2godbadmin --createdb` puts it.
const SESSION_DATABASE: &str = "/var/lib/x2go/x2go_sessions";
/// For SQLite and PostgreSQL.
pub(super) const SESSIONS_OF_USER: &str = "\
    SELECT session_id, status, CASE WHEN coalesce(CAST(agent_pid AS TEXT), '') <> '' \
        AND coalesce(cookie, '') <> '' THEN 1 ELSE 0 END \
    FROM sessions WHERE uname = 'USER'";
/// x2goserver's writers hold the database for milliseconds.
const BUSY_LIMIT: &str = ".timeout 5000";
/// sshd reads its keys and binds; slow only on a machine that is busy.
const SSHD_LIMIT: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_listing_is_read() {
        let server = HostName::server(1);
        let line = "22403|alice-50-1795326687_stRTERMINAL_dp24|50|s1|S|2026-11-22T05:51:27|1a92\
                    |10.77.0.20|47360|47361|2026-11-22T05:51:42|alice|39|47362";
        let id = "alice-50-1795326687_stRTERMINAL_dp24".to_owned();
        let expected = ListedSession {
            server,
            id,
            state: "S".to_owned(),
            started: true,
        };
        assert_eq!(parse(server, line), Some(expected));
    }

    #[test]
    fn a_session_without_pid_and_cookie_has_not_started() {
        let line = "|alice-50-1_stRTERMINAL_dp24|50|s1|R|2026-11-22T05:51:27|||||x|alice|1|";
        assert!(parse(HostName::server(1), line).is_some_and(|session| !session.started));
    }

    #[test]
    fn other_lines_are_not_sessions() {
        assert_eq!(parse(HostName::server(1), ""), None);
        assert_eq!(parse(HostName::server(1), "a|b|c"), None);
    }
}
