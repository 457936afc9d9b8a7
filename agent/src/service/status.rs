//! Which gRPC status does each failure become? The one place that says so.

use proto::{
    DeadlineError, DrainWireError, NodeId, NodeIdError, PublicKeyError, SessionIdError,
    UsernameError,
};
use tonic::{Code, Status};

use crate::authorise::Denied;
use crate::desktops::DesktopsError;
use crate::inventory::{InventoryGone, OrderClientError, OrderError, SetDrainError};
use crate::keys::KeysGone;
use crate::operations::OperationError;
use crate::shim_client::ShimError;

/// Why a request was not served.
#[derive(Debug, thiserror::Error)]
pub(super) enum ServiceError {
    #[error(transparent)]
    Denied(#[from] Denied),
    #[error("the user can't be right: {0}")]
    User(#[from] UsernameError),
    #[error("the node can't be right: {0}")]
    Node(#[from] NodeIdError),
    #[error("the session can't be right: {0}")]
    Session(#[from] SessionIdError),
    #[error("the key can't be right: {0}")]
    Key(#[from] PublicKeyError),
    #[error("this is {here}, and not the node that was meant")]
    WrongNode { here: NodeId },
    #[error(transparent)]
    Drain(#[from] DrainWireError),
    #[error("{source}: it is {now} on this server")]
    Deadline { source: DeadlineError, now: String },
    #[error("the client is to do nothing that is known here")]
    NoOrder,
    #[error(transparent)]
    Operation(#[from] OperationError),
    #[error(transparent)]
    Order(#[from] OrderClientError),
    #[error(transparent)]
    Desktops(#[from] DesktopsError),
    #[error("too many watch this agent already")]
    TooManyWatches,
    #[error(transparent)]
    Stopping(#[from] InventoryGone),
    #[error(transparent)]
    KeysGone(#[from] KeysGone),
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
            ServiceError::User(_)
            | ServiceError::Node(_)
            | ServiceError::Session(_)
            | ServiceError::Key(_)
            | ServiceError::Drain(_)
            | ServiceError::Deadline { .. }
            | ServiceError::NoOrder => Code::InvalidArgument,
            ServiceError::WrongNode { .. } => Code::FailedPrecondition,
            ServiceError::Operation(error) => of_operation(error),
            ServiceError::Order(error) => of_order(error),
            ServiceError::Desktops(error) => of_desktops(error),
            ServiceError::TooManyWatches => Code::ResourceExhausted,
            ServiceError::Stopping(_) | ServiceError::KeysGone(_) => Code::Unavailable,
            ServiceError::DrainNotKept => Code::Internal,
        };
        Self::new(code, error.to_string())
    }
}

fn of_operation(error: &OperationError) -> Code {
    match error {
        OperationError::NoSuchSession { .. } => Code::NotFound,
        OperationError::Starting { .. } | OperationError::Ended { .. } => Code::FailedPrecondition,
        OperationError::NotSeen { .. } => Code::DeadlineExceeded,
        OperationError::Stopping(_) => Code::Unavailable,
        OperationError::NotDone(error) => of_shim(error),
    }
}

fn of_desktops(error: &DesktopsError) -> Code {
    match error {
        DesktopsError::NotListed(error) => of_shim(error),
        DesktopsError::Slow => Code::DeadlineExceeded,
        DesktopsError::Stopping(_) => Code::Unavailable,
    }
}

fn of_shim(error: &ShimError) -> Code {
    match error {
        ShimError::Busy | ShimError::Unfinished | ShimError::UnderWay => Code::ResourceExhausted,
        ShimError::Slow { .. } => Code::DeadlineExceeded,
        ShimError::Start { .. } | ShimError::Failed { .. } | ShimError::Odd { .. } => {
            Code::Internal
        }
        ShimError::Stopping => Code::Unavailable,
    }
}

fn of_order(error: &OrderClientError) -> Code {
    match error {
        OrderClientError::NoClient(OrderError::NoSuchSession { .. }) => Code::NotFound,
        OrderClientError::NoClient(OrderError::Suspended { .. }) => Code::FailedPrecondition,
        OrderClientError::Gone(_) => Code::Unavailable,
    }
}
