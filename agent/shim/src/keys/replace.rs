//! How is the content of a locked file exchanged, whole or not at all?

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::{Mode, fchmod, fstat};
use nix::unistd::{Gid, UnlinkatFlags, fchown, unlinkat};
use shim::Refusal;

use super::failed;
use super::folder::sync;

/// Gives the file `name`, which is `file` and locked, the content `new`.
pub(super) fn content(
    folder: &OwnedFd,
    name: &str,
    file: &File,
    old: &[u8],
    new: &[u8],
) -> Result<(), Refusal> {
    let fresh_name = format!(".{name}.x2gobroker");
    match create(folder, &fresh_name) {
        Ok(fresh) => {
            let filled = fill(&fresh, file, new).map_err(failed("writing the key file"));
            let rename = || renameat(folder, fresh_name.as_str(), folder, name);
            // A server of homes may have done what it then fails to confirm.
            let unsure = |error: Errno| Refusal::KeyFile("replacing the key file", error.into());
            let done = filled.and_then(|()| rename().map_err(unsure));
            done.inspect_err(|_error| {
                // What can't be removed is removed next time.
                let _ = unlinkat(folder, fresh_name.as_str(), UnlinkatFlags::NoRemoveDir);
            })?;
            // Else the old file may be back after a loss of power.
            sync(folder).map_err(unsure)
        }
        // The file is the user's and its folder is not.
        Err(Errno::EACCES | Errno::EPERM | Errno::EROFS) => {
            let unsure = |error| Refusal::KeyFile("writing the key file in its place", error);
            in_place(file, old, new).map_err(unsure)
        }
        Err(error) => Err(failed("making the new key file")(error)),
    }
}

/// Makes the file that will take the other's place. Its name is always the same: who holds
/// the lock is alone, so one that is there was left behind by an editor that was killed.
fn create(folder: &OwnedFd, name: &str) -> Result<File, Errno> {
    let make = || openat(folder, name, NEW, Mode::S_IRUSR | Mode::S_IWUSR);
    let made = match make() {
        Err(Errno::EEXIST) => {
            unlinkat(folder, name, UnlinkatFlags::NoRemoveDir)?;
            make()
        }
        made => made,
    };
    made.map(File::from)
}

fn fill(mut fresh: &File, like: &File, content: &[u8]) -> io::Result<()> {
    let stat = fstat(like)?;
    // The user may have given the file to a group that is no longer theirs. What that group
    // may do, the group that the file has now may not.
    let mode = match fchown(fresh, None, Some(Gid::from_raw(stat.st_gid))) {
        Ok(()) => stat.st_mode & 0o777,
        Err(_) => stat.st_mode & 0o707,
    };
    fchmod(fresh, Mode::from_bits_truncate(mode))?;
    fresh.write_all(content)?;
    // NFS and full disks tell only now.
    fresh.sync_all()
}

/// Writes from the first byte that differs. What is there is restored if that fails.
fn in_place(file: &File, old: &[u8], new: &[u8]) -> io::Result<()> {
    let n_same = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let write = |content: &[u8]| {
        let rest = content.get(n_same..).unwrap_or_default();
        let start = u64::try_from(n_same).map_err(io::Error::other)?;
        let length = u64::try_from(content.len()).map_err(io::Error::other)?;
        file.write_all_at(rest, start)?;
        file.set_len(length)?;
        file.sync_all()
    };
    write(new).inspect_err(|_error| {
        // Nothing better can be done if this fails too.
        let _ = write(old);
    })
}

const NEW: OFlag = OFlag::O_WRONLY
    .union(OFlag::O_CREAT)
    .union(OFlag::O_EXCL)
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_CLOEXEC);
