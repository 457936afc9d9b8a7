//! Which gRPC status does each failure become? The one place that says so.

use proto::{NodeIdError, UsernameError};
use tonic::{Code, Status};

use crate::authorise::Denied;
use crate::inventory::{InventoryGone, SetDrainError};

/// Why a request was not served.
#[derive(Debug, thiserror::Error)]
pub(super) enum ServiceError {
    #[error(transparent)]
    Denied(#[from] Denied),
    #[error("the user can't be right: {0}")]
    User(#[from] UsernameError),
    #[error("the node can't be right: {0}")]
    Node(#[from] NodeIdError),
    #[error("too many watch this agent already")]
    TooManyWatches,
    #[error(transparent)]
    Stopping(#[from] InventoryGone),
    #[error("the drain can't be kept over a restart, see the agent's log")]
    DrainNotKept,
}

impl From<SetDrainError> for ServiceError {
    fn from(error: SetDrainError) -> Self {
        match error {
            SetDrainError::Gone(gone) => Self::Stopping(gone),
            SetDrainError::NotKept(error) => {
                // The path is for the operator of this host, not for the caller.
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "drain was not changed"
                );
                Self::DrainNotKept
            }
        }
    }
}

impl From<ServiceError> for Status {
    fn from(error: ServiceError) -> Self {
        let code = match &error {
            ServiceError::Denied(Denied::Unknown) => Code::Unauthenticated,
            ServiceError::Denied(Denied::Role { .. }) => Code::PermissionDenied,
            ServiceError::User(_) | ServiceError::Node(_) => Code::InvalidArgument,
            ServiceError::TooManyWatches => Code::ResourceExhausted,
            ServiceError::Stopping(_) => Code::Unavailable,
            ServiceError::DrainNotKept => Code::Internal,
        };
        Self::new(code, error.to_string())
    }
}
