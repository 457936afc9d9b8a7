//! What are brokers and operators answered who want to know what a user may watch here?

use proto::{NodeId, Username, v1};
use tonic::Request;

use super::AgentService;
use super::status::ServiceError;
use crate::authorise::{Rpc, authorise};

impl AgentService {
    pub(super) async fn try_list_desktops(
        &self,
        request: Request<v1::ListDesktopsRequest>,
    ) -> Result<v1::ListDesktopsResponse, ServiceError> {
        let caller = authorise(request.extensions(), Rpc::ListDesktops)?;
        let v1::ListDesktopsRequest { node, user } = request.into_inner();
        self.meant(&NodeId::parse(&node)?)?;
        let user = Username::parse(&user)?;
        let desktops = self.desktops.of(&user).await?;
        let by = caller.peer.subject.node;
        tracing::debug!(%user, %by, n_desktops = desktops.len(), "desktops listed");
        Ok(v1::ListDesktopsResponse {
            desktops: desktops.into_iter().map(Into::into).collect(),
        })
    }
}
