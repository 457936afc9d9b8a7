//! `listsessions`: which sessions has the user on servers that the mesh does not know?

use proto::Username;

use super::select_session::Placing;
use crate::old_agents::{OldSessions, old_hosts};
use crate::profiles::SessionProfile;
use crate::settings::Backend;

/// Asks the old servers of all these profiles at once, each server once. Where no profile
/// has one, nobody is asked.
pub(super) async fn on_old_servers(
    placing: &Placing,
    backend: &Backend,
    profiles: impl Iterator<Item = &SessionProfile>,
    user: Option<&Username>,
) -> OldSessions {
    let mut found = OldSessions::default();
    let Some(user) = user else { return found };
    let view = placing.feed.view();
    let of_profiles: Vec<_> = profiles
        .map(|profile| {
            let mode = profile.query_mode.unwrap_or(backend.query_mode);
            (
                profile,
                old_hosts(profile, mode, &backend.old_agents, &view, placing.warm_up()),
            )
        })
        .filter(|(_, hosts)| !hosts.is_empty())
        .collect();
    if of_profiles.is_empty() {
        return found;
    }
    let all: Vec<_> = of_profiles
        .iter()
        .flat_map(|(_, hosts)| hosts.iter().cloned())
        .collect();
    let round = placing.old_agents.ask(&all, user).await;
    for (profile, hosts) in &of_profiles {
        found.add(&profile.id, hosts, &round);
    }
    found
}
