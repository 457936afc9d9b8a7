//! Can the setuid program install keys, and does this server's sshd know when one expires?

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::shim_client::{ShimClient, ShimError};

/// Why no key can be installed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProgramError {
    #[error("it can't be looked at")]
    Missing(#[source] io::Error),
    #[error("its file does not belong to root")]
    Owner,
    #[error("its file has no setuid bit")]
    NoSetuid,
    #[error("others than its owner may write its file")]
    Writable,
    #[error("it does not answer")]
    Silent(#[source] ShimError),
    #[error("it does not know how to add and remove keys")]
    Unable,
}

/// Looks at the program's file, and asks it what it can do.
pub(super) async fn check(shim: ShimClient, owner: u32) -> Result<(), ProgramError> {
    let path = shim.program().to_owned();
    let looked = tokio::task::spawn_blocking(move || check_file(&path, owner)).await;
    // Only a stopping runtime drops the task.
    looked.unwrap_or(Ok(()))?;
    let tasks = shim.available_tasks().await.map_err(ProgramError::Silent)?;
    let has = |task: &str| tasks.lines().any(|line| line == task);
    if has("OK") && has("addauthkey") && has("delauthkey") {
        Ok(())
    } else {
        Err(ProgramError::Unable)
    }
}

fn check_file(path: &Path, owner: u32) -> Result<(), ProgramError> {
    let metadata = fs::metadata(path).map_err(ProgramError::Missing)?;
    check_mode(metadata.uid(), metadata.mode(), owner)
}

fn check_mode(uid: u32, mode: u32, owner: u32) -> Result<(), ProgramError> {
    if uid != owner {
        Err(ProgramError::Owner)
    } else if mode & 0o4000 == 0 {
        Err(ProgramError::NoSetuid)
    } else if mode & 0o022 != 0 {
        Err(ProgramError::Writable)
    } else {
        Ok(())
    }
}

/// Whether this server's sshd takes `expiry-time` in UTC: OpenSSH does from 9.1 on. Reads
/// the version that is written in the program itself, since no question to a running sshd
/// is as quiet. Blocks.
#[must_use]
pub fn sshd_knows_utc_expiry() -> bool {
    let mut bytes = Vec::new();
    let read = File::open(SSHD).and_then(|file| file.take(MAX_SSHD_BYTES).read_to_end(&mut bytes));
    read.is_ok() && version(&bytes).is_some_and(|version| version >= UTC_SINCE)
}

/// The first `OpenSSH_MAJOR.MINORp` in a program. Patterns of other versions, such as
/// `OpenSSH_7.0*`, are in it too.
fn version(program: &[u8]) -> Option<(u32, u32)> {
    let starts = program.windows(NAME.len()).enumerate();
    let mut versions = starts
        .filter(|(_, bytes)| *bytes == NAME)
        .filter_map(|(at, _)| {
            let rest = program.get(at + NAME.len()..)?;
            let number = rest.split(|byte| *byte == b'p').next()?;
            let number = number.get(..MAX_VERSION_BYTES.min(number.len()))?;
            let (major, minor) = str::from_utf8(number).ok()?.split_once('.')?;
            Some((major.parse().ok()?, minor.parse().ok()?))
        });
    versions.next()
}

const SSHD: &str = "/usr/sbin/sshd";
const NAME: &[u8] = b"OpenSSH_";
/// `10.0`, and what more there may come.
const MAX_VERSION_BYTES: usize = 8;
/// Its release notes: "allow … authorized_keys expiry-time options to accept dates in the
/// UTC time zone".
const UTC_SINCE: (u32, u32) = (9, 1);
/// It has about one.
const MAX_SSHD_BYTES: u64 = 16 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::{check_mode, version};

    #[test]
    fn only_a_program_as_packaged_is_trusted() {
        let rows = [
            (0, 0o104_750, "good"),
            // The original's own wrapper.
            (0, 0o104_710, "good"),
            (990, 0o104_750, "its file does not belong to root"),
            (0, 0o100_750, "its file has no setuid bit"),
            (0, 0o104_770, "others than its owner may write its file"),
            (0, 0o104_757, "others than its owner may write its file"),
        ];
        for (uid, mode, expected) in rows {
            let checked = check_mode(uid, mode, 0);
            let told = checked
                .err()
                .map_or("good".to_owned(), |error| error.to_string());
            assert_eq!(told, expected, "{uid} {mode:o}");
        }
    }

    #[test]
    fn the_version_of_sshd_is_read_from_the_program() {
        let rows = [
            (&b"\0\0OpenSSH_9.2p1 Debian-2+deb12u3\0"[..], Some((9, 2))),
            (b"OpenSSH_\0OpenSSH_10.0p2\0", Some((10, 0))),
            (b"OpenSSH_7.0*,OpenSSH_7.1* OpenSSH_8.4p1", Some((8, 4))),
            (b"OpenSSH_for_Windows", None),
            (b"", None),
        ];
        for (program, expected) in rows {
            assert_eq!(version(program), expected);
        }
    }
}
