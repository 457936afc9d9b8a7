//! What a replica asks of an agent for users who want to watch a desktop.

use std::time::Duration;

use proto::v1::ListDesktopsRequest;
use proto::v1::agent_client::AgentClient;
use proto::{Desktop, Username, WireError};
use tonic::Code;

use super::{AgentLink, AskError, MAX_ANSWER_BYTES};

impl AgentLink {
    /// The desktops there that the user may watch. An agent of a version that can't tell
    /// knows of none.
    ///
    /// # Errors
    /// When there is no answer that can be read within [`DESKTOPS_DEADLINE`].
    pub async fn desktops(&self, user: &Username) -> Result<Vec<Desktop>, AskError> {
        let request = ListDesktopsRequest {
            node: self.node.as_str().to_owned(),
            user: user.as_str().to_owned(),
        };
        let mut client =
            AgentClient::new(self.channel.clone()).max_decoding_message_size(MAX_ANSWER_BYTES);
        match tokio::time::timeout(DESKTOPS_DEADLINE, client.list_desktops(request)).await {
            Err(_elapsed) => Err(AskError::Silent {
                node: self.node.clone(),
                limit: DESKTOPS_DEADLINE,
            }),
            Ok(Err(status)) if status.code() == Code::Unimplemented => Ok(Vec::new()),
            Ok(Err(status)) => Err(self.error(status)),
            Ok(Ok(response)) => {
                let desktops = response.into_inner().desktops.into_iter();
                let desktops: Result<Vec<Desktop>, WireError> =
                    desktops.map(TryInto::try_into).collect();
                desktops.map_err(|source| AskError::Misbehaved {
                    node: self.node.clone(),
                    source,
                })
            }
        }
    }
}

/// x2golistdesktops takes 0.2 to 0.4 s on an idle server. All are asked at once, so that this
/// also is how long a user waits for the slowest.
pub const DESKTOPS_DEADLINE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pki::{ChannelLimits, IdentityPublisher, ListenerLimits, MeshListener, Role};
    use proto::{NodeId, Username};
    use tokio::task::JoinSet;
    use tonic::service::Routes;

    use super::AgentLink;
    use crate::auth::testing::Farm;

    #[tokio::test]
    async fn an_agent_of_before_that_can_t_tell_knows_of_no_desktop() {
        let farm = Farm::new("office");
        let (_, identity) = IdentityPublisher::new(farm.member(Role::Agent, "s1"));
        let address = "127.0.0.1:0".parse().unwrap();
        let listener = MeshListener::bind(address, identity, ListenerLimits::default());
        let listener = listener.await.unwrap();
        let address = listener.local_addr();
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let nothing = Routes::default();
            let server = pki::mesh_server(ChannelLimits::default()).add_routes(nothing);
            let served = server.serve_with_incoming(listener.incoming()).await;
            served.unwrap();
        });
        let (_, identity) = IdentityPublisher::new(farm.member(Role::Broker, "broker1"));
        let node = NodeId::parse("s1").unwrap();
        let link = AgentLink::new(&node, address, identity).unwrap();
        let alice = Username::parse("alice").unwrap();
        let asked = tokio::time::timeout(Duration::from_secs(10), link.desktops(&alice));
        assert!(asked.await.unwrap().unwrap().is_empty());
    }
}
