//! How is root given up, for good?

use std::ffi::CString;
use std::io;

use nix::unistd::{
    Gid, Uid, geteuid, getgid, getresgid, getresuid, getuid, initgroups, setresgid, setresuid,
};
use shim::Refusal;
use shim::caller::AllowedCaller;
use shim::target::Target;

/// Proof that this process is the target user and can't be root again.
#[derive(Debug)]
pub(crate) struct Dropped {
    user: u32,
}

impl Dropped {
    /// Whom this process acts as.
    pub(crate) fn user(&self) -> u32 {
        self.user
    }
}

pub(crate) fn real_user() -> u32 {
    getuid().as_raw()
}

pub(crate) fn effective_user() -> u32 {
    geteuid().as_raw()
}

/// Becomes the target user, with the groups of a login.
pub(crate) fn become_target(_: AllowedCaller, target: &Target) -> Result<Dropped, Refusal> {
    let account = target.account();
    let (user, group) = (Uid::from_raw(account.user), Gid::from_raw(account.group));
    let name = CString::new(account.name.as_str()).map_err(|_nul| Refusal::NoTarget)?;
    initgroups(&name, group).map_err(failed("taking the user's groups"))?;
    give_up(user, group)?;
    Ok(Dropped { user: account.user })
}

/// Becomes the caller again, for what nobody else's rights are needed for. A caller who is
/// root stays root.
pub(crate) fn become_caller(_: AllowedCaller) -> Result<(), Refusal> {
    let (user, group) = (getuid(), getgid());
    if user.is_root() {
        return Ok(());
    }
    give_up(user, group)
}

fn give_up(user: Uid, group: Gid) -> Result<(), Refusal> {
    setresgid(group, group, group).map_err(failed("taking the user's group"))?;
    setresuid(user, user, user).map_err(failed("becoming the user"))?;
    let users = getresuid().map_err(failed("looking who we are"))?;
    let groups = getresgid().map_err(failed("looking which group we have"))?;
    let is_user = [users.real, users.effective, users.saved] == [user; 3];
    let is_group = [groups.real, groups.effective, groups.saved] == [group; 3];
    let root = Uid::from_raw(0);
    let is_back = setresuid(root, root, root).is_ok()
        || nix::unistd::seteuid(root).is_ok()
        || setresgid(Gid::from_raw(0), Gid::from_raw(0), Gid::from_raw(0)).is_ok();
    if is_user && is_group && !is_back {
        Ok(())
    } else {
        Err(Refusal::StillRoot)
    }
}

fn failed(step: &'static str) -> impl FnOnce(nix::Error) -> Refusal {
    move |error| Refusal::Process(step, io::Error::from(error))
}
