//! A host with accounts of its own, as one authservice sees it.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use broker::auth::pam::Pam;
use proto::{PAM_HEAD_BYTES, PamQuestion, PamVerdict};
use tempfile::TempDir;

/// The number of the group x2gobroker here.
pub(crate) const GROUP: u32 = 990;

/// The password of the user `odd`.
pub(crate) const ALL_BYTES: std::ops::RangeInclusive<u8> = 1..=255;

/// A running authservice; its files are gone with it.
pub(crate) struct Site {
    service: Child,
    options: Vec<String>,
    dir: TempDir,
}

/// Whether this process is root; else the test is skipped, unless it must not be.
pub(crate) fn root_or_skip() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    let is_root = id.stdout.starts_with(b"0\n");
    let must_run = std::env::var("X2GOBROKER_FARM").is_ok_and(|value| value == "required");
    assert!(is_root || !must_run, "this test needs root");
    is_root
}

/// User, account: what stands in `/etc/shadow` behind the name. `%` is the hash of
/// `pw-USER`. shadow(5): 3 last change, 5 most days, 8 days of expiry.
const ACCOUNTS: &[(&str, &str)] = &[
    ("alice", "%:20000:0:99999:7:::"),
    ("locked", "!%:20000:0:99999:7:::"),
    ("closed", "%:20000:0:99999:7::10000:"),
    ("ranout", "%:10000:0:10:7:::"),
    ("empty", ":20000:0:99999:7:::"),
    ("sleepy", "%:20000:0:99999:7:::"),
    ("crashy", "%:20000:0:99999:7:::"),
    ("odd", "%:20000:0:99999:7:::"),
];

impl Site {
    /// Starts it with further options, and waits until it answers.
    pub(crate) fn start(options: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        write_accounts(dir.path());
        write_pam(dir.path());
        let options = options.iter().map(|&option| option.to_owned()).collect();
        let service = run(dir.path(), &options, "log");
        let site = Self {
            service,
            options,
            dir,
        };
        site.wait_until_ready();
        site
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("socket")
    }

    pub(crate) fn pam(&self) -> Pam {
        Pam::new(&self.socket())
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    pub(crate) fn kill(&mut self) {
        self.service.kill().unwrap();
        self.service.wait().unwrap();
    }

    pub(crate) fn start_again(&mut self) {
        self.service = run(self.dir.path(), &self.options, "log");
        self.wait_until_ready();
    }

    /// Starts another one for the same socket, which must end; returns what it said.
    pub(crate) fn start_beside(&self) -> String {
        let mut second = run(self.dir.path(), &self.options, "second");
        assert!(!second.wait().unwrap().success());
        fs::read_to_string(self.dir.path().join("second")).unwrap()
    }

    /// Mode, owner and group of the socket.
    pub(crate) fn socket_mode(&self) -> String {
        let found = fs::metadata(self.socket()).unwrap();
        let owner = if found.uid() == 0 { "root" } else { "?" };
        let group = if found.gid() == GROUP {
            "x2gobroker-by-number"
        } else {
            "?"
        };
        format!("{:o} {owner} {group}", found.mode() & 0o7777)
    }

    /// Whether a process of nobody with these groups gets an answer.
    pub(crate) fn is_answered_as(&self, group: u32, more: &str) -> bool {
        let script = "use IO::Socket::UNIX; \
            my $s = IO::Socket::UNIX->new(Peer => $ARGV[0]) or exit 1; \
            print $s pack('N', 2), \"\\x0a\\x00\"; $s->flush; \
            exit(sysread($s, my $answer, 4) == 4 ? 0 : 1);";
        let groups = match more {
            "" => "--clear-groups".to_owned(),
            more => format!("--groups={more}"),
        };
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", &format!("--regid={group}"), &groups]);
        command.args(["perl", "-e", script]).arg(self.socket());
        command.status().unwrap().success()
    }

    /// What a module started is ended with its conversation.
    pub(crate) fn wait_for_no_sleepers(&self) {
        let mark = self.dir.path().join("slow.sh").display().to_string();
        self.wait("helpers of modules still run", || {
            let found = Command::new("pgrep").args(["-f", &mark]).output().unwrap();
            found.stdout.is_empty()
        });
    }

    fn wait_until_ready(&self) {
        self.wait("the authservice does not answer", || {
            UnixStream::connect(self.socket()).is_ok()
        });
    }

    fn wait(&self, what: &str, mut ready: impl FnMut() -> bool) {
        let began = Instant::now();
        while !ready() {
            let log = self.log();
            assert!(
                began.elapsed() < Duration::from_secs(20),
                "{what}; log:\n{log}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = self.service.kill();
        let _ = self.service.wait();
    }
}

/// Sends one question, password as bytes, and reads the verdict.
pub(crate) fn raw(socket: &Path, user: &str, password: &[u8]) -> Option<PamVerdict> {
    let question = PamQuestion {
        user: user.to_owned(),
        password: password.to_vec().into(),
        client: String::new(),
    };
    exchange(socket, &question.to_frame().unwrap())
}

/// Sends bytes; none when the connection ends without a verdict.
pub(crate) fn exchange(socket: &Path, bytes: &[u8]) -> Option<PamVerdict> {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(25)))
        .unwrap();
    stream.write_all(bytes).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut head = [0; PAM_HEAD_BYTES];
    stream.read_exact(&mut head).ok()?;
    let mut message = vec![0; proto::pam_message_length(head).unwrap()];
    stream.read_exact(&mut message).unwrap();
    Some(PamVerdict::read(&message).unwrap())
}

/// The program, with the files of `dir` in the place of those in `/etc`.
fn run(dir: &Path, options: &Vec<String>, log: &str) -> Child {
    let log = File::options()
        .create(true)
        .append(true)
        .open(dir.join(log))
        .unwrap();
    let mut command = Command::new("unshare");
    command.args([
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-ec",
        MOUNTS,
        "sh",
    ]);
    command
        .arg(dir)
        .arg(env!("CARGO_BIN_EXE_x2gobroker-authservice"));
    command
        .arg("--socket-file")
        .arg(dir.join("socket"))
        .args(options);
    let command = command
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap());
    command.stderr(log).spawn().unwrap()
}

