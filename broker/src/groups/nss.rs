//! What does the system say about the groups of a user?

use std::ffi::CString;

use nix::unistd::{Gid, Group, User, getgrouplist};
use proto::BrokerUser;

use super::{LookUpError, MAX_GROUPS, UserGroups};
use crate::acl::GroupName;

/// Asks the system. Blocks, for as long as the system likes.
///
/// A user whom the system does not know has the groups that name them as a member: with
/// passwords checked elsewhere, a user need not have an account here.
///
/// # Errors
/// When the system fails. A group that can't be named makes all of them unknown, since it
/// may be the one that a deny rule names.
pub fn look_up(user: &BrokerUser) -> Result<UserGroups, LookUpError> {
    // A name without NUL is a promise of its type.
    let Ok(name) = CString::new(user.as_str()) else {
        return Ok(UserGroups::default());
    };
    let account = User::from_name(user.as_str()).map_err(LookUpError::User)?;
    let primary = account.map_or(Gid::from_raw(NO_GROUP), |account| account.gid);
    let mut gids = getgrouplist(&name, primary).map_err(LookUpError::List)?;
    gids.sort_unstable_by_key(|gid| gid.as_raw());
    gids.dedup();
    if gids.len() > MAX_GROUPS {
        return Err(LookUpError::TooMany);
    }
    let mut named = Vec::new();
    let mut only_primary = None;
    for gid in gids {
        let Some(group) = by_gid(gid)? else {
            // No rule can mean a group without a name.
            continue;
        };
        let names_user = group.mem.iter().any(|member| member == user.as_str());
        let Ok(group) = GroupName::parse(&group.name) else {
            continue;
        };
        if gid == primary && !names_user {
            only_primary = Some(group);
        } else {
            named.push(group);
        }
    }
    if primary.as_raw() == NO_GROUP {
        only_primary = None;
    }
    Ok(UserGroups::new(named, only_primary))
}

fn by_gid(gid: Gid) -> Result<Option<Group>, LookUpError> {
    Group::from_gid(gid).map_err(|source| LookUpError::Name {
        gid: gid.as_raw(),
        source,
    })
}

/// For users without an account: getgrouplist(3) wants a primary group and adds it. This
/// one is nobody's: the kernel takes it as "unchanged" (chown(2)).
const NO_GROUP: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use proto::BrokerUser;

    use super::look_up;

    fn groups(user: &str) -> (Vec<String>, Vec<String>) {
        let groups = look_up(&BrokerUser::parse(user).unwrap()).unwrap();
        let texts =
            |names: &[crate::acl::GroupName]| names.iter().map(ToString::to_string).collect();
        (texts(groups.all()), texts(groups.counting(true)))
    }

    #[test]
    fn the_primary_group_counts_only_where_it_is_asked_for() {
        // Debian: root and daemon have a group of their own that names nobody.
        for user in ["root", "daemon"] {
            let (all, counting) = groups(user);
            assert!(all.contains(&user.to_owned()), "{user}: {all:?}");
            assert!(!counting.contains(&user.to_owned()), "{user}: {counting:?}");
        }
    }

    #[test]
    fn whom_the_system_does_not_know_is_in_no_group() {
        let nobody = (Vec::new(), Vec::new());
        assert_eq!(groups("no-such-user-here"), nobody);
        assert_eq!(groups("NODOMAIN\\alice"), nobody);
    }
}
