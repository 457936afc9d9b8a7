//! Which folder is it really? A walk from the root that no user can lead astray.
//!
//! Part after part, from the root. A symbolic link is followed only if root owns it and the
//! folder that it stands in: what an administrator has set up, such as `/home` on another
//! disk. A link of anybody else ends the walk.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::path::{Component, Path};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat, mkdirat};
use nix::unistd::fsync;
use shim::Refusal;

use super::{Missing, failed};

/// Opens the folder below the root that `parts` lead to; none if it is missing and is to be
/// left so. New folders are the user's alone.
pub(super) fn open(parts: &[String], missing: Missing) -> Result<Option<OwnedFd>, Refusal> {
    let mut ahead: VecDeque<_> = parts
        .iter()
        .map(|part| OsStr::new(part).to_owned())
        .collect();
    let mut here = root()?;
    let mut n_links = 0;
    while let Some(part) = ahead.pop_front() {
        match step(&here, &part) {
            Ok(next) => here = next,
            Err(Errno::ENOENT) if missing == Missing::Leave => return Ok(None),
            Err(Errno::ENOENT) => {
                match mkdirat(&here, part.as_os_str(), Mode::S_IRWXU) {
                    Ok(()) => sync(&here).map_err(failed("writing a folder for the key file"))?,
                    // Somebody else was faster: that folder will do.
                    Err(Errno::EEXIST) => {}
                    Err(error) => return Err(failed("making a folder for the key file")(error)),
                }
                here = step(&here, &part).map_err(failed("opening a folder"))?;
            }
            Err(Errno::ELOOP | Errno::ENOTDIR) => {
                n_links += 1;
                if n_links > MAX_LINKS {
                    return Err(failed("opening a folder")(Errno::ELOOP));
                }
                let target = trusted_link(&here, &part)?;
                let target = Path::new(&target);
                if target.is_absolute() {
                    here = root()?;
                }
                for part in target.components().rev() {
                    match part {
                        Component::Normal(part) => ahead.push_front(part.to_owned()),
                        Component::ParentDir => ahead.push_front("..".into()),
                        Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
                    }
                }
            }
            Err(error) => return Err(failed("opening a folder")(error)),
        }
    }
    Ok(Some(here))
}

/// Has the names in a folder be on the disk, where a disk can be told so.
pub(super) fn sync(folder: &OwnedFd) -> nix::Result<()> {
    match fsync(readable(folder)?) {
        // Not on this file system (open(2), fsync(2)).
        Err(Errno::EINVAL) => Ok(()),
        done => done,
    }
}

/// The same folder, open for more than to pass through.
fn readable(folder: &OwnedFd) -> nix::Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    openat(folder, ".", flags, Mode::empty())
}

fn root() -> Result<OwnedFd, Refusal> {
    openat(AT_FDCWD, "/", FOLDER, Mode::empty()).map_err(failed("opening the root"))
}

fn step(here: &OwnedFd, part: &OsStr) -> nix::Result<OwnedFd> {
    openat(here, part, FOLDER, Mode::empty())
}

/// Returns where a link leads, if root made it.
fn trusted_link(here: &OwnedFd, part: &OsStr) -> Result<std::ffi::OsString, Refusal> {
    let look = |stat: nix::Result<FileStat>| stat.map_err(failed("looking at a folder"));
    let folder = look(fstat(here))?;
    let link = look(fstatat(here, part, AtFlags::AT_SYMLINK_NOFOLLOW))?;
    if SFlag::from_bits_truncate(link.st_mode) & SFlag::S_IFMT != SFlag::S_IFLNK {
        return Err(failed("opening a folder")(Errno::ENOTDIR));
    }
    if folder.st_uid != 0 || link.st_uid != 0 {
        return Err(Refusal::OddKeyFile(
            "a folder of the key file is a symbolic link",
        ));
    }
    readlinkat(here, part).map_err(failed("reading a link"))
}

/// `O_PATH`: it is enough to be allowed to pass through.
const FOLDER: OFlag = OFlag::O_PATH
    .union(OFlag::O_DIRECTORY)
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_CLOEXEC);

/// More than any administrator puts on the way to a home.
const MAX_LINKS: u32 = 8;
