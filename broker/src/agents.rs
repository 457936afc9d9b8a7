//! How a replica asks an agent, and for how long it waits.
//!
//! All calls to agents are made here, so the deadlines stand in one place. There are no
//! retries: who asks decides what another try is worth ([`crate::task`]).

mod desktops;
mod key_returns;
mod operate;

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use pki::{ChannelLimits, Expect, IdentityWatch, NodeName, Role};
use proto::v1::admit_response::Verdict as WireVerdict;
use proto::v1::agent_client::AgentClient;
use proto::v1::refused::Reason;
use proto::v1::{AdmitRequest, AdmitResponse, WatchEvent, WatchRequest};
use proto::{
    KEY_LIMIT, KeyGrant, KeyOutcome, NodeId, NodeState, SessionProfileId, SessionRecord, Username,
    WireError,
};
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

pub use desktops::DESKTOPS_DEADLINE;
pub use key_returns::{KeyReturns, Lending};
pub use operate::SUSPEND_DEADLINE;

/// The way to one agent: an HTTP/2 connection over mutual TLS that is opened when it is
/// first needed and again when it broke. Only an agent whose certificate names the node
/// is spoken to.
#[derive(Clone)]
pub struct AgentLink {
    node: NodeId,
    address: SocketAddr,
    channel: Channel,
}

/// What an agent answered to "may this user start here now?".
#[derive(Clone, Debug, PartialEq)]
pub struct Admission {
    /// The server's true state at that moment.
    pub state: NodeState,
    /// Its decision.
    pub verdict: Verdict,
    /// What became of the key that was to open the account.
    pub key: KeyOutcome,
}

/// The decision of an agent.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// The user has sessions there; the best one to resume comes first.
    Resume(Vec<SessionRecord>),
    /// A place is held for the user.
    Admitted {
        /// It had been there before.
        confirmed: bool,
    },
    /// Not there, not now.
    Refused(Refusal),
}

/// Why an agent refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// An operator drains the server.
    Draining,
    /// The agent can't tell the truth now.
    NotReady,
    /// The agent is stopping.
    Leaving,
    /// Too many log-ins at once.
    Crowded,
    /// The request was meant for another node: the view is wrong.
    WrongNode,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Draining => "draining",
            Self::NotReady => "not ready",
            Self::Leaving => "leaving",
            Self::Crowded => "crowded",
            Self::WrongNode => "wrong node",
        })
    }
}

/// Why there is no answer from an agent.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nothing came within the deadline.
    #[error("the agent of {node} did not answer within {limit:?}")]
    Silent {
        /// Which node.
        node: NodeId,
        /// How long was waited.
        limit: Duration,
    },
    /// It can't be reached.
    #[error("the agent of {node} at {address} can't be reached")]
    Unreachable {
        /// Which node.
        node: NodeId,
        /// Where it was looked for.
        address: SocketAddr,
        /// What the transport said.
        source: Box<Status>,
    },
    /// It answered with an error.
    #[error("the agent of {node} refused the call: {}", source.message())]
    Failed {
        /// Which node.
        node: NodeId,
        /// Its answer.
        source: Box<Status>,
    },
    /// Its answer makes no sense.
    #[error("the agent of {node} gave an answer that can't be read")]
    Misbehaved {
        /// Which node.
        node: NodeId,
        /// What is wrong with it.
        source: WireError,
    },
}

impl AgentLink {
    /// Makes the link; nothing is connected yet.
    ///
    /// # Errors
    /// When the node's name can't stand in a certificate.
    pub fn new(
        node: &NodeId,
        address: SocketAddr,
        identity: IdentityWatch,
    ) -> Result<Self, pki::NameError> {
        let expect = Expect::Node {
            role: Role::Agent,
            node: NodeName::parse(node.as_str())?,
        };
        let channel = pki::mesh_channel(address, expect, identity, ChannelLimits::default());
        Ok(Self {
            node: node.clone(),
            address,
            channel,
        })
    }

