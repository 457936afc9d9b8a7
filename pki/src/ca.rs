//! What `x2gobroker-ca` does: make the CA of a farm, and issue certificates to members.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustls_pki_types::UnixTime;
use zeroize::Zeroizing;

use crate::certificate::{CertificateFacts, FactsError};
use crate::clock::{Clock, rfc3339};
use crate::issuing::IssuingCa;
use crate::leaf::{DEFAULT_LEAF_LIFE, Leaf};
use crate::name::{FarmName, NameError, NodeName, Role, Subject};
use crate::root::{Root, SignError, after};
use crate::store::{
    self, Existing, ISSUED_LOG, ISSUING_CERTIFICATE, ISSUING_KEY, KeyAccess, KeyFileError,
    LEAF_CERTIFICATE, LEAF_KEY, ROOT_CERTIFICATE, ROOT_KEY, ROOTS, Readers, StoreError,
};

/// What to put into a new leaf.
#[derive(Debug, Clone)]
pub struct IssueRequest {
    /// What the member may do.
    pub role: Role,
    /// Its host name.
    pub node: NodeName,
    /// How long the leaf is valid; shorter when the issuing CA ends earlier.
    pub life: Duration,
}

/// A leaf that was issued.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The member.
    pub subject: Subject,
    /// The leaf's serial number in hexadecimal.
    pub serial: String,
    /// The last second of its life.
    pub not_after: UnixTime,
    /// The directory with the member's three files.
    pub directory: PathBuf,
}

/// Why the CA could not be made or did not issue.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// There is a CA already.
    #[error(
        "{path} is there already: this directory holds a CA, and replacing it would cut off \
         every member it issued to; give another --dir"
    )]
    AlreadyThere {
        /// The file that was found.
        path: PathBuf,
    },
    /// The directory holds no CA.
    #[error(
        "{dir} holds no CA ({ISSUING_CERTIFICATE} is missing); make one with: x2gobroker-ca init --farm NAME --dir {dir}"
    )]
    NoCa {
        /// The directory.
        dir: PathBuf,
    },
    /// A file could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The key of the issuing CA is not usable.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// A certificate could not be made.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// A certificate in the way could not be understood.
    #[error("{path} is not usable")]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: FactsError,
    },
    /// The issuing CA does not name its farm.
    #[error("{path} does not name a farm")]
    NoFarm {
        /// The file.
        path: PathBuf,
        /// What is wrong with the name, if there is one.
        #[source]
        source: Option<NameError>,
    },
    /// The issuing CA's life is over or not begun.
    #[error("the issuing CA {path} is valid from {not_before} to {not_after}, and not now")]
    IssuingCaNotValid {
        /// The file.
        path: PathBuf,
        /// The first second of its life.
        not_before: String,
        /// The last second of its life.
        not_after: String,
    },
    /// The directory belongs to another member.
    #[error("{dir} holds the certificate of {found}, not of {wanted}; give another --out")]
    OtherMember {
        /// The directory.
        dir: PathBuf,
        /// Whose certificate is in it.
        found: Box<Subject>,
        /// Whose would have been written.
        wanted: Box<Subject>,
    },
}

impl IssueRequest {
    /// A leaf for `node` with the default life of 90 days.
    pub fn new(role: Role, node: NodeName) -> Self {
        Self {
            role,
            node,
            life: DEFAULT_LEAF_LIFE,
        }
    }
}

/// Makes the root and the issuing CA of `farm` in `dir`, which is made when it is missing.
///
/// # Errors
/// When there is a CA already, or a file can't be written.
pub fn init_ca(dir: &Path, farm: &FarmName, clock: &Clock) -> Result<(), CaError> {
    store::make_directory(dir)?;
    for name in [ROOT_CERTIFICATE, ROOT_KEY, ISSUING_CERTIFICATE, ISSUING_KEY] {
        let path = dir.join(name);
        if path.symlink_metadata().is_ok() {
            return Err(CaError::AlreadyThere { path });
        }
    }
    let now = clock.now();
    let root = Root::create(farm, now)?;
    let issuing = IssuingCa::create(farm, &root, now)?;
    // The root's key comes first, and no file is replaced: of two that begin at the same
    // time, one wins.
    let files = [
        (ROOT_KEY, root.key_pem(), Readers::Owner),
        (
            ROOT_CERTIFICATE,
            Zeroizing::new(root.pem()),
            Readers::Everybody,
        ),
        (ISSUING_KEY, issuing.key_pem(), Readers::Owner),
        (
            ISSUING_CERTIFICATE,
            Zeroizing::new(issuing.pem().to_owned()),
            Readers::Everybody,
        ),
    ];
    for (name, text, readers) in &files {
        store::write_file(&dir.join(name), text.as_bytes(), *readers, Existing::Refuse)?;
    }
    Ok(())
}

