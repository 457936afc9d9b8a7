//! `x2gobroker-keygen`: makes the key with which a broker comes to agents over SSH.
//!
//! OpenSSH makes it: its `ssh-keygen` is there wherever its `ssh` is, which uses the key.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Parser, ValueEnum};

use super::account::{AccountOptions, SshFolder};
use super::{end, print};

/// Makes the SSH key of the session broker: ~x2gobroker/.ssh/id_rsa and id_rsa.pub.
///
/// Needed only where X2Go servers are asked over SSH (broker-agent-query-mode = SSH). Run it
/// once on each broker host, as root. A key that is there is never overwritten without
/// --force. X2Go servers get the public key with x2gobroker-pubkeyauthorizer.
#[derive(Debug, Parser)]
#[command(name = PROGRAM, version, after_help = AFTER_HELP)]
pub(crate) struct Keygen {
    /// The type of the key. DSA is refused: OpenSSH no longer takes it.
    #[arg(
        short = 't',
        long,
        alias = "key_type",
        value_name = "TYPE",
        default_value = "RSA",
        ignore_case = true
    )]
    key_type: KeyType,

    /// Make a new key also where one is: the old one is lost, and with it all servers until
    /// they have the new one.
    #[arg(short, long)]
    force: bool,

    #[command(flatten)]
    account: AccountOptions,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum KeyType {
    #[value(name = "RSA")]
    Rsa,
    #[value(name = "DSA", hide = true)]
    Dsa,
}

/// Runs `x2gobroker-keygen`.
#[must_use]
pub fn keygen() -> ExitCode {
    let options = Keygen::parse();
    end(PROGRAM, run(&options).map(|()| ExitCode::SUCCESS))
}

fn run(options: &Keygen) -> Result<()> {
    ensure!(
        options.key_type == KeyType::Rsa,
        "DSA keys are no longer taken by OpenSSH; leave --key-type out to make an RSA key"
    );
    let folder = options.account.enter()?;
    let _locked = folder.lock()?;
    let (private, public) = (folder.path(PRIVATE), folder.path(PUBLIC));
    if private.symlink_metadata().is_ok() && !options.force {
        if public.symlink_metadata().is_err() {
            let text = ssh_keygen(&["-y", "-f"], &private)?;
            folder.write(PUBLIC, public_line(&text)?.as_bytes(), PUBLIC_MODE)?;
            return print(&format!(
                "{} was missing and is there again\n",
                public.display()
            ));
        }
        ensure!(
            belongs(&folder, &private)?,
            "{} does not belong to {}; remove it, and run this again to have the right one",
            public.display(),
            private.display()
        );
        return print(&format!(
            "{} is there already; nothing was changed\n",
            private.display()
        ));
    }
    ensure!(
        options.force || public.symlink_metadata().is_err(),
        "{} is there without {}; give --force for a new pair",
        public.display(),
        private.display()
    );
    let workshop = Workshop::open(&folder)?;
    make(&folder, &workshop.path("key"), options.force)?;
    print(&format!(
        "{} and {} are new\n",
        private.display(),
        public.display()
    ))
}

/// Makes the pair aside and puts it into its place when it is complete.
fn make(folder: &SshFolder, aside: &Path, force: bool) -> Result<()> {
    let ways = [
        "-q", "-t", "rsa", "-b", BITS, "-m", "PEM", "-N", "", "-C", "", "-f",
    ];
    ssh_keygen(&ways, aside)?;
    let made = fs::read_to_string(aside.with_extension("pub")).context("the new public key")?;
    let line = public_line(&made)?;
    fs::set_permissions(aside, PermissionsExt::from_mode(PRIVATE_MODE))
        .context("the new private key")?;
    let private = folder.path(PRIVATE);
    if force {
        // First, so that a run which ends in between leaves a private key alone: the next one
        // brings its public key back.
        match fs::remove_file(folder.path(PUBLIC)) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).context("the old public key can't be removed");
            }
            Ok(()) | Err(_) => {}
        }
        let renamed = fs::rename(aside, &private);
        renamed.with_context(|| format!("{} can't be written", private.display()))?;
    } else {
        // Unlike a rename, a link never takes the place of a file.
        match fs::hard_link(aside, &private) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => bail!(
                "somebody else has just made {}; that one was left alone",
                private.display()
            ),
            Err(error) => {
                let failed = || format!("{} can't be written", private.display());
                return Err(error).with_context(failed);
            }
        }
    }
    folder.write(PUBLIC, line.as_bytes(), PUBLIC_MODE)
}

/// Whether the public key is that of the private one. A private key that only its owner's
/// passphrase opens is not looked into.
fn belongs(folder: &SshFolder, private: &Path) -> Result<bool> {
    let Ok(derived) = ssh_keygen(&["-P", "", "-y", "-f"], private) else {
        return Ok(true);
    };
    let Some((found, _)) = folder.read(PUBLIC)? else {
        return Ok(false);
    };
    let found = public_line(&String::from_utf8_lossy(&found));
    Ok(found.is_ok_and(|found| public_line(&derived).is_ok_and(|line| line == found)))
}

/// Type and key alone, as the original's file has them: it puts an owner behind its end.
fn public_line(text: &str) -> Result<String> {
    let mut words = text.split_ascii_whitespace();
    match (words.next(), words.next()) {
        (Some(kind), Some(data)) => Ok(format!("{kind} {data}")),
        _ => bail!("{SSH_KEYGEN} gave no public key"),
    }
}

fn ssh_keygen(args: &[&str], file: &Path) -> Result<String> {
    #[expect(
        clippy::disallowed_methods,
        reason = "making the key is what this program is for"
    )]
    let mut command = Command::new(SSH_KEYGEN);
    command
        .args(args)
        .arg(file)
        .env_clear()
        .stdin(Stdio::null());
    let done = command
        .output()
        .with_context(|| format!("{SSH_KEYGEN} can't be started; install openssh-client"))?;
    if !done.status.success() {
        let complaint = String::from_utf8_lossy(&done.stderr);
        bail!(
            "{SSH_KEYGEN} failed ({}): {}",
            done.status,
            complaint.trim()
        );
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// A folder for a key that is not complete; gone when this is dropped.
struct Workshop(std::path::PathBuf);

impl Workshop {
    fn open(folder: &SshFolder) -> Result<Self> {
        let path = folder.path(&format!(".x2gobroker-keygen-{}", std::process::id()));
        let made = fs::DirBuilder::new().mode(0o700).create(&path);
        made.with_context(|| format!("{} can't be made", path.display()))?;
        Ok(Self(path))
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.join(name)
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        // What can't be removed is the account's own, and readable to nobody else.
        let _ = fs::remove_dir_all(&self.0);
    }
}

const PROGRAM: &str = "x2gobroker-keygen";
const PRIVATE: &str = "id_rsa";
const PUBLIC: &str = "id_rsa.pub";
const PRIVATE_MODE: u32 = 0o600;
const PUBLIC_MODE: u32 = 0o644;
const SSH_KEYGEN: &str = "/usr/bin/ssh-keygen";
/// NIST SP 800-57: good beyond 2030.
const BITS: &str = "3072";

const AFTER_HELP: &str = "Exit codes: 0 the key is there, new or not; 1 it is not, and why; 2 wrong \
                          options.";
