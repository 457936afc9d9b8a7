//! How do two editors of a key file take turns?
//!
//! Each locks the file itself, which also works on NFS, where the server keeps the lock. As
//! an edit replaces the file, whoever gets the lock looks whether it is still the file of
//! that name, and otherwise begins again.

use std::fs::{File, TryLockError};
use std::os::fd::OwnedFd;
use std::thread::sleep;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};
use shim::Refusal;

use super::{Missing, failed};

/// Opens and locks the user's file; none if it is missing and is to be left so.
pub(super) fn open(
    folder: &OwnedFd,
    name: &str,
    missing: Missing,
    user: u32,
) -> Result<Option<File>, Refusal> {
    let mut pause = FIRST_PAUSE;
    let mut waited = Duration::ZERO;
    while waited < LONGEST_WAIT {
        let Some(file) = open_file(folder, name, missing)? else {
            return Ok(None);
        };
        let opened = fstat(&file).map_err(failed("looking at the key file"))?;
        check(&opened, user)?;
        match file.try_lock() {
            Ok(()) => {
                let named = fstatat(folder, name, AtFlags::AT_SYMLINK_NOFOLLOW);
                let is = |named: FileStat| {
                    (named.st_dev, named.st_ino) == (opened.st_dev, opened.st_ino)
                };
                if named.is_ok_and(is) {
                    return Ok(Some(file));
                }
            }
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(failed("locking the key file")(error)),
        }
        // Also when the file is another one: there are file systems where it always is.
        drop(file);
        sleep(pause);
        waited = waited.saturating_add(pause);
        pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
    }
    Err(Refusal::Busy)
}

fn open_file(folder: &OwnedFd, name: &str, missing: Missing) -> Result<Option<File>, Refusal> {
    let create = match missing {
        Missing::Create => OFlag::O_CREAT,
        Missing::Leave => OFlag::empty(),
    };
    let mode = Mode::S_IRUSR | Mode::S_IWUSR;
    match openat(folder, name, FILE | create, mode) {
        Ok(file) => Ok(Some(File::from(file))),
        Err(Errno::ENOENT) if missing == Missing::Leave => Ok(None),
        Err(Errno::ELOOP) => Err(Refusal::OddKeyFile("the key file is a symbolic link")),
        Err(error) => Err(failed("opening the key file")(error)),
    }
}

fn check(stat: &FileStat, user: u32) -> Result<(), Refusal> {
    if SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT != SFlag::S_IFREG {
        return Err(Refusal::OddKeyFile("the key file is no ordinary file"));
    }
    if stat.st_uid != user {
        return Err(Refusal::OddKeyFile("the key file belongs to somebody else"));
    }
    Ok(())
}

/// `O_NONBLOCK`: a pipe in the file's place must not hold us up.
const FILE: OFlag = OFlag::O_RDWR
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_NONBLOCK)
    .union(OFlag::O_NOCTTY)
    .union(OFlag::O_CLOEXEC);

/// An edit takes about this long where the disk is quick.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
/// So that hundreds of editors that wait don't keep the processors busy.
const LONGEST_PAUSE: Duration = Duration::from_millis(32);
/// Long enough for hundreds of edits before ours, and shorter than the agent listens: it is
/// to hear that nothing was done.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
