//! Which AUTHIDs were used elsewhere? Follows every other replica that gossip knows.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use gossip::Members;
use pki::{ChannelLimits, Expect, IdentityWatch, NodeName, Role};
use proto::NodeId;
use proto::v1::FollowSpentRequest;
use proto::v1::replica_client::ReplicaClient;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::transport::Channel;
use tracing::debug;

use super::read;
use crate::auth::Authenticator;

/// Learns what is used at other replicas.
#[derive(Debug)]
pub struct Follower {
    authenticator: Authenticator,
    members: watch::Receiver<Arc<Members>>,
    identity: IdentityWatch,
    followed: HashMap<NodeId, (SocketAddr, CancellationToken)>,
}

impl Follower {
    /// Follows the replicas among `members`, but for `identity` itself.
    #[must_use]
    pub fn new(
        authenticator: Authenticator,
        members: watch::Receiver<Arc<Members>>,
        identity: IdentityWatch,
    ) -> Self {
        Self {
            authenticator,
            members,
            identity,
            followed: HashMap::new(),
        }
    }

    /// Runs until told to stop.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut following = JoinSet::new();
        loop {
            self.take_members(&mut following, &stop);
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                Some(_) = following.join_next() => {}
                changed = self.members.changed() => if changed.is_err() {
                    // Gossip has ended, and the process will.
                    return stop.cancelled().await;
                },
            }
        }
    }

    fn take_members(&mut self, following: &mut JoinSet<()>, stop: &CancellationToken) {
        let own = self.identity.borrow().subject().node.clone();
        let members = Arc::clone(&self.members.borrow_and_update());
        let others = members.live(Role::Broker);
        let others: HashMap<NodeId, SocketAddr> = others
            .filter(|member| member.node.as_str() != own.as_str())
            .map(|member| (member.node.clone(), member.address))
            .collect();
        self.followed.retain(|node, (address, following)| {
            let stays = others.get(node) == Some(address);
            if !stays {
                following.cancel();
            }
            stays
        });
        for (node, address) in others {
            if self.followed.contains_key(&node) {
                continue;
            }
            let Ok(name) = NodeName::parse(node.as_str()) else {
                continue;
            };
            let expect = Expect::Node {
                role: Role::Broker,
                node: name,
            };
            let identity = self.identity.clone();
            let channel = pki::mesh_channel(address, expect, identity, ChannelLimits::default());
            let stop = stop.child_token();
            following.spawn(follow(
                node.clone(),
                channel,
                self.authenticator.clone(),
                stop.clone(),
            ));
            self.followed.insert(node, (address, stop));
        }
    }
}

/// Follows one replica, again and again.
pub(super) async fn follow(
    node: NodeId,
    channel: Channel,
    authenticator: Authenticator,
    stop: CancellationToken,
) {
    let mut backoff = FIRST_BACKOFF;
    loop {
        let told = async {
            if let Err(status) = listen(&channel, &authenticator, &mut backoff).await {
                debug!(%node, why = status.message(), "another replica can't be followed");
            }
            tokio::time::sleep(backoff).await;
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = told => {}
        }
        backoff = (backoff * 2).min(LAST_BACKOFF);
    }
}

async fn listen(
    channel: &Channel,
    authenticator: &Authenticator,
    backoff: &mut Duration,
) -> Result<(), Status> {
    let mut client = ReplicaClient::new(channel.clone());
    let opened = tokio::time::timeout(OPEN_DEADLINE, client.follow_spent(FollowSpentRequest {}));
    let opened = opened
        .await
        .map_err(|_elapsed| Status::deadline_exceeded("no answer"))?;
    let mut stream = opened?.into_inner();
    *backoff = FIRST_BACKOFF;
    while let Some(message) = stream.message().await? {
        let now = authenticator.now();
        let mut spent = authenticator.spent();
        for used in read(message) {
            spent.learn(used, now);
        }
    }
    Ok(())
}

const FIRST_BACKOFF: Duration = Duration::from_millis(200);
const LAST_BACKOFF: Duration = Duration::from_secs(5);

/// Connection included.
const OPEN_DEADLINE: Duration = Duration::from_secs(10);
