//! `x2gobrokerctl`: what an operator asks of the agent of one X2Go server.

mod desktops;
mod drain;
mod operate;
mod when;

use std::io::Write as _;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{CommandFactory as _, Parser, Subcommand};
use pki::{ChannelLimits, Clock, Expect, NodeName, Role, load_identity};
use proto::v1::agent_client::AgentClient;
use proto::v1::{StatusRequest, StatusResponse};
use proto::{ClientOrder, NodeState, Session, SessionKind};
use tonic::transport::Channel;

/// Asks the agent of one X2Go server how it is, what a user may watch there, to take no new
/// sessions, or to suspend or end a session.
#[derive(Debug, Parser)]
#[command(name = "x2gobrokerctl", version)]
struct Ctl {
    /// Directory of the operator's certificate.
    #[arg(long, value_name = "DIR", default_value = "/etc/x2go/pki/operator")]
    identity: PathBuf,

    /// The X2Go server: the name in its agent's certificate.
    #[arg(long, value_name = "NAME")]
    node: String,

    /// Where its agent listens, if the name alone does not lead there.
    #[arg(long, value_name = "HOST:PORT")]
    address: Option<String>,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// How the server is, with its sessions.
    Status,
    /// Which desktops a user may watch or work on: their own, and those that others have
    /// announced to them.
    Desktops(desktops::Watcher),
    /// Take no new sessions; running and suspended ones go on. Kept over a restart.
    ///
    /// It lasts until it is undone, or its deadline has come. A drain that was there is
    /// replaced, with its deadline.
    Drain(drain::Options),
    /// Take new sessions again.
    Undrain,
    /// Suspend a session, and say when that has happened.
    Suspend(operate::Target),
    /// End a session, and say when that has happened.
    Terminate(operate::Target),
}

pub(super) fn command() -> clap::Command {
    Ctl::command()
}

/// Runs `x2gobrokerctl`.
#[must_use]
pub fn ctl() -> ExitCode {
    let ctl = Ctl::parse();
    let _log = super::start_log("warn");
    super::end(run(&ctl))
}

fn run(ctl: &Ctl) -> Result<()> {
    let runtime = super::runtime()?;
    runtime.block_on(async {
        let asked = tokio::time::timeout(DEADLINE, ask(ctl)).await;
        asked.with_context(|| format!("the agent of {} did not answer", ctl.node))?
    })
}

/// How a server is, as its agent says it to whom the certificate in `identity` belongs.
pub(super) async fn status(identity: &Path, node: &str, address: &str) -> Result<String> {
    let mut agent = connect(identity, node, resolve(address)?)?;
    let status = agent.status(StatusRequest {}).await?.into_inner();
    describe(&status)
}

async fn ask(ctl: &Ctl) -> Result<()> {
    let address = match &ctl.address {
        Some(address) => resolve(address)?,
        None => resolve(&format!("{}:{AGENT_PORT}", ctl.node))?,
    };
    let mut agent = connect(&ctl.identity, &ctl.node, address)?;
    match &ctl.command {
        Command::Status => {
            let status = agent.status(StatusRequest {}).await?.into_inner();
            print(&describe(&status)?)
        }
        Command::Desktops(watcher) => print(&desktops::ask(&mut agent, &ctl.node, watcher).await?),
        Command::Drain(options) => print(&drain::drain(&mut agent, &ctl.node, options).await?),
        Command::Undrain => print(&drain::undrain(&mut agent, &ctl.node).await?),
        Command::Suspend(target) => {
            let text = operate::ask(&mut agent, &ctl.node, ClientOrder::Suspend, target);
            print(&text.await?)
        }
        Command::Terminate(target) => {
            let text = operate::ask(&mut agent, &ctl.node, ClientOrder::Terminate, target);
            print(&text.await?)
        }
    }
}

fn connect(identity: &Path, node: &str, address: SocketAddr) -> Result<AgentClient<Channel>> {
    let node = NodeName::parse(node).context("the name of the X2Go server")?;
    let identity = load_identity(identity, &Clock::system())
        .with_context(|| format!("the certificate in {} can't be used", identity.display()))?;
    let (_publisher, identity) = pki::IdentityPublisher::new(identity);
    let expect = Expect::Node {
        role: Role::Agent,
        node,
    };
    let channel = pki::mesh_channel(address, expect, identity, ChannelLimits::default());
    Ok(AgentClient::new(channel))
}

