//! What `x2gobroker-ca show` prints.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustls_pki_types::UnixTime;

use crate::certificate::{CertificateFacts, FactsError};
use crate::clock::rfc3339;
use crate::store::{
    ISSUING_CERTIFICATE, LEAF_CERTIFICATE, ROOT_CERTIFICATE, ROOTS, StoreError, is_there,
    read_certificates,
};

/// Why certificates could not be shown.
#[derive(Debug, thiserror::Error)]
pub(super) enum ShowError {
    #[error(
        "{dir} is neither the directory of a CA ({ISSUING_CERTIFICATE}) nor of a member \
         ({LEAF_CERTIFICATE})"
    )]
    NothingThere { dir: PathBuf },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{path} is not usable")]
    Certificate {
        path: PathBuf,
        #[source]
        source: FactsError,
    },
    #[error("cannot print")]
    Print(#[from] io::Error),
}

pub(super) fn show(path: &Path, now: UnixTime, out: &mut impl Write) -> Result<(), ShowError> {
    if !path.is_dir() {
        return show_file(path, now, out);
    }
    let names = [
        ROOT_CERTIFICATE,
        ISSUING_CERTIFICATE,
        LEAF_CERTIFICATE,
        ROOTS,
    ];
    let mut files = Vec::new();
    for file in names.map(|name| path.join(name)) {
        if is_there(&file)? {
            files.push(file);
        }
    }
    if files.is_empty() {
        return Err(ShowError::NothingThere {
            dir: path.to_owned(),
        });
    }
    files.iter().try_for_each(|file| show_file(file, now, out))
}

fn show_file(path: &Path, now: UnixTime, out: &mut impl Write) -> Result<(), ShowError> {
    for certificate in read_certificates(path)? {
        let facts =
            CertificateFacts::read(&certificate).map_err(|source| ShowError::Certificate {
                path: path.to_owned(),
                source,
            })?;
        writeln!(out, "{}", path.display())?;
        show_facts(&facts, now, out)?;
    }
    Ok(())
}

fn show_facts(facts: &CertificateFacts, now: UnixTime, out: &mut impl Write) -> io::Result<()> {
    let mut line = |key: &str, value: &str| writeln!(out, "  {key:<11} {value}");
    match facts.subject() {
        Ok(subject) => {
            line("farm", subject.farm.as_str())?;
            line("role", subject.role.as_str())?;
            line("node", subject.node.as_str())?;
        }
        Err(_) if facts.is_ca => {
            line("farm", facts.organisation.as_deref().unwrap_or("-"))?;
            line("role", "CA")?;
        }
        Err(error) => line("member", &format!("none: {error}"))?,
    }
    line("subject", &facts.holder)?;
    line("issuer", &facts.issuer)?;
    line("serial", &facts.serial)?;
    line("not before", &rfc3339(facts.not_before))?;
    line("not after", &rfc3339(facts.not_after))?;
    line("days left", &days_left(facts, now))
}

fn days_left(facts: &CertificateFacts, now: UnixTime) -> String {
    let (begin, end, now) = (
        facts.not_before.as_secs(),
        facts.not_after.as_secs(),
        now.as_secs(),
    );
    if now < begin {
        return "not valid yet".to_owned();
    }
    match end.checked_sub(now) {
        Some(left) => (left / SECONDS_PER_DAY).to_string(),
        None => format!("EXPIRED {} days ago", (now - end) / SECONDS_PER_DAY),
    }
}

const SECONDS_PER_DAY: u64 = 24 * 60 * 60;
