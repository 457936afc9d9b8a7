//! Which files hold certificates and keys, and how they are read and written safely.

mod key_file;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::{self, PemObject};

use crate::random::{NoRandomness, hex, random_bytes};

pub use key_file::KeyFileError;
pub(crate) use key_file::{KeyAccess, read_key};

/// Where the CA keeps its files, unless told otherwise.
pub const DEFAULT_CA_DIR: &str = "/etc/x2go/ca";
/// Where a member keeps its files, unless told otherwise.
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
/// then it takes the name.
pub(crate) fn write_file(
    path: &Path,
    bytes: &[u8],
    readers: Readers,
    existing: Existing,
) -> Result<(), StoreError> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let temporary = directory.join(format!(".new-{}", hex(&random_bytes::<8>()?)));
    let written = write_new(&temporary, bytes, readers)
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

fn write_new(path: &Path, bytes: &[u8], readers: Readers) -> io::Result<()> {
    let mode = match readers {
        Readers::Everybody => 0o644,
        Readers::Owner => 0o600,
    };
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
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

/// Real ones have a few kilobytes; a bundle of twenty roots has 20.
const MAX_FILE: u64 = 256 * 1024;
