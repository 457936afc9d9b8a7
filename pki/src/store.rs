//! Which files hold certificates and keys, and how they are read and written safely.

mod key_file;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::{self, PemObject};

use crate::random::{NoRandomness, hex, random_bytes};

pub use key_file::KeyFileError;
pub(crate) use key_file::{KeyAccess, read_key};

/// Where the CA keeps its files, unless told otherwise.
pub const DEFAULT_CA_DIR: &str = "/etc/x2go/ca";
/// Where members keep their files, each role in a directory of its name.
pub const DEFAULT_NODE_DIR: &str = "/etc/x2go/pki";

/// A member's file with its leaf and the issuing CA behind it.
pub const LEAF_CERTIFICATE: &str = "leaf.crt";
/// A member's file with the key of its leaf.
pub const LEAF_KEY: &str = "leaf.key";
/// A member's file with the roots that it accepts.
pub const ROOTS: &str = "roots.pem";

pub(crate) const ROOT_CERTIFICATE: &str = "root.crt";
pub(crate) const ROOT_KEY: &str = "root.key";
pub(crate) const ISSUING_CERTIFICATE: &str = "issuing.crt";
pub(crate) const ISSUING_KEY: &str = "issuing.key";
pub(crate) const ISSUED_LOG: &str = "issued.log";

/// Why a file of certificates could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It could not be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It could not be written.
    #[error("cannot write {path}")]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It is there already and must not be replaced.
    #[error("{path} is there already and is not overwritten; choose another directory")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// It is larger than any real one.
    #[error("{path} is larger than {MAX_FILE} bytes")]
    TooBig {
        /// The file.
        path: PathBuf,
    },
    /// It is not PEM.
    #[error("{path} is not a PEM file of certificates")]
    Pem {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        source: pem::Error,
    },
    /// There is no certificate in it.
    #[error("{path} holds no certificate")]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// There were no random bytes for a temporary name.
    #[error(transparent)]
    Random(#[from] NoRandomness),
}

/// What to do when the file is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Existing {
    Refuse,
    Replace,
}

/// Who may read the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Readers {
    Everybody,
    Owner,
}

/// Reads all certificates of a PEM file, in their order; at least one.
pub(crate) fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, StoreError> {
    let bytes = read_bounded(path)?;
    let parsed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match parsed {
        Ok(certificates) if certificates.is_empty() => Err(StoreError::NoCertificate {
            path: path.to_owned(),
        }),
        Ok(certificates) => Ok(certificates),
        Err(source) => Err(StoreError::Pem {
            path: path.to_owned(),
            source,
        }),
    }
}

/// Reads the first certificate of a PEM file.
pub(crate) fn read_certificate(path: &Path) -> Result<CertificateDer<'static>, StoreError> {
    let first = read_certificates(path)?.into_iter().next();
    first.ok_or_else(|| StoreError::NoCertificate {
        path: path.to_owned(),
    })
}

/// Whether there is a file; an error when we may not look.
pub(crate) fn is_there(path: &Path) -> Result<bool, StoreError> {
    path.try_exists().map_err(cannot_read(path))
}

/// Reads a file that is not secret.
pub(crate) fn read_bounded(path: &Path) -> Result<Vec<u8>, StoreError> {
    let file = File::open(path).map_err(cannot_read(path))?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(cannot_read(path))?;
    if u64::try_from(bytes.len()).is_ok_and(|size| size <= MAX_FILE) {
        Ok(bytes)
    } else {
        Err(StoreError::TooBig {
            path: path.to_owned(),
        })
    }
}

/// Writes `bytes` so that the file is never seen half written or with other readers than
/// meant, not even for a moment.
///
/// The bytes go to a new file of a random name, opened with its final mode, and to disk;
/// then it takes the name. A file that replaces another gets its owner, so that root can
/// renew the files of a daemon that runs as another user.
pub(crate) fn write_file(
    path: &Path,
    bytes: &[u8],
    readers: Readers,
    existing: Existing,
) -> Result<(), StoreError> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let temporary = directory.join(format!(".new-{}", hex(&random_bytes::<8>()?)));
    let owner = match existing {
        Existing::Refuse => None,
        Existing::Replace => path
            .symlink_metadata()
            .ok()
            .map(|old| (old.uid(), old.gid())),
    };
    let written = write_new(&temporary, bytes, readers, owner)
        .and_then(|()| take_name(&temporary, path, existing))
        .and_then(|()| File::open(directory)?.sync_all());
    written.map_err(|source| {
        // It is gone already when only the last step failed.
        let _gone = fs::remove_file(&temporary);
        match source.kind() {
            io::ErrorKind::AlreadyExists => StoreError::Exists {
                path: path.to_owned(),
            },
            _ => StoreError::Write {
                path: path.to_owned(),
                source,
            },
        }
    })
}

fn write_new(
    path: &Path,
    bytes: &[u8],
    readers: Readers,
    owner: Option<(u32, u32)>,
) -> io::Result<()> {
    let mode = match readers {
        Readers::Everybody => 0o644,
        Readers::Owner => 0o600,
    };
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    let made = file.metadata()?;
    if let Some((user, group)) = owner
        && (user, group) != (made.uid(), made.gid())
    {
        fchown(&file, Some(user), Some(group))?;
    }
    file.write_all(bytes)?;
    file.sync_all()
}

