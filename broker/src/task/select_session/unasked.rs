//! Which host is handed out where nobody can be asked?

use proto::Username;
use tracing::info;

use super::{NoServer, Placing, Selected};
use crate::names::address_for_client;
use crate::profiles::{ProfileHost, SessionProfile};

/// A host that is handed out unasked.
pub(super) fn unasked(
    profile: &SessionProfile,
    host: Option<&ProfileHost>,
) -> Result<Selected, NoServer> {
    let host = host.ok_or_else(|| NoServer {
        why: "the profile has no host".to_owned(),
    })?;
    let server = address_for_client(host, profile.sshport);
    Ok(Selected::unasked(server))
}

/// None of the profile's hosts has an agent: one is handed out unasked, as the original
/// does without agents. The same one for the same user, so that a retry finds it again.
pub(super) fn without_agents(
    placing: &Placing,
    profile: &SessionProfile,
    user: &Username,
) -> Result<Selected, NoServer> {
    let host = placing
        .key
        .pick(user, profile.hosts.iter().map(|host| host.name.as_str()));
    let host = host.and_then(|idx| profile.hosts.get(idx));
    let name = host.map_or("", |host| &host.name);
    info!(%user, profile = %profile.id, host = name, "no host of the profile has an agent");
    unasked(profile, host)
}
