//! Which keys must be removed, also if the agent dies? A small file, always written anew.
//!
//! Public data only. A head, a line for each key, and a foot that says how many there are:
//! `UNTIL-MILLISECONDS TAB USER TAB FILE TAB LINE`. None of the fields can hold a tab.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proto::{KeyFile, Username};

use super::ledger::Noted;
use crate::shim_client::KeyEdit;

/// The file in the state directory.
#[derive(Clone, Debug)]
pub(super) struct Journal {
    path: PathBuf,
}

/// What a journal has from before.
#[derive(Debug)]
pub(super) struct Read {
    /// All that can be read.
    pub(super) noted: Vec<Noted>,
    /// Why that may not be all.
    pub(super) trouble: Option<JournalError>,
}

/// The journal can't be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum JournalError {
    #[error("the journal of temporary keys {} can't be read", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error(
        "the journal of temporary keys {} is damaged: look for lines with {MARK} in the key \
         files of the users, then remove the journal and start the agent again", path.display()
    )]
    Damaged { path: PathBuf },
    #[error("the journal of temporary keys {} can't be written", path.display())]
    Unwritable { path: PathBuf, source: io::Error },
}

impl Journal {
    pub(super) fn new(state_directory: &Path) -> Self {
        Self {
            path: state_directory.join("keys"),
        }
    }

    /// Blocks.
    pub(super) fn read(&self) -> Read {
        let path = || self.path.clone();
        let mut bytes = Vec::new();
        let read =
            File::open(&self.path).and_then(|file| file.take(MAX_BYTES).read_to_end(&mut bytes));
        match read {
            Ok(_) => {
                let (noted, is_whole) = parse(&bytes);
                let trouble = (!is_whole).then(|| JournalError::Damaged { path: path() });
                Read { noted, trouble }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Read {
                noted: Vec::new(),
                trouble: None,
            },
            Err(source) => Read {
                noted: Vec::new(),
                trouble: Some(JournalError::Unreadable {
                    path: path(),
                    source,
                }),
            },
        }
    }

    /// Writes all of it; it is on the disk when this returns. Blocks.
    pub(super) fn write(&self, noted: &[Noted]) -> Result<(), JournalError> {
        self.replace(&to_text(noted))
            .map_err(|source| JournalError::Unwritable {
                path: self.path.clone(),
                source,
            })
    }

    fn replace(&self, text: &str) -> io::Result<()> {
        let new = self.path.with_extension("new");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, &self.path)?;
        match self.path.parent() {
            Some(folder) => File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    }
}

fn to_text(noted: &[Noted]) -> String {
    let mut text = format!("{HEAD}\n");
    for Noted { until, edit } in noted {
        let KeyEdit { user, line, file } = edit;
        text += &format!("{}\t{user}\t{file}\t{line}\n", until.as_millis());
    }
    text + &format!("{FOOT}{}\n", noted.len())
}

/// Returns all keys that can be read, and whether that is certainly all.
fn parse(bytes: &[u8]) -> (Vec<Noted>, bool) {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.lines();
    let mut is_whole = lines.next() == Some(HEAD) && bytes.ends_with(b"\n");
    let mut noted = Vec::new();
    let mut foot = None;
    for line in lines {
        if let Some(count) = line.strip_prefix(FOOT) {
            is_whole &= foot.is_none();
            foot = count.parse::<usize>().ok();
            continue;
        }
        match parse_line(line) {
            Some(key) => noted.push(key),
            None => is_whole = false,
        }
    }
    let is_whole = is_whole && foot == Some(noted.len());
    (noted, is_whole)
}

fn parse_line(line: &str) -> Option<Noted> {
    let mut fields = line.split('\t');
    let mut next = || fields.next();
    let until = Duration::from_millis(next()?.parse().ok()?);
    let user = Username::parse(next()?).ok()?;
    let file = KeyFile::parse(next()?).ok()?;
    let line = next().filter(|line| line.contains(MARK))?;
    let edit = KeyEdit {
        user,
        line: line.into(),
        file,
    };
    fields.next().is_none().then_some(Noted { until, edit })
}

/// What every mark begins with.
pub(super) const MARK: &str = "x2gobroker-temporary:";

const HEAD: &str = "x2gobroker temporary keys 1";
const FOOT: &str = "end ";

/// Beyond what the most keys of the longest kind take.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::Duration;

    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
    use proto::{KeyFile, Username};

    use super::{Journal, JournalError, Noted, parse, to_text};
    use crate::shim_client::KeyEdit;

    fn noted(number: u64) -> Noted {
        Noted {
            until: Duration::from_millis(1_795_323_502_000 + number),
            edit: KeyEdit {
                user: Username::parse(&format!("user{number}")).unwrap(),
                line: format!("no-user-rc ssh-rsa AAAA x2gobroker-temporary:s1:7:{number}").into(),
                file: KeyFile::parse("%h/with blank/keys").unwrap(),
            },
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::new(folder.path());
        let read = journal.read();
        assert!(read.noted.is_empty() && read.trouble.is_none(), "{read:?}");
        for all in [vec![noted(1), noted(2)], vec![noted(3)], vec![]] {
            journal.write(&all).unwrap();
            let read = journal.read();
            assert_eq!(read.noted, all);
            assert!(read.trouble.is_none(), "{read:?}");
        }
        let mode = fs::metadata(folder.path().join("keys"))
            .unwrap()
            .permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
    }

    #[test]
    fn of_a_damaged_journal_all_is_taken_that_can_be_read_and_it_is_said() {
        let good = to_text(&[noted(1), noted(2)]);
        let rows = [
            (good.replace("user1", "../x"), 1),
            (good.replace("end 2", "end 3"), 2),
            (good.replace("keys 1", "keys 2"), 2),
            (good.replace("end 2\n", ""), 2),
            (good.replace(":7:2", ":7:2\tmore"), 1),
            (good.replace("x2gobroker-temporary", "mine"), 0),
            (String::new(), 0),
            ("\0\0\0\0".to_owned(), 0),
        ];
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::new(folder.path());
        for (text, n_readable) in rows {
            fs::write(folder.path().join("keys"), &text).unwrap();
            let read = journal.read();
            assert_eq!(read.noted.len(), n_readable, "{text}");
            let trouble = read.trouble;
            assert!(
                matches!(trouble, Some(JournalError::Damaged { .. })),
                "{text}: {trouble:?}"
            );
        }
    }

    #[test]
    fn a_journal_that_can_not_be_read_or_written_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::new(folder.path());
        fs::create_dir(folder.path().join("keys")).unwrap();
        let trouble = journal.read().trouble;
        assert!(
            matches!(trouble, Some(JournalError::Unreadable { .. })),
            "{trouble:?}"
        );
        let refused = journal.write(&[noted(1)]);
        assert!(
            matches!(refused, Err(JournalError::Unwritable { .. })),
            "{refused:?}"
        );
    }

    proptest! {
        #[test]
        fn a_journal_that_lost_its_end_is_never_taken_for_a_whole_one(cut in 0usize..400) {
            let good = to_text(&[noted(1), noted(2), noted(3)]);
            let cut = cut.min(good.len() - 1);
            let (keys, is_whole) = parse(&good.as_bytes()[..cut]);
            prop_assert!(!is_whole && keys.len() <= 3);
        }

        #[test]
        fn foreign_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let (keys, _) = parse(&bytes);
            prop_assert_eq!(keys.len(), 0);
        }
    }
}
