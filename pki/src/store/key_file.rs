//! Reading a private key, and refusing one that others could have read.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// Why a private key is not used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// Others than its owner can reach it.
    #[error(
        "{path} has mode {mode:04o}: other users can read this private key or change it; \
         run: chmod {wanted} {path}"
    )]
    Loose {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// What to give to chmod.
        wanted: &'static str,
    },
    /// Somebody else owns it.
    #[error(
        "{path} belongs to user id {owner}; a private key must belong to user id {ours}, \
         as whom this program runs, or to root"
    )]
    Owner {
        /// The file.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// Our effective user ID.
        ours: u32,
    },
    /// It is a directory, device or pipe.
    #[error("{path} is not a regular file")]
    NotAFile {
        /// The file.
        path: PathBuf,
    },
    /// It could not be read.
    #[error("cannot read the private key {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It is larger than any real one.
    #[error("{path} is larger than {MAX_KEY} bytes")]
    TooBig {
        /// The file.
        path: PathBuf,
    },
    /// Our own user ID is unknown, so the owner can't be judged.
    #[error("cannot tell our own user id from {SELF_STATUS}")]
    WhoAmI {
        /// What the system said, if it said anything.
        #[source]
        source: io::Error,
    },
}

/// How open a key file may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyAccess {
    /// Only its owner.
    OwnerOnly,
    /// Its owner, and its group may read.
    GroupMayRead,
}

/// Reads the key at `path`; the file that is checked is the one that is read.
pub(crate) fn read_key(path: &Path, access: KeyAccess) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
    let unreadable = |source| KeyFileError::Read {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(unreadable)?;
    let found = file.metadata().map_err(unreadable)?;
    if !found.is_file() {
        return Err(KeyFileError::NotAFile {
            path: path.to_owned(),
        });
    }
    let ours = effective_user()?;
    judge(path, found.mode() & 0o7777, found.uid(), ours, access)?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(KEY_CAPACITY));
    file.take(MAX_KEY + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if u64::try_from(bytes.len()).is_ok_and(|size| size <= MAX_KEY) {
        Ok(bytes)
    } else {
        Err(KeyFileError::TooBig {
            path: path.to_owned(),
        })
    }
}

fn judge(
    path: &Path,
    mode: u32,
    owner: u32,
    ours: u32,
    access: KeyAccess,
) -> Result<(), KeyFileError> {
    let (forbidden, wanted) = match access {
        KeyAccess::OwnerOnly => (0o077, "600"),
        KeyAccess::GroupMayRead => (0o037, "640"),
    };
    if owner != 0 && owner != ours {
        return Err(KeyFileError::Owner {
            path: path.to_owned(),
            owner,
            ours,
        });
    }
    if mode & forbidden != 0 {
        return Err(KeyFileError::Loose {
            path: path.to_owned(),
            mode,
            wanted,
        });
    }
    Ok(())
}

fn effective_user() -> Result<u32, KeyFileError> {
    let status =
        fs::read_to_string(SELF_STATUS).map_err(|source| KeyFileError::WhoAmI { source })?;
    effective_user_of(&status).ok_or_else(|| KeyFileError::WhoAmI {
        source: io::Error::new(
            io::ErrorKind::InvalidData,
            "no line \"Uid:\" with four numbers",
        ),
    })
}

/// Takes the second field of `Uid:` (proc_pid_status(5): real, effective, saved, file system).
fn effective_user_of(status: &str) -> Option<u32> {
    let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    ids.split_whitespace().nth(1)?.parse().ok()
}

