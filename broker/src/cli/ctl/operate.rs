//! How does an operator suspend or end a session?

use anyhow::{Context, Result};
use clap::Args;
use proto::v1::agent_client::AgentClient;
use proto::v1::{
    ClientOrder as WireOrder, OrderClientRequest, StatusRequest, SuspendRequest, TerminateRequest,
};
use proto::{ClientOrder, Session};
use tonic::transport::Channel;

/// Which session, and by whom.
#[derive(Clone, Debug, Args)]
pub(super) struct Target {
    /// The session ID, as x2golistsessions shows it.
    #[arg(value_name = "SESSION")]
    session: String,

    /// Have the session's own X2Go client do it, which then knows of it. It is told with
    /// the answer to its next event, within ten minutes; brokers must have client-events
    /// switched on.
    #[arg(long)]
    by_client: bool,
}

/// Asks for it, and says what has come of it.
pub(super) async fn ask(
    agent: &mut AgentClient<Channel>,
    node: &str,
    order: ClientOrder,
    target: &Target,
) -> Result<String> {
    let Session { id, user, .. } = find(agent, node, &target.session).await?;
    let (node, user, session_id) = (node.to_owned(), user.to_string(), id.to_string());
    if target.by_client {
        let request = OrderClientRequest {
            node,
            user,
            session_id,
            order: WireOrder::from(order).into(),
        };
        agent.order_client(request).await?;
        return Ok(format!("{id}: its client will be told\n"));
    }
    Ok(match order {
        ClientOrder::Suspend => {
            let request = SuspendRequest {
                node,
                user,
                session_id,
            };
            agent.suspend(request).await?;
            format!("{id} is suspended\n")
        }
        ClientOrder::Terminate => {
            let request = TerminateRequest {
                node,
                user,
                session_id,
            };
            agent.terminate(request).await?;
            format!("{id} has ended\n")
        }
    })
}

/// The session, with the user whose it is.
async fn find(agent: &mut AgentClient<Channel>, node: &str, session: &str) -> Result<Session> {
    let status = agent.status(StatusRequest {}).await?.into_inner();
    let mut sessions = status.sessions.into_iter();
    let found = sessions.find(|known| known.id == session);
    let found = found.with_context(|| format!("{node} has no session {session}"))?;
    Ok(Session::try_from(found)?)
}
