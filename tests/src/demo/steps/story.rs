//! What do the steps have in common? The farm, the screen, and users who log in and out.

use std::time::Duration;

use anyhow::Context as _;

use crate::demo::clients::{Ask, Clients};
use crate::demo::config::{MEMBERS, REPLICAS, SERVERS};
use crate::demo::farm::{COOKIE_START, Farm};
use crate::demo::log;
use crate::demo::report::Report;
use crate::demo::table::{self, duration, table};
use crate::wait::{Progress, now};

/// The farm, the screen, and what has happened so far.
pub(super) struct Story<'a> {
    pub(super) farm: &'a mut Farm,
    pub(super) report: &'a mut Report,
    pub(super) clients: Clients,
    /// The sessions of the twelve, which stay.
    pub(super) sessions: Vec<Session>,
    /// How long a login takes when nothing is lost.
    pub(super) usual: Duration,
    n_visitors: u32,
}

/// A session that the demo has written into a session database.
pub(super) struct Session {
    pub(super) user: String,
    pub(super) server_idx: usize,
    pub(super) id: String,
}

/// A login: the answer, why it was this one, and the session that was started upon it.
pub(super) struct Login {
    pub(super) user: String,
    pub(super) ask: Ask,
    pub(super) why: String,
    pub(super) session: Option<Session>,
}

impl<'a> Story<'a> {
    pub(super) fn new(farm: &'a mut Farm, report: &'a mut Report) -> Self {
        Self {
            clients: farm.clients(),
            farm,
            report,
            sessions: Vec::new(),
            usual: Duration::ZERO,
            n_visitors: 0,
        }
    }

    /// Logs a user in and, if a server was given, starts the session there.
    pub(super) fn log_in(&mut self, replica_idx: usize, user: &str) -> anyhow::Result<Login> {
        self.farm.interrupt.check()?;
        let ask = self.clients.select(replica_idx, user)?;
        let mut login = Login {
            user: user.to_owned(),
            why: String::new(),
            session: None,
            ask,
        };
        if let Some(server_idx) = login.ask.server_idx() {
            let id = self.farm.start_session(server_idx, user)?;
            let user = user.to_owned();
            login.session = Some(Session {
                user,
                server_idx,
                id,
            });
            login.why = self.why(&login)?;
        }
        Ok(login)
    }

    /// Logs in a user who has not been there before.
    pub(super) fn log_in_visitor(&mut self, replica_idx: usize) -> anyhow::Result<Login> {
        self.n_visitors += 1;
        let user = format!("user{:02}", self.n_visitors);
        self.log_in(replica_idx, &user)
    }

    /// Logs in a visitor through the replica whose turn it is.
    pub(super) fn log_in_by_turns(&mut self) -> anyhow::Result<Login> {
        let replica_idx = usize::from(self.n_visitors % 2 == 1);
        self.log_in_visitor(replica_idx)
    }

    /// Logs in several visitors, by turns through these replicas.
    pub(super) fn log_in_visitors(
        &mut self,
        count: usize,
        replicas: &[usize],
    ) -> anyhow::Result<Vec<Login>> {
        let turns = replicas.iter().cycle().take(count);
        turns
            .map(|replica_idx| self.log_in_visitor(*replica_idx))
            .collect()
    }

    /// Lets visitors log out: their sessions end, and x2gocleansessions removes the rows.
    pub(super) fn log_out(&self, logins: &[Login]) -> anyhow::Result<()> {
        for session in logins.iter().filter_map(|login| login.session.as_ref()) {
            self.farm
                .server(session.server_idx)?
                .database
                .delete(&session.id)?;
        }
        Ok(())
    }

    /// What the replica has logged as its reason.
    fn why(&self, login: &Login) -> anyhow::Result<String> {
        self.farm.interrupt.wait_for(LOG_LIMIT, || {
            let log = self.farm.log(login.ask.replica);
            match log::why(&log, &login.user) {
                Some(why) => Progress::Ready(why.to_owned()),
                None => Progress::NotYet(format!("no reason for {} in the log", login.user)),
            }
        })
    }