    /// Where the agent is looked for.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Asks whether the user may start, or has what to resume, on this server, and has
    /// `key` open their account if so.
    ///
    /// # Errors
    /// When there is no answer that can be read within [`ADMIT_DEADLINE`]. With a key there
    /// is [`KEYED_DEADLINE`], as long as the agent answers other questions meanwhile: a home
    /// may be slow, but a server that is gone is to be passed over soon.
    pub async fn admit(
        &self,
        user: &Username,
        profile: &SessionProfileId,
        forced: bool,
        key: Option<KeyGrant>,
    ) -> Result<Admission, AskError> {
        if key.is_none() {
            return self.admitted(user, profile, forced, None).await;
        }
        let admitted = std::pin::pin!(self.admitted(user, profile, forced, key));
        let is_gone = std::pin::pin!(async {
            tokio::time::sleep(ADMIT_DEADLINE).await;
            match self.resumable(user).await {
                Ok(_) => std::future::pending().await,
                Err(error) => error,
            }
        });
        tokio::select! {
            biased;
            answer = admitted => answer,
            error = is_gone => Err(error),
        }
    }

    async fn admitted(
        &self,
        user: &Username,
        profile: &SessionProfileId,
        forced: bool,
        key: Option<KeyGrant>,
    ) -> Result<Admission, AskError> {
        let limit = match key {
            Some(_) => KEYED_DEADLINE,
            None => ADMIT_DEADLINE,
        };
        let request = AdmitRequest {
            node: self.node.as_str().to_owned(),
            user: user.as_str().to_owned(),
            profile: profile.as_str().to_owned(),
            forced,
            key: key.map(Into::into),
        };
        let mut client =
            AgentClient::new(self.channel.clone()).max_decoding_message_size(MAX_ANSWER_BYTES);
        match tokio::time::timeout(limit, client.admit(request)).await {
            Err(_elapsed) => Err(AskError::Silent {
                node: self.node.clone(),
                limit,
            }),
            Ok(Err(status)) => Err(self.error(status)),
            Ok(Ok(response)) => {
                read_admission(response.into_inner()).map_err(|source| AskError::Misbehaved {
                    node: self.node.clone(),
                    source,
                })
            }
        }
    }

    /// Opens the stream of sessions and reservations.
    ///
    /// # Errors
    /// When the agent can't be reached within 10 seconds.
    pub async fn watch(&self) -> Result<Streaming<WatchEvent>, AskError> {
        let mut client =
            AgentClient::new(self.channel.clone()).max_decoding_message_size(MAX_SNAPSHOT_BYTES);
        match tokio::time::timeout(WATCH_OPEN_DEADLINE, client.watch(WatchRequest {})).await {
            Err(_elapsed) => Err(AskError::Silent {
                node: self.node.clone(),
                limit: WATCH_OPEN_DEADLINE,
            }),
            Ok(Err(status)) => Err(self.error(status)),
            Ok(Ok(response)) => Ok(response.into_inner()),
        }
    }

    fn error(&self, status: Status) -> AskError {
        let (node, source) = (self.node.clone(), Box::new(status));
        match source.code() {
            Code::Unavailable | Code::Unknown | Code::Cancelled => AskError::Unreachable {
                node,
                address: self.address,
                source,
            },
            _ => AskError::Failed { node, source },
        }
    }
}

impl fmt::Debug for AgentLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentLink")
            .field("node", &self.node)
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

