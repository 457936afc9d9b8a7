//! What is an operator answered who drains this server, or ends the drain?

use std::time::Duration;

use pki::{UnixTime, rfc3339};
use proto::{Deadline, Drain, v1};
use tonic::Request;

use super::AgentService;
use super::status::ServiceError;
use crate::authorise::{Rpc, authorise};

impl AgentService {
    pub(super) async fn try_set_drain(
        &self,
        request: Request<v1::SetDrainRequest>,
    ) -> Result<v1::SetDrainResponse, ServiceError> {
        let caller = authorise(request.extensions(), Rpc::SetDrain)?;
        let drain = Drain::from_wire(request.into_inner())?;
        let deadline = drain.as_ref().and_then(|drain| drain.deadline);
        if let Some(deadline) = deadline {
            self.check(deadline)?;
        }
        let reason = drain.as_ref().map(|drain| drain.reason.clone());
        let state = self.inventory.set_drain(drain).await?;
        tracing::info!(
            operator = %caller.peer.subject.node,
            drain = reason.is_some(),
            reason,
            deadline = deadline.map(|deadline| date(Duration::from_secs(deadline.at))),
            then = deadline.map(|deadline| deadline.then.word()),
            readiness = %state.readiness,
            "drain changed"
        );
        Ok(v1::SetDrainResponse {
            state: Some(state.into()),
        })
    }

    fn check(&self, deadline: Deadline) -> Result<(), ServiceError> {
        let now = self.clock.since_epoch();
        let checked = deadline.check_of_others(now);
        checked.map_err(|source| ServiceError::Deadline {
            source,
            now: date(now),
        })?;
        Ok(())
    }
}

fn date(since_epoch: Duration) -> String {
    rfc3339(UnixTime::since_unix_epoch(since_epoch))
}
