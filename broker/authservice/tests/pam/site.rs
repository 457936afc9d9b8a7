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
    ("napping", "%:20000:0:99999:7:::"),
    ("changes", "%:20000:0:99999:7:::"),
    ("toosoon", "%:TODAY:9000:99999:7:::"),
    ("crashy", "%:20000:0:99999:7:::"),
    ("odd", "%:20000:0:99999:7:::"),
];

impl Site {
    /// Starts it with further options, and waits until it answers.
    pub(crate) fn start(options: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        copy_etc(dir.path());
        let etc = dir.path().join("etc");
        write_accounts(&etc);
        write_pam(dir.path(), &etc.join("pam.d"));
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

    /// Asks it to stop, as systemd does.
    pub(crate) fn terminate(&self) {
        let mut kill = Command::new("kill");
        let sent = kill.arg(self.service.id().to_string()).status();
        assert!(sent.unwrap().success());
    }

    /// Waits until its log holds this.
    pub(crate) fn wait_for_log(&self, text: &str) {
        self.wait(text, || self.log().contains(text));
    }

    /// Waits until it has ended by itself.
    pub(crate) fn wait_for_end(&mut self) -> bool {
        let began = Instant::now();
        loop {
            if let Some(status) = self.service.try_wait().unwrap() {
                return status.success();
            }
            assert!(began.elapsed() < Duration::from_secs(30), "it does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
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

    /// Waits until a module sleeps in the middle of a question.
    pub(crate) fn wait_for_sleeper(&self) {
        let mark = self.dir.path().join("slow.sh").display().to_string();
        self.wait("no module sleeps", || {
            let found = Command::new("pgrep").args(["-f", &mark]).output().unwrap();
            !found.stdout.is_empty()
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
        new_password: None,
    };
    exchange(socket, &question.to_frame().unwrap())
}

/// Sends one question and hangs up.
pub(crate) fn ask_and_leave(socket: &Path, user: &str) {
    let question = PamQuestion {
        user: user.to_owned(),
        password: b"pw".to_vec().into(),
        client: String::new(),
        new_password: None,
    };
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.write_all(&question.to_frame().unwrap()).unwrap();
}

/// Asks for another password, and reads the verdict.
pub(crate) fn change(socket: &Path, user: &str, old: &str, new: &[u8]) -> Option<PamVerdict> {
    let question = PamQuestion {
        user: user.to_owned(),
        password: old.as_bytes().to_vec().into(),
        client: String::new(),
        new_password: Some(new.to_vec().into()),
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
    mount --bind "$dir/etc" /etc
    exec "$@"
"#;

/// The whole folder: modules that change a password put a new file in the old one's place.
fn copy_etc(dir: &Path) {
    let mut copy = Command::new("cp");
    copy.args(["-a", "/etc"]).arg(dir.join("etc"));
    assert!(copy.status().unwrap().success());
}

fn write_accounts(dir: &Path) {
    let (mut passwd, mut shadow) = (String::new(), String::new());
    for (id, (name, account)) in (3000..).zip(ACCOUNTS) {
        let password = match *name {
            "odd" => ALL_BYTES.collect(),
            name => format!("pw-{name}").into_bytes(),
        };
        let account = account.replace('%', &hash(&password));
        let account = account.replace("TODAY", &today());
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

/// As shadow(5) counts: days since 1970.
fn today() -> String {
    let date = Command::new("date").arg("+%s").output().unwrap();
    let seconds: u64 = String::from_utf8(date.stdout)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    (seconds / 86_400).to_string()
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
fn write_pam(dir: &Path, services: &Path) {
    let packaged = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/pam.d/x2gobroker");
    fs::copy(packaged, services.join("x2gobroker")).unwrap();
    let script = dir.join("slow.sh");
    let text = "#!/bin/sh\ncase $PAM_USER in\nsleepy) sleep 60;;\nnapping) sleep 2;;\ncrashy) kill -ABRT $PPID;;\nesac\n";
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let slow = format!(
        "auth optional pam_exec.so quiet {}\n@include common-auth\n@include common-account\n",
        script.display()
    );
    fs::write(services.join("slow"), slow).unwrap();
    // Asks twice for something hidden, as a password and a code are asked for.
    let codes = services.with_file_name("codes.db");
    let script = "use DB_File; tie my %codes, 'DB_File', $ARGV[0], O_RDWR|O_CREAT, 0600, $DB_HASH \
        or die $!; $codes{alice} = '123456'; untie %codes";
    let made = Command::new("perl")
        .args(["-e", script])
        .arg(codes)
        .status();
    assert!(made.unwrap().success());
    let twice = "auth required pam_unix.so\n\
        auth required pam_userdb.so db=/etc/codes crypt=none\n\
        account required pam_permit.so\n";
    fs::write(services.join("twice"), twice).unwrap();
}
