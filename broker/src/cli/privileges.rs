//! How does a process that root started become the broker's user, for good?

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::{
    Gid, Group, Uid, User, geteuid, getgroups, getresgid, getresuid, initgroups, setresgid,
    setresuid,
};

/// Why the privileges of root could not be given up.
#[derive(Debug, thiserror::Error)]
pub(super) enum PrivilegeError {
    #[error("there is no user {0}; create it, or set X2GOBROKER_DAEMON_USER in defaults.conf")]
    NoUser(String),
    #[error("there is no group {0}; create it, or set X2GOBROKER_DAEMON_GROUP in defaults.conf")]
    NoGroup(String),
    #[error("{0} is root: the broker never needs to be root")]
    IsRoot(String),
    #[error("{call} failed")]
    Failed { call: &'static str, source: Errno },
    #[error("the folder {path} can't be made")]
    Folder { path: PathBuf, source: io::Error },
    #[error("the privileges of root are still there after they were given up")]
    StillThere,
}

/// Whether there is anything to give up.
pub(super) fn is_root() -> bool {
    geteuid().is_root()
}

/// Becomes this user with this group, and makes sure that nothing leads back. Must run
/// before there is a second thread that could keep what is given up here.
pub(super) fn drop_to(user: &str, group: &str) -> Result<(), PrivilegeError> {
    let failed = |call| move |source| PrivilegeError::Failed { call, source };
    let found = User::from_name(user).map_err(failed("getpwnam"))?;
    let uid = found
        .ok_or_else(|| PrivilegeError::NoUser(user.to_owned()))?
        .uid;
    let found = Group::from_name(group).map_err(failed("getgrnam"))?;
    let gid = found
        .ok_or_else(|| PrivilegeError::NoGroup(group.to_owned()))?
        .gid;
    if uid.is_root() || gid.as_raw() == 0 {
        return Err(PrivilegeError::IsRoot(format!("{user}:{group}")));
    }
    let name = CString::new(user).map_err(|_nul| PrivilegeError::NoUser(user.to_owned()))?;
    initgroups(&name, gid).map_err(failed("initgroups"))?;
    setresgid(gid, gid, gid).map_err(failed("setresgid"))?;
    setresuid(uid, uid, uid).map_err(failed("setresuid"))?;
    verify(uid, gid)
}

/// Makes a folder for this user, as systemd does for its services, unless it is there.
pub(super) fn make_folder(path: &Path, user: &str) -> Result<(), PrivilegeError> {
    let failed = |source: io::Error| PrivilegeError::Folder {
        path: path.to_owned(),
        source,
    };
    match fs::create_dir(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        Err(error) => return Err(failed(error)),
    }
    let found = User::from_name(user).map_err(|source| PrivilegeError::Failed {
        call: "getpwnam",
        source,
    })?;
    let owner = found.ok_or_else(|| PrivilegeError::NoUser(user.to_owned()))?;
    let (uid, gid) = (owner.uid.as_raw(), owner.gid.as_raw());
    chown(path, Some(uid), Some(gid)).map_err(failed)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(failed)
}

fn verify(uid: Uid, gid: Gid) -> Result<(), PrivilegeError> {
    let failed = |call| move |source| PrivilegeError::Failed { call, source };
    let users = getresuid().map_err(failed("getresuid"))?;
    let groups = getresgid().map_err(failed("getresgid"))?;
    let others = getgroups().map_err(failed("getgroups"))?;
    let root = Uid::from_raw(0);
    let is_dropped = [users.real, users.effective, users.saved] == [uid; 3]
        && [groups.real, groups.effective, groups.saved] == [gid; 3]
        && others.iter().all(|group| group.as_raw() != 0)
        && setresuid(root, root, root).is_err();
    if is_dropped {
        Ok(())
    } else {
        Err(PrivilegeError::StillThere)
    }
}

#[cfg(test)]
mod tests {
    use super::{PrivilegeError, drop_to};

    #[test]
    fn nobody_is_asked_to_become_who_is_not_there_or_is_root() {
        let error = drop_to("no such user", "root").unwrap_err();
        assert!(matches!(error, PrivilegeError::NoUser(_)));
        let error = drop_to("root", "no such group").unwrap_err();
        assert!(matches!(error, PrivilegeError::NoGroup(_)));
        for (user, group) in [("root", "root"), ("root", "nogroup"), ("nobody", "root")] {
            let error = drop_to(user, group).unwrap_err();
            assert!(matches!(error, PrivilegeError::IsRoot(_)), "{user}:{group}");
        }
    }
}
