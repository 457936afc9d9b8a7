//! Where does the program run? In a mount namespace with accounts, homes and a fake
//! x2goserver, with the program installed as a package would.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tests::binaries;
use tests::process::{Process, command, run};

/// Where the stage has the program.
pub(crate) const PROGRAM: &str = "/usr/lib/x2go/x2gobroker-agent";

/// A key line as in the recordings of the original.
pub(crate) const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA a@b";
/// The original's default place of keys.
pub(crate) const FILE: &str = "%h/.x2go/authorized_keys";
/// A session of alice.
pub(crate) const SESSION: &str = "alice-50-1795327217_stRTERMINAL_dp24";

/// A mount namespace that is gone when this is dropped.
pub(crate) struct Stage {
    // Ends before its folder is removed.
    holder: Process,
    folder: TempDir,
}

/// Who starts the program: numbers of a user and of its only group.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller(pub(crate) u32, pub(crate) u32);

/// The account of the broker's programs, and its group.
pub(crate) const BROKER: Caller = Caller(990, 990);
pub(crate) const ROOT: Caller = Caller(0, 0);

/// What a run came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) complaint: String,
}

impl Stage {
    /// Sets the stage; none if this machine can't, which is said.
    pub(crate) fn up() -> Option<Self> {
        let is_root = run(command("id").arg("-u")).is_ok_and(|id| id.trim() == "0");
        let can = is_root && run(command("unshare").args(["--mount", "true"])).is_ok();
        if !can {
            let required =
                std::env::var_os("X2GOBROKER_FARM").is_some_and(|value| value == "required");
            assert!(!required, "these tests need root and mount namespaces");
            println!("skipped: needs root and mount namespaces");
            return None;
        }
        let program = binaries::binary("x2gobroker-agent").unwrap();
        let folder = tempfile::Builder::new().prefix("shim-").tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let mut hold = command("unshare");
        hold.args([
            "--mount",
            "--propagation",
            "private",
            "bash",
            "-ec",
            SETTING,
        ]);
        hold.arg("stage").arg(folder.path()).arg(program);
        let log = folder.path().join("log");
        let mut holder = Process::start_tied("the stage", &mut hold, &log).unwrap();
        holder.wait_for_log(UP_LIMIT, &["ready"]).unwrap();
        Some(Self { holder, folder })
    }

    /// The stage's own folder, which everybody may read.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Runs the program as `caller` with these operands.
    pub(crate) fn call(&self, caller: Caller, operands: &[&str]) -> Outcome {
        outcome(self.enter(caller).arg(PROGRAM).args(operands))
    }

    /// Runs the program as the broker's account with these operands.
    pub(crate) fn ask(&self, operands: &[&str]) -> Outcome {
        self.call(BROKER, operands)
    }

    /// Runs the program as the broker's account, through `env` with these of its arguments.
    pub(crate) fn ask_through_env(&self, env: &[&str], operands: &[&str]) -> Outcome {
        let mut command = self.enter(BROKER);
        command.arg("env").args(env).arg(PROGRAM).args(operands);
        outcome(&mut command)
    }

    /// Runs a bash script as `caller`.
    pub(crate) fn script(&self, caller: Caller, script: &str) -> Outcome {
        outcome(self.enter(caller).args(["bash", "-c", script]))
    }

    /// Runs a bash script as root that must succeed, and returns what it prints.
    pub(crate) fn root(&self, script: &str) -> String {
        let done = self.script(ROOT, &format!("set -e\n{script}"));
        assert_eq!(done.code, Some(0), "{script}: {}", done.complaint);
        done.out
    }

    /// Prepares to run a program as `caller`.
    pub(crate) fn enter(&self, caller: Caller) -> Command {
        let Caller(user, group) = caller;
        let mut enter = command("nsenter");
        enter.args(["--target", &self.holder.pid().to_string(), "--mount", "--"]);
        enter.args(["setpriv", "--reuid", &user.to_string()]);
        enter.args(["--regid", &group.to_string(), "--clear-groups", "--"]);
        // setpriv keeps root's capabilities until it starts another program.
        enter.arg("env");
        enter.stdin(Stdio::null()).current_dir("/");
        enter
    }
}

