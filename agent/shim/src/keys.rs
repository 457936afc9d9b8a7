//! How does a key file get its new content, when others edit it too?
//!
//! Everything here happens as the user, so a home that root can't read is as good as any.
//! The file is locked, read, and replaced by a rename: a reader sees the old or the new
//! content and never a part. Where the folder can't be written, the file itself is.

mod folder;
mod lock;
mod replace;

use std::fs::File;
use std::io::{self, Read as _};

use nix::errno::Errno;
use nix::sys::prctl::set_no_new_privs;
use nix::sys::stat::fstat;
use shim::Refusal;
use shim::authorized_keys::Edit;
use shim::location::Location;

use crate::privileges::Dropped;

/// What to do when there is no such file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// Make it, and the folders above it.
    Create,
    /// Nothing: it has no line to remove, if it is not only away.
    Leave,
}

/// Edits a key file. When this returns, the new content and its name are on the disk.
pub(crate) fn edit(
    dropped: &Dropped,
    location: &Location,
    missing: Missing,
    change: impl Fn(&[u8]) -> Edit,
) -> Result<(), Refusal> {
    set_no_new_privs().map_err(|error| Refusal::Process("no new privileges", error.into()))?;
    let Some(folder) = folder::open(location.folders(), missing)? else {
        return missing_for_good(location, false, dropped.user());
    };
    let name = location.name();
    let Some(file) = lock::open(&folder, name, missing, dropped.user())? else {
        return missing_for_good(location, true, dropped.user());
    };
    let old = read(&file)?;
    match change(&old) {
        Edit::Nothing => Ok(()),
        Edit::Replace(new) => replace::content(&folder, name, &file, &old, &new),
    }
}

/// A file that is missing has no line to remove, but a home that is not mounted looks the
/// same: it must be there, and the user's. Of a place elsewhere, the folder must be there,
/// since an administrator has made it.
fn missing_for_good(location: &Location, has_folder: bool, user: u32) -> Result<(), Refusal> {
    let Some(home) = location.home() else {
        let away = || failed("looking for the folder of the key file")(Errno::ENOENT);
        return has_folder.then_some(()).ok_or_else(away);
    };
    let home = folder::open(home, Missing::Leave)?;
    let home = home.ok_or_else(|| failed("looking for the home")(Errno::ENOENT))?;
    let home = fstat(&home).map_err(failed("looking at the home"))?;
    if home.st_uid == user {
        Ok(())
    } else {
        Err(Refusal::OddKeyFile("the home belongs to somebody else"))
    }
}

fn read(file: &File) -> Result<Vec<u8>, Refusal> {
    let mut content = Vec::new();
    let mut some = file.take(MAX_FILE_BYTES + 1);
    some.read_to_end(&mut content)
        .map_err(failed("reading the key file"))?;
    if u64::try_from(content.len()).is_ok_and(|length| length <= MAX_FILE_BYTES) {
        Ok(content)
    } else {
        Err(Refusal::OddKeyFile("the key file is larger than 1 MiB"))
    }
}

/// For what fails before any line has come or gone.
fn failed<E: Into<io::Error>>(step: &'static str) -> impl FnOnce(E) -> Refusal {
    move |error| Refusal::Untouched(step, error.into())
}

/// Room for more than a thousand keys; sshd would read for seconds.
const MAX_FILE_BYTES: u64 = 1024 * 1024;
