//! With which key does the client log in at the server that it is given?
//!
//! The key travels with the question to the server's agent. A client is given its private
//! half only when the agent has said that the public one opens the account now.

use std::net::IpAddr;

use proto::{KeyGrant, KeyOutcome, PublicKey, Secret, Username};
use tracing::{info, warn};

use super::lent::Lent;
use super::{Login, NoServer, Placing, Selected, Terms, select_session};
use crate::agents::KeyReturns;
use crate::autologin::{KeyPair, Plan};
use crate::names::Resolved;
use crate::profiles::{ProfileHost, SessionProfile};
use crate::view::{FarmView, NodeView};

/// What a client is given to log in with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum GivenKey {
    /// Nothing: the user types their password.
    #[default]
    Nothing,
    /// Its own key opens the account.
    OfClient,
    /// The private half of a pair that was made for it.
    Private(Secret),
}

/// A key that is to open the account, wherever the client is sent.
/// What is not handed out is taken back when this is dropped.
#[derive(Debug)]
pub struct KeyOffer<'a> {
    plan: Plan<'a>,
    client: IpAddr,
    key: PublicKey,
    given: GivenKey,
    pub(super) lent: Lent,
}

impl<'a> KeyOffer<'a> {
    /// Of the client's own key.
    #[must_use]
    pub fn of_client(
        plan: Plan<'a>,
        client: IpAddr,
        key: PublicKey,
        user: &Username,
        returns: &KeyReturns,
    ) -> Self {
        Self {
            plan,
            client,
            lent: Lent::new(returns, user, &key, Some(plan.life())),
            key,
            given: GivenKey::OfClient,
        }
    }

    /// Of a pair that nobody else has.
    #[must_use]
    pub fn of_pair(
        plan: Plan<'a>,
        client: IpAddr,
        pair: KeyPair,
        user: &Username,
        returns: &KeyReturns,
    ) -> Self {
        Self {
            plan,
            client,
            lent: Lent::new(returns, user, &pair.public, None),
            key: pair.public,
            given: GivenKey::Private(pair.private),
        }
    }

    /// The client is given the key with the server: it stays there, and at the proxy.
    pub fn hand_out(&self) {
        self.lent.hand_out();
    }

    /// What the server is asked for.
    pub(super) fn grant(&self) -> KeyGrant {
        self.plan.grant(self.key.clone(), self.client)
    }

    /// Whether the proxy lets the client pass with this key, or needs none.
    async fn opens_proxy(&self, view: &FarmView, user: &Username) -> bool {
        let Some(proxy) = self.plan.proxy() else {
            return true;
        };
        let grant = self.plan.proxy_grant(proxy, self.key.clone(), self.client);
        match installing(view, proxy.host) {
            Some(node) => self.add_key(view, node, user, grant).await || !proxy.is_needed,
            None => !proxy.is_needed,
        }
    }
}

impl KeyOffer<'_> {
    /// Has the key open the account on a server that admits nobody, and says what the client
    /// is given.
    pub(super) async fn opens(
        &self,
        view: &FarmView,
        node: &NodeView,
        user: &Username,
    ) -> GivenKey {
        match self.add_key(view, node, user, self.grant()).await {
            true => self.given.clone(),
            false => GivenKey::Nothing,
        }
    }

    async fn add_key(
        &self,
        view: &FarmView,
        node: &NodeView,
        user: &Username,
        grant: KeyGrant,
    ) -> bool {
        let node = &node.node;
        let Some(link) = view.link(node) else {
            return false;
        };
        let ticket = self.lent.asking(node, link);
        match link.add_key(user, grant).await {
            Ok(outcome) => {
                self.lent.answered(ticket, outcome);
                if outcome == KeyOutcome::Installed {
                    info!(%user, %node, "a key opens the account for a while");
                    return true;
                }
                warn!(%user, %node, ?outcome, "a key was not installed");
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                warn!(%user, %node, error, "a key was not installed");
            }
        }
        false
    }
}

/// As [`select_session`], with a key. What is needed of the proxy is had at the same time.
///
/// # Errors
/// When no server takes the session. That there is no key is none.
pub async fn select_with_key(
    placing: &Placing,
    profile: &SessionProfile,
    user: &Username,
    terms: Terms<'_>,
    offer: Option<&KeyOffer<'_>>,
) -> Result<Selected, NoServer> {
    let Some(offer) = offer else {
        return select_session(placing, profile, user, terms, None).await;
    };
    let view = placing.feed.view();
    let (selected, passes) = tokio::join!(
        select_session(placing, profile, user, terms, Some(offer)),
        offer.opens_proxy(&view, user),
    );
    let mut selected = selected?;
    if !passes && selected.key != GivenKey::Nothing {
        warn!(%user, profile = %profile.id, "no key for the client, as the SSH proxy has none");
        selected.key = GivenKey::Nothing;
    }
    Ok(selected)
}

impl Login<'_> {
    /// What the client is given after the agent's word.
    pub(super) fn given(&self, node: &NodeView, outcome: KeyOutcome) -> GivenKey {
        let (user, node) = (self.user, &node.node);
        match (self.offer, outcome) {
            (Some(offer), KeyOutcome::Installed) => {
                info!(%user, %node, "a key opens the account for a while");
                offer.given.clone()
            }
            (Some(_), KeyOutcome::Refused | KeyOutcome::Failed | KeyOutcome::NotAsked) => {
                warn!(%user, %node, ?outcome, "no key; the user types their password");
                GivenKey::Nothing
            }
            (None, _) => GivenKey::Nothing,
        }
    }
}

/// The node of a host, if it is alive and installs keys.
pub(super) fn installing<'v>(view: &'v FarmView, host: &ProfileHost) -> Option<&'v NodeView> {
    let Resolved::Node(node) = view.hosts().look_up(host) else {
        return None;
    };
    let node = view
        .node(node)
        .filter(|node| node.live && node.installs_keys);
    node.map(|node| &**node)
}
