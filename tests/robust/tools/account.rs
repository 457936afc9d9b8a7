//! Where do tools find an account x2gobroker with a home? In a mount namespace for each run.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tests::binaries;
use tests::process::{command, run};

/// The home of an account that is there for the programs which are run here.
pub(super) struct Account {
    folder: TempDir,
}

/// What a run came to.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) code: Option<i32>,
    pub(super) out: String,
    pub(super) complaint: String,
}

impl Account {
    /// Makes the home; none if this machine has no namespaces for us, which is said.
    pub(super) fn new() -> Option<Self> {
        let is_root = run(command("id").arg("-u")).is_ok_and(|id| id.trim() == "0");
        if !is_root || run(command("unshare").args(["--mount", "true"])).is_err() {
            println!("skipped: needs root and mount namespaces");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let account = Self { folder };
        fs::create_dir(account.home()).unwrap();
        chown(account.home(), Some(NUMBER), Some(NUMBER)).unwrap();
        Some(account)
    }

    pub(super) fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    pub(super) fn ssh(&self, name: &str) -> PathBuf {
        self.home().join(".ssh").join(name)
    }

    /// Runs a program of ours as root where the account is.
    pub(super) fn run(&self, program: &str, args: &[&str]) -> Outcome {
        self.run_as(0, program, args)
    }

    /// Runs a program of ours as this user where the account is.
    pub(super) fn run_as(&self, user: u32, program: &str, args: &[&str]) -> Outcome {
        let mut stage = command("unshare");
        stage.args([
            "--mount",
            "--propagation",
            "private",
            "bash",
            "-ec",
            SETTING,
        ]);
        stage.arg("stage").arg(self.folder.path());
        stage.args([
            "setpriv",
            "--reuid",
            &user.to_string(),
            "--regid",
            &user.to_string(),
        ]);
        stage.args(["--clear-groups", "--"]);
        let done = stage
            .arg(binaries::binary(program).unwrap())
            .args(args)
            .output();
        let done = done.unwrap();
        Outcome {
            code: done.status.code(),
            out: String::from_utf8(done.stdout).unwrap(),
            complaint: String::from_utf8(done.stderr).unwrap(),
        }
    }
}

/// Owner and permissions of a file.
pub(super) fn owner_and_mode(path: &Path) -> String {
    let stat = run(command("stat").args(["-c", "%u:%g %a"]).arg(path)).unwrap();
    stat.trim().to_owned()
}

/// The number of the account and of its group.
pub(super) const NUMBER: u32 = 990;

const SETTING: &str = r#"
folder=$1; shift
sed /^x2gobroker:/d /etc/passwd >"$folder/passwd"
sed /^x2gobroker:/d /etc/group >"$folder/group"
echo "x2gobroker:x:990:990::$folder/home:/bin/bash" >>"$folder/passwd"
echo "x2gobroker:x:990:" >>"$folder/group"
echo "127.0.0.1 localhost member.x2gofarm.internal" >"$folder/hosts"
mount --bind "$folder/passwd" /etc/passwd
mount --bind "$folder/hosts" /etc/hosts
mount --bind "$folder/group" /etc/group
exec "$@"
"#;
