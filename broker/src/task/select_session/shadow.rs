//! `selectsession` of a profile that shows a desktop which is there already: on which host?
//!
//! X2Go Client lists the desktops of the server that it is given, and no others. What can be
//! watched there only the server itself knows. So in the mesh the agents of the profile's
//! hosts are asked, all at once, and the first host is named where somebody else has announced a
//! desktop, else the first where the user has one; if none has, or can say so, the first one, as
//! x2gobroker 0.0.4.3 does. Watching is no new desktop:
//! nobody is admitted, and a server that is drained is as good as any.

use proto::Username;
use tokio::task::JoinSet;
use tracing::{info, warn};

use super::keyed::installing;
use super::{KeyOffer, NoServer, Placing, Selected, Terms, hosts_on_nodes, unasked};
use crate::agents::AgentLink;
use crate::placement::{Heard, Watched, first_with_desktop};
use crate::profiles::{AgentQueryMode, ProfileHost, SessionProfile};
use crate::view::FarmView;

/// Finds the host, and has the key open the account there.
///
/// # Errors
/// When the profile has no host.
pub(super) async fn select_shadow(
    placing: &Placing,
    profile: &SessionProfile,
    user: &Username,
    terms: Terms<'_>,
    offer: Option<&KeyOffer<'_>>,
) -> Result<Selected, NoServer> {
    let view = placing.feed.view();
    let found = match terms.mode {
        AgentQueryMode::Mesh if profile.hosts.len() > 1 => {
            host_with_desktop(&view, profile, user).await
        }
        // The others would have to start a program by SSH on each server.
        AgentQueryMode::Mesh
        | AgentQueryMode::None
        | AgentQueryMode::Local
        | AgentQueryMode::Ssh => None,
    };
    let host = found.or(profile.hosts.first());
    let mut selected = unasked(profile, host)?;
    if let Some(offer) = offer
        && let Some(node) = host.and_then(|host| installing(&view, host))
    {
        selected.key = offer.opens(&view, node, user).await;
    }
    Ok(selected)
}

/// The one of the profile's hosts where the user has most to watch.
async fn host_with_desktop<'p>(
    view: &'p FarmView,
    profile: &'p SessionProfile,
    user: &Username,
) -> Option<&'p ProfileHost> {
    let hosts = hosts_on_nodes(profile, view).into_iter();
    // Whoever is dead, or was silent lately, would only keep the user waiting.
    let alive = hosts.filter(|(_, node)| node.live && !node.is_suspect());
    let asked: Vec<(&ProfileHost, &AgentLink)> = alive
        .filter_map(|(host, node)| Some((host, view.link(&node.node)?)))
        .take(MAX_ASKED)
        .collect();
    let mut heard = vec![Heard::NotYet; asked.len()];
    // What is still on its way when this is dropped no longer matters.
    let mut answers = JoinSet::new();
    for (place, (_, link)) in asked.iter().enumerate() {
        let (link, user) = ((*link).clone(), user.clone());
        answers.spawn(async move { (place, link.desktops(&user).await) });
    }
    loop {
        match first_with_desktop(&heard) {
            Watched::Wait => {}
            Watched::Nowhere => return None,
            Watched::On { server_idx } => {
                let (host, _) = asked.get(server_idx)?;
                info!(%user, profile = %profile.id, host = host.name, "a desktop is there");
                return Some(host);
            }
        }
        // Each has its deadline, so that all of them end.
        let (place, answer) = answers.join_next().await?.ok()?;
        let said = match answer {
            Ok(desktops) => Heard::of(&desktops, user),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                warn!(%user, profile = %profile.id, error, "a server did not say what is there");
                Heard::NoDesktop
            }
        };
        if let Some(heard) = heard.get_mut(place) {
            *heard = said;
        }
    }
}

/// Each starts a program for this one user, so a profile with the whole of a large farm is
/// asked in part: its first hosts.
const MAX_ASKED: usize = 64;