    /// Waits until these replicas list these users' sessions in this state, and returns how
    /// long that took.
    pub(super) fn await_listed(
        &mut self,
        replicas: &[usize],
        users: &[String],
        state: &str,
    ) -> anyhow::Result<Duration> {
        let begun = now();
        let Self { farm, clients, .. } = self;
        let mut left: Vec<(usize, &String)> = Vec::new();
        for replica_idx in replicas {
            left.extend(users.iter().map(|user| (*replica_idx, user)));
        }
        farm.interrupt.wait_for(LISTED_LIMIT, || {
            while let Some((replica_idx, user)) = left.last() {
                match clients.listed_state(*replica_idx, user) {
                    Ok(Some(found)) if found == state => left.pop(),
                    Ok(found) => {
                        let found =
                            found.map_or("none".to_owned(), |found| format!("status={found}"));
                        let replica = REPLICAS.get(*replica_idx).unwrap_or(&"?");
                        return Progress::NotYet(format!("{replica} shows {user} with {found}"));
                    }
                    Err(error) => return Progress::NotYet(format!("{error:#}")),
                };
            }
            Progress::Ready(())
        })?;
        Ok(begun.elapsed())
    }

    /// Returns the session of one of the twelve.
    pub(super) fn first_session(&self) -> anyhow::Result<&Session> {
        self.sessions.first().context("nobody has a session")
    }

    /// Claims that all of these logins got a server, and that none waited much longer than
    /// is usual.
    pub(super) fn check_logins(&mut self, what: &str, logins: &[Login]) {
        let failure = logins.iter().find(|login| login.ask.outcome.is_err());
        let text = match failure {
            None => format!("{what}: {} logins, none failed", logins.len()),
            Some(login) => format!("{what}: {} failed: {}", login.user, login.ask.server()),
        };
        self.report.check(&REPLICAS, failure.is_none(), &text);
        let slowest = logins
            .iter()
            .map(|login| login.ask.took)
            .max()
            .unwrap_or_default();
        let text = format!(
            "the slowest of them took {}; {} is usual",
            duration(slowest),
            duration(self.usual)
        );
        let quick = slowest.saturating_sub(self.usual) <= WAIT_LIMIT;
        self.report.check(&REPLICAS, quick, &text);
    }

    /// Prints logins as a table, with a note under it.
    pub(super) fn print_logins(&mut self, logins: &[Login], note: &str) {
        let rows: Vec<Vec<String>> = logins.iter().map(Login::row).collect();
        let lines = table(&["user", "replica", "server", "ms", "why"], &rows);
        self.report.lines(&lines);
        self.report.text("");
        self.report.note(note);
        self.report.text("");
    }

    /// Claims that no session cookie has got into a log.
    pub(super) fn check_secrets(&mut self) -> anyhow::Result<()> {
        let logs = self.farm.all_logs()?;
        let clean = logs.iter().all(|log| !log.contains(COOKIE_START));
        let text = format!("no session cookie stands in any of the {} logs", logs.len());
        self.report.check(&MEMBERS, clean, &text);
        Ok(())
    }

    /// Tells how much memory each program uses.
    pub(super) fn tell_memory(&mut self) {
        let replicas = self.farm.replicas.iter().map(|replica| &replica.process);
        let servers = self.farm.servers.iter().map(|server| &server.agent);
        let used = replicas.chain(servers).filter_map(|process| {
            let mb = process.rss_kb().ok()? / 1000;
            Some(format!("{} {mb} MB", process.name()))
        });
        let used: Vec<String> = used.collect();
        self.report
            .note(&format!("\nMemory in use: {}", used.join(", ")));
    }
}

impl Login {
    fn row(&self) -> Vec<String> {
        let ms = format!("{:.1}", self.ask.took.as_secs_f64() * 1000.0);
        let (replica, server) = (self.ask.replica, self.ask.server());
        [&self.user, replica, server, &ms, &self.why]
            .map(str::to_owned)
            .to_vec()
    }
}

/// How many of these logins went where.
pub(super) fn spread(logins: &[Login]) -> String {
    let servers: Vec<&str> = logins.iter().map(|login| login.ask.server()).collect();
    table::spread(&SERVERS, &servers)
}

pub(super) fn count_at(logins: &[Login], server_idx: usize) -> usize {
    let at = logins
        .iter()
        .filter(|login| login.ask.server_idx() == Some(server_idx));
    at.count()
}

/// Both replicas.
pub(super) const BOTH: [usize; 2] = [0, 1];
/// What a login may wait for a server that is lost, beyond what is usual.
const WAIT_LIMIT: Duration = Duration::from_millis(500);
/// A change of a session database is seen within 250 ms; a busy machine may need more.
const LISTED_LIMIT: Duration = Duration::from_secs(3);
/// A line is in the log before the answer is sent.
const LOG_LIMIT: Duration = Duration::from_secs(3);
