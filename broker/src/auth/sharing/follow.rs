//! Which AUTHIDs were used elsewhere? Follows every other replica that gossip knows.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use gossip::Members;
use pki::{ChannelLimits, Expect, IdentityWatch, NodeName, Role};
use proto::NodeId;
use proto::v1::replica_client::ReplicaClient;
use proto::v1::{FollowLoginsRequest, FollowSpentRequest};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tonic::{Response, Status, Streaming};
use tracing::debug;

use super::{LoginNews, read, read_logins};
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
    // A replica of an older version does not know the second call: it is asked now and then.
    let all = async {
        tokio::join!(
            again(&node, News::Spent, &channel, &authenticator),
            again(&node, News::Logins, &channel, &authenticator)
        )
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        _ = all => {}
    }
}

/// What is listened to.
#[derive(Clone, Copy)]
enum News {
    Spent,
    Logins,
}

/// Listens until that fails, and again.
async fn again(node: &NodeId, news: News, channel: &Channel, authenticator: &Authenticator) {
    let mut backoff = FIRST_BACKOFF;
    loop {
        let mut begun = false;
        let ended = match news {
            News::Spent => listen(channel, authenticator, &mut begun).await,
            News::Logins => listen_to_logins(channel, authenticator, &mut begun).await,
        };
        if let Err(status) = ended {
            debug!(%node, why = status.message(), "another replica can't be followed");
        }
        if begun {
            backoff = FIRST_BACKOFF;
        }
        tokio::time::sleep(backoff).await;
        backoff = (backoff * 2).min(LAST_BACKOFF);
    }
}

async fn listen(
    channel: &Channel,
    authenticator: &Authenticator,
    begun: &mut bool,
) -> Result<(), Status> {
    let mut client = ReplicaClient::new(channel.clone());
    let mut stream = opened(client.follow_spent(FollowSpentRequest {})).await?;
    *begun = true;
    while let Some(message) = stream.message().await? {
        let now = authenticator.now();
        let mut spent = authenticator.spent();
        for used in read(message) {
            spent.learn(used, now);
        }
    }
    Ok(())
}

async fn listen_to_logins(
    channel: &Channel,
    authenticator: &Authenticator,
    begun: &mut bool,
) -> Result<(), Status> {
    let mut client = ReplicaClient::new(channel.clone());
    let mut stream = opened(client.follow_logins(FollowLoginsRequest {})).await?;
    *begun = true;
    while let Some(message) = stream.message().await? {
        let now = authenticator.now();
        let mut failures = authenticator.failures();
        for news in read_logins(message).take(MOST_NEWS) {
            match news {
                LoginNews::Failed(keys) => failures.count(keys, now),
                LoginNews::LetIn(key) => failures.forgive(key, now),
            }
        }
    }
    Ok(())
}

async fn opened<T>(
    call: impl Future<Output = Result<Response<Streaming<T>>, Status>>,
) -> Result<Streaming<T>, Status> {
    let opened = tokio::time::timeout(OPEN_DEADLINE, call).await;
    let opened = opened.map_err(|_elapsed| Status::deadline_exceeded("no answer"))?;
    Ok(opened?.into_inner())
}

/// Of one message. Ours hold one each.
const MOST_NEWS: usize = 1000;

const FIRST_BACKOFF: Duration = Duration::from_millis(200);
const LAST_BACKOFF: Duration = Duration::from_secs(5);

/// Connection included.
const OPEN_DEADLINE: Duration = Duration::from_secs(10);