const MOUNTS: &str = r#"
    dir=$1; shift
    for file in passwd shadow group pam.d; do mount --bind "$dir/$file" "/etc/$file"; done
    exec "$@"
"#;

fn write_accounts(dir: &Path) {
    let (mut passwd, mut shadow) = (String::new(), String::new());
    for (id, (name, account)) in (3000..).zip(ACCOUNTS) {
        let password = match *name {
            "odd" => ALL_BYTES.collect(),
            name => format!("pw-{name}").into_bytes(),
        };
        let account = account.replace('%', &hash(&password));
        passwd += &format!("{name}:x:{id}:{id}::/:/bin/sh\n");
        shadow += &format!("{name}:{account}\n");
    }
    let group = format!("x2gobroker:x:{GROUP}:\n");
    for (file, more) in [("passwd", passwd), ("shadow", shadow), ("group", group)] {
        let known = fs::read_to_string(Path::new("/etc").join(file)).unwrap();
        let kept = known
            .lines()
            .filter(|line| !line.starts_with("x2gobroker:"));
        let kept: String = kept.map(|line| format!("{line}\n")).collect();
        fs::write(dir.join(file), kept + &more).unwrap();
    }
    fs::set_permissions(dir.join("shadow"), fs::Permissions::from_mode(0o600)).unwrap();
}

/// Few rounds: these passwords protect nothing.
fn hash(password: &[u8]) -> String {
    let script = "local $/; binmode STDIN; print crypt(<STDIN>, '$6$rounds=1000$authtest$')";
    let mut perl = Command::new("perl");
    let perl = perl
        .args(["-e", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut perl = perl.spawn().unwrap();
    perl.stdin.take().unwrap().write_all(password).unwrap();
    let output = perl.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

/// The PAM services of this machine, the packaged one, and one with a module that hangs
/// or crashes for some.
fn write_pam(dir: &Path) {
    let copied = Command::new("cp")
        .arg("-r")
        .arg("/etc/pam.d")
        .arg(dir.join("pam.d"))
        .status();
    assert!(copied.unwrap().success());
    let packaged = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/pam.d/x2gobroker");
    fs::copy(packaged, dir.join("pam.d/x2gobroker")).unwrap();
    let script = dir.join("slow.sh");
    let text =
        "#!/bin/sh\ncase $PAM_USER in\nsleepy) sleep 60;;\ncrashy) kill -ABRT $PPID;;\nesac\n";
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let slow = format!(
        "auth optional pam_exec.so quiet {}\n@include common-auth\n@include common-account\n",
        script.display()
    );
    fs::write(dir.join("pam.d/slow"), slow).unwrap();
}
