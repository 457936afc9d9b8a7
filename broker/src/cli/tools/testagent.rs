//! `x2gobroker-testagent`: does an agent do what the broker would ask of it?

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::{Parser, ValueEnum};
use proto::{KeyFile, PublicKey, SessionId, Username};

use super::{configuration, end, print};
use crate::cli::ctl;
use crate::cli::options::SourceOptions;
use crate::cli::privileges;
use crate::cli::{runtime, start_log};
use crate::config::Config;
use crate::names::ServerAddress;
use crate::old_agents::{Call, OldAgent, OldAgents};
use crate::profiles::HostKeyPolicy;

/// Tests the agent of an X2Go server: has it do one task for a user, and prints its answer.
///
/// Without --host it is the program of this host; with it, the server is asked over SSH with
/// the broker's key, or with --mesh as the session broker asks agents of the mesh. Run it as
/// root or as x2gobroker on a broker host.
#[derive(Debug, Parser)]
#[command(name = PROGRAM, version, after_help = AFTER_HELP)]
pub(crate) struct TestAgent {
    #[command(flatten)]
    sources: SourceOptions,

    /// Name the tasks that the agent can do.
    #[arg(long)]
    list_tasks: bool,

    /// The task.
    #[arg(
        short,
        long,
        value_name = "TASK",
        ignore_case = true,
        required_unless_present = "list_tasks"
    )]
    task: Option<Task>,

    /// The user for whom it is done.
    #[arg(short, long, alias = "username", value_name = "USER")]
    user: Option<String>,

    /// The X2Go server.
    #[arg(short = 'H', long, value_name = "HOST")]
    host: Option<String>,

    /// The port of its SSH server; with --mesh that of its agent [default: 22, or 7464].
    #[arg(short, long, value_name = "PORT")]
    port: Option<u16>,

    /// Remember the host key of a server that is not known yet.
    #[arg(short = 'A', long)]
    add_to_known_hosts: bool,

    /// The session to suspend or terminate.
    #[arg(long, value_name = "SESSION")]
    session_id: Option<String>,

    /// The public key to add or remove, as one line.
    #[arg(long, value_name = "KEY")]
    pubkey: Option<String>,

    /// Ask over the mesh, with the broker's certificate: ping, checkload and listsessions.
    #[arg(long, requires = "host")]
    mesh: bool,

    /// Say more.
    #[arg(short, long)]
    debug: bool,
}

/// The tasks of x2gobroker-agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lower")]
enum Task {
    Ping,
    AvailableTasks,
    CheckLoad,
    ListSessions,
    FindBusyServers,
    GetServers,
    SuspendSession,
    TerminateSession,
    AddAuthKey,
    DelAuthKey,
}

/// Runs `x2gobroker-testagent`.
#[must_use]
pub fn testagent() -> ExitCode {
    let options = TestAgent::parse();
    let _log = start_log(if options.debug { "debug" } else { "error" });
    end(PROGRAM, run(&options).map(|()| ExitCode::SUCCESS))
}

fn run(options: &TestAgent) -> Result<()> {
    let config = configuration(&options.sources)?;
    if privileges::is_root() {
        let (user, group) = (&config.process.user, &config.process.group);
        privileges::drop_to(user, group)
            .with_context(|| format!("this process can't become {user}:{group}"))?;
    }
    let task = match options.task {
        Some(task) if !options.list_tasks => task,
        _ => Task::AvailableTasks,
    };
    let answer = match &options.host {
        Some(host) if options.mesh => ask_mesh(options, &config, host, task)?,
        _ => ask_program(options, &config, call(options, task)?)?,
    };
    print(&answer)
}

fn ask_mesh(options: &TestAgent, config: &Config, host: &str, task: Task) -> Result<String> {
    match task {
        Task::Ping | Task::CheckLoad | Task::ListSessions => {}
        _ => bail!("over the mesh: ping, checkload or listsessions; for more use x2gobrokerctl"),
    }
    let port = options.port.unwrap_or(ctl::AGENT_PORT);
    let address = format!("{host}:{port}");
    let asked = ctl::status(&config.mesh.identity, host, &address);
    runtime()?.block_on(async {
        let answered = tokio::time::timeout(DEADLINE, asked).await;
        answered.with_context(|| format!("{host} did not answer within {DEADLINE:?}"))?
    })
}

fn ask_program(options: &TestAgent, config: &Config, call: Call) -> Result<String> {
    let old = &config.inifile.old_agents;
    let agent = match &options.host {
        None => OldAgent::local(old),
        Some(host) => {
            // An option of ssh is no host.
            let good =
                proto::NodeId::parse(host).is_ok() || host.parse::<std::net::IpAddr>().is_ok();
            anyhow::ensure!(
                good,
                "--host: {host:?} is neither a host name nor an address"
            );
            let server = ServerAddress {
                host: host.clone(),
                port: options.port.unwrap_or(SSH_PORT),
            };
            let policy = match options.add_to_known_hosts {
                true => HostKeyPolicy::AutoAdd,
                false => old.host_key_policy,
            };
            OldAgent::over_ssh(server, policy, old)
        }
    };
    let name = format!("x2gobroker-testagent-{}", std::process::id());
    let sockets = std::env::temp_dir().join(name);
    let answered = runtime()?.block_on(async {
        let agents = OldAgents::new(sockets.clone());
        agents.prepare().context("a folder for the connection")?;
        let answered = agents.call(&agent, call, DEADLINE).await;
        answered.with_context(|| match (&options.host, options.add_to_known_hosts) {
            (Some(_), false) => format!(
                "{agent} was asked in vain (a server whose host key is new needs \
                 --add-to-known-hosts once)"
            ),
            _ => format!("{agent} was asked in vain"),
        })
    });
    remove(&sockets);
    answered
}

/// What is left there are sockets that nobody listens at.
fn remove(sockets: &Path) {
    let _ = std::fs::remove_dir_all(sockets);
}

fn call(options: &TestAgent, task: Task) -> Result<Call> {
    let user = || -> Result<Username> {
        let name = options.user.as_deref().context("this task needs --user")?;
        Username::parse(name).context("--user")
    };
    let session = || -> Result<SessionId> {
        let id = options.session_id.as_deref();
        SessionId::parse(id.context("this task needs --session-id")?).context("--session-id")
    };
    let key = || -> Result<PublicKey> {
        let key = options.pubkey.as_deref();
        PublicKey::parse(key.context("this task needs --pubkey")?).context("--pubkey")
    };
    Ok(match task {
        Task::Ping => Call::Ping,
        Task::AvailableTasks => Call::AvailableTasks,
        Task::CheckLoad => Call::CheckLoad,
        Task::ListSessions => Call::ListSessions(user()?),
        Task::FindBusyServers => Call::FindBusyServers(user()?),
        Task::GetServers => Call::GetServers(user()?),
        Task::SuspendSession => Call::Suspend(user()?, session()?),
        Task::TerminateSession => Call::Terminate(user()?, session()?),
        Task::AddAuthKey => Call::AddKey(user()?, key()?, KeyFile::default()),
        Task::DelAuthKey => Call::RemoveKey(user()?, key()?, KeyFile::default()),
    })
}

const PROGRAM: &str = "x2gobroker-testagent";
const SSH_PORT: u16 = 22;

/// A session takes up to ten seconds to end on a busy server.
const DEADLINE: Duration = Duration::from_secs(30);

const AFTER_HELP: &str = "Exit codes: 0 the agent has answered; 1 it has not, or refused, and why; 2 \
                          wrong options.";
