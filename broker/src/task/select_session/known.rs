//! Where does the user belong already: on which server is their session, or a place for them?

use proto::NodeId;
use tokio::time::Instant;
use tracing::debug;

use super::{Answer, Login, Selected};
use crate::placement::{UserSession, prior_servers};

impl Login<'_> {
    /// Asks the server where the user has a session or a place, if there is one. If it is dead,
    /// or refuses, since it is about to be switched off for example, the next such server: what
    /// waits there would be left for a new session otherwise.
    pub(super) async fn where_the_user_is(&mut self) -> Option<Selected> {
        let hosts = self.hosts.clone();
        let node = |node: &NodeId| {
            hosts
                .iter()
                .find(|(_, view)| view.node == *node && view.live)
        };
        let of_user = self.view.of_user(self.user);
        let mut sessions: Vec<UserSession<'_>> = of_user
            .sessions
            .iter()
            .filter(|placed| !placed.is_shadow())
            .filter_map(|placed| {
                let (_, view) = node(&placed.node)?;
                Some(UserSession {
                    node: &view.node,
                    state: placed.session.state,
                    starting: placed.session.starting,
                    live: view.followed,
                })
            })
            .collect();
        sessions.extend(self.sessions_on_old());
        let in_flight = self
            .view
            .in_flight()
            .of_user(self.user)
            .map(|record| &record.node);
        let held: Vec<&NodeId> = in_flight
            .chain(&of_user.reservations)
            .filter_map(|held| node(held).map(|(_, view)| &view.node))
            .collect();
        for prior in prior_servers(&sessions, &held) {
            if Instant::now() >= self.until {
                return None;
            }
            let (host, view) = *node(prior.node)?;
            match self.ask(host, view, false).await {
                Answer::Taken(selected) => {
                    self.log(&view.node, &format!("{}", prior.reason));
                    return Some(selected);
                }
                Answer::Refused(refusal, _) => {
                    debug!(user = %self.user, node = %view.node, %refusal, "the user's server refused");
                }
                // Told already.
                Answer::Silent | Answer::Unavailable => {}
            }
        }
        None
    }
}