fn take_name(temporary: &Path, path: &Path, existing: Existing) -> io::Result<()> {
    match existing {
        Existing::Replace => fs::rename(temporary, path),
        // A link, unlike a rename, fails when the name is taken.
        Existing::Refuse => {
            fs::hard_link(temporary, path)?;
            fs::remove_file(temporary)
        }
    }
}

/// Makes a directory, and those above it, that only its owner may enter, if it is not there.
pub(crate) fn make_directory(path: &Path) -> Result<(), StoreError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| StoreError::Write {
        path: path.to_owned(),
        source,
    })
}

/// Appends one line, to disk, to a log that only its owner may read.
pub(crate) fn append_line(path: &Path, line: &str) -> Result<(), StoreError> {
    let append = || {
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)?;
        // One write: lines of two programs never mix.
        file.write_all(format!("{line}\n").as_bytes())?;
        file.sync_all()
    };
    append().map_err(|source| StoreError::Write {
        path: path.to_owned(),
        source,
    })
}

fn cannot_read(path: &Path) -> impl Fn(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Read {
        path: path.clone(),
        source,
    }
}

/// Real ones have a few kilobytes; the collection of a whole system has some 250.
const MAX_FILE: u64 = 1024 * 1024;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt;

    use super::{Existing, Readers, append_line, read_certificates, write_file, write_new};

    #[test]
    fn a_key_is_private_from_its_first_moment_and_leaves_no_other_file() {
        let here = tempfile::tempdir().unwrap();
        let key = here.path().join("a.key");
        write_file(&key, b"one", Readers::Owner, Existing::Refuse).unwrap();
        assert_eq!(fs::metadata(&key).unwrap().mode() & 0o7777, 0o600);

        let again = write_file(&key, b"two", Readers::Owner, Existing::Refuse).unwrap_err();
        let shown = key.display();
        assert_eq!(
            again.to_string(),
            format!("{shown} is there already and is not overwritten; choose another directory")
        );
        assert_eq!(fs::read(&key).unwrap(), b"one");

        write_file(&key, b"three", Readers::Owner, Existing::Replace).unwrap();
        assert_eq!(fs::read(&key).unwrap(), b"three");
        assert_eq!(fs::metadata(&key).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(
            fs::read_dir(here.path()).unwrap().count(),
            1,
            "no temporary file is left"
        );
    }

    #[test]
    fn a_name_that_somebody_prepared_is_never_written_through() {
        let here = tempfile::tempdir().unwrap();
        let (theirs, trap) = (here.path().join("theirs"), here.path().join("trap"));
        fs::write(&theirs, "before").unwrap();
        std::os::unix::fs::symlink(&theirs, &trap).unwrap();
        for path in [&theirs, &trap] {
            let refused = write_new(path, b"secret", Readers::Owner, None).unwrap_err();
            assert_eq!(refused.kind(), std::io::ErrorKind::AlreadyExists);
        }
        assert_eq!(fs::read(&theirs).unwrap(), b"before");
        // A link in the place of the key itself is replaced, not followed.
        write_file(&trap, b"secret", Readers::Owner, Existing::Replace).unwrap();
        assert_eq!(fs::read(&theirs).unwrap(), b"before");
        assert_eq!(fs::read(&trap).unwrap(), b"secret");
    }

    #[test]
    fn a_file_that_replaces_another_keeps_its_owner() {
        let here = tempfile::tempdir().unwrap();
        let path = here.path().join("leaf.key");
        write_file(&path, b"one", Readers::Owner, Existing::Refuse).unwrap();
        if std::os::unix::fs::chown(&path, Some(12345), Some(12346)).is_err() {
            return; // Only root can give files away.
        }
        write_file(&path, b"two", Readers::Owner, Existing::Replace).unwrap();
        let found = fs::metadata(&path).unwrap();
        assert_eq!(
            (found.uid(), found.gid(), found.mode() & 0o7777),
            (12345, 12346, 0o600)
        );
    }

    #[test]
    fn the_log_grows_by_lines_and_is_private() {
        let here = tempfile::tempdir().unwrap();
        let log = here.path().join("issued.log");
        append_line(&log, "one").unwrap();
        append_line(&log, "two").unwrap();
        assert_eq!(fs::read_to_string(&log).unwrap(), "one\ntwo\n");
        assert_eq!(fs::metadata(&log).unwrap().mode() & 0o7777, 0o600);
    }

    #[test]
    fn files_without_certificates_are_told_apart() {
        let here = tempfile::tempdir().unwrap();
        let path = here.path().join("x.crt");
        let shown = path.display();
        let head = "-----BEGIN CERTIFICATE-----";
        let table = [
            ("", format!("{shown} holds no certificate")),
            ("hello\n", format!("{shown} holds no certificate")),
            (
                &format!("{head}\nAAAA"),
                format!("{shown} is not a PEM file of certificates"),
            ),
            (
                &format!("{head}\n@@\n{}", head.replace("BEGIN", "END")),
                format!("{shown} is not a PEM file of certificates"),
            ),
            (
                &"x".repeat(1_100_000),
                format!("{shown} is larger than 1048576 bytes"),
            ),
        ];
        assert_eq!(
            read_certificates(&path).unwrap_err().to_string(),
            format!("cannot read {shown}")
        );
        for (text, expected) in table {
            fs::write(&path, text).unwrap();
            assert_eq!(read_certificates(&path).unwrap_err().to_string(), expected);
        }
    }
}