impl Outcome {
    /// A refusal: nothing on standard output, one line on standard error.
    pub(crate) fn is_refusal(&self, code: i32, words: &str) -> bool {
        self.code == Some(code)
            && self.out.is_empty()
            && self.complaint.lines().count() == 1
            && self.complaint.contains(words)
    }

    pub(crate) fn is_ok(&self) -> bool {
        *self == ok("")
    }
}

/// Success with these lines after the OK.
pub(crate) fn ok(lines: &str) -> Outcome {
    Outcome {
        code: Some(0),
        out: format!("OK\n{lines}"),
        complaint: String::new(),
    }
}

pub(crate) fn outcome(command: &mut Command) -> Outcome {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    Outcome {
        code: status.code(),
        out: String::from_utf8(stdout).unwrap(),
        complaint: String::from_utf8(stderr).unwrap(),
    }
}

/// Accounts: alice and bob, who are people, and the broker's. In the group of the broker,
/// dora is a stranger. What x2goserver would bring are programs that tell how they were
/// called, or for x2gogetservers, print the file /home/servers if there is one.
const SETTING: &str = r#"
folder=$1 program=$2
mount -t tmpfs -o mode=755,size=16m stage /home
layers=$folder/layers
mkdir "$layers"
mount -t tmpfs -o mode=755 layers "$layers"
mkdir -p "$layers"/{bin,binwork,lib/x2go,libwork}
mount -t overlay -o lowerdir=/usr/bin,upperdir="$layers"/bin,workdir="$layers"/binwork bin /usr/bin
mount -t overlay -o lowerdir=/usr/lib,upperdir="$layers"/lib,workdir="$layers"/libwork lib /usr/lib
# A package of the original may have made its account here, with another number.
for file in passwd group; do
    sed '/^x2gobroker:/d' "/etc/$file" >"$layers/$file"
done
cat >>"$layers"/passwd <<END
alice:x:2001:2001::/home/alice:/bin/bash
bob:x:2002:2002::/home/bob:/bin/bash
dora:x:2004:2004::/home/dora:/bin/bash
x2gobroker:x:990:990::/var/lib/x2gobroker:/bin/bash
rooted:x:2005:0::/home/rooted:/bin/bash
small:x:999:999::/home/small:/bin/bash
END
cat >>"$layers"/group <<END
alice:x:2001:
bob:x:2002:
dora:x:2004:
helpers:x:2100:alice
x2gobroker:x:990:dora
END
mount --bind "$layers"/passwd /etc/passwd
mount --bind "$layers"/group /etc/group
for user in alice:2001 bob:2002 dora:2004; do
    install -d -m 700 -o "${user#*:}" -g "${user#*:}" "/home/${user%:*}"
done
install -o root -g 990 -m 4750 "$program" /usr/lib/x2go/x2gobroker-agent
for name in x2golistsessions x2golistdesktops x2gogetservers x2gosuspend-session x2goterminate-session; do
    cat >"/usr/bin/$name.new" <<'END'
#!/bin/bash
if [ -e /home/servers ] && [ "${0##*/}" = x2gogetservers ]; then cat /home/servers; exit; fi
echo "program $0 $*"
echo "user $(id -u) groups $(id -G)"
echo "folder $PWD mask $(umask)"
while IFS= read -r -d '' variable; do echo "environment $variable"; done </proc/$$/environ
while read -r name value; do
    case $name in Sig[BI]*|NoNewPrivs:|CapPrm:|CapEff:) echo "status $name $value";; esac
done </proc/$$/status
echo descriptors
ls -1 /proc/$$/fd
echo "input $(readlink /proc/$$/fd/0)"
echo "limits $(ulimit -Hf) $(ulimit -Hc) $(ulimit -Hn) $(ulimit -Ht) $(ulimit -Hu) $(ulimit -Hv)"
echo "oom $(cat /proc/$$/oom_score_adj)"
if : </dev/tty; then echo "a terminal"; fi 2>/dev/null
for number in 1 2; do
    if [ -t $number ] && ! grep -q '^flags:.*1$' /proc/$$/fdinfo/$number; then echo "reads $number"; fi
done
END
    chmod 755 "/usr/bin/$name.new"
    mv "/usr/bin/$name.new" "/usr/bin/$name"
done
echo ready
read -r _ || exit 0
"#;

/// A handful of mounts.
const UP_LIMIT: Duration = Duration::from_secs(20);
