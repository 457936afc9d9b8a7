//! Which session profiles may whoever asks use? Every task asks this: that a client was
//! once shown a profile proves nothing later.

use std::sync::Arc;

use crate::acl::{Asker, ClientNames, Groups};
use crate::auth::Authenticated;
use crate::client_names::ClientNamesWatch;
use crate::groups::{GroupsHandle, UserGroups};
use crate::profiles::SessionProfile;

/// Who knows what rules need to know.
#[derive(Clone, Debug)]
pub struct Directory {
    /// The groups of users.
    pub groups: GroupsHandle,
    /// The addresses of clients that rules name.
    pub client_names: ClientNamesWatch,
}

/// What is known of somebody who asks.
#[derive(Debug)]
pub(super) struct Access<'a> {
    who: &'a Authenticated,
    groups: Option<Arc<UserGroups>>,
    ignore_primary_groups: bool,
    client_names: Arc<ClientNames>,
}

impl<'a> Access<'a> {
    /// Finds out what is needed to decide about these profiles. Groups are looked up only
    /// if one of them depends on that; if they can't be, they count against the user.
    pub(super) async fn find_out<'p>(
        directory: &Directory,
        who: &'a Authenticated,
        ignore_primary_groups: bool,
        mut profiles: impl Iterator<Item = &'p SessionProfile>,
    ) -> Self {
        let mut access = Self {
            who,
            groups: None,
            ignore_primary_groups,
            client_names: Arc::clone(&directory.client_names.borrow()),
        };
        let asker = access.asker();
        let needs_groups = profiles.any(|profile| profile.acl.needs_groups(&asker));
        if needs_groups && let Some(user) = who.user() {
            access.groups = directory.groups.of(user).await.ok();
        }
        access
    }

    /// Whether this profile is there for them.
    pub(super) fn may_use(&self, profile: &SessionProfile) -> bool {
        profile.acl.allows(&self.asker())
    }

    fn asker(&self) -> Asker<'_> {
        let groups = self.groups.as_ref().map_or(Groups::Unknown, |groups| {
            Groups::Known(groups.counting(self.ignore_primary_groups))
        });
        Asker {
            user: self.who.user().map(proto::BrokerUser::as_str),
            groups,
            client: self.who.client(),
            client_names: &self.client_names,
        }
    }
}
