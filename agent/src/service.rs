//! What does the agent answer brokers and operators?
//!
//! Each handler does the same four things: check the caller's role, make types of the
//! request's fields, ask the inventory, turn the answer into a message.

mod desktops;
mod drain;
mod keys;
mod operate;
mod status;
mod watch;

use std::sync::Arc;

use pki::Clock;
use proto::{KeyOutcome, NodeId, SessionProfileId, SessionRecord, Username, v1};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status};

use crate::admission::{self, Refusal, Verdict};
use crate::authorise::{Rpc, authorise};
use crate::desktops::Desktops;
use crate::inventory::InventoryHandle;
use crate::keys::KeysHandle;
use crate::operations::Operations;
use status::ServiceError;
use watch::{Watcher, sessions_to_wire, users_to_wire};

/// The gRPC service of one agent.
#[derive(Debug)]
pub struct AgentService {
    node: NodeId,
    inventory: InventoryHandle,
    operations: Operations,
    desktops: Desktops,
    keys: KeysHandle,
    clock: Clock,
    watches: Arc<Semaphore>,
    streams: TaskTracker,
    stop: CancellationToken,
}

/// What the answers come from.
#[derive(Clone, Debug)]
pub struct Sources {
    /// Sessions and reservations.
    pub inventory: InventoryHandle,
    /// What is done to sessions.
    pub operations: Operations,
    /// What users may watch.
    pub desktops: Desktops,
    /// Temporary keys.
    pub keys: KeysHandle,
    /// What time it is.
    pub clock: Clock,
}

impl AgentService {
    /// Serves the `sources` of `node`. `stop` ends all streams.
    #[must_use]
    pub fn new(node: NodeId, sources: Sources, stop: CancellationToken) -> Self {
        let Sources {
            inventory,
            operations,
            desktops,
            keys,
            clock,
        } = sources;
        Self {
            node,
            inventory,
            operations,
            desktops,
            keys,
            clock,
            watches: Arc::new(Semaphore::new(MAX_WATCHES)),
            streams: TaskTracker::new(),
            stop,
        }
    }

    /// The service for tonic's router, with its bounds.
    #[must_use]
    pub fn into_server(self) -> v1::agent_server::AgentServer<Self> {
        v1::agent_server::AgentServer::new(self).max_decoding_message_size(MAX_REQUEST_BYTES)
    }

    async fn try_admit(
        &self,
        request: Request<v1::AdmitRequest>,
    ) -> Result<v1::AdmitResponse, ServiceError> {
        let caller = authorise(request.extensions(), Rpc::Admit)?;
        let v1::AdmitRequest {
            node,
            user,
            profile,
            forced,
            key,
        } = request.into_inner();
        let node = NodeId::parse(&node)?;
        let user = Username::parse(&user)?;
        // Only for the log, so an odd one refuses nobody.
        let profile = SessionProfileId::parse(&profile).ok();
        let request = admission::Request {
            node,
            user: user.clone(),
            forced,
        };
        let answer = self.inventory.admit(request).await?;
        tracing::info!(
            %user,
            profile = profile.as_ref().map(SessionProfileId::as_str),
            forced,
            broker = %caller.peer.subject.node,
            verdict = verdict_word(&answer.verdict),
            "admission decided"
        );
        let gets_in = match &answer.verdict {
            Verdict::Resume(_) | Verdict::Confirmed | Verdict::Reserve => true,
            Verdict::Refused(_) => false,
        };
        let key = match key.filter(|_| gets_in) {
            Some(key) => self.install(user, key).await,
            None => KeyOutcome::NotAsked,
        };
        Ok(v1::AdmitResponse {
            state: Some(answer.state.into()),
            verdict: Some(verdict_to_wire(answer.verdict)),
            key: v1::KeyOutcome::from(key).into(),
        })
    }

    async fn try_cancel(
        &self,
        request: Request<v1::CancelRequest>,
    ) -> Result<v1::CancelResponse, ServiceError> {
        authorise(request.extensions(), Rpc::Cancel)?;
        let v1::CancelRequest { node, user } = request.into_inner();
        let (node, user) = (NodeId::parse(&node)?, Username::parse(&user)?);
        // Nothing is held here for a user of another node.
        if node == self.node {
            self.inventory.cancel(user).await?;
        }
        Ok(v1::CancelResponse {})
    }

    async fn try_watch(
        &self,
        request: &Request<v1::WatchRequest>,
    ) -> Result<ReceiverStream<Result<v1::WatchEvent, Status>>, ServiceError> {
        let caller = authorise(request.extensions(), Rpc::Watch)?;
        let permit = Arc::clone(&self.watches).try_acquire_owned();
        let permit = permit.map_err(|_full| ServiceError::TooManyWatches)?;
        let first = self.inventory.subscribe().await?;
        let (to_subscriber, events) = mpsc::channel(MAX_QUEUED_EVENTS);
        let watcher = Watcher {
            generation: self.inventory.state().generation,
            inventory: self.inventory.clone(),
            to_subscriber,
            permit,
        };
        tracing::debug!(peer = %caller.peer.subject.to_uri(), "watch began");
        self.streams.spawn(watcher.run(first, self.stop.clone()));
        Ok(ReceiverStream::new(events))
    }

