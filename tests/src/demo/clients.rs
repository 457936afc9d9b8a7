//! How do the users of the demo ask for their sessions? As X2Go Client does, over HTTP.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;

use super::config::{PROFILE, server_at, server_name};
use crate::http::HttpClient;
use crate::plain::{Credentials, PlainAnswer, list_sessions, select_session};
use crate::wait::now;

/// One client per replica, each on a connection that is kept.
#[derive(Debug)]
pub(super) struct Clients(Vec<(&'static str, HttpClient)>);

/// What came of one request for a session.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    /// The replica that was asked.
    pub(super) replica: &'static str,
    /// From the start of the request to the end of the answer.
    pub(super) took: Duration,
    /// Where the user is sent, or what is wrong with the answer.
    pub(super) outcome: Result<Sent, String>,
}

/// Where a user is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    /// The number of the X2Go server.
    pub(super) server_idx: usize,
    /// The record of the session to resume there.
    pub(super) session_info: Option<String>,
    /// The state in that record: `R` or `S`.
    pub(super) state: Option<String>,
}

impl Clients {
    pub(super) fn of(replicas: impl Iterator<Item = (&'static str, SocketAddr)>) -> Self {
        let client = |(name, http)| (name, HttpClient::new(http, REQUEST_LIMIT));
        Self(replicas.map(client).collect())
    }

    /// Asks a replica for a session of `user` (`selectsession`).
    ///
    /// # Errors
    /// When there is no such replica; what goes wrong with the request is an outcome.
    pub(super) fn select(&mut self, replica_idx: usize, user: &str) -> anyhow::Result<Ask> {
        let (replica, client) = self.0.get_mut(replica_idx).context(NO_REPLICA)?;
        let begun = now();
        let answer = select_session(client, Credentials::new(user, "secret"), PROFILE);
        let took = begun.elapsed();
        let outcome = match answer {
            Ok(answer) => Sent::read(&answer),
            Err(error) => Err(format!("{:#}", anyhow::Error::new(error))),
        };
        Ok(Ask {
            replica,
            took,
            outcome,
        })
    }

    /// Asks a replica for the profiles of `user` (`listsessions`), and returns the state of
    /// the session that the profile of the farm shows, if it shows one.
    ///
    /// # Errors
    /// When there is no answer, or the profile is not in it.
    pub(super) fn listed_state(
        &mut self,
        replica_idx: usize,
        user: &str,
    ) -> anyhow::Result<Option<String>> {
        let (replica, client) = self.0.get_mut(replica_idx).context(NO_REPLICA)?;
        let answer = list_sessions(client, Credentials::new(user, "secret"))?;
        let profile = answer.profile(PROFILE);
        let profile = profile.with_context(|| format!("{replica} does not list {PROFILE}"))?;
        Ok(profile.option("status").map(str::to_owned))
    }
}

impl Sent {
    fn read(answer: &PlainAnswer) -> Result<Self, String> {
        if answer.status != 200 || !answer.granted {
            return Err(format!("not granted, status {}", answer.status));
        }
        let Some((host, port)) = &answer.server else {
            return Err("no server in the answer".to_owned());
        };
        let server_idx = server_at(*port).ok_or_else(|| format!("sent to {host}:{port}"))?;
        Ok(Self {
            server_idx,
            session_info: answer.session_info.first().cloned(),
            state: answer.session_field(STATE_FIELD).map(str::to_owned),
        })
    }

    /// The name of the server.
    pub(super) fn server(&self) -> &'static str {
        server_name(self.server_idx)
    }
}

impl Ask {
    /// The number of the server, if the user is sent to one.
    pub(super) fn server_idx(&self) -> Option<usize> {
        self.outcome.as_ref().ok().map(|sent| sent.server_idx)
    }

    /// The name of the server, or why there is none.
    pub(super) fn server(&self) -> &str {
        match &self.outcome {
            Ok(sent) => sent.server(),
            Err(error) => error,
        }
    }
}

const NO_REPLICA: &str = "a replica of the demo";
/// The state in a session record, counted from 1.
const STATE_FIELD: usize = 5;
/// Far more than any answer takes, so that a broken one is told from a slow machine.
const REQUEST_LIMIT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    fn read(server: Option<(&str, u16)>, session_info: &[&str]) -> Result<Sent, String> {
        Sent::read(&PlainAnswer {
            status: 200,
            granted: true,
            server: server.map(|(host, port)| (host.to_owned(), port)),
            session_info: session_info.iter().map(|&line| line.to_owned()).collect(),
            ..PlainAnswer::default()
        })
    }

    #[test]
    fn a_user_is_sent_to_a_server_by_its_port() {
        let sent = read(Some(("127.0.0.1", 22002)), &[]).unwrap();
        assert_eq!(
            (sent.server(), sent.session_info, sent.state),
            ("s2", None, None)
        );
    }

    #[test]
    fn a_session_to_resume_comes_with_its_state() {
        let line = "20050|alice-50-1_stDXFCE_dp24|50|127.0.0.1|S|2026|c00c1e|127.0.0.1";
        let sent = read(Some(("127.0.0.1", 22001)), &[line]).unwrap();
        assert_eq!(sent.session_info.as_deref(), Some(line));
        assert_eq!(sent.state.as_deref(), Some("S"));
    }

    #[test]
    fn an_answer_without_a_server_of_the_farm_is_a_failure() {
        assert!(read(None, &[]).is_err());
        let none = read(Some(("no-X2Go-Server-available", 22)), &[]);
        assert_eq!(none, Err("sent to no-X2Go-Server-available:22".to_owned()));
    }
}
