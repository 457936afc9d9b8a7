//! Where does the daemon find the authservice, and who may connect?

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, lchown};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Group, Uid, User, getegid, setegid};
use tokio::net::UnixListener;
use tokio::net::unix::UCred;

/// The socket as it is to be.
#[derive(Clone, Debug)]
pub struct SocketOptions {
    /// Where.
    pub path: PathBuf,
    /// Whose.
    pub owner: String,
    /// The group that may ask.
    pub group: String,
    /// Who may connect, as bits of a file mode.
    pub mode: u32,
}

/// The socket, open, and removed when dropped.
#[derive(Debug)]
pub struct Socket {
    /// Takes connections.
    pub listener: UnixListener,
    path: PathBuf,
    peers: Peers,
}

/// Who may ask: root and the processes of one group.
#[derive(Clone, Copy, Debug)]
pub struct Peers {
    group: u32,
}

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// The owner or the group is not known.
    #[error("there is no {what} {name}")]
    Unknown {
        /// User or group.
        what: &'static str,
        /// Which.
        name: String,
    },
    /// They can't be looked up.
    #[error("the {what} {name} can't be looked up")]
    LookUp {
        /// User or group.
        what: &'static str,
        /// Which.
        name: String,
        /// Why.
        source: nix::Error,
    },
    /// Another one runs.
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
    /// The system refuses.
    #[error("the socket {path} can't be made")]
    Make {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl SocketOptions {
    /// Opens the socket. It never exists with another group or more rights than it is to
    /// have: the folder may be writable for others than root.
    ///
    /// # Errors
    /// When it can't be made so.
    pub fn open(&self) -> Result<Socket, SocketError> {
        let owner = user(&self.owner)?;
        let group = group(&self.group)?;
        self.remove_old()?;
        let made = self.bind(group).and_then(|listener| {
            if fs::symlink_metadata(&self.path)?.uid() != owner.as_raw() {
                lchown(&self.path, Some(owner.as_raw()), None)?;
            }
            Ok(listener)
        });
        let listener = made.map_err(|source| SocketError::Make {
            path: self.path.clone(),
            source,
        })?;
        Ok(Socket {
            listener,
            path: self.path.clone(),
            peers: Peers {
                group: group.as_raw(),
            },
        })
    }

    fn bind(&self, group: Gid) -> io::Result<UnixListener> {
        let (own_group, own_mask) = (
            getegid(),
            umask(Mode::from_bits_truncate(!self.mode & 0o777)),
        );
        setegid(group)?;
        let listener = UnixListener::bind(&self.path);
        setegid(own_group)?;
        umask(own_mask);
        listener
    }

    /// A socket that nobody answers at is left over from a process that was killed.
    fn remove_old(&self) -> Result<(), SocketError> {
        let path = &self.path;
        let Ok(found) = fs::symlink_metadata(path) else {
            return Ok(());
        };
        if !found.file_type().is_socket() {
            return Err(SocketError::NotASocket { path: path.clone() });
        }
        if UnixStream::connect(path).is_ok() {
            return Err(SocketError::InUse { path: path.clone() });
        }
        fs::remove_file(path).map_err(|source| SocketError::Make {
            path: path.clone(),
            source,
        })
    }
}

impl Socket {
    /// Who may ask.
    #[must_use]
    pub fn peers(&self) -> Peers {
        self.peers
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        tracing::warn!(path = %path.display(), error = %error, "the socket could not be removed");
    }
}

impl Peers {
    /// Whether the process at the other end may ask, as the kernel says who it is.
    #[must_use]
    pub fn may_ask(self, peer: &UCred) -> bool {
        peer.uid() == 0 || peer.gid() == self.group
    }
}

fn user(name: &str) -> Result<Uid, SocketError> {
    let what = "user";
    let found = User::from_name(name).map_err(look_up(what, name))?;
    let unknown = || SocketError::Unknown {
        what,
        name: name.to_owned(),
    };
    Ok(found.ok_or_else(unknown)?.uid)
}

fn group(name: &str) -> Result<Gid, SocketError> {
    let what = "group";
    let found = Group::from_name(name).map_err(look_up(what, name))?;
    let unknown = || SocketError::Unknown {
        what,
        name: name.to_owned(),
    };
    Ok(found.ok_or_else(unknown)?.gid)
}

fn look_up(what: &'static str, name: &str) -> impl FnOnce(nix::Error) -> SocketError {
    let name = name.to_owned();
    move |source| SocketError::LookUp { what, name, source }
}
