//! How does a tool that root starts come to act as the broker's account, in its home?

use std::fs::TryLockError;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Group, User, geteuid};

use crate::cli::privileges;

/// Whose files a tool works on.
#[derive(Clone, Debug, Args)]
pub(super) struct AccountOptions {
    /// The account of the broker, whose home the keys are in.
    #[arg(long, value_name = "USER", default_value = "x2gobroker")]
    user: String,
}

/// The folder `.ssh` of the broker's account, which this process has become.
#[derive(Debug)]
pub(super) struct SshFolder(PathBuf);

impl AccountOptions {
    /// Becomes the account for good, so that nothing in its home leads root astray, and
    /// opens its `.ssh`.
    pub(super) fn enter(&self) -> Result<SshFolder> {
        let name = &self.user;
        let found = User::from_name(name).context("the accounts can't be asked")?;
        let user = found.with_context(|| {
            format!("there is no account {name}; make it, or name another with --user")
        })?;
        if geteuid() != user.uid {
            ensure!(privileges::is_root(), "run this as root, or as {name}");
            let group = Group::from_gid(user.gid).context("the groups can't be asked")?;
            let group = group.with_context(|| format!("the group of {name} has no name"))?;
            privileges::drop_to(name, &group.name)
                .with_context(|| format!("this process can't become {name}"))?;
        }
        umask(Mode::from_bits_truncate(0o022));
        let home = user.dir;
        ensure!(
            home.is_dir(),
            "{name} has no home {}; make it with: install -d -o {name} -m 755 {0}",
            home.display()
        );
        SshFolder::open(home.join(".ssh"))
    }
}

impl SshFolder {
    fn open(path: PathBuf) -> Result<Self> {
        let shown = path.display();
        match DirBuilder::new().mode(FOLDER_MODE).create(&path) {
            // The mode of one that is there is its owner's choice.
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                ensure!(
                    fs::metadata(&path).is_ok_and(|found| found.is_dir()),
                    "{shown} is no folder"
                );
            }
            Err(error) => return Err(error).with_context(|| format!("{shown} can't be made")),
        }
        Ok(Self(path))
    }

    /// Keeps other runs of these tools out of the folder while the value lives. What is read
    /// then is still so when it is written.
    ///
    /// # Errors
    /// When another one has it for longer than [`LOCK_LIMIT`].
    pub(super) fn lock(&self) -> Result<File> {
        let shown = self.0.display();
        let folder = File::open(&self.0).with_context(|| format!("{shown} can't be opened"))?;
        let mut waited = Duration::ZERO;
        loop {
            match folder.try_lock() {
                Ok(()) => return Ok(folder),
                Err(TryLockError::WouldBlock) if waited < LOCK_LIMIT => {
                    std::thread::sleep(LOCK_LOOK);
                    waited += LOCK_LOOK;
                }
                Err(TryLockError::WouldBlock) => bail!("somebody else works in {shown}; try again"),
                Err(TryLockError::Error(error)) => {
                    return Err(error).with_context(|| format!("{shown} can't be locked"));
                }
            }
        }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The content of a file, and its permissions; none if there is no such file.
    pub(super) fn read(&self, name: &str) -> Result<Option<(Vec<u8>, u32)>> {
        let path = self.path(name);
        let metadata = match fs::symlink_metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(error).with_context(|| format!("{} can't be read", path.display()));
            }
        };
        ensure!(metadata.is_file(), "{} is no ordinary file", path.display());
        let mut content = Vec::new();
        let file = File::open(&path);
        file.and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut content))
            .with_context(|| format!("{} can't be read", path.display()))?;
        if content.len() as u64 > MAX_FILE_BYTES {
            bail!("{} is larger than 1 MiB", path.display());
        }
        Ok(Some((content, metadata.permissions().mode() & 0o777)))
    }

    /// Gives a file its content in one step, whatever happens meanwhile.
    pub(super) fn write(&self, name: &str, content: &[u8], mode: u32) -> Result<()> {
        let path = self.path(name);
        let failed = || format!("{} can't be written", path.display());
        let own = std::process::id();
        // One that is there was left behind by a process of that number which was killed.
        for attempt in 0..MAX_LEFT_BEHIND {
            let fresh = self.path(&format!(".{name}.x2gobroker-{own}-{attempt}"));
            match write_new(&fresh, content, mode) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                written => {
                    return written
                        .and_then(|()| fs::rename(&fresh, &path))
                        .inspect_err(|_error| {
                            let _ = fs::remove_file(&fresh);
                        })
                        .with_context(failed);
                }
            }
        }
        bail!(
            "{}: too many files were left behind beside it",
            path.display()
        )
    }
}

/// Writes a file that must not be there yet, down to the disk.
fn write_new(path: &Path, content: &[u8], mode: u32) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(mode).open(path)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(content)?;
    file.sync_all()
}

/// Another run has read and written a file or two by then, or made a key.
const LOCK_LIMIT: Duration = Duration::from_secs(20);
const LOCK_LOOK: Duration = Duration::from_millis(50);

/// Nobody is killed so often in that moment.
const MAX_LEFT_BEHIND: u32 = 16;

/// As x2gobroker 0.0.4.3 makes it.
const FOLDER_MODE: u32 = 0o750;

/// Room for more than a thousand keys.
const MAX_FILE_BYTES: u64 = 1024 * 1024;