fn read_admission(wire: AdmitResponse) -> Result<Admission, WireError> {
    let missing = |field| WireError {
        message: "AdmitResponse",
        field,
    };
    let state = wire.state.ok_or_else(|| missing("state"))?.try_into()?;
    let verdict = match wire.verdict.ok_or_else(|| missing("verdict"))? {
        WireVerdict::Resume(resume) => {
            let records: Result<Vec<SessionRecord>, WireError> =
                resume.sessions.into_iter().map(TryInto::try_into).collect();
            let records = records?;
            if records.is_empty() {
                return Err(missing("verdict.resume.sessions"));
            }
            Verdict::Resume(records)
        }
        WireVerdict::Admitted(admitted) => Verdict::Admitted {
            confirmed: admitted.confirmed,
        },
        WireVerdict::Refused(refused) => Verdict::Refused(read_refusal(refused.reason())?),
    };
    Ok(Admission {
        state,
        verdict,
        key: KeyOutcome::from_wire(wire.key),
    })
}

fn read_refusal(reason: Reason) -> Result<Refusal, WireError> {
    match reason {
        Reason::Draining => Ok(Refusal::Draining),
        Reason::NotReady => Ok(Refusal::NotReady),
        Reason::Leaving => Ok(Refusal::Leaving),
        Reason::Crowded => Ok(Refusal::Crowded),
        Reason::WrongNode => Ok(Refusal::WrongNode),
        Reason::Unspecified => Err(WireError {
            message: "AdmitResponse",
            field: "verdict.refused.reason",
        }),
    }
}

/// How long a log-in waits for one agent: a hundred round trips of a local network, and
/// short enough that a user does not notice that a server has just died.
pub const ADMIT_DEADLINE: Duration = Duration::from_millis(250);

/// How long the same takes with a key for the user: what the agent may take over it, and
/// twice a question without one.
pub const KEYED_DEADLINE: Duration = ADMIT_DEADLINE
    .saturating_add(ADMIT_DEADLINE)
    .saturating_add(KEY_LIMIT);

/// Nobody waits for a watch but the task that keeps it; it covers a connect and a
/// handshake on a busy machine.
const WATCH_OPEN_DEADLINE: Duration = Duration::from_secs(10);

/// A user's sessions on one server: a few hundred bytes each.
const MAX_ANSWER_BYTES: usize = 256 * 1024;

/// All sessions of one server: some 10,000 of 150 bytes, with room.
const MAX_SNAPSHOT_BYTES: usize = 8 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use proto::v1;

    use super::{Refusal, Verdict, read_admission};

    fn answer(verdict: v1::admit_response::Verdict) -> v1::AdmitResponse {
        let readiness = v1::Readiness {
            state: 1,
            ..v1::Readiness::default()
        };
        let state = v1::NodeState {
            counts: Some(v1::Counts::default()),
            readiness: Some(readiness),
            ..v1::NodeState::default()
        };
        v1::AdmitResponse {
            state: Some(state),
            verdict: Some(verdict),
            ..v1::AdmitResponse::default()
        }
    }

    #[test]
    fn verdicts_are_read() {
        use v1::admit_response::Verdict as Wire;
        let read = |verdict| read_admission(answer(verdict)).map(|admission| admission.verdict);
        assert_eq!(
            read(Wire::Admitted(v1::Admitted { confirmed: true })),
            Ok(Verdict::Admitted { confirmed: true })
        );
        assert_eq!(
            read(Wire::Refused(v1::Refused {
                reason: v1::refused::Reason::Draining.into()
            })),
            Ok(Verdict::Refused(Refusal::Draining))
        );
    }

    #[test]
    fn answers_that_do_not_answer_are_refused() {
        use v1::admit_response::Verdict as Wire;
        for verdict in [
            Wire::Resume(v1::Resume { sessions: vec![] }),
            Wire::Resume(v1::Resume {
                sessions: vec![v1::SessionRecord::default()],
            }),
            Wire::Refused(v1::Refused { reason: 0 }),
            Wire::Refused(v1::Refused { reason: 77 }),
        ] {
            assert!(
                read_admission(answer(verdict.clone())).is_err(),
                "{verdict:?}"
            );
        }
        assert!(read_admission(v1::AdmitResponse::default()).is_err());
    }
}
