//! `selectsession` by somebody without a name: on which server?
//!
//! Only where no credentials are required can a name be missing. An agent admits users, so
//! that none can be asked; a server is handed out that does not seem to be down.

use std::hash::{BuildHasher, Hasher, RandomState};

use tracing::info;

use super::select_session::{NoServer, Placing, Selected};
use crate::names::address_for_client;
use crate::profiles::{ProfileHost, SessionProfile};
use crate::view::FarmView;

/// Any server of the profile that is not known to be down; the first of a profile that
/// shows another's session.
///
/// # Errors
/// When all are down, or there is none.
pub(super) fn select_for_nobody(
    placing: &Placing,
    profile: &SessionProfile,
) -> Result<Selected, NoServer> {
    let view = placing.feed.view();
    let hosts: Vec<&ProfileHost> = match profile.is_shadow() {
        true => profile.hosts.iter().take(1).collect(),
        false => up(&view, profile).collect(),
    };
    let host = hosts.get(any_of(hosts.len())).ok_or_else(|| NoServer {
        why: "no host of the profile is up".to_owned(),
    })?;
    info!(profile = %profile.id, host = host.name, "a host for a client without a user");
    let server = address_for_client(host, profile.sshport);
    Ok(Selected::unasked(server))
}

/// Hosts whose agent is alive, and those that have none.
fn up<'a>(view: &FarmView, profile: &'a SessionProfile) -> impl Iterator<Item = &'a ProfileHost> {
    profile.hosts.iter().filter(|host| {
        let node = view.hosts().resolve(host);
        let node = node.and_then(|node| view.node(node));
        node.is_none_or(|node| node.live && !node.is_suspect())
    })
}

/// Any of so many. Nobody is hurt by who guesses it: a seed per call is enough.
pub(crate) fn any_of(n: usize) -> usize {
    let random = RandomState::new().build_hasher().finish();
    let n = u64::try_from(n).unwrap_or(u64::MAX);
    let picked = random.checked_rem(n).unwrap_or_default();
    usize::try_from(picked).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::any_of;

    #[test]
    fn every_host_is_picked_at_some_time() {
        let mut picked = [false; 3];
        for _ in 0..1000 {
            picked[any_of(3)] = true;
        }
        assert_eq!(picked, [true; 3]);
        assert_eq!(any_of(0), 0);
    }
}