const SELF_STATUS: &str = "/proc/self/status";
/// A P-256 key has 240 bytes in PEM, an RSA key of 8192 bits 6.5 KB.
const MAX_KEY: u64 = 64 * 1024;
/// Room for a usual key at once: a vector that grows leaves copies behind.
const KEY_CAPACITY: usize = 8 * 1024;

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::{KeyAccess, effective_user, effective_user_of, judge, read_key};

    #[test]
    fn only_keys_that_others_cannot_reach_are_used() {
        use KeyAccess::{GroupMayRead, OwnerOnly};
        let loose = |mode, wanted| {
            format!(
                "/k has mode {mode}: other users can read this private key or change it; \
                 run: chmod {wanted} /k"
            )
        };
        let foreign = "/k belongs to user id 7; a private key must belong to user id 1000, \
                       as whom this program runs, or to root";
        let table = [
            (0o600, 1000, OwnerOnly, "used".to_owned()),
            (0o400, 1000, OwnerOnly, "used".to_owned()),
            (0o700, 0, OwnerOnly, "used".to_owned()),
            (0o640, 0, OwnerOnly, loose("0640", "600")),
            (0o620, 0, OwnerOnly, loose("0620", "600")),
            (0o604, 1000, OwnerOnly, loose("0604", "600")),
            (0o601, 1000, OwnerOnly, loose("0601", "600")),
            (0o600, 7, OwnerOnly, foreign.to_owned()),
            (0o600, 0, GroupMayRead, "used".to_owned()),
            (0o640, 0, GroupMayRead, "used".to_owned()),
            (0o440, 1000, GroupMayRead, "used".to_owned()),
            (0o660, 0, GroupMayRead, loose("0660", "640")),
            (0o650, 0, GroupMayRead, loose("0650", "640")),
            (0o644, 0, GroupMayRead, loose("0644", "640")),
            (0o641, 0, GroupMayRead, loose("0641", "640")),
            (0o640, 7, GroupMayRead, foreign.to_owned()),
        ];
        for (mode, owner, access, expected) in table {
            let found = match judge(Path::new("/k"), mode, owner, 1000, access) {
                Ok(()) => "used".to_owned(),
                Err(error) => error.to_string(),
            };
            assert_eq!(found, expected, "mode {mode:o} owner {owner} {access:?}");
        }
    }

    #[test]
    fn the_effective_user_is_the_second_number() {
        let table = [
            (
                "Name:\tx\nUid:\t1\t22\t333\t4444\nGid:\t5\t6\t7\t8\n",
                Some(22),
            ),
            ("Name:\tx\n", None),
            ("Uid:\t1\n", None),
            ("Uid:\t1\t-2\n", None),
        ];
        for (status, expected) in table {
            assert_eq!(effective_user_of(status), expected);
        }
    }

    #[test]
    fn a_key_of_ours_is_read_and_what_is_no_file_is_refused() {
        let here = tempfile::tempdir().unwrap();
        let path = here.path().join("a.key");
        fs::write(&path, "secret").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        assert_eq!(*read_key(&path, KeyAccess::OwnerOnly).unwrap(), b"secret");
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let refused = read_key(&path, KeyAccess::OwnerOnly)
            .unwrap_err()
            .to_string();
        let shown = path.display();
        assert!(refused.contains("has mode 0644"), "{refused}");
        assert!(
            refused.ends_with(&format!("run: chmod 600 {shown}")),
            "{refused}"
        );

        let refused = read_key(here.path(), KeyAccess::OwnerOnly)
            .unwrap_err()
            .to_string();
        assert_eq!(
            refused,
            format!("{} is not a regular file", here.path().display())
        );
        let refused = read_key(&here.path().join("no"), KeyAccess::OwnerOnly).unwrap_err();
        assert_eq!(
            refused.to_string(),
            format!("cannot read the private key {shown}").replace("a.key", "no")
        );
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, vec![b'x'; 65 * 1024]).unwrap();
        let refused = read_key(&path, KeyAccess::OwnerOnly)
            .unwrap_err()
            .to_string();
        assert_eq!(refused, format!("{shown} is larger than 65536 bytes"));
    }

    #[test]
    fn our_own_user_owns_what_we_write() {
        use std::os::unix::fs::MetadataExt;
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(
            effective_user().unwrap(),
            file.as_file().metadata().unwrap().uid()
        );
    }
}
