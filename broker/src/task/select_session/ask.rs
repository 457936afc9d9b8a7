//! Does this server take the user? Its agent is asked, and what it says of the server is
//! passed on.

use proto::{NodeState, SessionRecord};
use tracing::warn;

use super::lent::lasting;
use super::{KeyOffer, Login, Selected};
use crate::agents::{Admission, AskError, Refusal, Verdict};
use crate::names::address_for_client;
use crate::profiles::ProfileHost;
use crate::view::NodeView;
use crate::view::feed::News;

/// What came back from one agent.
pub(super) enum Answer {
    Taken(Selected),
    Refused(Refusal, NodeState),
    Silent,
    Unavailable,
}

impl<'a> Login<'a> {
    /// Asks one agent and passes on what its answer says of the server.
    pub(super) async fn ask(
        &mut self,
        host: &'a ProfileHost,
        node: &'a NodeView,
        forced: bool,
    ) -> Answer {
        if let Some(old) = self.old.iter().find(|old| old.view.node == node.node) {
            // Boxed: few logins need what it holds.
            return Box::pin(self.ask_old(old)).await;
        }
        let feed = &self.placing.feed;
        let Some(link) = self.view.link(&node.node) else {
            return Answer::Unavailable;
        };
        let key = self.offer.map(KeyOffer::grant);
        let ticket = self.offer.map(|offer| offer.lent.asking(&node.node, link));
        let admission = match link.admit(self.user, &self.profile.id, forced, key).await {
            Ok(admission) => admission,
            Err(error) => return self.no_answer(node, &error),
        };
        let first_key = admission.key;
        let Admission {
            state,
            verdict,
            key,
        } = self
            .suspended_first(link, &node.node, forced, admission)
            .await;
        if let Some((offer, ticket)) = self.offer.zip(ticket) {
            offer.lent.answered(ticket, lasting(first_key, key));
            let is_foreign = |record: &SessionRecord| record.user != *self.user;
            match &verdict {
                Verdict::Refused(_) => offer.lent.unwanted(ticket),
                Verdict::Resume(records) if records.iter().any(is_foreign) => {
                    offer.lent.unwanted(ticket);
                }
                Verdict::Resume(_) | Verdict::Admitted { confirmed: _ } => {}
            }
        }
        let at = (state.generation, state.version);
        feed.tell(News::Answered {
            node: node.node.clone(),
            state: state.clone(),
        });
        let resume = match verdict {
            Verdict::Refused(Refusal::WrongNode) => return Answer::Unavailable,
            Verdict::Refused(refusal) => {
                self.was_refused = true;
                return Answer::Refused(refusal, state);
            }
            Verdict::Admitted { confirmed: _ } => {
                let (user, node) = (self.user.clone(), node.node.clone());
                feed.tell(News::Placed { user, node, at });
                Vec::new()
            }
            // An agent that offers another user's session is not believed.
            Verdict::Resume(records) if records.iter().any(|r| r.user != *self.user) => {
                warn!(node = %node.node, user = %self.user, "an agent offered a foreign session");
                return Answer::Unavailable;
            }
            Verdict::Resume(records) => records,
        };
        let server = address_for_client(host, self.profile.sshport);
        let resume = self.offer(&node.node, &server, resume).await;
        let key = self.given(node, key);
        Answer::Taken(Selected {
            server,
            resume,
            key,
        })
    }

    fn no_answer(&mut self, node: &'a NodeView, error: &AskError) -> Answer {
        warn!(
            user = %self.user,
            node = %node.node,
            error = error as &dyn std::error::Error,
            "a server was passed over"
        );
        self.silent.insert(&node.node);
        self.placing.feed.tell(News::Silent {
            node: node.node.clone(),
        });
        match error {
            AskError::Silent { .. } => Answer::Silent,
            AskError::Unreachable { .. }
            | AskError::Failed { .. }
            | AskError::Misbehaved { .. } => Answer::Unavailable,
        }
    }
}