fn resolve(address: &str) -> Result<SocketAddr> {
    let mut found = address
        .to_socket_addrs()
        .with_context(|| format!("{address} can't be looked up; give --address HOST:PORT"))?;
    found
        .next()
        .with_context(|| format!("{address} has no address"))
}

fn describe(status: &StatusResponse) -> Result<String> {
    let state = status.state.clone().context("the answer holds no state")?;
    let state = NodeState::try_from(state)?;
    let counts = state.counts;
    let mut text = format!(
        "{}: {}\nagent {}, generation {}, version {}\n",
        status.node,
        drain::describe(&state.readiness, Clock::system().since_epoch()),
        status.software_version,
        state.generation,
        state.version.0
    );
    text += &format!(
        "{} running, {} suspended, {} young, {} on their way\n",
        counts.active, counts.suspended, counts.young, counts.pending
    );
    if let Some(load) = state.load {
        text += &format!(
            "{} cores of {} MHz, {} of {} MB used, load {:.2} {:.2}\n",
            load.cores, load.mhz, load.memory_used_mb, load.memory_total_mb, load.load1, load.load5
        );
    }
    text += &match (status.installs_keys, status.temporary_keys) {
        (true, n_keys) => format!("temporary keys are installed, {n_keys} are there\n"),
        (false, 0) => "temporary keys are not installed\n".to_owned(),
        (false, n_keys) => format!("temporary keys are not installed, {n_keys} are there\n"),
    };
    for session in &status.sessions {
        let session = Session::try_from(session.clone())?;
        // Somebody is being watched, or helped.
        let shadow = match session.kind() {
            Some(SessionKind::Shadow) => " (shadow)",
            Some(SessionKind::Desktop | SessionKind::Rootless) | None => "",
        };
        let starting = if session.starting { " (starting)" } else { "" };
        let order = match session.client_order {
            None => "",
            Some(ClientOrder::Suspend) => " (its client is to suspend it)",
            Some(ClientOrder::Terminate) => " (its client is to end it)",
        };
        text += &format!(
            "{} {} {}{shadow}{starting}{order}\n",
            session.state.letter(),
            session.user,
            session.id
        );
    }
    for user in &status.reserved_users {
        text += &format!("- {user} (a place is held)\n");
    }
    Ok(text)
}

fn print(text: &str) -> Result<()> {
    std::io::stdout()
        .write_all(text.as_bytes())
        .context("standard output")
}

/// Where agents listen unless they are told otherwise.
pub(super) const AGENT_PORT: u16 = 7464;

/// An operator waits this long for one agent: a little longer than the agent waits for a
/// session to change.
const DEADLINE: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use proto::v1::{self, StatusResponse};

    use super::describe;

    #[test]
    fn the_status_of_a_server_marks_shadow_sessions() {
        let session = |id: &str| v1::Session {
            id: id.to_owned(),
            user: "alice".to_owned(),
            state: v1::SessionState::Running.into(),
            ..v1::Session::default()
        };
        let readiness = v1::Readiness {
            state: v1::readiness::State::Ready.into(),
            ..v1::Readiness::default()
        };
        let state = v1::NodeState {
            counts: Some(v1::Counts::default()),
            readiness: Some(readiness),
            ..v1::NodeState::default()
        };
        let (desktop, shadow) = (
            "alice-51-1795886231_stDxterm_dp24",
            "alice-52-1795886378_stS1XSHADbobXSHADPP78_dp24",
        );
        let status = StatusResponse {
            state: Some(state),
            sessions: vec![session(desktop), session(shadow)],
            ..StatusResponse::default()
        };
        let text = describe(&status).unwrap();
        let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("R ")).collect();
        let expected = [
            format!("R alice {desktop}"),
            format!("R alice {shadow} (shadow)"),
        ];
        assert_eq!(lines, expected);
    }
}
