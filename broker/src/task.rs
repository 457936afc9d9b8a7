//! What clients can ask, free of any front end.

pub mod list_sessions;
pub mod select_session;

use crate::acl::Groups;
use crate::auth::Authenticated;
use crate::profiles::SessionProfile;

/// Whether this session profile is there for whoever asks. Every task checks it: that a
/// client was once shown a profile proves nothing later.
#[must_use]
pub(crate) fn may_use(profile: &SessionProfile, who: &Authenticated) -> bool {
    let user = who.user().map_or("", proto::Username::as_str);
    profile.acl.allows(user, Groups::Unknown, who.client())
}