    async fn try_status(
        &self,
        request: &Request<v1::StatusRequest>,
    ) -> Result<v1::StatusResponse, ServiceError> {
        authorise(request.extensions(), Rpc::Status)?;
        // An operator who has just changed something wants to see it changed.
        self.inventory.look().await;
        let snapshot = self.inventory.subscribe().await?.snapshot;
        let keys = self.keys.state();
        Ok(v1::StatusResponse {
            node: self.node.to_string(),
            software_version: env!("CARGO_PKG_VERSION").to_owned(),
            state: Some(self.inventory.state().into()),
            sessions: sessions_to_wire(snapshot.sessions),
            reserved_users: users_to_wire(&snapshot.reserved),
            installs_keys: keys.installs,
            temporary_keys: keys.n_keys,
        })
    }
}

#[tonic::async_trait]
impl v1::agent_server::Agent for AgentService {
    type WatchStream = ReceiverStream<Result<v1::WatchEvent, Status>>;

    async fn admit(
        &self,
        request: Request<v1::AdmitRequest>,
    ) -> Result<Response<v1::AdmitResponse>, Status> {
        Ok(Response::new(self.try_admit(request).await?))
    }

    async fn cancel(
        &self,
        request: Request<v1::CancelRequest>,
    ) -> Result<Response<v1::CancelResponse>, Status> {
        Ok(Response::new(self.try_cancel(request).await?))
    }

    async fn watch(
        &self,
        request: Request<v1::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        Ok(Response::new(self.try_watch(&request).await?))
    }

    async fn set_drain(
        &self,
        request: Request<v1::SetDrainRequest>,
    ) -> Result<Response<v1::SetDrainResponse>, Status> {
        Ok(Response::new(self.try_set_drain(request).await?))
    }

    async fn suspend(
        &self,
        request: Request<v1::SuspendRequest>,
    ) -> Result<Response<v1::SuspendResponse>, Status> {
        Ok(Response::new(self.try_suspend(request).await?))
    }

    async fn terminate(
        &self,
        request: Request<v1::TerminateRequest>,
    ) -> Result<Response<v1::TerminateResponse>, Status> {
        Ok(Response::new(self.try_terminate(request).await?))
    }

    async fn order_client(
        &self,
        request: Request<v1::OrderClientRequest>,
    ) -> Result<Response<v1::OrderClientResponse>, Status> {
        Ok(Response::new(self.try_order_client(request).await?))
    }

    async fn add_key(
        &self,
        request: Request<v1::AddKeyRequest>,
    ) -> Result<Response<v1::AddKeyResponse>, Status> {
        Ok(Response::new(self.try_add_key(request).await?))
    }

    async fn remove_key(
        &self,
        request: Request<v1::RemoveKeyRequest>,
    ) -> Result<Response<v1::RemoveKeyResponse>, Status> {
        Ok(Response::new(self.try_remove_key(request).await?))
    }

    async fn list_sessions(
        &self,
        request: Request<v1::ListSessionsRequest>,
    ) -> Result<Response<v1::ListSessionsResponse>, Status> {
        Ok(Response::new(self.try_list_sessions(request).await?))
    }

    async fn list_desktops(
        &self,
        request: Request<v1::ListDesktopsRequest>,
    ) -> Result<Response<v1::ListDesktopsResponse>, Status> {
        Ok(Response::new(self.try_list_desktops(request).await?))
    }

    async fn status(
        &self,
        request: Request<v1::StatusRequest>,
    ) -> Result<Response<v1::StatusResponse>, Status> {
        Ok(Response::new(self.try_status(&request).await?))
    }
}

fn verdict_to_wire(verdict: Verdict) -> v1::admit_response::Verdict {
    use v1::admit_response::Verdict as Wire;
    match verdict {
        Verdict::Resume(records) => Wire::Resume(v1::Resume {
            sessions: records
                .into_iter()
                .map(|record: SessionRecord| record.into())
                .collect(),
        }),
        Verdict::Confirmed => Wire::Admitted(v1::Admitted { confirmed: true }),
        Verdict::Reserve => Wire::Admitted(v1::Admitted { confirmed: false }),
        Verdict::Refused(why) => Wire::Refused(v1::Refused {
            reason: refusal(why).into(),
        }),
    }
}

fn refusal(why: Refusal) -> v1::refused::Reason {
    use v1::refused::Reason;
    match why {
        Refusal::WrongNode => Reason::WrongNode,
        Refusal::Draining => Reason::Draining,
        Refusal::NotReady => Reason::NotReady,
        Refusal::Leaving => Reason::Leaving,
        Refusal::Crowded => Reason::Crowded,
    }
}

fn verdict_word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Resume(_) => "resume",
        Verdict::Confirmed => "confirmed",
        Verdict::Reserve => "reserved",
        Verdict::Refused(Refusal::WrongNode) => "refused: meant for another node",
        Verdict::Refused(Refusal::Draining) => "refused: draining",
        Verdict::Refused(Refusal::NotReady) => "refused: not ready",
        Verdict::Refused(Refusal::Leaving) => "refused: leaving",
        Verdict::Refused(Refusal::Crowded) => "refused: crowded",
    }
}

/// One per replica and a few for operators.
const MAX_WATCHES: usize = 64;
/// Events that wait for a subscriber's network; more wait in the inventory's broadcast.
const MAX_QUEUED_EVENTS: usize = 16;
/// The largest request is a drain with its reason.
const MAX_REQUEST_BYTES: usize = 16 * 1024;
