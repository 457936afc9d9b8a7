//! What are brokers and operators answered who want a key to open an account, or no longer?

use proto::{KeyGrant, KeyOutcome, NodeId, PublicKey, Username, v1};
use tonic::Request;

use super::AgentService;
use super::status::ServiceError;
use crate::authorise::{Rpc, authorise};

impl AgentService {
    pub(super) async fn try_add_key(
        &self,
        request: Request<v1::AddKeyRequest>,
    ) -> Result<v1::AddKeyResponse, ServiceError> {
        let caller = authorise(request.extensions(), Rpc::AddKey)?;
        let v1::AddKeyRequest { node, user, key } = request.into_inner();
        self.meant(&NodeId::parse(&node)?)?;
        let user = Username::parse(&user)?;
        let key = self.install(user.clone(), key.unwrap_or_default()).await;
        tracing::info!(%user, by = %caller.peer.subject.node, ?key, "key was to be added");
        Ok(v1::AddKeyResponse {
            key: v1::KeyOutcome::from(key).into(),
        })
    }

    pub(super) async fn try_remove_key(
        &self,
        request: Request<v1::RemoveKeyRequest>,
    ) -> Result<v1::RemoveKeyResponse, ServiceError> {
        let caller = authorise(request.extensions(), Rpc::RemoveKey)?;
        let v1::RemoveKeyRequest {
            node,
            user,
            public_key,
        } = request.into_inner();
        self.meant(&NodeId::parse(&node)?)?;
        let user = Username::parse(&user)?;
        let key = PublicKey::parse(&public_key)?;
        let removed = self.keys.revoke(user.clone(), key).await?;
        tracing::info!(%user, by = %caller.peer.subject.node, removed, "key was to be removed");
        Ok(v1::RemoveKeyResponse { removed })
    }

    /// A key that this agent can't read is one that it does not install: a later broker may
    /// know of more kinds. Its user gets in all the same, with a password.
    pub(super) async fn install(&self, user: Username, key: v1::KeyGrant) -> KeyOutcome {
        match KeyGrant::try_from(key) {
            Ok(grant) => self.keys.grant(user, grant).await,
            Err(error) => {
                tracing::warn!(%user, %error, "temporary key not added");
                KeyOutcome::Refused
            }
        }
    }
}
