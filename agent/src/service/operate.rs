//! What are brokers and operators answered who want something done to a session, or to know
//! how to resume it?

use proto::{ClientOrder, NodeId, SessionId, Username, v1};
use tonic::Request;

use super::AgentService;
use super::status::ServiceError;
use crate::authorise::{Caller, Rpc, authorise};
use crate::inventory::InventoryGone;
use crate::shim_client::Act;

/// One session of one user, as a request names it.
#[derive(Clone, Debug)]
struct Target {
    user: Username,
    session: SessionId,
}

impl AgentService {
    pub(super) async fn try_suspend(
        &self,
        request: Request<v1::SuspendRequest>,
    ) -> Result<v1::SuspendResponse, ServiceError> {
        let caller = authorise(request.extensions(), Rpc::Suspend)?;
        let v1::SuspendRequest {
            node,
            user,
            session_id,
        } = request.into_inner();
        let target = self.target(&node, &user, &session_id)?;
        self.bring_about(Act::Suspend, &caller, &target).await?;
        Ok(v1::SuspendResponse {
            state: Some(self.inventory.state().into()),
        })
    }

    pub(super) async fn try_terminate(
        &self,
        request: Request<v1::TerminateRequest>,
    ) -> Result<v1::TerminateResponse, ServiceError> {
        let caller = authorise(request.extensions(), Rpc::Terminate)?;
        let v1::TerminateRequest {
            node,
            user,
            session_id,
        } = request.into_inner();
        let target = self.target(&node, &user, &session_id)?;
        self.bring_about(Act::Terminate, &caller, &target).await?;
        Ok(v1::TerminateResponse {
            state: Some(self.inventory.state().into()),
        })
    }

    pub(super) async fn try_order_client(
        &self,
        request: Request<v1::OrderClientRequest>,
    ) -> Result<v1::OrderClientResponse, ServiceError> {
        let caller = authorise(request.extensions(), Rpc::OrderClient)?;
        let order = ClientOrder::from_wire(request.get_ref().order());
        let order = order.ok_or(ServiceError::NoOrder)?;
        let v1::OrderClientRequest {
            node,
            user,
            session_id,
            order: _,
        } = request.into_inner();
        let Target { user, session } = self.target(&node, &user, &session_id)?;
        let by = caller.peer.subject.node;
        let ordered = self
            .inventory
            .order_client(user.clone(), session.clone(), order);
        ordered.await?;
        tracing::info!(%user, %session, %by, ?order, "the session's client will be told");
        Ok(v1::OrderClientResponse {})
    }

    pub(super) async fn try_list_sessions(
        &self,
        request: Request<v1::ListSessionsRequest>,
    ) -> Result<v1::ListSessionsResponse, ServiceError> {
        authorise(request.extensions(), Rpc::ListSessions)?;
        let v1::ListSessionsRequest { node, user } = request.into_inner();
        let (node, user) = (NodeId::parse(&node)?, Username::parse(&user)?);
        self.meant(&node)?;
        let sessions = self.inventory.resumable(user).await?;
        Ok(v1::ListSessionsResponse {
            state: Some(self.inventory.state().into()),
            sessions: sessions.into_iter().map(Into::into).collect(),
        })
    }

    async fn bring_about(
        &self,
        act: Act,
        caller: &Caller,
        target: &Target,
    ) -> Result<(), ServiceError> {
        let Target { user, session } = target.clone();
        let by = caller.peer.subject.node.clone();
        let operations = self.operations.clone();
        // What is begun is ended, and what came of it logged, also when the caller has gone.
        let task = self.streams.spawn(async move {
            let done = operations.bring_about(act, &user, &session).await;
            match &done {
                Ok(()) => tracing::info!(%user, %session, %by, %act, "done"),
                Err(error) => {
                    let error = error as &dyn std::error::Error;
                    tracing::warn!(%user, %session, %by, %act, error, "not done");
                }
            }
            done
        });
        let done = task.await.map_err(|_ended| InventoryGone)?;
        Ok(done?)
    }

    fn target(&self, node: &str, user: &str, session: &str) -> Result<Target, ServiceError> {
        self.meant(&NodeId::parse(node)?)?;
        Ok(Target {
            user: Username::parse(user)?,
            session: SessionId::parse(session)?,
        })
    }

    pub(super) fn meant(&self, node: &NodeId) -> Result<(), ServiceError> {
        if *node == self.node {
            return Ok(());
        }
        Err(ServiceError::WrongNode {
            here: self.node.clone(),
        })
    }
}
