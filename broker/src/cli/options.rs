//! Which options do `x2gobroker` and `x2gobroker-daemon` share with x2gobroker 0.0.4.3?

use std::fmt;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::ssh::Value;

/// Where the configuration is.
#[derive(Clone, Debug, Args)]
pub(super) struct SourceOptions {
    /// The configuration file; goes before X2GOBROKER_CONFIG [default:
    /// /etc/x2go/x2gobroker.conf].
    #[arg(
        short = 'C',
        long,
        visible_alias = "config",
        value_name = "FILE",
        global = true
    )]
    pub(super) config_file: Option<PathBuf>,

    /// The file with the addresses and certificates to serve clients with.
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/etc/x2go/broker/defaults.conf",
        global = true
    )]
    pub(super) defaults_file: PathBuf,
}

/// How clients are served.
#[derive(Clone, Debug, Args)]
pub(super) struct DaemonOptions {
    /// Serve clients over HTTP(S), or answer one request of SSH.
    #[arg(short = 'M', long, value_name = "MODE", value_enum, ignore_case = true)]
    pub(super) mode: Option<Mode>,

    /// Where to serve clients; goes before DAEMON_BIND_ADDRESS.
    #[arg(short, long, value_name = "[ADDRESS:]PORT")]
    pub(super) bind: Option<String>,

    /// Say more in the log, and take GET, so that a web browser can ask. The passwords in
    /// its URLs may end up in the logs of proxies.
    #[arg(short, long)]
    pub(super) debug: bool,

    /// Log to standard error, whatever else is asked for.
    #[arg(short = 'i', long)]
    pub(super) debug_interactively: bool,

    /// Go to the background once clients are served. Under systemd with Type=notify this
    /// does nothing.
    #[arg(short = 'D', long)]
    pub(super) daemonize: bool,

    /// The file with the process ID [default with --daemonize:
    /// /run/x2gobroker/x2gobroker-daemon.pid].
    #[arg(short = 'P', long, value_name = "FILE")]
    pub(super) pidfile: Option<PathBuf>,

    /// The directory of broker.log, access.log and error.log [default with --daemonize:
    /// /var/log/x2gobroker; else the log goes to standard error].
    #[arg(short = 'L', long, value_name = "DIR")]
    pub(super) logdir: Option<PathBuf>,

    /// When started by root, become X2GOBROKER_DAEMON_USER with X2GOBROKER_DAEMON_GROUP.
    #[arg(long)]
    pub(super) drop_privileges: bool,

    /// This is the process in the background.
    #[arg(long, hide = true)]
    pub(super) detached: bool,

    #[command(flatten)]
    pub(super) ssh: SshOptions,
}

/// What one request of the SSH mode asks; see x2gobroker-ssh.
#[derive(Clone, Default, Args)]
#[command(next_help_heading = "SSH mode")]
pub(super) struct SshOptions {
    /// The task: listsessions, selectsession, setpass, testcon or clientevent.
    #[arg(long, value_name = "TASK", allow_hyphen_values = true)]
    task: Option<String>,
    /// The user of the broker.
    #[arg(long, value_name = "USER", allow_hyphen_values = true)]
    user: Option<String>,
    /// The user of the X2Go servers.
    #[arg(long, value_name = "USER", allow_hyphen_values = true)]
    login: Option<String>,
    /// What happened to a session.
    #[arg(long, value_name = "EVENT", allow_hyphen_values = true)]
    event: Option<String>,
    /// The AUTHID of the last answer.
    #[arg(
        long,
        aliases = ["auth-id", "authid", "next-authid"],
        value_name = "AUTHID",
        allow_hyphen_values = true
    )]
    auth_cookie: Option<String>,
    /// The session profile.
    #[arg(long, alias = "sid", value_name = "ID", allow_hyphen_values = true)]
    profile_id: Option<String>,
    /// A backend other than the default one.
    #[arg(long, value_name = "BACKEND", allow_hyphen_values = true)]
    backend: Option<String>,
    /// The new password; - reads it from standard input.
    #[arg(long, value_name = "PASSWORD", allow_hyphen_values = true)]
    newpass: Option<String>,
    /// Of an event: the X2Go server.
    #[arg(long, value_name = "SERVER", allow_hyphen_values = true)]
    server: Option<String>,
    /// Of an event: the client.
    #[arg(long, value_name = "CLIENT", allow_hyphen_values = true)]
    client: Option<String>,
    /// Of an event: what the session runs.
    #[arg(long, value_name = "COMMAND", allow_hyphen_values = true)]
    cmd: Option<String>,
    /// Of an event: the display.
    #[arg(long, value_name = "DISPLAY", allow_hyphen_values = true)]
    display: Option<String>,
    /// Of an event: when the client began.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    start: Option<String>,
    /// Of an event: seconds since then.
    #[arg(long, value_name = "SECONDS", allow_hyphen_values = true)]
    elapsed: Option<String>,
    /// Where the daemon is asked [default: /run/x2gobroker-ssh/socket].
    #[arg(long, value_name = "FILE", allow_hyphen_values = true)]
    socket: Option<String>,
}