/// Issues a leaf with the CA in `ca_dir` and writes the member's files to `out`.
///
/// Earlier files of the same member are replaced, which is how a leaf is renewed by hand.
///
/// # Errors
/// When the CA is not usable, `out` holds the files of another member, or a file can't be
/// written.
pub fn issue(
    ca_dir: &Path,
    request: &IssueRequest,
    out: &Path,
    clock: &Clock,
) -> Result<Issued, CaError> {
    let now = clock.now();
    let (ca, farm, ca_end) = open_issuing_ca(ca_dir, now)?;
    let subject = Subject {
        farm,
        role: request.role,
        node: request.node.clone(),
    };
    refuse_other_member(out, &subject)?;
    let not_after = after(now, request.life).min(ca_end);
    let roots = store::read_bounded(&ca_dir.join(ROOT_CERTIFICATE))?;
    let leaf = ca.sign_leaf(&subject, now, not_after)?;
    let serial = facts(&ca_dir.join(ISSUING_CERTIFICATE), &leaf.certificate)?.serial;
    // A leaf may be missing that the log knows, but never the other way round.
    let (role, node, end) = (subject.role, &subject.node, rfc3339(not_after));
    store::append_line(
        &ca_dir.join(ISSUED_LOG),
        &format!("{serial} {role} {node} {end}"),
    )?;
    write_member(out, &leaf, &ca, &roots)?;
    Ok(Issued {
        subject,
        serial,
        not_after,
        directory: out.to_owned(),
    })
}

fn open_issuing_ca(dir: &Path, now: UnixTime) -> Result<(IssuingCa, FarmName, UnixTime), CaError> {
    let path = dir.join(ISSUING_CERTIFICATE);
    if !store::is_there(&path)? {
        return Err(CaError::NoCa {
            dir: dir.to_owned(),
        });
    }
    let certificate = store::read_certificate(&path)?;
    let text = String::from_utf8_lossy(&store::read_bounded(&path)?).into_owned();
    let facts = facts(&path, &certificate)?;
    if now < facts.not_before || facts.not_after < now {
        return Err(CaError::IssuingCaNotValid {
            path,
            not_before: rfc3339(facts.not_before),
            not_after: rfc3339(facts.not_after),
        });
    }
    let farm = match facts.organisation.as_deref().map(FarmName::parse) {
        Some(Ok(farm)) => farm,
        Some(Err(error)) => {
            return Err(CaError::NoFarm {
                path,
                source: Some(error),
            });
        }
        None => return Err(CaError::NoFarm { path, source: None }),
    };
    let key = store::read_key(&dir.join(ISSUING_KEY), KeyAccess::OwnerOnly)?;
    let key = Zeroizing::new(String::from_utf8_lossy(&key).into_owned());
    let ca = IssuingCa::from_files(certificate, text, &key)?;
    Ok((ca, farm, facts.not_after))
}

/// A directory with the files of another member is most likely a slip of the hand.
fn refuse_other_member(out: &Path, wanted: &Subject) -> Result<(), CaError> {
    let path = out.join(LEAF_CERTIFICATE);
    if !store::is_there(&path)? {
        return Ok(());
    }
    let there = facts(&path, &store::read_certificate(&path)?)?;
    let found = there
        .subject()
        .map_err(|source| CaError::Certificate { path, source })?;
    if found == *wanted {
        return Ok(());
    }
    Err(CaError::OtherMember {
        dir: out.to_owned(),
        found: Box::new(found),
        wanted: Box::new(wanted.clone()),
    })
}

fn write_member(out: &Path, leaf: &Leaf, ca: &IssuingCa, roots: &[u8]) -> Result<(), CaError> {
    store::make_directory(out)?;
    let chain = format!("{}{}", leaf.pem, ca.pem());
    let write = |name, bytes, readers| {
        store::write_file(&out.join(name), bytes, readers, Existing::Replace)
    };
    write(ROOTS, roots, Readers::Everybody)?;
    write(LEAF_KEY, leaf.key_pem.as_bytes(), Readers::Owner)?;
    write(LEAF_CERTIFICATE, chain.as_bytes(), Readers::Everybody)?;
    Ok(())
}

fn facts(path: &Path, der: &[u8]) -> Result<CertificateFacts, CaError> {
    CertificateFacts::read(der).map_err(|source| CaError::Certificate {
        path: path.to_owned(),
        source,
    })
}
