//! Where does x2gobroker-ssh find the daemon, and who may connect?
//!
//! The kernel lets nobody connect who may not write to the socket's file: its owner, and
//! the members of one group.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use nix::sys::stat::{Mode, umask};
use nix::unistd::Group;
use tokio::net::UnixListener;
use tracing::warn;

/// The socket, open, and removed when dropped.
#[derive(Debug)]
pub struct SshSocket {
    pub(super) listener: UnixListener,
    path: PathBuf,
}

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum SshSocketError {
    /// Nobody could ask.
    #[error("there is no group {0}, whose members may ask over SSH; create it, or set [ssh] group")]
    NoGroup(String),
    /// The system can't say.
    #[error("the group {name} can't be looked up")]
    Group {
        /// Which.
        name: String,
        /// Why.
        source: nix::Error,
    },
    /// Another daemon runs.
    #[error("somebody answers at {path} already")]
    InUse {
        /// Where.
        path: PathBuf,
    },
    /// Something else lies there.
    #[error("{path} is not a socket, and is not removed")]
    NotASocket {
        /// Where.
        path: PathBuf,
    },
    /// The file belongs to nobody who may be given to the group.
    #[error(
        "the socket {path} can't be given to the group {group}; only root and its members can: \
         make the account of the daemon a member"
    )]
    NotAMember {
        /// Where.
        path: PathBuf,
        /// Whose it was to be.
        group: String,
        /// Why.
        source: io::Error,
    },
    /// The system refuses.
    #[error("the socket {path} can't be made")]
    Make {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl SshSocket {
    /// Listens at `path` for the members of `group`.
    ///
    /// # Errors
    /// When it can't be made so.
    ///
    /// # Panics
    /// Outside of tokio's runtime.
    pub fn open(path: &Path, group: &str) -> Result<Self, SshSocketError> {
        let found = Group::from_name(group).map_err(|source| SshSocketError::Group {
            name: group.to_owned(),
            source,
        })?;
        let found = found.ok_or_else(|| SshSocketError::NoGroup(group.to_owned()))?;
        remove_left_over(path)?;
        let make = |source| SshSocketError::Make {
            path: path.to_owned(),
            source,
        };
        // Open to nobody else until it is the group's.
        let own_mask = umask(Mode::from_bits_truncate(0o177));
        let bound = UnixListener::bind(path);
        umask(own_mask);
        let socket = Self {
            listener: bound.map_err(make)?,
            path: path.to_owned(),
        };
        chown(path, None, Some(found.gid.as_raw())).map_err(|source| {
            SshSocketError::NotAMember {
                path: path.to_owned(),
                group: group.to_owned(),
                source,
            }
        })?;
        fs::set_permissions(path, fs::Permissions::from_mode(SOCKET_MODE)).map_err(make)?;
        Ok(socket)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SshSocket {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            warn!(path = %self.path.display(), error = %error, "a socket was not removed");
        }
    }
}

/// A socket that nobody answers at is left over from a process that was killed.
fn remove_left_over(path: &Path) -> Result<(), SshSocketError> {
    let Ok(found) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    let path = path.to_owned();
    if !found.file_type().is_socket() {
        return Err(SshSocketError::NotASocket { path });
    }
    if std::os::unix::net::UnixStream::connect(&path).is_ok() {
        return Err(SshSocketError::InUse { path });
    }
    fs::remove_file(&path).map_err(|source| SshSocketError::Make { path, source })
}

/// For the members of the group.
const SOCKET_MODE: u32 = 0o660;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use nix::unistd::{Group, getegid};

    use super::{SshSocket, SshSocketError};

    #[tokio::test]
    async fn the_socket_is_for_one_group_and_goes_with_the_daemon() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let group = Group::from_gid(getegid()).unwrap().unwrap().name;
        let socket = SshSocket::open(&path, &group).unwrap();
        let facts = std::fs::metadata(&path).unwrap();
        assert_eq!(facts.permissions().mode() & 0o777, 0o660);
        assert_eq!(facts.gid(), getegid().as_raw());
        let second = SshSocket::open(&path, &group).unwrap_err();
        assert!(matches!(second, SshSocketError::InUse { .. }));
        drop(socket);
        assert!(!path.exists());
        let left_over = std::os::unix::net::UnixListener::bind(&path).unwrap();
        drop(left_over);
        SshSocket::open(&path, &group).unwrap();
    }

    #[tokio::test]
    async fn without_the_group_or_beside_another_file_there_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let error = SshSocket::open(&path, "no-such-group-here").unwrap_err();
        assert!(matches!(error, SshSocketError::NoGroup(_)));
        std::fs::write(&path, "mine").unwrap();
        let error = SshSocket::open(&path, "root").unwrap_err();
        assert!(matches!(error, SshSocketError::NotASocket { .. }));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
    }
}