/// How clients reach the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Mode {
    /// As a daemon, over HTTP or HTTPS.
    Http,
    /// Once for each request, started by sshd.
    Ssh,
}

impl DaemonOptions {
    /// Which options of a daemon are given, where they have no effect.
    pub(super) fn of_a_daemon(&self) -> Vec<&'static str> {
        let all = [
            ("--bind", self.bind.is_some()),
            ("--debug", self.debug),
            ("--debug-interactively", self.debug_interactively),
            ("--daemonize", self.daemonize),
            ("--pidfile", self.pidfile.is_some()),
            ("--logdir", self.logdir.is_some()),
            ("--drop-privileges", self.drop_privileges),
        ];
        let given = all.into_iter().filter(|(_, is_given)| *is_given);
        given.map(|(name, _)| name).collect()
    }

    /// Where log files go, if anywhere.
    pub(super) fn log_directory(&self) -> Option<&Path> {
        if self.debug_interactively {
            return None;
        }
        let in_background = self.detached.then_some(Path::new(LOG_DIRECTORY));
        self.logdir.as_deref().or(in_background)
    }

    /// The PID file, if there is to be one.
    pub(super) fn pid_file(&self) -> Option<&Path> {
        let in_background = self.detached.then_some(Path::new(PID_FILE));
        self.pidfile.as_deref().or(in_background)
    }
}

impl SshOptions {
    /// Which options of the SSH mode are given.
    pub(super) fn given(&self) -> Vec<&'static str> {
        let given = self
            .all()
            .into_iter()
            .filter(|(_, _, value)| value.is_some());
        given.map(|(name, _, _)| name).collect()
    }

    /// The same as x2gobroker-ssh reads them.
    pub(super) fn values(&self) -> impl Iterator<Item = (Value, Option<String>)> {
        let all = self.all().into_iter();
        all.map(|(_, option, value)| (option, value.clone()))
    }

    fn all(&self) -> [(&'static str, Value, &Option<String>); 15] {
        [
            ("--task", Value::Task, &self.task),
            ("--user", Value::User, &self.user),
            ("--login", Value::Login, &self.login),
            ("--event", Value::Event, &self.event),
            ("--auth-cookie", Value::AuthId, &self.auth_cookie),
            ("--profile-id", Value::Sid, &self.profile_id),
            ("--backend", Value::Backend, &self.backend),
            ("--newpass", Value::NewPassword, &self.newpass),
            ("--server", Value::Server, &self.server),
            ("--client", Value::Client, &self.client),
            ("--cmd", Value::Command, &self.cmd),
            ("--display", Value::Display, &self.display),
            ("--start", Value::Started, &self.start),
            ("--elapsed", Value::Elapsed, &self.elapsed),
            ("--socket", Value::Socket, &self.socket),
        ]
    }
}

/// Shows which options are given, and no values: a password may be among them.
impl fmt::Debug for SshOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SshOptions").field(&self.given()).finish()
    }
}

const LOG_DIRECTORY: &str = "/var/log/x2gobroker";
const PID_FILE: &str = "/run/x2gobroker/x2gobroker-daemon.pid";
