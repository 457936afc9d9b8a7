//! What a replica asks of an agent for sessions that are there already.

use std::time::Duration;

use proto::v1::agent_client::AgentClient;
use proto::v1::{AddKeyRequest, ListSessionsRequest, RemoveKeyRequest, SuspendRequest};
use proto::{KeyGrant, KeyOutcome, PublicKey, SessionId, SessionRecord, Username, WireError};

use super::{ADMIT_DEADLINE, AgentLink, AskError, KEYED_DEADLINE, MAX_ANSWER_BYTES};

impl AgentLink {
    /// Has a session of the user suspended, and returns when it is.
    ///
    /// # Errors
    /// When it is not within [`SUSPEND_DEADLINE`].
    pub async fn suspend(&self, user: &Username, session: &SessionId) -> Result<(), AskError> {
        let request = SuspendRequest {
            node: self.node.as_str().to_owned(),
            user: user.as_str().to_owned(),
            session_id: session.as_str().to_owned(),
        };
        let mut client = AgentClient::new(self.channel.clone());
        match tokio::time::timeout(SUSPEND_DEADLINE, client.suspend(request)).await {
            Err(_elapsed) => Err(AskError::Silent {
                node: self.node.clone(),
                limit: SUSPEND_DEADLINE,
            }),
            Ok(Err(status)) => Err(self.error(status)),
            Ok(Ok(_suspended)) => Ok(()),
        }
    }

    /// Has a key open the account of the user for a while, without a session.
    ///
    /// # Errors
    /// When there is no answer within [`KEYED_DEADLINE`].
    pub async fn add_key(&self, user: &Username, key: KeyGrant) -> Result<KeyOutcome, AskError> {
        let request = AddKeyRequest {
            node: self.node.as_str().to_owned(),
            user: user.as_str().to_owned(),
            key: Some(key.into()),
        };
        let mut client = AgentClient::new(self.channel.clone());
        match tokio::time::timeout(KEYED_DEADLINE, client.add_key(request)).await {
            Err(_elapsed) => Err(AskError::Silent {
                node: self.node.clone(),
                limit: KEYED_DEADLINE,
            }),
            Ok(Err(status)) => Err(self.error(status)),
            Ok(Ok(response)) => Ok(KeyOutcome::from_wire(response.into_inner().key)),
        }
    }

    /// Has a key of the user's removed before its time, and says how many lines go with it.
    ///
    /// # Errors
    /// When there is no answer within [`KEYED_DEADLINE`].
    pub async fn remove_key(&self, user: &Username, key: &PublicKey) -> Result<u32, AskError> {
        let request = RemoveKeyRequest {
            node: self.node.as_str().to_owned(),
            user: user.as_str().to_owned(),
            public_key: key.as_str().to_owned(),
        };
        let mut client = AgentClient::new(self.channel.clone());
        match tokio::time::timeout(KEYED_DEADLINE, client.remove_key(request)).await {
            Err(_elapsed) => Err(AskError::Silent {
                node: self.node.clone(),
                limit: KEYED_DEADLINE,
            }),
            Ok(Err(status)) => Err(self.error(status)),
            Ok(Ok(response)) => Ok(response.into_inner().removed),
        }
    }

    /// The sessions of the user that can be resumed there, the best one first. No place is
    /// held.
    ///
    /// # Errors
    /// When there is no answer that can be read within [`ADMIT_DEADLINE`].
    pub async fn resumable(&self, user: &Username) -> Result<Vec<SessionRecord>, AskError> {
        let request = ListSessionsRequest {
            node: self.node.as_str().to_owned(),
            user: user.as_str().to_owned(),
        };
        let mut client =
            AgentClient::new(self.channel.clone()).max_decoding_message_size(MAX_ANSWER_BYTES);
        match tokio::time::timeout(ADMIT_DEADLINE, client.list_sessions(request)).await {
            Err(_elapsed) => Err(AskError::Silent {
                node: self.node.clone(),
                limit: ADMIT_DEADLINE,
            }),
            Ok(Err(status)) => Err(self.error(status)),
            Ok(Ok(response)) => {
                let sessions = response.into_inner().sessions.into_iter();
                let records: Result<Vec<SessionRecord>, WireError> =
                    sessions.map(TryInto::try_into).collect();
                records.map_err(|source| AskError::Misbehaved {
                    node: self.node.clone(),
                    source,
                })
            }
        }
    }
}

/// How long a take-over waits for the session to be suspended. x2gosuspend-session takes a
/// second or two, on a server that is overrun ten (measured: 10.5 s at a load of 7 for each
/// core). Giving up sooner gains nothing: X2Go Client would run the same program then.
pub const SUSPEND_DEADLINE: Duration = Duration::from_secs(15);
